"""What clients may ask of rembg."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image

from ..protocol import BadScriptArgs, arg
from ..wanted import Mode, Names
from .models import KNOWN

_NONE = "None"
_LEVELS = (0, 255)
_SIDES = (0, 40)
"""Of what masks are eroded with; the work grows with its fourth power."""


def _names(_: Mode, __: Names) -> Sequence[str]:
    return (_NONE, *KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire."""

    model: str = arg("u2net", "Remove background", _names)
    return_mask: bool = arg(False, "Return mask")
    alpha_matting: bool = arg(False, "Alpha matting")
    alpha_matting_foreground_threshold: int = arg(
        240, "Foreground threshold", minimum=0, maximum=255, step=1
    )
    alpha_matting_background_threshold: int = arg(
        10, "Background threshold", minimum=0, maximum=255, step=1
    )
    alpha_matting_erode_size: int = arg(10, "Erode size", minimum=0, maximum=40, step=1)

    @property
    def off(self) -> bool:
        """Whether nothing is to be done."""
        return self.model in ("", _NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteArgs(Args):
    """The body of `/rembg`: a picture by either name, `input_image` before `image`."""

    input_image: Image | None = arg(None, "Picture")
    image: Image | None = arg(None, "Picture, by another name")


def check(args: Args) -> None:
    """Raise BadScriptArgs for a number that is out of bounds, whether it is used or not."""
    for name, (least, most) in (
        ("alpha_matting_foreground_threshold", _LEVELS),
        ("alpha_matting_background_threshold", _LEVELS),
        ("alpha_matting_erode_size", _SIDES),
    ):
        value = getattr(args, name)
        if not least <= value <= most:
            raise BadScriptArgs(f"{name} {value}: allowed are {least} to {most}")
