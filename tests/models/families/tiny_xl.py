"""Checkpoints of SDXL's and SD2's topology in LDM's layout, of any size, with random weights.

Made forwards, from dimensions to file names, so that they can contradict the readers under test.
`write_tiny(path, "sdxl")` writes a file of some 30 MB in 0.2 s (most of it CLIP's 49408 words); the
kinds are the keys of `TINY`. `TRUE` has the public models' own dimensions, for headers only.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.header import Header, TensorEntry

from .ldm_layout import Named, Shape, affine, resnet, vae_resnet

UNET = "model.diffusion_model."
VAE = "first_stage_model."
WORDS = 49408
#: what the deepest transformers are cut to in a tiny file, their unevenness kept
SHORT: Mapping[int, int] = {10: 3, 4: 2}

Depths = tuple[tuple[int, ...], ...]
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unet:
    """`down` and `up` have each layer's depth of transformers, from the full resolution down."""

    widths: tuple[int, ...]
    down: Depths
    up: Depths
    middle: int | None
    context: int
    vector: int | None = None
    in_channels: int = 4
    linear: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text encoder in OpenCLIP's layout, or in transformers' where it has no projection."""

    prefix: str
    width: int
    layers: int
    projection: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A whole checkpoint; `marks` are names of scalar tensors that trainers leave in the file."""

    unet: Unet
    texts: tuple[Text, ...]
    vae: tuple[int, ...] = (128, 256, 512, 512)
    marks: tuple[str, ...] = ()


def every(depths: tuple[int, ...], layers: int = 2) -> tuple[Depths, Depths]:
    """Give one depth a level, down and up, the up side having a layer more."""
    return tuple((d,) * layers for d in depths), tuple((d,) * (layers + 1) for d in depths)


def _text(prefix: str, width: int, layers: int, *, open_clip: bool) -> Text:
    return Text(prefix=prefix, width=width, layers=layers, projection=width if open_clip else None)


def _unet(
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    middle: int,
    context: int,
    vector: int | None = None,
) -> Unet:
    down, up = every(depths)
    return Unet(widths=widths, down=down, up=up, middle=middle, context=context, vector=vector)


def _edited(model: Model, **changes: Any) -> Model:
    return replace(model, unet=replace(model.unet, **changes))


def _family(
    *, xl: tuple[int, ...], refiner: tuple[int, ...], sd2: tuple[int, ...], tiny: bool
) -> dict[str, Model]:
    """All kinds, given their UNets' widths."""
    small, large, huge = (64, 128, 128) if tiny else (768, 1280, 1024)
    few, many, some = (3, 4, 4) if tiny else (12, 32, 24)
    vae = (32, 64, 32, 32) if tiny else (128, 256, 512, 512)
    clip = _text("conditioner.embedders.0.transformer.text_model.", small, few, open_clip=False)
    first, second = (
        _text(f"conditioner.embedders.{place}.model.", large, many, open_clip=True)
        for place in (0, 1)
    )
    vit_h = _text("cond_stage_model.model.", huge, some, open_clip=True)
    base = Model(
        unet=_unet(xl, (0, 2, 10), 10, small + large, vector=large + 6 * 256),
        texts=(clip, second),
        vae=vae,
    )
    ssd = _edited(
        base,
        down=((0, 0), (2, 2), (4, 4)),
        up=((0, 0, 0), (2, 1, 1), (4, 4, 10)),
        middle=None,
    )
    fine = Model(
        unet=_unet(refiner, (0, 4, 4, 0), 4, large, vector=large + 5 * 256), texts=(first,), vae=vae
    )
    two = Model(unet=_unet(sd2, (1, 1, 1, 0), 1, huge), texts=(vit_h,), vae=vae)
    return {
        "sdxl": base,
        "sdxl-inpainting": _edited(base, in_channels=9),
        "sdxl-edit": _edited(base, in_channels=8),
        "sdxl-v": replace(base, marks=("v_pred",)),
        "sdxl-ztsnr": replace(base, marks=("v_pred", "ztsnr")),
        "ssd-1b": ssd,
        "refiner": fine,
        "sd2": two,
        "sd2-inpainting": _edited(two, in_channels=9),
    }


TRUE: Mapping[str, Model] = _family(
    xl=(320, 640, 1280), refiner=(384, 768, 1536, 1536), sd2=(320, 640, 1280, 1280), tiny=False
)
TINY: Mapping[str, Model] = _family(
    xl=(32, 128, 64), refiner=(32, 64, 128, 64), sd2=(64, 128, 64, 64), tiny=True
)


def short(model: Model) -> Model:
    """The same with its deepest transformers cut, for speed."""

    def cut(depths: Depths) -> Depths:
        return tuple(tuple(SHORT.get(depth, depth) for depth in level) for level in depths)

    unet, middle = model.unet, model.unet.middle
    middle = middle if middle is None else SHORT.get(middle, middle)
    return _edited(model, down=cut(unet.down), up=cut(unet.up), middle=middle)


def write_tiny(
    path: Path,
    kind: str = "sdxl",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float16,
    full_depth: bool = False,
    extra: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a tiny checkpoint of a kind of `TINY`; the same seed gives the same weights.

    `full_depth` keeps the public models' depths of transformers (0, 2, 10 in SDXL).
    """
    model = TINY[kind] if full_depth else short(TINY[kind])
    state = {name: tensor.to(dtype) for name, tensor in random_state(model, seed=seed).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state | dict(extra or {}), path)
    return path


def random_state(model: Model, *, seed: int = 0) -> State:
    """Float32 weights that keep variance; norms and biases differ a little from 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _values(name, shape, generator) for name, shape in named(model)}


def header(model: Model, dtype: str = "F16") -> Header:
    """Give the header of a file."""
    entries = {name: TensorEntry(dtype=dtype, shape=shape) for name, shape in named(model)}
    return Header(tensors=entries, metadata={})


def named(model: Model) -> Named:
    """Every tensor's name and shape."""
    yield from ((UNET + name, shape) for name, shape in unet(model.unet))
    yield from ((VAE + name, shape) for name, shape in vae(model.vae))
    for each in model.texts:
        names = clip(each) if each.projection is None else open_clip(each)
        yield from ((each.prefix + name, shape) for name, shape in names)
    yield from ((mark, ()) for mark in model.marks)


def unet(spec: Unet) -> Named:
    widths, time = spec.widths, 4 * spec.widths[0]
    yield from affine("time_embed.0", (time, widths[0]))
    yield from affine("time_embed.2", (time, time))
    if spec.vector is not None:
        yield from affine("label_emb.0.0", (time, spec.vector))
        yield from affine("label_emb.0.2", (time, time))
    yield from affine("input_blocks.0.0", (widths[0], spec.in_channels, 3, 3))
    skips, width, block, last = [widths[0]], widths[0], 0, len(widths) - 1
    for level, depths in enumerate(spec.down):
        for depth in depths:
            block += 1
            yield from resnet(f"input_blocks.{block}.0", width, widths[level], time)
            width = widths[level]
            yield from transformer(f"input_blocks.{block}.1", width, spec, depth)
            skips.append(width)
        if level < last:
            block += 1
            yield from affine(f"input_blocks.{block}.0.op", (width, width, 3, 3))
            skips.append(width)
    yield from resnet("middle_block.0", width, width, time)
    if spec.middle is not None:
        yield from transformer("middle_block.1", width, spec, spec.middle)
        yield from resnet("middle_block.2", width, width, time)
    block = -1
    for level in range(last, -1, -1):
        for layer, depth in enumerate(spec.up[level]):
            block += 1
            yield from resnet(f"output_blocks.{block}.0", width + skips.pop(), widths[level], time)
            width = widths[level]
            yield from transformer(f"output_blocks.{block}.1", width, spec, depth)
            if layer == len(spec.up[level]) - 1 and level > 0:
                part = 2 if depth else 1
                yield from affine(f"output_blocks.{block}.{part}.conv", (width, width, 3, 3))
    yield from affine("out.0", (width,))
    yield from affine("out.2", (4, width, 3, 3))


def transformer(name: str, width: int, spec: Unet, depth: int) -> Named:
    if depth == 0:
        return
    square = (width, width) if spec.linear else (width, width, 1, 1)
    yield from affine(f"{name}.norm", (width,))
    yield from affine(f"{name}.proj_in", square)
    for each in range(depth):
        block = f"{name}.transformer_blocks.{each}"
        for attention, source in (("attn1", width), ("attn2", spec.context)):
            yield f"{block}.{attention}.to_q.weight", (width, width)
            yield f"{block}.{attention}.to_k.weight", (width, source)
            yield f"{block}.{attention}.to_v.weight", (width, source)
            yield from affine(f"{block}.{attention}.to_out.0", (width, width))
        yield from affine(f"{block}.ff.net.0.proj", (8 * width, width))
        yield from affine(f"{block}.ff.net.2", (width, 4 * width))
        for norm in ("norm1", "norm2", "norm3"):
            yield from affine(f"{block}.{norm}", (width,))
    yield from affine(f"{name}.proj_out", square)


def vae(widths: tuple[int, ...]) -> Named:
    first, deepest = widths[0], widths[-1]
    yield from affine("encoder.conv_in", (first, 3, 3, 3))
    for level, (before, after) in enumerate(pairwise((first, *widths))):
        for layer, source in enumerate((before, after)):
            yield from vae_resnet(f"encoder.down.{level}.block.{layer}", source, after)
        if level < len(widths) - 1:
            yield from affine(f"encoder.down.{level}.downsample.conv", (after, after, 3, 3))
    yield from _vae_ends("encoder", deepest, deepest, (8, deepest, 3, 3))
    yield from affine("decoder.conv_in", (deepest, 4, 3, 3))
    width = deepest
    for level in range(len(widths) - 1, -1, -1):
        for layer in range(3):
            yield from vae_resnet(f"decoder.up.{level}.block.{layer}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from affine(f"decoder.up.{level}.upsample.conv", (width, width, 3, 3))
    yield from _vae_ends("decoder", deepest, first, (3, first, 3, 3))
    yield from affine("quant_conv", (8, 8, 1, 1))
    yield from affine("post_quant_conv", (4, 4, 1, 1))


def _vae_ends(side: str, middle: int, last: int, out: Shape) -> Named:
    yield from vae_resnet(f"{side}.mid.block_1", middle, middle)
    yield from affine(f"{side}.mid.attn_1.norm", (middle,))
    for part in ("q", "k", "v", "proj_out"):
        yield from affine(f"{side}.mid.attn_1.{part}", (middle, middle, 1, 1))
    yield from vae_resnet(f"{side}.mid.block_2", middle, middle)
    yield from affine(f"{side}.norm_out", (last,))
    yield from affine(f"{side}.conv_out", out)


def clip(spec: Text) -> Named:
    """OpenAI's CLIP as transformers names it."""
    width = spec.width
    yield "embeddings.token_embedding.weight", (WORDS, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for layer in range(spec.layers):
        name = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from affine(f"{name}.self_attn.{part}", (width, width))
        yield from _norm_and_mlp(name, width, ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"))
    yield from affine("final_layer_norm", (width,))


def open_clip(spec: Text) -> Named:
    """OpenCLIP's text tower as https://github.com/mlfoundations/open_clip names it."""
    width, projection = spec.width, spec.projection or spec.width
    yield "positional_embedding", (77, width)
    yield "text_projection", (width, projection)
    yield "logit_scale", ()
    yield "token_embedding.weight", (WORDS, width)
    for layer in range(spec.layers):
        name = f"transformer.resblocks.{layer}"
        yield f"{name}.attn.in_proj_weight", (3 * width, width)
        yield f"{name}.attn.in_proj_bias", (3 * width,)
        yield from affine(f"{name}.attn.out_proj", (width, width))
        yield from _norm_and_mlp(name, width, ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj"))
    yield from affine("ln_final", (width,))


def _norm_and_mlp(name: str, width: int, parts: tuple[str, str, str, str]) -> Named:
    yield from affine(f"{name}.{parts[0]}", (width,))
    yield from affine(f"{name}.{parts[1]}", (width,))
    yield from affine(f"{name}.{parts[2]}", (4 * width, width))
    yield from affine(f"{name}.{parts[3]}", (width, 4 * width))


def _values(name: str, shape: Shape, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(shape, generator=generator)
    if name.endswith(("bias", "logit_scale")):
        return drawn * 0.05
    if len(shape) < 2:
        return 1 + drawn * 0.1
    if "embedding" in name:
        return drawn * (0.5 if "position" in name else 1.0)
    inputs = shape[0] if name.endswith("text_projection") else math.prod(shape[1:])
    # what a layer adds is less than what it is added to, so that deep stacks stay in half's range
    gain = 0.5 if "out_proj" in name or "to_out" in name or "proj_out" in name else 1.0
    return drawn * (gain / math.sqrt(inputs))


def tokens(*texts: Iterator[int] | tuple[int, ...]) -> Tensor:
    """Rows of 77 ids: start, the text's, end, and the end token again up to the end."""
    rows = [[49406, *text] for text in texts]
    return torch.tensor([[*row, *[49407] * (77 - len(row))] for row in rows])
