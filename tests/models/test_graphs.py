"""Forwards played from recordings: the same numbers, and new recordings where they must be."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor, nn

from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.families.inputs import Placement, UnetInputs, run_unet
from models.fitting import Fitting
from models.graphs import AGAIN, BUCKETS, Graphs, cuda_recorders
from models.offload import Guest, Visits
from models.running import Running

from .families.tiny_xl import write_tiny
from .families.variants import load_path
from .files import CHECKPOINTS
from .tape import Blank, Tape
from .test_fitting import LAYER, WIDTH, network

CPU = torch.device("cpu")
PLAIN = "as it is"


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """As the device thread runs."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def bare() -> Checkpoint:
    return load_path(CHECKPOINTS / "tiny-sd15.safetensors")


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def calls(bare: Checkpoint) -> Iterator[list[int]]:
    """The rows of each true call of the UNet."""
    seen: list[int] = []
    hook = bare.unet.conv_in.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    yield seen
    hook.remove()


def graphs(checkpoint: Checkpoint, tape: Tape | Blank, limit: int = 10) -> Graphs:
    run = partial(run_unet, checkpoint.unet)
    return Graphs(checkpoint.unet, checkpoint.placement, run, lambda: tape, limit=limit)


def made(rows: int, *, seed: int = 1, side: int = 8, length: int = 77) -> UnetInputs:
    generator = torch.Generator().manual_seed(seed)
    return UnetInputs(
        x=torch.randn(rows, 4, side, side, generator=generator),
        timestep=torch.rand(rows, generator=generator) * 999,
        context=torch.randn(rows, length, WIDTH, generator=generator),
    )


def plainly(checkpoint: Checkpoint, inputs: UnetInputs) -> Tensor:
    return run_unet(checkpoint.unet, inputs)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_kind_of_call_is_recorded_the_second_time(
    bare: Checkpoint, tape: Tape, calls: list[int]
) -> None:
    forward = graphs(bare, tape).under(PLAIN)
    for turn in range(4):
        inputs = made(2, seed=turn)
        calls.clear()
        found = forward(inputs)
        assert tape.recordings == (turn > 0)
        assert bool(calls) == (turn < 2)
        close(found, plainly(bare, inputs))
    assert tape.plays == 3


@pytest.mark.parametrize("rows", [1, 5, 7, 16])
def test_rows_are_filled_up_and_do_not_see_it(
    bare: Checkpoint, tape: Tape, calls: list[int], rows: int
) -> None:
    forward = graphs(bare, tape).under(PLAIN)
    bucket = min(each for each in BUCKETS if each >= rows)
    forward(made(bucket))
    forward(made(bucket))
    assert calls[-1] == bucket
    # what was there before is none of their business
    poison = made(bucket, seed=8)
    forward(replace(poison, x=poison.x * float("nan")))
    inputs = made(rows, seed=9)
    calls.clear()
    found = forward(inputs)
    assert calls == []
    close(found, plainly(bare, inputs))
    assert tape.recordings == 1


def test_more_rows_than_are_recorded_go_as_they_are(bare: Checkpoint, tape: Tape) -> None:
    forward = graphs(bare, tape).under(PLAIN)
    inputs = made(max(BUCKETS) + 1)
    for _ in range(3):
        found = forward(inputs)
    close(found, plainly(bare, inputs))
    assert tape.recordings == 0


def test_each_kind_has_a_graph_of_its_own(bare: Checkpoint, tape: Tape) -> None:
    held = graphs(bare, tape)
    kinds = [made(2), made(3), made(2, side=16), made(2, length=154)]
    for turn in range(3):
        for inputs in kinds:
            close(held.under(PLAIN)(inputs), plainly(bare, inputs))
        assert len(held) == (0 if turn == 0 else len(kinds))
    held.under("otherwise")(kinds[0])
    assert len(held) == len(kinds)
    held.under("otherwise")(kinds[0])
    assert len(held) == len(kinds) + 1


def test_results_have_memory_of_their_own(bare: Checkpoint, tape: Tape) -> None:
    forward = graphs(bare, tape).under(PLAIN)
    forward(made(2))
    first = forward(made(2))
    kept = first.clone()
    second = forward(made(2, seed=5))
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)
    assert first.dtype is torch.float32


def test_the_least_recently_used_make_room(bare: Checkpoint, tape: Tape) -> None:
    held = graphs(bare, tape, limit=2)
    forward = held.under(PLAIN)
    for rows in (1, 1, 2, 2, 1, 3, 3):
        forward(made(rows))
    assert (len(held), tape.recordings) == (2, 3)
    # 2 had to go, and is not recorded again at once
    for turn in range(AGAIN + 1):
        assert tape.recordings == 3
        forward(made(2))
        assert len(held) == 2, turn
    assert tape.recordings == 4


def test_what_cannot_be_recorded_goes_as_it_is_for_good(bare: Checkpoint, calls: list[int]) -> None:
    blank = Blank()
    forward = graphs(bare, blank).under(PLAIN)
    with capture_logs() as logs:
        for _ in range(4):
            close(forward(made(2)), plainly(bare, made(2)))
    assert blank.tried == 1
    assert calls == [2] * 8
    assert [log["log_level"] for log in logs] == ["warning"]
    forward(made(3))
    forward(made(3))
    assert blank.tried == 2


def test_an_error_of_the_call_itself_is_raised(bare: Checkpoint, tape: Tape) -> None:
    forward = graphs(bare, tape).under(PLAIN)
    wrong = replace(made(2), context=torch.zeros(2, 77, WIDTH + 1))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            forward(wrong)
    assert tape.recordings == 0


def test_weights_that_moved_cost_the_graphs(tape: Tape) -> None:
    checkpoint = load_path(CHECKPOINTS / "tiny-sd15.safetensors")
    held = graphs(checkpoint, tape)
    forward, inputs = held.under(PLAIN), made(2)
    guest = Guest(checkpoint.unet, CPU, at_home=True)
    for _ in range(2):
        forward(inputs)
    assert len(held) == 1
    guest.arrive()
    with torch.inference_mode(False):
        checkpoint.unet.conv_in.weight.add_(0.1)
    forward = held.under(PLAIN)
    assert len(held) == 0
    for _ in range(3):
        close(forward(inputs), plainly(checkpoint, inputs))
    assert tape.recordings == 2


def test_graphs_go_for_good_where_memory_is_short(bare: Checkpoint, tape: Tape) -> None:
    fitting, choice = fitter(bare, tape), ModelChoice(checkpoint=bare.info)
    lent = fitting.fit(choice)
    for _ in range(2):
        drawn(lent, made(2))
    with capture_logs() as logs:
        assert lent.lighten()
        assert not lent.lighten()
    assert len(logs) == 1
    for _ in range(AGAIN + 2):
        drawn(lent, made(2))
    assert tape.recordings == 1
    for _ in range(2):
        drawn(lent, made(1))
    assert tape.recordings == 2


def test_a_gpu_alone_has_graphs() -> None:
    assert cuda_recorders(CPU) is None


# With a checkpoint that is fitted ------------------------------------------------------------


def fitter(bare: Checkpoint, tape: Tape, visits: Visits | None = None) -> Fitting:
    return Fitting(
        bare,
        EmbeddingShelf(()),
        vae_dtype=torch.float32,
        allow_pickle=False,
        visits=visits,
        running=Running(recorders=lambda: tape),
    )


def drawn(checkpoint: Checkpoint, inputs: UnetInputs) -> Tensor:
    return checkpoint.predict(inputs.x, inputs.timestep, inputs.context)


def test_networks_come_and_go_under_the_same_graph(
    bare: Checkpoint, tape: Tape, calls: list[int], tmp_path: Path
) -> None:
    fitting, inputs, choice = fitter(bare, tape), made(2), ModelChoice(checkpoint=bare.info)
    use = network(tmp_path, bare)
    before = plainly(bare, inputs)
    for _ in range(2):
        drawn(fitting.fit(choice), inputs)
    seen = []
    for weight in (1.0, -0.5, 0.0):
        networks = (replace(use, unet_weight=weight),) if weight else ()
        lent = fitting.fit(replace(choice, networks=networks))
        calls.clear()
        found = drawn(lent, inputs)
        assert calls == [], "it was played"
        close(found, plainly(lent, inputs))
        seen.append(found)
    assert tape.recordings == 1
    assert float((seen[0] - seen[1]).abs().max()) > 1e-3
    assert torch.equal(plainly(bare, inputs), before)
    close(seen[2], before)


def test_a_network_that_brings_a_bias_costs_the_graphs(
    bare: Checkpoint, tape: Tape, tmp_path: Path
) -> None:
    layer = bare.unet.get_submodule(LAYER)
    assert layer.bias is None
    key = "lora_unet_" + LAYER.replace(".", "_")
    use = network(tmp_path, bare, {f"{key}.diff_b": torch.ones(len(layer.weight))})
    fitting, inputs, choice = fitter(bare, tape), made(2), ModelChoice(checkpoint=bare.info)
    for _ in range(2):
        drawn(fitting.fit(choice), inputs)
    with_bias = fitting.fit(replace(choice, networks=(use,)))
    assert layer.bias is not None
    for _ in range(3):
        close(drawn(with_bias, inputs), plainly(bare, inputs))
    assert tape.recordings == 2
    again = fitting.fit(choice)
    assert layer.bias is None
    for _ in range(3):
        close(drawn(again, inputs), plainly(bare, inputs))
    assert tape.recordings == 3


def test_tiling_and_merging_have_graphs_of_their_own(bare: Checkpoint, tape: Tape) -> None:
    fitting, inputs, choice = fitter(bare, tape), made(2), ModelChoice(checkpoint=bare.info)
    ways = [choice, replace(choice, tiling=True), replace(choice, token_merging=0.5)]
    found: list[Tensor] = []
    for turn in range(3):
        for way in ways:
            lent = fitting.fit(way)
            found.append(drawn(lent, inputs))
            close(found[-1], plainly(lent, inputs))
        assert tape.recordings == (0 if turn == 0 else len(ways))
    fitting.fit(choice)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert float((found[one] - found[other]).abs().max()) > 1e-5


def test_before_weights_move_the_graphs_go(bare: Checkpoint, tape: Tape) -> None:
    fitting, inputs, choice = fitter(bare, tape), made(2), ModelChoice(checkpoint=bare.info)
    for _ in range(2):
        drawn(fitting.fit(choice), inputs)
    fitting.undress()
    for _ in range(2):
        drawn(fitting.fit(choice), inputs)
    assert tape.recordings == 2


def test_weights_that_visit_are_just_run(tape: Tape) -> None:
    checkpoint = load_path(CHECKPOINTS / "tiny-sd15.safetensors")
    visits = Visits(CPU)
    visits.add(checkpoint.unet)
    fitting = fitter(checkpoint, tape, visits)
    lent = fitting.fit(ModelChoice(checkpoint=checkpoint.info))
    assert lent.forward is None
    for _ in range(3):
        drawn(lent, made(2))
    assert tape.recordings == 0


def test_sizes_and_pooled_text_are_inputs_too(tape: Tape, tmp_path: Path) -> None:
    path = tmp_path / "sdxl.safetensors"
    write_tiny(path, "sdxl", dtype=torch.float32)
    checkpoint = load_path(path)
    lent = fitter(checkpoint, tape).fit(ModelChoice(checkpoint=checkpoint.info))
    width = checkpoint.unet.config.cross_attention_dim
    pooled = checkpoint.unet.add_embedding.linear_1.in_features
    pooled -= 6 * checkpoint.unet.config.addition_time_embed_dim
    for turn in range(3):
        generator = torch.Generator().manual_seed(turn)
        x = torch.randn(3, 4, 8, 8, generator=generator)
        context = torch.randn(3, 77, width, generator=generator)
        vector = torch.randn(3, pooled + 6, generator=generator)
        steps = torch.tensor([1.0, 500.0, 999.0])
        found = lent.predict(x, steps, context, vector)
        close(found, checkpoint.predict(x, steps, context, vector))
    assert tape.plays == 2


class Half(nn.Module):
    """A module of half precision that says what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float16), requires_grad=False)
        self.given: list[UnetInputs] = []

    def run(self, inputs: UnetInputs) -> Tensor:
        self.given.append(inputs)
        return inputs.x * self.scale + inputs.timestep.to(inputs.x)[:, None, None, None]


def test_inputs_lie_as_the_unet_takes_them(tape: Tape) -> None:
    module = Half()
    placement = Placement(device=CPU, dtype=torch.float16, channels_last=True)
    held = Graphs(module, placement, module.run, lambda: tape)
    inputs = replace(made(3, side=4), x=torch.randn(3, 4, 4, 4, dtype=torch.float64))
    for _ in range(3):
        found = held.under(PLAIN)(inputs)
        torch.testing.assert_close(
            found.float(),
            (inputs.x.half() + inputs.timestep.half()[:, None, None, None]).float(),
            atol=1e-2,
            rtol=0,
        )
    assert found.is_contiguous()
    assert found.dtype is torch.float32
    for given in module.given:
        assert given.x.is_contiguous(memory_format=torch.channels_last)
        assert not given.x.is_contiguous()
        assert (given.x.dtype, given.timestep.dtype) == (torch.float16, torch.float32)
        assert given.context.dtype is torch.float16
