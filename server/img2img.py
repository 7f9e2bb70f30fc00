"""The wire's fields about init pictures and masks become what a plan has of them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from PIL import Image

from pipelines.pictures.colors import to_lab
from pipelines.pictures.prepare import flattened, prepare
from pipelines.pictures.prepared import Fitting, MaskUse, Prepared
from pipelines.pictures.soft import SoftInpainting
from pipelines.pictures.upscale import Upscaler

from .errors import ApiError
from .imagecodec import BadImage, decode
from .options import Options
from .schemas.img2img import Img2ImgRequest
from .soft_inpainting import soft_inpainting
from .tools import PLAIN

_MAX_PIXELS = 2**27
"""Pixels that the init pictures of one request may have together."""

_FILL = 0
_FILL_LABELS: Mapping[int, str] = MappingProxyType({2: "latent noise", 3: "latent nothing"})
_FULL = "Full"
#: steps of the whole schedule whose end is run with `img2img_fix_steps`
_LONGEST_SCHEDULE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitPictures:
    """A request's init pictures and mask, of any size and mode.

    Where there is a `latent_mask` beside the mask, it is that which says what is filled and drawn;
    results get the colours of a `color_reference` rather than of their init pictures.
    """

    images: tuple[Image.Image, ...]
    mask: Image.Image | None = None
    latent_mask: Image.Image | None = None
    color_reference: Image.Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Img2ImgAsked:
    """What an img2img plan has beside the fields of every plan.

    Where `save_init_img` is set, `originals` are the init pictures as they came, by their MD5, and
    `init_hash` is that of the last. `warnings` name what was asked for and could not be honoured.
    """

    init: Prepared
    batch_size: int
    denoising: float
    fix_steps: bool
    noise_multiplier: float
    originals: Mapping[str, Image.Image]
    init_hash: str | None
    warnings: tuple[str, ...]


def img2img_asked(
    request: Img2ImgRequest,
    options: Options,
    extra: dict[str, object],
    pictures: InitPictures | None = None,
    upscalers: Mapping[str, Upscaler] = PLAIN.upscalers,
) -> Img2ImgAsked:
    """Read, fit and mask the init pictures; what infotexts say of that goes to `extra`, in order.

    `pictures` take the place of the request's own; one of `upscalers` enlarges them where the
    setting says so. This works on pictures: call it in a thread.

    Raises:
        ApiError: no init pictures, more of them than the batch has images, or bad numbers.
        BadImage, RemoteImage: what is sent as a picture is none that is read.
        BadPicture: pictures that cannot be fitted as asked.
    """
    pictures = pictures or init_pictures(request)
    batch_size = _batch_size(len(pictures.images), request.batch_size)
    fix_steps = options.img2img_fix_steps and _fixable(request)
    soft = None
    if pictures.mask is not None:
        soft = soft_inpainting(request.alwayson_scripts, extra)
    upscaler, warnings = _upscaler(options, upscalers)
    fitting = Fitting(
        width=request.width,
        height=request.height,
        resize_mode=request.resize_mode,
        upscaler=upscaler,
        background=options.img2img_background_color,
        match_colors=options.img2img_color_correction,
    )
    use = _mask_use(request, options, soft)
    init = prepare(pictures.images, fitting, pictures.mask, use, pictures.latent_mask)
    if init.targets and pictures.color_reference is not None:
        reference = flattened(pictures.color_reference, fitting.background)
        init = replace(init, targets=(to_lab(reference),) * len(init.targets))
    extra["Denoising strength"] = request.denoising_strength
    if pictures.mask is not None:
        _tell_mask(request, use, init, extra)
    if options.sd_vae_encode_method != _FULL:
        extra["VAE Encoder"] = options.sd_vae_encode_method
    if init.inpainting is not None and use.content in _FILL_LABELS:
        extra["Masked content"] = _FILL_LABELS[use.content]
    if pictures.mask is not None and init.inpainting is None:
        warnings += ("inpaint_full_res: the mask is blank, so all of the picture is drawn",)
    multiplier = request.initial_noise_multiplier
    hashed = [(_hash(each), each) for each in pictures.images] if options.save_init_img else []
    return Img2ImgAsked(
        init=init,
        batch_size=batch_size,
        denoising=max(request.denoising_strength, 0.0),
        fix_steps=fix_steps,
        noise_multiplier=options.initial_noise_multiplier if multiplier is None else multiplier,
        originals=MappingProxyType(dict(hashed)),
        init_hash=hashed[-1][0] if hashed else None,
        warnings=warnings,
    )


def init_pictures(request: Img2ImgRequest) -> InitPictures:
    """The pictures of a request.

    Raises:
        ApiError: `init_images` are null, or have too many pixels together.
        BadImage, RemoteImage: one of them, or the mask, is no picture that is read.
    """
    if request.init_images is None:
        raise ApiError(404, "Init image not found")
    return InitPictures(
        images=tuple(_read(request.init_images)),
        mask=None if request.mask is None else decode(request.mask),
    )


def _read(sent: Sequence[object]) -> Iterator[Image.Image]:
    pixels = 0
    for each in sent:
        if not isinstance(each, str):
            raise BadImage(f"an init image is base64 text, not {type(each).__name__}")
        image = decode(each)
        pixels += image.width * image.height
        if pixels > _MAX_PIXELS:
            raise ApiError(422, f"init_images: allowed are {_MAX_PIXELS} pixels together")
        yield image


def _batch_size(pictures: int, asked: int) -> int:
    """How many images a batch has: one for each picture, unless one picture serves them all."""
    if not 1 <= pictures <= asked:
        wrong = f"bad number of images passed: {pictures}; expecting {asked} or less"
        if not pictures:
            wrong = f"init_images is empty: expecting 1 to {asked} images"
        raise ApiError(500, error="RuntimeError", errors=wrong)
    return asked if pictures == 1 else pictures


def _fixable(request: Img2ImgRequest) -> bool:
    """Whether all steps can be run: of a denoising of 0 there is no end to run them at."""
    denoising = request.denoising_strength
    if denoising > 0 and request.steps / denoising > _LONGEST_SCHEDULE:
        raise ApiError(
            422,
            f"denoising_strength {denoising}: with img2img_fix_steps its schedule of "
            f"{request.steps / denoising:.0f} steps is too long; allowed are {_LONGEST_SCHEDULE}",
        )
    return denoising > 0


def _upscaler(
    options: Options, upscalers: Mapping[str, Upscaler]
) -> tuple[Upscaler, tuple[str, ...]]:
    """What enlarges init pictures, and a warning where the name is not known."""
    name = options.upscaler_for_img2img or "None"
    if name in upscalers:
        return upscalers[name], ()
    return "None", (f"unknown upscaler_for_img2img {name!r}: used Lanczos",)


def _mask_use(request: Img2ImgRequest, options: Options, soft: SoftInpainting | None) -> MaskUse:
    both = request.mask_blur
    return MaskUse(
        inverted=bool(request.inpainting_mask_invert),
        blur=(request.mask_blur_x, request.mask_blur_y) if both is None else (both, both),
        round=request.mask_round,
        content=request.inpainting_fill,
        only_masked=request.inpaint_full_res,
        padding=request.inpaint_full_res_padding,
        overlay=options.overlay_inpaint,
        soft=soft,
    )


def _tell_mask(
    request: Img2ImgRequest, use: MaskUse, init: Prepared, extra: dict[str, object]
) -> None:
    across, down = use.blur
    if use.inverted:
        extra["Mask mode"] = "Inpaint not masked"
    if across > 0 or down > 0:
        extra["Mask blur"] = across if across == down else None
    if init.inpainting is None:
        return
    if init.inpainting.paste is not None:
        extra["Inpaint area"] = "Only masked"
        extra["Masked area padding"] = request.inpaint_full_res_padding
    if use.content == _FILL:
        extra["Masked content"] = "fill"


def _hash(image: Image.Image) -> str:
    return hashlib.md5(image.tobytes(), usedforsecurity=False).hexdigest()
