"""What clients send, and the swap that it stands for."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image

from ..limits import check_span
from ..protocol import arg

NONE = "None"
"""How clients name no upscaler and no restorer."""

LARGEST_SCALE = 8
"""By how much a picture can be enlarged after a swap."""

_MOST_DIGITS = 9
"""Digits of a face's number; no picture has that many faces."""

FaceNumbers = int | str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """The arguments of the always-on script, in the order of the wire."""

    img: Image | None = arg(None, "Source picture")
    enable: bool = arg(False, "Enable")
    faces_index: FaceNumbers = arg("0", "Target faces, from the left")
    model: str | None = arg(None, "Model")
    face_restorer_name: str = arg(
        "CodeFormer", "Restore faces", lambda mode, names: (NONE, *names["restorers"])
    )
    face_restorer_visibility: float = arg(
        1, "Visibility of restored faces", minimum=0, maximum=1, step=0.1
    )
    upscaler_name: str | None = arg(None, "Upscaler", lambda mode, names: tuple(names["upscalers"]))
    upscaler_scale: float = arg(1, "Scale", minimum=1, maximum=LARGEST_SCALE, step=0.1)
    upscaler_visibility: float = arg(
        1, "Visibility of the upscaler at scale 1", minimum=0, maximum=1, step=0.1
    )
    swap_in_source: bool = arg(False, "Swap in the init pictures")
    swap_in_generated: bool = arg(True, "Swap in the generated pictures")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageArgs:
    """The body of `POST /roop/image`."""

    source_image: Image | None = arg(None, "Picture of the face that is put in")
    target_image: Image | None = arg(None, "Picture whose faces are swapped")
    face_index: FaceNumbers = arg((0,), "Target faces, from the left")
    scale: float = arg(1, "Scale", minimum=1, maximum=LARGEST_SCALE)
    upscaler: str = arg(NONE, "Upscaler")
    upscale_visibility: float = arg(1, "Visibility of the upscaler", minimum=0, maximum=1)
    face_restorer: str = arg(NONE, "Restore faces")
    restorer_visibility: float = arg(1, "Visibility of restored faces", minimum=0, maximum=1)
    model: str = arg("inswapper_128.onnx", "Model")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoArgs:
    """The body of `GET /roop/models`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A swap as it is asked for.

    `faces` are numbers of target faces from the left, from 0; `ignored` is what stood among them
    and is no number. `restorer` and `upscaler` are None where there is none, visibilities 0 to 1.
    """

    source: Image | None
    faces: tuple[int, ...]
    ignored: tuple[str, ...]
    model: str | None
    restorer: str | None
    restorer_visibility: float
    upscaler: str | None
    scale: float
    upscaler_visibility: float


def order_of(args: Args) -> Order:
    """The swap of a job. Raises BadScriptArgs for numbers that are out of bounds."""
    faces, ignored = face_numbers(args.faces_index)
    return _checked(
        Order(
            source=args.img,
            faces=faces,
            ignored=ignored,
            model=args.model or None,
            restorer=_named(args.face_restorer_name),
            restorer_visibility=args.face_restorer_visibility,
            upscaler=_named(args.upscaler_name),
            scale=args.upscaler_scale,
            upscaler_visibility=args.upscaler_visibility,
        ),
        ("face_restorer_visibility", "upscaler_scale", "upscaler_visibility"),
    )


def order_of_image(args: ImageArgs) -> Order:
    """The swap of a single picture. Raises BadScriptArgs for numbers that are out of bounds."""
    faces, ignored = face_numbers(args.face_index)
    return _checked(
        Order(
            source=args.source_image,
            faces=faces,
            ignored=ignored,
            model=args.model or None,
            restorer=_named(args.face_restorer),
            restorer_visibility=args.restorer_visibility,
            upscaler=_named(args.upscaler),
            scale=args.scale,
            upscaler_visibility=args.upscale_visibility,
        ),
        ("restorer_visibility", "scale", "upscale_visibility"),
    )


def face_numbers(sent: FaceNumbers | Sequence[object]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of faces in what is sent, ascending, and the parts that are no such numbers.

    Texts hold several, between commas; without any number it is face 0.
    """
    pieces = sent if isinstance(sent, Sequence) and not isinstance(sent, str) else (sent,)
    parts = [part.strip() for piece in pieces for part in str(piece).split(",")]
    numbers = {int(part) for part in parts if _is_number(part)}
    ignored = dict.fromkeys(part for part in parts if part and not _is_number(part))
    return tuple(sorted(numbers or {0})), tuple(ignored)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _MOST_DIGITS


def _named(name: str | None) -> str | None:
    return None if not name or name == NONE else name


def _checked(order: Order, names: tuple[str, str, str]) -> Order:
    """The order, if what counts of its numbers is within bounds; `names` are the wire's."""
    restorer_visibility, scale, upscaler_visibility = names
    if order.restorer is not None:
        check_span(restorer_visibility, order.restorer_visibility, 0, 1)
    if order.upscaler is not None:
        check_span(scale, order.scale, 1, LARGEST_SCALE)
        check_span(upscaler_visibility, order.upscaler_visibility, 0, 1)
    return order
