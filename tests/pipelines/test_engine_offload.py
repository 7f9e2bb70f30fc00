"""Work that a job puts off the device thread: others go on, and its errors are its own."""

import threading
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from pipelines.pictures.upscale import Tick
from pipelines.plan import Txt2ImgPlan
from pipelines.watch import Cancelled, Watch

from .desk import SECONDS, Open, alone, same
from .test_hires import hires_pass
from .toy import ToyCheckpoint, plan, spec


class Gate:
    """Work that waits to be let through."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def __call__(self, number: int) -> Sequence[str]:
        self.batches.append(number)
        self.reached.set()
        assert self.open.wait(SECONDS)
        return (f"before batch {number}",)


def test_others_go_on_while_a_job_waits_for_its_work(desk: Open) -> None:
    here, gate = desk(toy=ToyCheckpoint()), Gate()
    held = here.order(plan("held", before_batch=gate))
    assert gate.reached.wait(SECONDS)
    quick = here.order(plan("quick", first_seed=5))
    same(quick.pixels(), alone(plan("quick", first_seed=5)))
    assert here.ended == ["quick"]
    gate.open.set()
    same(held.pixels(), alone(plan("held")))
    assert list(held.future.result().effects.notes) == ["before batch 0"]


def test_every_batch_is_told_of_before_it_is_drawn(desk: Open) -> None:
    gate = Gate()
    gate.open.set()
    drawn = desk(toy=ToyCheckpoint()).order(plan("a", "b", "c", batch_size=2, before_batch=gate))
    assert len(drawn.images()) == 3
    assert gate.batches == [0, 1]


def test_what_the_work_raises_ends_its_own_job(desk: Open) -> None:
    def broken(number: int) -> Sequence[str]:
        raise KeyError("no such thing")

    here = desk(toy=ToyCheckpoint())
    failing, other = here.order(plan("a", before_batch=broken)), here.order(plan("b"))
    with pytest.raises(KeyError, match="no such thing"):
        failing.images()
    same(other.pixels(), alone(plan("b")))


def test_a_job_that_nobody_waits_for_ends_while_its_work_goes_on(desk: Open) -> None:
    here, gate = desk(toy=ToyCheckpoint()), Gate()
    held = here.order(plan("held", before_batch=gate))
    assert gate.reached.wait(SECONDS)
    held.watch.cancel()
    with pytest.raises(Cancelled):
        held.images()
    gate.open.set()
    same(here.order(plan("next")).pixels(), alone(plan("next")))


def test_an_engine_closes_while_work_goes_on(desk: Open) -> None:
    here, gate = desk(toy=ToyCheckpoint()), Gate()
    held = here.order(plan("held", before_batch=gate))
    assert gate.reached.wait(SECONDS)
    here.engine.close()
    with pytest.raises(RuntimeError, match="stopping"):
        held.images()
    gate.open.set()


def enlarged(upscaler: Callable[[Image.Image, Tick], Image.Image]) -> Txt2ImgPlan:
    """A plan whose picture is enlarged by a model and sampled again."""
    second = hires_pass(upscaler, 64, 32, steps=2, sampler=spec(steps=2))
    return plan("a", hires=second, sampler=spec(steps=2))


def test_a_model_enlarges_for_the_hires_fix(desk: Open) -> None:
    sizes: list[tuple[int, int]] = []

    def doubled(image: Image.Image, tick: Tick) -> Image.Image:
        sizes.append(image.size)
        tick(1.0)
        return image.resize((image.width * 2, image.height * 2))

    wanted = enlarged(doubled)
    (drawn,) = desk(toy=ToyCheckpoint()).order(wanted).images()
    assert drawn.pixels.shape == (32, 64, 3)
    assert sizes == [(32, 16)]


def test_an_interrupt_within_the_upscaler_leaves_the_first_passs_picture(desk: Open) -> None:
    reached, watch = threading.Event(), Watch(batch_count=1, steps=2)

    def endless(image: Image.Image, tick: Tick) -> Image.Image:
        reached.set()
        while True:
            tick(0.0)

    wanted = enlarged(endless)
    job = desk(toy=ToyCheckpoint()).order(wanted, watch=watch)
    assert reached.wait(SECONDS)
    watch.interrupt()
    (drawn,) = job.images()
    assert drawn.pixels.shape == (16, 32, 3)
    assert not drawn.complete
