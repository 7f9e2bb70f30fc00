"""From a header to the kind of checkpoint; torch-free.

Facts: the names of https://github.com/CompVis/stable-diffusion,
https://github.com/Stability-AI/stablediffusion, https://github.com/Stability-AI/generative-models
and of diffusers; https://github.com/Stability-AI/ModelSpec for the metadata.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ..header import DTYPE_BYTES, Header
from . import foreign
from .kind import Family, Kind, Prediction, Variant
from .texts import Text, find_texts
from .unet import PREFIXES, Unet, find_unet

EMA = "model_ema."
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
PREDICTIONS: Mapping[str, Prediction] = {
    "v": "v",
    "v_prediction": "v",
    "eps": "epsilon",
    "epsilon": "epsilon",
}
#: ModelSpec's names of SD2's two
ARCHITECTURES: Mapping[str, Prediction] = {
    "stable-diffusion-v2-512": "epsilon",
    "stable-diffusion-v2-768-v": "v",
}
LATENT_CHANNELS = 4
VARIANTS: Mapping[int, Variant] = {4: "base", 5: "depth", 8: "edit", 9: "inpainting"}
TITLES: Mapping[Variant, str] = {
    "base": "",
    "depth": " depth",
    "edit": " instruct-pix2pix",
    "inpainting": " inpainting",
}
#: marks of UNets that are sampled otherwise than here
OTHERWISE: Mapping[str, str] = {
    "edm_mean": "Playground v2.5",
    "edm_std": "Playground v2.5",
    "edm_vpred.sigma_max": "CosXL",
    "cc_projection.weight": "Zero123",
}
#: tensors that only quantised weights have beside them
QUANTISED = (".absmax", ".quant_map", ".scale_weight", ".weight_scale", "scaled_fp8", ".SCB")
#: the numbers that names may have: no model comes near
MOST: Mapping[str, int] = {
    "transformer_blocks": 16,
    "layers": 64,
    "resblocks": 64,
    "input_blocks": 32,
    "output_blocks": 32,
    "down_blocks": 8,
    "up_blocks": 8,
    "resnets": 8,
    "attentions": 8,
    "down": 8,
    "up": 8,
    "block": 8,
}
NUMBERED = re.compile(rf"\b({'|'.join(MOST)})\.(\d{{1,9}})(?=\.)")
#: sizes and crops are each a vector that stands after the pooled text
SIZES: Mapping[Variant, int] = {"base": 6, "refiner": 5}
SD2_WIDTH = 1024
REFINER_LEVELS = 4
SSD_DEPTH = 2


def identify(header: Header) -> Kind:
    """Tell what a file is, without a look at its weights. Raises nothing.

    A kind without `reason` is one to load; that its tensors are all there is not looked at.
    """
    found = _kind(header)
    names = header.tensors
    if found.reason is None:
        found = replace(found, reason=_quantised(header) or beyond_any(header))
    return replace(
        found,
        storage=_storage(header),
        ema=any(name.startswith(EMA) for name in names),
        zero_snr=ZERO_SNR_MARK in names,
    )


def _quantised(header: Header) -> str | None:
    name = next((name for name in header.tensors if name.endswith(QUANTISED)), None)
    return None if name is None else f"quantised ({name!r}), which is not supported"


def beyond_any(header: Header) -> str | None:
    """Say what a header has more of than any model; to build that would take minutes."""
    for name in header.tensors:
        for what, number in NUMBERED.findall(name):
            if int(number) >= MOST[what]:
                return f"{name!r} is beyond the {MOST[what]} {what} of any model"
    return None


def _kind(header: Header) -> Kind:
    if not header.tensors:
        return Kind(name="an empty file", reason="holds no tensors")
    unet = find_unet(header)
    mark = (
        foreign.first(header, foreign.ADD_ONS)
        or foreign.network(header, has_unet=unet is not None)
        or foreign.embedding(header)
        or foreign.first(header, foreign.FAMILIES)
    )
    if mark is not None:
        return Kind(name=mark.name, reason=mark.reason)
    if unet is not None:
        return _of_unet(header, unet)
    return _without_unet(header)


def _without_unet(header: Header) -> Kind:
    if mark := foreign.flux(header):
        return Kind(name=mark.name, reason=mark.reason)
    if name := foreign.sd3(header):
        return Kind(name=name, family="SD3", reason=foreign.FAMILY)
    if any(name.startswith(PREFIXES["ldm"]) for name in header.tensors):
        return Kind(
            name="a UNet of no known kind", reason="its first layer is missing or misshapen"
        )
    if all(name.startswith(EMA) for name in header.tensors):
        return Kind(name="averaged weights alone", reason=foreign.PART)
    mark = foreign.first(header, foreign.PARTS)
    if mark is not None:
        return Kind(name=mark.name, reason=mark.reason)
    return Kind(name="a file of no known kind", reason="none of its names tell a model known here")


def _of_unet(header: Header, unet: Unet) -> Kind:
    texts = find_texts(header, unet.layout)
    if unet.temporal:
        return Kind(name="Stable Video Diffusion", layout=unet.layout, reason=foreign.FAMILY)
    usual = PREFIXES[unet.layout]
    if unet.prefix != usual:
        return _alone(unet, f"its names begin with {unet.prefix!r} instead of {usual!r}")
    if not texts:
        return _alone(unet, "holds no text encoder of a known kind")
    family, refiner = _family(unet, texts), _is_refiner(unet, texts)
    variant = "refiner" if refiner else _variant(family, unet)
    if variant is None:
        return Kind(
            name=f"{family} of {unet.in_channels} input channels",
            family=family,
            layout=unet.layout,
            reason=f"a UNet of {unet.in_channels} input channels; known: 4, 8 and 9",
        )
    kind = Kind(
        name=_name(family, variant, unet),
        family=family,
        variant=variant,
        prediction=_prediction(header, family, variant),
        layout=unet.layout,
    )
    for name, title in OTHERWISE.items():
        if name in header.tensors:
            return replace(kind, name=title, prediction=None, reason=foreign.FAMILY)
    return replace(kind, reason=_reason(family, variant, unet, texts))


def _alone(unet: Unet, reason: str) -> Kind:
    """A UNet without the rest; its family is a guess by its dimensions."""
    if unet.vector is None:
        family: Family = "SD2" if unet.linear or unet.context == SD2_WIDTH else "SD1"
    else:
        family = "SDXL"
    refiner = family == "SDXL" and len(unet.depths) == REFINER_LEVELS
    name = f"{family} refiner" if refiner else family
    return Kind(name=f"a UNet alone ({name})", layout=unet.layout, reason=reason)


def _family(unet: Unet, texts: tuple[Text, ...]) -> Family:
    if unet.layout == "diffusers":
        if unet.vector is not None and not unet.by_class:
            return "SDXL"
        # transformers writes OpenAI's and OpenCLIP's encoders in the same names
        return "SD2" if unet.linear or unet.context == SD2_WIDTH else "SD1"
    if unet.vector is not None and texts[0].prefix.startswith("conditioner."):
        return "SDXL"
    return "SD2" if texts[0].maker == "open_clip" else "SD1"


def _is_refiner(unet: Unet, texts: tuple[Text, ...]) -> bool:
    places = ("conditioner.embedders.0.model.", "text_encoder_2.")
    return unet.vector is not None and len(texts) == 1 and texts[0].prefix in places


def _variant(family: Family, unet: Unet) -> Variant | None:
    if unet.classes:
        return "upscaler"
    if family != "SDXL" and unet.vector is not None:
        return "unclip"
    variant = VARIANTS.get(unet.in_channels)
    return None if variant == "depth" and family != "SD2" else variant


def _name(family: Family, variant: Variant, unet: Unet) -> str:
    if variant in ("refiner", "unclip"):
        return f"{family} {variant}"
    if variant == "upscaler":
        return f"{family} x4 upscaler"
    name: str = family
    if family == "SDXL" and unet.layers == 1:
        name = "KOALA"
    elif family == "SDXL" and not unet.middle:
        name = "SSD-1B" if max(unet.depths[:2], default=0) >= SSD_DEPTH else "Segmind Vega"
    return name + TITLES[variant]


def _prediction(header: Header, family: Family, variant: Variant) -> Prediction | None:
    """What the UNet predicts, by the marks that trainers leave; None where SD2's lack them."""
    if V_MARK in header.tensors:
        return "v"
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    architecture = header.metadata.get("modelspec.architecture", "").lower()
    marked = PREDICTIONS.get(said) or ARCHITECTURES.get(architecture)
    if marked is not None:
        return marked
    return None if family == "SD2" and variant in ("base", "unclip", "upscaler") else "epsilon"


def _reason(family: Family, variant: Variant, unet: Unet, texts: tuple[Text, ...]) -> str | None:
    """Why it cannot be used, if so: what is missing, or does not fit together."""
    if variant in ("depth", "unclip", "upscaler"):
        return f"{variant} models are not supported"
    if family == "SDXL" and variant != "refiner" and len(texts) < 2:
        return f"one of SDXL's two text encoders is missing; there is {texts[0].prefix!r}"
    if unet.out_channels is None:
        return "the UNet's last layer is missing"
    if unet.out_channels != LATENT_CHANNELS:
        return f"a UNet that gives {unet.out_channels} channels; supported: {LATENT_CHANNELS}"
    width = sum(text.width for text in texts) if family == "SDXL" else texts[0].width
    if unet.context is not None and unet.context != width:
        return f"text of width {width} for a UNet that reads {unet.context}"
    pooled = texts[-1].pooled
    if family != "SDXL" or pooled is None:
        return None
    numbers, rest = divmod((unet.vector or 0) - pooled, SIZES.get(variant, SIZES["base"]))
    if numbers <= 0 or rest:
        return f"a vector of {unet.vector} numbers does not fit a pooled text of {pooled}"
    return None


def _storage(header: Header) -> tuple[str, ...]:
    """The floating types, by how many numbers are stored in each."""
    counts: Counter[str] = Counter()
    for entry in header.tensors.values():
        if entry.dtype in DTYPE_BYTES and entry.dtype.startswith(("F", "BF")):
            counts[entry.dtype] += math.prod(entry.shape)
    return tuple(dtype for dtype, count in counts.most_common() if count)
