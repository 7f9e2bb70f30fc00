"""A checkpoint's text encoders: token ids become the states that guide its UNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from ..errors import ClipSkipOutOfRange

#: vectors [n,D], and the token from which on they stand for the tokens' own
Inserted = tuple[int, Tensor]
#: Whose states guide: the layer's that the clip skip says; the last's, or the last but one's,
#: whatever it says; or the last but one's unless the clip skip is asked to count here too.
Layer = Literal["skip", "last", "penultimate", "penultimate or skip"]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What an encoder makes of chunks: `states` [R,77,D], and `pooled` [R,P] where it has any."""

    states: Tensor
    pooled: Tensor | None = None

    def rows(self) -> "tuple[Encoded, ...]":
        """What it is of each chunk [1,77,D], [1,P]."""
        states = torch.split(self.states, 1)
        if self.pooled is None:
            return tuple(Encoded(each) for each in states)
        return tuple(map(Encoded, states, torch.split(self.pooled, 1)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipEncoder:
    """One CLIP text encoder and how its family reads it.

    The final norm follows the chosen layer where `normed`. Tokens after the end token are `pad`
    (None: the end token again). A module with a projection also gives the pooled state.
    """

    module: CLIPTextModel | CLIPTextModelWithProjection
    layer: Layer = "skip"
    normed: bool = True
    pad: int | None = None

    @property
    def text_model(self) -> CLIPTextModel:
        """The encoder without its projection."""
        module = self.module
        return module.text_model if isinstance(module, CLIPTextModelWithProjection) else module

    @property
    def width(self) -> int:
        """The length of the vectors that it takes in the place of tokens."""
        return int(self.text_model.config.hidden_size)

    def encode(
        self,
        ids: Tensor,
        *,
        end: int,
        clip_skip: int = 1,
        always_skip: bool = False,
        inserted: Sequence[Sequence[Inserted]] = (),
    ) -> Encoded:
        """Turn token ids [R,77] with the end token `end` into float32 states [R,77,D].

        A clip skip of n takes the n-th last layer's output, the embeddings counting as the first of
        them; `always_skip` lets it count for "penultimate or skip". `inserted` gives each row's
        vectors that stand for those of its tokens. Raises ClipSkipOutOfRange.
        """
        model = self.text_model
        back = self._back(clip_skip, always_skip)
        first_end = (ids == end).int().argmax(dim=1)
        if self.pad is not None:
            after = torch.arange(ids.shape[1], device=ids.device) > first_end[:, None]
            ids = ids.masked_fill(after, self.pad)
        tokens = model.get_input_embeddings()
        with tokens.register_forward_hook(partial(_insert, inserted)):
            output = model(input_ids=ids, output_hidden_states=back > 1 or not self.normed)
        states: Tensor = output.last_hidden_state
        if back > 1 or not self.normed:
            states = output.hidden_states[-back]
            states = model.final_layer_norm(states) if self.normed else states
        if not isinstance(self.module, CLIPTextModelWithProjection):
            return Encoded(states.float())
        rows = torch.arange(len(ids), device=ids.device)
        pooled = self.module.text_projection(output.last_hidden_state[rows, first_end])
        return Encoded(states.float(), pooled.float())

    def _back(self, clip_skip: int, always_skip: bool) -> int:
        """Counted from the end, the layer whose output is read: 1 is the last one."""
        if self.layer == "last":
            return 1
        if self.layer == "penultimate" or (self.layer != "skip" and not always_skip):
            return 2
        layers = self.text_model.config.num_hidden_layers
        if clip_skip > layers + 1:
            raise ClipSkipOutOfRange(clip_skip, layers)
        return max(clip_skip, 1)


def _insert(
    inserted: Sequence[Sequence[Inserted]], module: nn.Module, ids: object, vectors: Tensor
) -> Tensor:
    """Put vectors in the place of a token embedding's output [R,77,D]; a forward hook."""
    for row, places in enumerate(inserted):
        for start, wanted in places:
            vectors[row, start : start + len(wanted)] = wanted.to(vectors)
    return vectors
