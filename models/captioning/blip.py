"""BLIP (https://arxiv.org/abs/2201.12086) from a folder as transformers saves it, on the CPU.

Heavy: imports torch and transformers. Nothing is fetched, and no code of the folder is run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import torchvision_ops as torchvision_ops  # before transformers

# isort: split

import torch
from PIL import Image
from torch import Tensor
from transformers import BlipConfig, BlipForConditionalGeneration
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from ..errors import CorruptCheckpoint
from ..families.filling import Locate, Piece, laid_out, read_pieces
from ..families.modules import build
from ..families.weights import FLOATS, Weights, open_weights
from ..header import shown
from .blip_config import read_config
from .files import BlipFiles
from .vocabulary import WordPieces, read_vocabulary
from .wording import Wording

#: what BLIP begins every caption with; it is not part of what is given back
_BEGINNING = ("a", "picture", "of")


class Captioner:
    """A captioning model in memory; for one thread at a time."""

    def __init__(self, model: Any, words: WordPieces) -> None:
        """Let a `BlipForConditionalGeneration` write captions, whose tokens are `words`.

        Raises CorruptCheckpoint.
        """
        self._model = model
        self._words = words
        self._begun = words.ids(_BEGINNING)
        side = model.config.vision_config.image_size
        self._pictures = BlipImageProcessorPil(size={"height": side, "width": side})

    @torch.inference_mode()
    def caption(
        self, picture: Image.Image, wording: Wording, stopped: Callable[[], bool] = lambda: False
    ) -> str:
        """What the picture shows, as far as it was written when `stopped`. Raises `BadWording`."""
        text = self._model.config.text_config
        wording.check(text.max_position_embeddings)
        pixels = self._pictures(images=picture.convert("RGB"), return_tensors="pt")
        # the model leaves off the end token itself
        begun = torch.tensor([[text.bos_token_id, *self._begun, text.sep_token_id]])
        written = self._model.generate(
            pixel_values=pixels["pixel_values"],
            input_ids=begun,
            do_sample=False,
            num_beams=wording.beams,
            min_length=wording.shortest,
            max_length=wording.longest,
            stopping_criteria=StoppingCriteriaList([_Stopped(stopped)]),
        )
        return self._words.text(written[0, begun.shape[1] - 1 :].tolist())


def open_captioner(files: BlipFiles) -> Captioner:
    """Read the model, as float32 on the CPU. Raises `CheckpointError`."""
    # Any: transformers annotates its parts as tables, too
    config: Any = BlipConfig(**read_config(files.config))
    words = read_vocabulary(files.vocabulary)
    with open_weights(files.weights, allow_pickle=files.allow_pickle) as weights:
        model: Any = build(lambda: BlipForConditionalGeneration(config), weights)
        model.load_state_dict(_state(model, weights), strict=True, assign=True)
    # the one buffer that is in no file
    embeddings = model.text_decoder.bert.embeddings
    positions = torch.arange(config.text_config.max_position_embeddings)[None]
    embeddings.register_buffer("position_ids", positions, persistent=False)
    model.eval().requires_grad_(False)
    return Captioner(model, words)


def _state(model: Any, weights: Weights) -> dict[str, Tensor]:
    """Every parameter from the file; of two that are one, either may be there."""
    tied: Mapping[str, str] = model.all_tied_weights_keys
    partners = {**tied, **{source: name for name, source in tied.items()}}
    expected = model.state_dict()
    found: dict[str, str] = {}
    for name, empty in expected.items():
        kept = (name, partners.get(name))
        source = next((each for each in kept if each in weights.header.tensors), None)
        if source is None:
            raise CorruptCheckpoint(weights.path, f"the tensor {shown(name)} is missing")
        entry = weights.header.tensors[source]
        if entry.dtype not in FLOATS or entry.shape != tuple(empty.shape):
            raise CorruptCheckpoint(
                weights.path,
                f"the tensor {shown(source)} is {entry.dtype} {list(entry.shape)};"
                f" config.json makes it {list(empty.shape)}",
            )
        found[name] = source
    read = _read(weights, tuple(dict.fromkeys(found.values())))
    return {name: read[source] for name, source in found.items()}


def _read(weights: Weights, names: Sequence[str]) -> Mapping[str, Tensor]:
    """The tensors as float32, in one block of memory that goes back whole."""
    entries = [weights.header.tensors[name] for name in names]
    shapes = [entry.shape for entry in entries]
    tensors = dict(zip(names, laid_out(shapes, torch.float32, torch.device("cpu")), strict=True))
    if weights.locate is None:
        for name, tensor in tensors.items():
            tensor.copy_(weights.read(name))
    else:
        read_pieces(_pieces(weights, weights.locate, tensors))
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CorruptCheckpoint(weights.path, f"the tensor {shown(name)} holds NaN or infinity")
    return tensors


def _pieces(weights: Weights, locate: Locate, tensors: Mapping[str, Tensor]) -> Iterator[Piece]:
    for name, tensor in tensors.items():
        source, position = locate(name)
        dtype = FLOATS[weights.header.tensors[name].dtype]
        yield Piece(source=source, position=position, dtype=dtype, target=tensor)


class _Stopped(StoppingCriteria):
    """Ends a caption when nobody wants more of it."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return torch.full((len(input_ids),), self._stopped(), dtype=torch.bool)
