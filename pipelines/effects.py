"""What a generation did that can only be known once it ran."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Effects:
    """Noted by a generation on its way, told with its pictures.

    `embeddings` are name and hash of each textual inversion a prompt used, the prompt that was
    encoded last first. The flags say that at least one model call went without the unconditional
    part for that reason, that contexts were padded or cut to match, that a text had brackets of
    emphasis, that the model is one for inpainting or for instructions (instruct-pix2pix), and in
    which passes (from 0) a refiner took over. `notes` say what of the networks could not be put on.
    """

    embeddings: tuple[tuple[str, str], ...] = ()
    skipped_early: bool = False
    skipped_small_sigma: bool = False
    padded: bool = False
    matched: bool = False
    emphasised: bool = False
    inpainting_model: bool = False
    edit_model: bool = False
    refined: set[int] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)
    _encoded: set[str] = field(default_factory=set)

    def encoded(self, kind: str, prompt: str, used: Iterable[tuple[str, str | None]]) -> None:
        """A prompt of a kind has been encoded, and used these embeddings (name, hash)."""
        if f"{kind}:{prompt}" not in self._encoded:
            self._encoded.add(f"{kind}:{prompt}")
            hashed = tuple((name, code) for name, code in used if code)
            self.embeddings = (*hashed, *self.embeddings)
