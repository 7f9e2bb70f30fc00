"""SDXL's modules against the same made by hand over the same weights."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families import Checkpoint, sdxl
from models.families.weights import Weights
from models.header import Header, TensorEntry
from models.precision import Formats

from .hand_made import REFINER_UNET, SSD_UNET, XL_UNET, State, Tower, clip, unet, vae
from .tiny_xl import TRUE, header, tokens, write_tiny
from .variants import info_of, load_path

#: a short text and one that fills its chunk
IDS = tokens((736, 7117), tuple(range(1000, 1075)))
CLIP = "conditioner.embedders.0.transformer."
FIRST, SECOND = "conditioner.embedders.0.model.", "conditioner.embedders.1.model."

Made = tuple[Checkpoint, State]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Loads a kind of tiny checkpoint, once, and gives its file's tensors too."""

    @cache
    def load(kind: str, *, full_depth: bool = False) -> Made:
        path = tmp_path_factory.mktemp(kind) / f"{kind}.safetensors"
        write_tiny(path, kind, dtype=torch.float32, full_depth=full_depth)
        return load_path(path), load_file(path)

    return load


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kind", "config", "numbers"),
    [
        ("sdxl", XL_UNET, 6),
        ("sdxl-inpainting", XL_UNET | {"in_channels": 9}, 6),
        ("ssd-1b", SSD_UNET, 6),
        ("refiner", REFINER_UNET, 5),
    ],
)
def test_each_unet_predicts_what_diffusers_own_does(
    tiny: Callable[..., Made], kind: str, config: dict[str, Any], numbers: int
) -> None:
    checkpoint, state = tiny(kind)
    x = drawn(2, config.get("in_channels", 4), 8, 16)
    context = drawn(2, 77, config["cross_attention_dim"], seed=2)
    steps = torch.tensor([3.25, 900.0])
    pooled = drawn(2, 128, seed=3)
    sizes = torch.tensor([[1024.0, 768.0, 0.0, 64.0, 512.0, 6.0]] * 2)[:, :numbers]
    expected = unet(state, config)(
        x,
        steps,
        encoder_hidden_states=context,
        added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
    ).sample
    found = checkpoint.predict(x, steps, context, torch.cat([pooled, sizes], 1))
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_the_true_depths_of_transformers_are_built(tiny: Callable[..., Made]) -> None:
    checkpoint, state = tiny("sdxl", full_depth=True)
    config = XL_UNET | {"transformer_layers_per_block": (1, 2, 10)}
    x, context, pooled = drawn(1, 4, 8, 8), drawn(1, 77, 192, seed=2), drawn(1, 128, seed=3)
    sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]])
    expected = unet(state, config)(
        x,
        torch.tensor([500.0]),
        encoder_hidden_states=context,
        added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
    ).sample
    vector = torch.cat([pooled, sizes], 1)
    found = checkpoint.predict(x, torch.tensor([500.0]), context, vector)
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_the_base_reads_clip_and_open_clip(tiny: Callable[..., Made]) -> None:
    checkpoint, state = tiny("sdxl")
    first, second = (each.encode(IDS, end=49407) for each in checkpoint.encoders)
    own = clip(state, CLIP, width=64, layers=3)(IDS, output_hidden_states=True)
    torch.testing.assert_close(first.states, own.hidden_states[-2], atol=1e-5, rtol=0)
    assert first.pooled is None
    compare_big_g(second.states, second.pooled, Tower.of(state, SECOND, width=128, layers=4))
    assert checkpoint.text_widths == (64, 128)


def test_the_refiner_reads_open_clip_alone(tiny: Callable[..., Made]) -> None:
    checkpoint, state = tiny("refiner")
    (encoder,) = checkpoint.encoders
    found = encoder.encode(IDS, end=49407)
    compare_big_g(found.states, found.pooled, Tower.of(state, FIRST, width=128, layers=4))


def compare_big_g(states: Tensor, pooled: Tensor | None, tower: Tower) -> None:
    """bigG is read before its last layer, without the final norm; id 0 follows the end."""
    ids = IDS.clone()
    ids[0, 4:] = 0
    read = tower(ids)
    torch.testing.assert_close(states, read.states[-2], atol=1e-5, rtol=0)
    assert pooled is not None
    torch.testing.assert_close(pooled, read.pooled, atol=1e-5, rtol=0)
    assert (pooled[0] - pooled[1]).abs().max() > 0.1


def test_the_autoencoder_is_diffusers_own(tiny: Callable[..., Made]) -> None:
    checkpoint, state = tiny("sdxl")
    own, latents, pixels = vae(state), drawn(1, 4, 8, 4), drawn(1, 3, 32, 64, seed=2).tanh()
    expected = own.decode(latents / 0.13025).sample
    torch.testing.assert_close(checkpoint.decode(latents), expected, atol=1e-5, rtol=0)
    mean = own.encode(pixels).latent_dist.mean * 0.13025
    torch.testing.assert_close(checkpoint.encode_image(pixels), mean, atol=1e-5, rtol=0)


def test_it_says_what_it_is(tiny: Callable[..., Made]) -> None:
    base, refiner = tiny("sdxl")[0], tiny("refiner")[0]
    assert (base.family, base.traits.prediction, base.traits.sizes) == ("SDXL", "epsilon", "sizes")
    assert (refiner.family, refiner.traits.sizes) == ("SDXL", "score")
    assert base.traits.latent_scale == refiner.traits.latent_scale == 0.13025
    assert base.traits.latent_space == refiner.traits.latent_space == "SDXL"
    assert base.traits.alphas_cumprod[-1].item() == pytest.approx(0.00466009, abs=1e-7)
    assert tiny("sdxl-inpainting")[0].traits.in_channels == 9


@pytest.mark.parametrize(
    ("kind", "prediction", "spread"),
    [("sdxl", "epsilon", False), ("sdxl-v", "v", False), ("sdxl-ztsnr", "v", True)],
)
def test_marks_ask_for_v_and_for_a_last_step_of_noise_alone(
    kind: str, prediction: str, spread: bool
) -> None:
    found = sdxl.layout(info_of(Path("/models/true.safetensors")), header(TRUE[kind]))
    assert found.prediction == prediction
    assert found.schedule.zero_terminal_snr == spread


def test_small_storage_is_widened(tmp_path: Path) -> None:
    layer = "model.diffusion_model.label_emb.0"
    stored = {
        f"{layer}.0.weight": drawn(128, 1408).to(torch.float8_e4m3fn),
        f"{layer}.2.weight": drawn(128, 128).to(torch.float8_e5m2),
        f"{layer}.2.bias": drawn(128).to(torch.bfloat16),
    }
    path = write_tiny(tmp_path / "a.safetensors", "refiner", extra=stored)
    found = load_path(path).unet.add_embedding
    pairs = zip(
        (found.linear_1.weight, found.linear_2.weight, found.linear_2.bias),
        stored.values(),
        strict=True,
    )
    for weight, expected in pairs:
        assert weight.dtype == torch.float32
        assert torch.equal(weight, expected.float())


def test_what_tools_add_has_no_place_and_needs_none() -> None:
    added: dict[str, tuple[int, ...]] = {
        "model_ema.diffusion_modelout2bias": (4,),
        "denoiser.sigmas": (1000,),
        f"{CLIP}text_model.embeddings.position_ids": (1, 77),
        f"{CLIP}text_projection.weight": (768, 768),
        f"{CLIP}logit_scale": (),
        f"{SECOND}attn_mask": (77, 77),
        "first_stage_model.loss.logvar": (1,),
    }
    loaded = on_meta(changed({name: entry(*shape) for name, shape in added.items()}))
    assert [each.width for each in loaded.encoders] == [768, 1280]


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        (
            {f"{SECOND}transformer.resblocks.0.attn.in_proj_bias": (3839,)},
            CorruptCheckpoint,
            r"shape \(3839,\), the model needs \(3840,\)",
        ),
        (
            {f"{SECOND}transformer.resblocks.1.ln_2.bias": None},
            CorruptCheckpoint,
            "1 tensors are missing",
        ),
        (
            {f"{SECOND}transformer.resblocks.0.attn.rope": (1,)},
            UnsupportedCheckpoint,
            "no place",
        ),
        ({f"{SECOND}text_projection": None}, UnsupportedCheckpoint, "without its projection"),
        (
            {"model.diffusion_model.label_emb.0.0.weight": (1280, 2560)},
            UnsupportedCheckpoint,
            "width 2560; its text and sizes make 2816",
        ),
        (
            {"model.diffusion_model.input_blocks.0.0.weight": (320, 5, 3, 3)},
            UnsupportedCheckpoint,
            "5 input channels",
        ),
    ],
    ids=["misshapen", "missing", "unknown", "no projection", "vector", "channels"],
)
def test_a_file_that_does_not_fit_is_refused(
    changes: dict[str, tuple[int, ...] | None], error: type[Exception], reason: str
) -> None:
    new = {name: None if shape is None else entry(*shape) for name, shape in changes.items()}
    with pytest.raises(error, match=reason):
        on_meta(changed(new))


def test_a_pickle_loads_like_its_safetensors(tmp_path: Path, tiny: Callable[..., Made]) -> None:
    own, state = tiny("refiner")
    with (tmp_path / "old.ckpt").open("wb") as file:
        torch.save({"state_dict": state}, file)
    (found,) = load_path(tmp_path / "old.ckpt", allow_pickle=True).encoders
    weights, expected = found.module.state_dict(), own.encoders[0].module.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def entry(*shape: int) -> TensorEntry:
    return TensorEntry(dtype="F16", shape=shape)


def changed(changes: Mapping[str, TensorEntry | None]) -> Header:
    """The true SDXL's header with tensors added, changed, or (None) taken away."""
    tensors = {**header(TRUE["sdxl"]).tensors, **changes}
    return Header(tensors={n: e for n, e in tensors.items() if e is not None}, metadata={})


@pytest.mark.parametrize(
    ("kind", "unet_parameters", "text_parameters"),
    [
        # the UNets' and text encoders' sizes as https://arxiv.org/abs/2307.01952, table 1, and
        # https://huggingface.co/segmind/SSD-1B have them
        ("sdxl", 2567463684, [123060480, 694659840]),
        ("refiner", 2259526660, [694659840]),
        ("ssd-1b", 1331334404, [123060480, 694659840]),
    ],
)
def test_the_true_models_fit_their_modules_weight_by_weight(
    kind: str, unet_parameters: int, text_parameters: list[int]
) -> None:
    loaded = on_meta(header(TRUE[kind]))
    counted = sum(parameter.numel() for parameter in loaded.unet.parameters())
    texts = [sum(p.numel() for p in each.module.parameters()) for each in loaded.encoders]
    assert (counted, texts) == (unet_parameters, text_parameters)
    assert loaded.encoders[-1].module.config.num_attention_heads == 20
    assert loaded.encoders[-1].module.config.hidden_act == "gelu"
    assert loaded.vae.config.block_out_channels == [128, 256, 512, 512]


def on_meta(found: Header) -> Checkpoint:
    """Load a header's modules without memory."""

    def read(name: str) -> Tensor:
        return torch.empty(found.tensors[name].shape, dtype=torch.float16, device="meta")

    path = Path("/models/true.safetensors")
    return sdxl.FAMILY.load(
        info_of(path),
        Weights(path=path, header=found, read=read),
        device=torch.device("meta"),
        formats=Formats.all(torch.float16),
    )
