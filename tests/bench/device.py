"""What a device makes of a UNet: steps a second by the way it is run, and how far from the floor.

Runs on a bare CUDA host; on a CPU with --quick it shows that it works, and little else.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from models.families import Checkpoint
from models.families.autoencoding import decoded, passed
from models.families.autoencoding import ways as vae_ways
from models.graphs import BUCKETS
from models.memory import is_out_of_memory
from tests.bench.full_size import write_full_size
from tests.bench.report import Row, Table, note, told
from tests.bench.servers import TINY, Bench
from tests.bench.ways import USUAL, WAYS, Step, Told, Way, loaded, prepared
from tests.bench.ways import told as told_of

#: what stands in a cell in place of numbers
NO_GPU, NO_MEMORY, NO_GRAPH = "no GPU", "out of memory", f"eager above {BUCKETS[-1]} rows"
#: steps of a picture, where pictures a second are told
STEPS = 20
#: a forward or two set things up, the next is recorded
WARM_UPS = 4
LEAST_S = 0.5
REPEATS = 3
#: the matrices whose product tells what the device can do
SIDE: Mapping[str, int] = {"cuda": 8192, "cpu": 1024}
#: the operations that a profile names
NAMED = 12
NOTES = (
    "Steps a second of all images together (a step is a forward of two rows an image), the median"
    " of some repetitions; in brackets the share of what the device does in plain products of"
    " matrices in the same number format, measured in the same run, by the operations that"
    " torch.utils.flop_counter counts. Random weights of the models' true shapes.",
    f"Pictures a second: {STEPS} such steps or those of --steps, and the decoding of all images;"
    " without prompts and file formats.",
)

PICTURES = (
    *("model", "images", "way", "img/s", "decoding, ms", "TFLOP a step", "TFLOP/s of the device"),
    "peak, GB",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A checkpoint and the side of its pictures in pixels."""

    name: str
    path: Path
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Operations of a step of one image, and seconds that images take to be decoded, by count."""

    flops: float
    decoding: Mapping[int, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told."""
    words = "comma separated, for the table device: "
    parser.add_argument("--models", help=f"{words}sd15, sdxl (both)")
    parser.add_argument("--images", help=f"{words}images at once (1,2,4,8,16)")
    parser.add_argument("--ways", help=f"{words}{', '.join(WAYS)} (all; on a CPU none compiled)")


def models(bench: Bench, asked: argparse.Namespace) -> Iterator[Model]:
    """What is measured; files of true size are written one after the other, and removed."""
    if bench.checkpoint is not None:
        yield Model(name=bench.checkpoint.stem, path=bench.checkpoint, side=bench.side or 512)
    elif bench.device == "cpu" and not bench.full_size:
        yield Model(name="tiny SD1", path=TINY, side=bench.side or 64)
    else:
        names = (asked.models or "sd15,sdxl").split(",")
        for name in names:
            note(f"device: writing a checkpoint of the true size of {name}")
            path = bench.folder / f"{name}.safetensors"
            write_full_size(path, model=name)
            yield Model(name=name, path=path, side=bench.side or {"sd15": 512}.get(name, 1024))
            path.unlink()


def counts(bench: Bench, asked: argparse.Namespace) -> tuple[int, ...]:
    """Images at once."""
    if asked.images:
        return tuple(int(word) for word in asked.images.split(","))
    return (1, 2) if bench.quick else (1, 2, 4, 8, 16)


def chosen(bench: Bench, asked: argparse.Namespace) -> Mapping[str, Way]:
    """The ways that are wanted."""
    if asked.ways:
        return {name: WAYS[name] for name in asked.ways.split(",")}
    gpu = bench.device == "cuda"
    return {name: way for name, way in WAYS.items() if gpu or not way.compiled}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device, bench: Bench) -> tuple[float, ...]:
    """What a run takes, several times measured over as many as fill a while."""
    for _ in range(1 if bench.quick else WARM_UPS):
        run()
    wait(device)
    found: list[float] = []
    count = 1
    for _ in range(1 + (bench.pairs or (1 if bench.quick else REPEATS))):
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait(device)
        found.append((time.perf_counter() - start) / count)
        if not bench.quick:
            count = max(1, round(LEAST_S / found[-1]))
    # the first of them told how many fill the while
    return tuple(found[1:])


def timed(step: Step | None, way: Way, wanted: Told, bench: Bench) -> tuple[float, ...] | str:
    """The seconds of a step, or why there are none."""
    if step is None:
        return NO_GPU
    if way.graphs and len(wanted.x) > BUCKETS[-1]:
        return NO_GRAPH
    try:
        return seconds(lambda: step(wanted), wanted.x.device, bench)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return NO_MEMORY


def ceiling(device: torch.device, dtype: torch.dtype, bench: Bench) -> float:
    """Operations a second of the device in one large product of matrices."""
    side = SIDE[device.type] // (4 if bench.quick else 1)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    taken = seconds(lambda: torch.mm(left, right), device, bench)
    return 2 * side**3 / min(taken)


def attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    """Those of attention on a CPU, which the counter does not know; by shapes."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


@torch.no_grad()
def flops(checkpoint: Checkpoint, side: int) -> float:
    """Operations of a step of one image."""
    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    counter = FlopCounterMode(display=False, custom_mapping=on_cpu)
    # in inference mode attention would not be taken apart
    with torch.inference_mode(False):
        step = told_of(checkpoint, 1, side)
        with counter:
            checkpoint.predict(step.x, step.timestep, step.context, step.vector)
    return float(counter.get_total_flops())


def decoding(checkpoint: Checkpoint, images: int, side: int, bench: Bench) -> float:
    """Seconds that images take to be decoded, as many at once as the server does."""
    vae, dtype = checkpoint.vae, checkpoint.vae_dtype
    z = torch.randn(images, 4, side // 8, side // 8, device=checkpoint.device, dtype=dtype)

    def run() -> Tensor:
        found = vae_ways(side, side, dtype, checkpoint.device)
        return passed(partial(decoded, vae), z, found, checkpoint.lighten)

    return statistics.median(seconds(run, checkpoint.device, bench))


def told_where(step: Step, wanted: Told, file: Path | None) -> tuple[Row, ...]:
    """The operations that take most of a step; all that the profiler tells goes to a file."""
    on_gpu = wanted.x.is_cuda
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    wait(wanted.x.device)
    with profile(activities=activities) as seen:
        step(wanted)
        wait(wanted.x.device)
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    averages = seen.key_averages()
    taken = {each.key: float(getattr(each, key)) for each in averages if getattr(each, key) > 0}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(averages.table(sort_by=key, row_limit=100, max_name_column_width=100))
    total, most = sum(taken.values()), sorted(taken, key=lambda name: -taken[name])[:NAMED]
    return tuple(
        Row(
            cells=(
                name.replace("|", " ")[:100],
                f"{taken[name] / 1000:.3f}",
                share(taken[name], total),
            ),
            measured={"us": (taken[name],)},
        )
        for name in most
    )


def share(part: float, whole: float) -> str:
    """A part in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured of a model: by way and images the seconds of a step, or why none."""

    model: Model
    cost: Cost
    ceiling: float
    steps: Mapping[str, Mapping[int, tuple[float, ...] | str]]
    profile: tuple[Row, ...]
    peak: int

    def rows(self, ways: Mapping[str, Way], images: int) -> Row:
        """A line of the table of steps."""
        cells, measured = [self.model.name, f"{images}"], {}
        for name in ways:
            found = self.steps[name][images]
            if isinstance(found, str):
                cells.append(found)
                continue
            rates = tuple(1 / each for each in found)
            reached = self.cost.flops * images * statistics.median(rates)
            cells.append(f"{told(rates)} [{share(reached, self.ceiling)}]")
            measured[f"{name}_s"] = found
        return Row(cells=tuple(cells), measured=measured)

    def pictures(self, name: str, images: int, steps: int) -> Row | None:
        """A line of the table of pictures of so many steps; None where the way has no numbers."""
        found, decode_s = self.steps[name][images], self.cost.decoding[images]
        if isinstance(found, str):
            return None
        rates = tuple(images / (steps * each + decode_s) for each in found)
        operations = self.cost.flops * images / 1e12
        cells = (
            *(self.model.name, f"{images}", WAYS[name].title, told(rates)),
            *(f"{1000 * decode_s:.1f}", f"{operations:.3g}", f"{self.ceiling / 1e12:.3g}"),
            f"{self.peak / 1e9:.2f}",
        )
        return Row(cells=cells, measured={"img_s": rates, "decode_s": (decode_s,)})


@torch.inference_mode()
def found_of(model: Model, bench: Bench, asked: argparse.Namespace) -> Findings:
    """Measure a model: all ways of one order of the weights, then of the other."""
    device, wanted, ways = torch.device(bench.device), counts(bench, asked), chosen(bench, asked)
    steps: dict[str, dict[int, tuple[float, ...] | str]] = {}
    told_at: tuple[Row, ...] = ()
    cost, most, peak = Cost(flops=0, decoding={}), 0.0, 0
    for channels_last in (False, True):
        with loaded(model.path, device, channels_last=channels_last) as checkpoint:
            most = most or ceiling(device, checkpoint.dtype, bench)
            if channels_last:
                counted = flops(checkpoint, model.side)
                decode = {n: decoding(checkpoint, n, model.side, bench) for n in wanted}
                cost = Cost(flops=counted, decoding=decode)
            for name, way in ways.items():
                if way.channels_last is not channels_last:
                    continue
                note(f"device: {model.name}, {way.title}")
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                with prepared(checkpoint, way) as step:
                    told_all = {n: told_of(checkpoint, n, model.side) for n in wanted}
                    steps[name] = {n: timed(step, way, told_all[n], bench) for n in wanted}
                    if step is not None and name == shown(ways, device):
                        file = asked.out and asked.out / f"device-{model.name}.profile.txt"
                        told_at = told_where(step, told_all[wanted[0]], file)
                        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return Findings(model=model, cost=cost, ceiling=most, steps=steps, profile=told_at, peak=peak)


def shown(ways: Mapping[str, Way], device: torch.device) -> str:
    """The way that pictures are counted by: what the server does, if it was measured."""
    usual = USUAL if device.type == "cuda" else "last"
    return usual if usual in ways else next(iter(ways))


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """Steps, pictures and where the time goes, model by model."""
    ways, wanted = chosen(bench, asked), counts(bench, asked)
    torch.set_num_threads(bench.threads)
    found = [found_of(model, bench, asked) for model in models(bench, asked)]
    usual = shown(ways, torch.device(bench.device))
    steps = bench.steps or STEPS
    pictures = [each.pictures(usual, images, steps) for each in found for images in wanted]
    columns = ("model", "images", *(f"{way.title}, it/s" for way in ways.values()))
    return (
        Table(
            title="Steps a second",
            columns=columns,
            rows=tuple(each.rows(ways, images) for each in found for images in wanted),
            notes=NOTES[:1],
        ),
        Table(
            title="Pictures a second",
            columns=PICTURES,
            rows=tuple(row for row in pictures if row is not None),
            notes=NOTES[1:],
        ),
        *(
            Table(
                title=f"Where a step's time goes: {each.model.name}, {wanted[0]} at once",
                columns=("operation", "ms", "share"),
                rows=each.profile,
            )
            for each in found
        ),
    )
