import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families import Checkpoint, sd15
from models.families.weights import Weights
from models.precision import Formats

from ..files import CHECKPOINTS, GOLDENS
from .ldm_layout import sd15_header
from .variants import State, changed, info_of, load_path, reference

TOKENS = torch.tensor([[49406, 736, 7117, *[49407] * 74]])
UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"


def predicted(checkpoint: Checkpoint) -> Tensor:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    padding = torch.zeros(1, checkpoint.traits.in_channels - 4, 8, 8)
    context = encode(checkpoint, TOKENS)
    return checkpoint.predict(torch.cat([noise, padding], 1), torch.tensor([400.0]), context)


def same(state: State) -> State:
    return state


def encode(checkpoint: Checkpoint, tokens: Tensor) -> Tensor:
    (encoder,) = checkpoint.encoders
    return encoder.encode(tokens, end=checkpoint.traits.tokenizer.eos).states


class LogSigmas:
    """The discrete schedule of k-diffusion: log sigma, linear between whole timesteps."""

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self.table = ((1 - alphas_cumprod) / alphas_cumprod).log().double().numpy() / 2

    def sigma(self, timestep: float) -> float:
        return math.exp(np.interp(timestep, range(len(self.table)), self.table))

    def timestep(self, sigma: float) -> float:
        return float(np.interp(math.log(sigma), self.table, range(len(self.table))))


def euler(checkpoint: Checkpoint, prompt: str, *, seed: int, steps: int, cfg: float) -> Tensor:
    """Draw one 64x64 picture with the plainest loop there is; give bytes [64,64,3]."""
    schedule = LogSigmas(checkpoint.traits.alphas_cumprod)
    sigmas = [schedule.sigma(t) for t in np.linspace(999, 0, steps)] + [0.0]
    tokens = [checkpoint.traits.tokenizer.encode(text) for text in (prompt, "")]
    rows = [[49406, *row, *[49407] * (76 - len(row))] for row in tokens]
    context = encode(checkpoint, torch.tensor(rows))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) * sigmas[0]
    for sigma, following in pairwise(sigmas):
        scaled = torch.cat([x, x]) / math.sqrt(sigma**2 + 1)
        noise = checkpoint.predict(scaled, torch.full([2], schedule.timestep(sigma)), context)
        cond, uncond = x - sigma * noise[:1], x - sigma * noise[1:]
        denoised = uncond + cfg * (cond - uncond)
        x = x + (x - denoised) / sigma * (following - sigma)
    picture = ((checkpoint.decode(x)[0] + 1) / 2).clamp(0, 1)
    return (255 * picture).to(torch.uint8).permute(1, 2, 0)


def test_a_bare_euler_loop_paints_the_recorded_picture() -> None:
    recorded = json.loads((GOLDENS / "sampler__euler.json").read_text())["request"]
    with Image.open(GOLDENS / "sampler__euler.0.png") as image:
        expected = torch.from_numpy(np.array(image.convert("RGB")))
    painted = euler(
        reference("tiny-sd15"),
        recorded["prompt"],
        seed=recorded["seed"],
        steps=recorded["steps"],
        cfg=7.0,
    )
    difference = (painted.int() - expected.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.01
    assert expected.float().std() > 10


def test_a_checkpoint_says_what_it_is() -> None:
    eps, v = reference("tiny-sd15"), reference("tiny-vpred")
    assert (eps.family, eps.traits.prediction, v.traits.prediction) == ("SD1.x", "epsilon", "v")
    assert (v.traits.in_channels, v.traits.latent_channels, v.traits.latent_scale) == (
        4,
        4,
        0.18215,
    )
    assert v.info.name == "tiny-vpred.safetensors"
    for module in (v.unet, v.vae, v.encoders[0].module):
        assert not module.training
        tensors = [*module.parameters(), *module.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}
        assert {p.dtype for p in module.parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in module.parameters())


def test_the_noise_schedule_comes_from_the_file(tmp_path: Path) -> None:
    stored = torch.linspace(0.9, 0.1, 1000, dtype=torch.float16)
    path = changed(tmp_path, lambda state: state | {"alphas_cumprod": stored})
    alphas = load_path(path).traits.alphas_cumprod
    assert alphas.dtype == torch.float32
    assert torch.equal(alphas, stored.float())


@pytest.mark.parametrize(
    "stored", [None, torch.full([1000], 2.0), torch.linspace(0.1, 0.9, 1000), torch.ones(7)]
)
def test_a_missing_or_impossible_schedule_is_computed(
    tmp_path: Path, stored: Tensor | None
) -> None:
    def change(state: State) -> State:
        del state["alphas_cumprod"]
        return state if stored is None else state | {"alphas_cumprod": stored}

    alphas = load_path(changed(tmp_path, change)).traits.alphas_cumprod
    # The ends of Stable Diffusion's scaled linear schedule.
    assert alphas[0].item() == pytest.approx(0.99915, abs=1e-6)
    assert alphas[-1].item() == pytest.approx(0.00466009, abs=1e-7)
    torch.testing.assert_close(
        alphas, reference("tiny-sd15").traits.alphas_cumprod, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {n.replace(".text_model.", "."): t for n, t in state.items()},
        lambda state: {n: t for n, t in state.items() if "position_ids" not in n},
        lambda state: state | {"cond_stage_model.logit_scale": torch.ones(())},
        lambda state: state | {"model_ema.diffusion_modelout2bias": torch.ones(4)},
        lambda state: state | {"first_stage_model.loss.logvar": torch.ones(1)},
        lambda state: state | {"first_stage_model.model_ema.decay": torch.ones(1)},
    ],
    ids=["no text_model", "no position_ids", "logit_scale", "EMA", "VAE loss", "VAE EMA"],
)
def test_what_tools_leave_out_or_add_makes_no_difference(
    tmp_path: Path, change: Callable[[State], State]
) -> None:
    path = changed(tmp_path, change)
    assert torch.equal(predicted(load_path(path)), predicted(reference("tiny-vpred")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_files_of_every_float_type_load(tmp_path: Path, dtype: torch.dtype) -> None:
    path = changed(
        tmp_path, lambda s: {n: t.to(dtype) if t.is_floating_point() else t for n, t in s.items()}
    )
    loaded = load_path(path)
    assert loaded.unet.dtype == torch.float32
    tolerance = 0.2 if dtype is torch.bfloat16 else 1e-6
    torch.testing.assert_close(
        predicted(loaded), predicted(reference("tiny-vpred")), atol=tolerance, rtol=0
    )


def test_modules_take_the_dtypes_asked_for() -> None:
    loaded = load_path(CHECKPOINTS / "tiny-vpred.safetensors", torch.bfloat16)
    assert loaded.unet.dtype == loaded.encoders[0].module.dtype == loaded.dtype == torch.bfloat16
    assert loaded.vae_dtype == torch.float32
    output = predicted(loaded)
    assert output.dtype == torch.float32
    assert (output - predicted(reference("tiny-vpred"))).abs().max() < 0.3


def test_weights_do_not_change_with_the_file(tmp_path: Path) -> None:
    path = changed(
        tmp_path, lambda s: {n: t.float() if t.is_floating_point() else t for n, t in s.items()}
    )
    loaded = load_path(path)
    before = predicted(loaded)
    with path.open("r+b") as file:
        file.truncate(0)
    assert torch.equal(predicted(loaded), before)


def test_the_inpainting_and_the_plain_layout_differ_in_one_weight(tmp_path: Path) -> None:
    def widen(state: State) -> State:
        kernel = torch.cat([state[UNET_IN], torch.zeros(32, 5, 3, 3, dtype=torch.float16)], 1)
        return state | {UNET_IN: kernel}

    path = changed(tmp_path, widen, **{"in_channels: 4": "in_channels: 9"})
    loaded = load_path(path)
    assert loaded.traits.in_channels == 9
    torch.testing.assert_close(predicted(loaded), predicted(reference("tiny-vpred")))


def test_the_sidecar_wins_over_the_header(tmp_path: Path) -> None:
    path = changed(tmp_path, same, **{"num_heads: 8": "num_heads: 4", 'parameterization: "v"': ""})
    loaded = load_path(path)
    assert loaded.traits.prediction == "epsilon"
    assert (predicted(loaded) - predicted(reference("tiny-vpred"))).abs().max() > 1e-4
    path.with_suffix(".yaml").write_text("model: {params: {scale_factor: 0.5}}")
    with pytest.raises(UnsupportedCheckpoint, match="number of heads"):
        load_path(path)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (
            lambda s: {n: t for n, t in s.items() if ".mid.attn_1.q." not in n},
            CorruptCheckpoint,
            "4 tensors are missing",
        ),
        (
            lambda s: s | {"model.diffusion_model.x.weight": torch.ones(1)},
            UnsupportedCheckpoint,
            "no place",
        ),
        (
            lambda s: s | {"model.diffusion_model.out.0.bias": torch.ones(3)},
            CorruptCheckpoint,
            r"shape \(3,\)",
        ),
        (
            lambda s: s | {UNET_IN: s[UNET_IN].to(torch.int32)},
            UnsupportedCheckpoint,
            "I32; supported: F16",
        ),
        (
            lambda s: s | {UNET_IN: s[UNET_IN][:, :3].clone()},
            UnsupportedCheckpoint,
            "3 input channels",
        ),
    ],
    ids=["missing", "unknown", "misshapen", "integers", "channels"],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[State], State], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        load_path(changed(tmp_path, change))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("in_channels: 4", "in_channels: 5", "5 input channels"),
        ("z_channels: 4", "z_channels: 16", "latents of other than 4"),
        ("context_dim: 16", "context_dim: 32", "reads 32"),
        ("ch: 32", "ch: 48", "no model can be built"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=reason):
        load_path(changed(tmp_path, same, **{old: new}))


@pytest.mark.parametrize(("in_channels", "unet_parameters"), [(4, 859520964), (9, 859535364)])
def test_the_true_sd15_fits_its_modules_weight_by_weight(
    in_channels: int, unet_parameters: int
) -> None:
    header = sd15_header(in_channels=in_channels)
    assert len(header.tensors) == 1131

    def read(name: str) -> Tensor:
        return torch.empty(header.tensors[name].shape, dtype=torch.float16, device="meta")

    path = Path("/models/v1-5-pruned-emaonly.safetensors")
    loaded = sd15.FAMILY.load(
        info_of(path),
        Weights(path=path, header=header, read=read),
        device=torch.device("meta"),
        formats=Formats.all(torch.float16),
    )
    counted = [
        sum(parameter.numel() for parameter in module.parameters())
        for module in (loaded.unet, loaded.vae, loaded.encoders[0].module)
    ]
    assert counted == [unet_parameters, 83653863, 123060480]
    assert loaded.encoders[0].module.config.hidden_act == "quick_gelu"
    assert loaded.unet.config.attention_head_dim == 8
    assert loaded.vae.config.norm_num_groups == 32
    assert loaded.traits.prediction == "epsilon"


def test_v_prediction_is_told_by_the_trainers_marks() -> None:
    header = sd15_header()
    info = info_of(Path("/models/a.safetensors"))
    assert sd15.layout(info, header).prediction == "epsilon"
    marked = {**header.tensors, "v_pred": header.tensors[UNET_IN]}
    assert sd15.layout(info, type(header)(tensors=marked, metadata={})).prediction == "v"
    metadata = {"modelspec.prediction_type": "v"}
    said = type(header)(tensors=header.tensors, metadata=metadata)
    assert sd15.layout(info, said).prediction == "v"
