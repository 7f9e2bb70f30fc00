"""Hooks among the stages of a generation: what they see, what they tell, what they append."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from extensions.protocol import Hook, Touched
from extensions.registry import Hooks
from pipelines.generate import Generated
from pipelines.pictures.upscale import Tick
from pipelines.watch import Watch
from server import reply
from server.answer import _shown
from server.generation import _restoring
from server.schemas.txt2img import Txt2ImgRequest
from server.tools import Tools

from .fakes import image
from .test_generation import grey, level, masked, run, services


class Marks(Hook):
    """Remembers what it sees, paints a red stripe, appends a small copy of each batch's last."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def finish(self, image: Image.Image) -> Touched:
        self.sizes.append(image.size)
        painted = image.copy()
        painted.paste((255, 0, 0), (0, 0, image.width, 4))
        return Touched(painted, {"Marks": len(self.sizes)})

    def after_batch(self, number: int, images: Sequence[Image.Image]) -> Sequence[Image.Image]:
        return [images[-1].reduce(4)] if number else []


async def test_a_hook_sees_the_crop_that_is_repainted(tmp_path: Path) -> None:
    marks = Marks()
    request = masked(
        inpaint_full_res=True, n_iter=1, width=32, height=32, inpaint_full_res_padding=0
    )
    done = Generated(
        images=[replace(image(i), pixels=_flat(shade)) for i, shade in enumerate((10, 20))]
    )
    drawn, _plan, _ = await run(services(tmp_path), request, done, Hooks(hooks=(("Marks", marks),)))
    assert marks.sizes == [(32, 32), (32, 32)]
    first = np.asarray(drawn.pictures[0])
    assert first.shape == (64, 64, 3)
    assert first[2, 8].tolist() == [255, 0, 0]
    assert first[40, 8].tolist() == [10, 10, 10]
    assert first[2, 56].tolist() == [100, 100, 100], "the stripe is where nothing was masked"


def _flat(shade: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((32, 32, 3), shade, np.uint8)


async def test_what_hooks_append_comes_last_in_the_reply(tmp_path: Path) -> None:
    marks, served = Marks(), services(tmp_path)
    request = Txt2ImgRequest(prompt="a", seed=5, batch_size=2, n_iter=2)
    hooks = Hooks(hooks=(("Marks", marks),))
    drawn, _, _ = await run(served, request, grey(10, 20, 30, 40), hooks)
    (appended,) = drawn.appended
    assert appended.size == (drawn.pictures[3].width // 4, drawn.pictures[3].height // 4)
    shown = [*zip(drawn.pictures, drawn.infotexts, strict=True), (appended, None)]
    assert _shown(drawn) == shown
    extra = reply.told(request, drawn.translated, drawn.known, drawn.infotexts).extra
    assert extra["Marks"] == "1; 2; 3; 4"
    assert [", Marks: 3," in text for text in drawn.infotexts] == [False, False, True, False]


async def test_a_hook_that_fails_after_a_batch_costs_no_picture(tmp_path: Path) -> None:
    class Broken(Hook):
        def after_batch(self, number: int, images: Sequence[Image.Image]) -> Sequence[Image.Image]:
            raise KeyError(number)

    request = Txt2ImgRequest(prompt="a", batch_size=1, n_iter=2)
    hooks = Hooks(hooks=(("Broken", Broken()),))
    drawn, _, _ = await run(services(tmp_path), request, grey(10, 20), hooks)
    assert [level(picture) for picture in drawn.pictures] == [10, 20]
    assert drawn.appended == ()
    assert drawn.warnings == ("Broken: KeyError: 0", "Broken: KeyError: 1")


async def test_an_interrupt_ends_the_restoration_and_keeps_the_picture(tmp_path: Path) -> None:
    seen: list[str] = []

    def restorer(picture: Image.Image, weight: float, tick: Tick) -> Image.Image:
        seen.append("begun")
        tick(0.5)
        seen.append("done")
        return Image.new("RGB", picture.size, "red")

    served = replace(
        services(tmp_path), tools=Tools(upscalers={}, restorers={"CodeFormer": restorer})
    )
    request = Txt2ImgRequest(prompt="a", restore_faces=True)
    plain, _, _ = await run(served, request, grey(10))
    assert seen == ["begun", "done"]
    assert plain.pictures[0].getpixel((0, 0)) == (255, 0, 0)
    watch = Watch()
    watch.interrupt()
    hooks, warnings = _restoring(served, plain.translated, Hooks(), watch)
    treated = hooks.finish(Image.new("RGB", (8, 8), "blue"))
    assert warnings == []
    assert treated.picture.getpixel((0, 0)) == (0, 0, 255)
    assert treated.warnings == ("CodeFormer: Cancelled: the job was told to stop",)
