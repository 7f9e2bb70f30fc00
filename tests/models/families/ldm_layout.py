"""The names and shapes of an SD1 single file, written down from the LDM code's module tree.

Made forwards, from dimensions to file names, so that it can contradict the readers under test.
"""

from collections.abc import Iterator
from itertools import pairwise

from models.header import Header, TensorEntry

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer.text_model."
WIDTHS = (320, 640, 1280, 1280)


def sd15_header(dtype: str = "F16", *, in_channels: int = 4, context: int = 768) -> Header:
    """Give the header of the true, full-size SD1.5 (of its pruned, EMA-less file)."""
    named = [
        *((UNET + name, shape) for name, shape in unet(in_channels, context)),
        *((VAE + name, shape) for name, shape in vae()),
        *((CLIP + name, shape) for name, shape in clip(context)),
    ]
    tensors = {name: TensorEntry(dtype=dtype, shape=shape) for name, shape in named}
    positions = TensorEntry(dtype="I64", shape=(1, 77))
    return Header(tensors=tensors | {f"{CLIP}embeddings.position_ids": positions}, metadata={})


def unet(in_channels: int, context: int) -> Named:
    time = 4 * WIDTHS[0]
    yield from affine("time_embed.0", (time, WIDTHS[0]))
    yield from affine("time_embed.2", (time, time))
    yield from affine("input_blocks.0.0", (WIDTHS[0], in_channels, 3, 3))
    skips, width, block = [WIDTHS[0]], WIDTHS[0], 0
    for level, wide in enumerate(WIDTHS):
        for _ in range(2):
            block += 1
            yield from resnet(f"input_blocks.{block}.0", width, wide, time)
            if level < 3:
                yield from transformer(f"input_blocks.{block}.1", wide, context)
            width = wide
            skips.append(width)
        if level < 3:
            block += 1
            yield from affine(f"input_blocks.{block}.0.op", (width, width, 3, 3))
            skips.append(width)
    yield from resnet("middle_block.0", width, width, time)
    yield from transformer("middle_block.1", width, context)
    yield from resnet("middle_block.2", width, width, time)
    block = -1
    for level in (3, 2, 1, 0):
        for layer in range(3):
            block += 1
            yield from resnet(f"output_blocks.{block}.0", width + skips.pop(), WIDTHS[level], time)
            width = WIDTHS[level]
            if level < 3:
                yield from transformer(f"output_blocks.{block}.1", width, context)
            if layer == 2 and level > 0:
                part = 2 if level < 3 else 1
                yield from affine(f"output_blocks.{block}.{part}.conv", (width, width, 3, 3))
    yield from affine("out.0", (width,))
    yield from affine("out.2", (4, width, 3, 3))


def resnet(name: str, before: int, after: int, time: int) -> Named:
    yield from affine(f"{name}.in_layers.0", (before,))
    yield from affine(f"{name}.in_layers.2", (after, before, 3, 3))
    yield from affine(f"{name}.emb_layers.1", (after, time))
    yield from affine(f"{name}.out_layers.0", (after,))
    yield from affine(f"{name}.out_layers.3", (after, after, 3, 3))
    if before != after:
        yield from affine(f"{name}.skip_connection", (after, before, 1, 1))


def transformer(name: str, width: int, context: int) -> Named:
    yield from affine(f"{name}.norm", (width,))
    yield from affine(f"{name}.proj_in", (width, width, 1, 1))
    block = f"{name}.transformer_blocks.0"
    for attention, source in (("attn1", width), ("attn2", context)):
        yield f"{block}.{attention}.to_q.weight", (width, width)
        yield f"{block}.{attention}.to_k.weight", (width, source)
        yield f"{block}.{attention}.to_v.weight", (width, source)
        yield from affine(f"{block}.{attention}.to_out.0", (width, width))
    yield from affine(f"{block}.ff.net.0.proj", (8 * width, width))
    yield from affine(f"{block}.ff.net.2", (width, 4 * width))
    for norm in ("norm1", "norm2", "norm3"):
        yield from affine(f"{block}.{norm}", (width,))
    yield from affine(f"{name}.proj_out", (width, width, 1, 1))


def vae() -> Named:
    widths = (128, 256, 512, 512)
    yield from affine("encoder.conv_in", (128, 3, 3, 3))
    for level, (before, after) in enumerate(pairwise((128, *widths))):
        for layer, source in enumerate((before, after)):
            yield from vae_resnet(f"encoder.down.{level}.block.{layer}", source, after)
        if level < 3:
            yield from affine(f"encoder.down.{level}.downsample.conv", (after, after, 3, 3))
    yield from vae_middle("encoder.mid")
    yield from affine("encoder.norm_out", (512,))
    yield from affine("encoder.conv_out", (8, 512, 3, 3))
    yield from affine("decoder.conv_in", (512, 4, 3, 3))
    yield from vae_middle("decoder.mid")
    width = 512
    for level in (3, 2, 1, 0):
        for layer in range(3):
            yield from vae_resnet(f"decoder.up.{level}.block.{layer}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from affine(f"decoder.up.{level}.upsample.conv", (width, width, 3, 3))
    yield from affine("decoder.norm_out", (128,))
    yield from affine("decoder.conv_out", (3, 128, 3, 3))
    yield from affine("quant_conv", (8, 8, 1, 1))
    yield from affine("post_quant_conv", (4, 4, 1, 1))


def vae_middle(name: str) -> Named:
    yield from vae_resnet(f"{name}.block_1", 512, 512)
    yield from affine(f"{name}.attn_1.norm", (512,))
    for part in ("q", "k", "v", "proj_out"):
        yield from affine(f"{name}.attn_1.{part}", (512, 512, 1, 1))
    yield from vae_resnet(f"{name}.block_2", 512, 512)


def vae_resnet(name: str, before: int, after: int) -> Named:
    yield from affine(f"{name}.norm1", (before,))
    yield from affine(f"{name}.conv1", (after, before, 3, 3))
    yield from affine(f"{name}.norm2", (after,))
    yield from affine(f"{name}.conv2", (after, after, 3, 3))
    if before != after:
        yield from affine(f"{name}.nin_shortcut", (after, before, 1, 1))


def clip(width: int) -> Named:
    yield "embeddings.token_embedding.weight", (49408, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for layer in range(12):
        name = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from affine(f"{name}.self_attn.{part}", (width, width))
        yield from affine(f"{name}.layer_norm1", (width,))
        yield from affine(f"{name}.mlp.fc1", (4 * width, width))
        yield from affine(f"{name}.mlp.fc2", (width, 4 * width))
        yield from affine(f"{name}.layer_norm2", (width,))
    yield from affine("final_layer_norm", (width,))


def affine(name: str, weight: Shape) -> Named:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]
