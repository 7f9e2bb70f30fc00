"""SD2's modules against the same made by hand over the same weights."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.families import Checkpoint, sd2
from models.families.weights import Weights
from models.header import Header
from models.precision import Formats

from .hand_made import SD2_UNET, State, Tower, unet
from .tiny_xl import TRUE, header, tokens, write_tiny
from .variants import info_of, load_path

TOWER = "cond_stage_model.model."
LAST_BIAS = "model.diffusion_model.out.2.bias"
IDS = tokens((736, 7117), tuple(range(1000, 1075)))

Made = tuple[Checkpoint, State]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Loads a kind of tiny checkpoint, once, and gives its file's tensors too."""

    @cache
    def load(kind: str) -> Made:
        path = tmp_path_factory.mktemp(kind) / f"{kind}.safetensors"
        write_tiny(path, kind, dtype=torch.float32)
        return load_path(path), load_file(path)

    return load


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rewritten(folder: Path, state: State, sidecar: str | None = None) -> Checkpoint:
    """Load other tensors, with a yaml beside them or none."""
    path = folder / "a.safetensors"
    save_file(state, path)
    if sidecar is not None:
        path.with_suffix(".yaml").write_text(f"model: {{params: {{{sidecar}}}}}")
    return load_path(path)


@pytest.mark.parametrize(("kind", "channels"), [("sd2", 4), ("sd2-inpainting", 9)])
def test_the_unet_predicts_what_diffusers_own_does(
    tiny: Callable[[str], Made], kind: str, channels: int
) -> None:
    checkpoint, state = tiny(kind)
    x, context, steps = drawn(2, channels, 8, 16), drawn(2, 77, 128), torch.tensor([3.25, 900.0])
    own = unet(state, SD2_UNET | {"in_channels": channels})
    expected = own(x, steps, encoder_hidden_states=context).sample
    found = checkpoint.predict(x, steps, context)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert checkpoint.traits.prediction == "epsilon"


def test_open_clip_is_read_before_its_last_layer(tiny: Callable[[str], Made]) -> None:
    checkpoint, state = tiny("sd2")
    (encoder,) = checkpoint.encoders
    tower, ids = Tower.of(state, TOWER, width=128, layers=4), IDS.clone()
    ids[0, 4:] = 0
    expected = tower.ln_final(tower(ids).states[-2])
    for clip_skip in (1, 2, 9):
        found = encoder.encode(IDS, end=49407, clip_skip=clip_skip)
        torch.testing.assert_close(found.states, expected, atol=1e-5, rtol=0)
        assert found.pooled is None
    assert encoder.text_model.config.num_hidden_layers == 3, "the last guides nothing"


def test_it_says_what_it_is(tiny: Callable[[str], Made]) -> None:
    traits = tiny("sd2")[0].traits
    assert (tiny("sd2")[0].family, traits.sizes, traits.latent_scale) == ("SD2", None, 0.18215)
    assert tiny("sd2")[0].text_widths == (128,)


@pytest.mark.parametrize(("mean", "prediction"), [(-0.4, "epsilon"), (-0.6, "v")])
def test_a_unet_that_nothing_is_said_of_is_tried(
    tmp_path: Path, tiny: Callable[[str], Made], mean: float, prediction: str
) -> None:
    state = tiny("sd2")[1]
    # by hand: even latents and context of 0.5 at the noisiest step
    x, context = torch.full((1, 4, 8, 8), 0.5), torch.full((1, 2, 128), 0.5)
    own = unet(state, SD2_UNET)
    output = own(x, torch.tensor([999]), encoder_hidden_states=context).sample.mean()
    shifted = state | {LAST_BIAS: state[LAST_BIAS] + (mean - output)}
    assert rewritten(tmp_path, shifted).traits.prediction == prediction
    assert rewritten(tmp_path, shifted, 'parameterization: "eps"').traits.prediction == "epsilon"


def test_marks_and_the_sidecar_say_v(tmp_path: Path, tiny: Callable[[str], Made]) -> None:
    state = tiny("sd2")[1]
    assert rewritten(tmp_path, state | {"v_pred": torch.ones(())}).traits.prediction == "v"
    loaded = rewritten(tmp_path, state, 'parameterization: "v", linear_end: 0.02')
    assert loaded.traits.prediction == "v"
    assert loaded.traits.alphas_cumprod[-1] < 0.001


def test_a_file_has_its_own_noise_schedule(tmp_path: Path, tiny: Callable[[str], Made]) -> None:
    stored = torch.linspace(0.9, 0.1, 1000)
    loaded = rewritten(tmp_path, tiny("sd2")[1] | {"alphas_cumprod": stored})
    assert torch.equal(loaded.traits.alphas_cumprod, stored)


@pytest.mark.parametrize("layers", [23, 24])
def test_the_true_sd2_fits_its_modules_weight_by_weight(layers: int) -> None:
    whole = header(TRUE["sd2"])
    last = f"{TOWER}transformer.resblocks.23."
    kept = {n: e for n, e in whole.tensors.items() if layers == 24 or not n.startswith(last)}
    found = Header(tensors=kept, metadata={"modelspec.prediction_type": "v"})

    def read(name: str) -> Tensor:
        return torch.empty(found.tensors[name].shape, dtype=torch.float16, device="meta")

    path = Path("/models/v2-1_768-ema-pruned.safetensors")
    loaded = sd2.load(
        info_of(path),
        Weights(path=path, header=found, read=read),
        device=torch.device("meta"),
        formats=Formats.all(torch.float16),
    )
    assert loaded.traits.prediction == "v"
    modules = (loaded.unet, loaded.encoders[0].module)
    counted = [sum(parameter.numel() for parameter in module.parameters()) for module in modules]
    assert counted == [865910724, 340387840]
    assert loaded.unet.config.attention_head_dim == [5, 10, 20, 20]
