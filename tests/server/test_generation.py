"""From a request to finished pictures, on a device that does what the test says."""

import asyncio
import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.protocol import Hook, Touched
from extensions.registry import NO_HOOKS, Hooks
from pipelines.effects import Effects
from pipelines.generate import Generated, GeneratedImage
from pipelines.pictures.upscale import Tick
from pipelines.plan import Img2ImgPlan, Plan, Txt2ImgPlan
from pipelines.watch import Progress, Watch
from server import reply
from server.answer import _shown
from server.generation import Drawn, draw
from server.infotext import parse as parsed
from server.jobs import JobQueue
from server.options import OptionsStore
from server.schemas.generation import GenerationRequest
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.services import Services
from server.settings import parse
from server.tools import Tools

from ..models.files import one_tensor
from .fakes import FakeCatalog, FakeDevice, image, library
from .wire import CIRCLES, SQUARES


@dataclass(frozen=True, slots=True)
class NoArgs:
    """No arguments."""


def sent(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def services(folder: Path, *argv: str, **settings: Any) -> Services:
    parsed = parse(["--data-dir", str(folder), *argv])
    options = OptionsStore(parsed.config_path)
    options.set(settings, save=False)
    return Services(
        settings=parsed,
        options=options,
        library=library(FakeCatalog(CIRCLES, SQUARES), folder),
        jobs=JobQueue(limit=0),
    )


async def run(
    served: Services, request: GenerationRequest, done: Generated, hooks: Hooks = NO_HOOKS
) -> tuple[Drawn, Plan, Progress]:
    """What is drawn of a request, its plan, and the progress as it was handed over."""
    device = FakeDevice()
    served.jobs.ready(device)
    async with served.jobs.accepted("txt2img", Watch(), None) as job:
        drawing = asyncio.create_task(draw(served, job, request, hooks))
        while not device.submitted and not drawing.done():
            await asyncio.sleep(0.001)
        if drawing.done():
            drawing.result()
        plan, watch, future = device.submitted[0]
        assert watch is job.watch
        progress = watch.progress()
        future.set_result(done)
        return await drawing, plan, progress


def grey(*levels: int, **more: Any) -> Generated:
    images = [
        GeneratedImage(index=i, pixels=np.full((64, 64, 3), level, np.uint8))
        for i, level in enumerate(levels)
    ]
    return Generated(images=images, **more)


def level(picture: Image.Image) -> int:
    values = set(np.unique(np.asarray(picture)).tolist())
    (found,) = values
    return int(found)


async def test_pictures_and_infotexts_come_in_order(tmp_path: Path) -> None:
    request = Txt2ImgRequest(prompt="a", seed=5, batch_size=2, n_iter=2, width=64, height=64)
    drawn, plan, _ = await run(services(tmp_path), request, grey(10, 20, 30, 40))
    assert isinstance(plan, Txt2ImgPlan)
    assert [level(picture) for picture in drawn.pictures] == [10, 20, 30, 40]
    assert [f"Seed: {5 + i}," in text for i, text in enumerate(drawn.infotexts)] == [True] * 4
    assert drawn.beside == ((),) * 4
    assert drawn.translated.plan is plan


async def test_an_interrupted_job_gives_what_there_is(tmp_path: Path) -> None:
    request = Txt2ImgRequest(prompt="a", seed=5, batch_size=2, n_iter=2)
    drawn, _, _ = await run(services(tmp_path), request, grey(10, 20))
    assert len(drawn.pictures) == len(drawn.infotexts) == len(drawn.beside) == 2
    nothing, _, _ = await run(services(tmp_path), request, Generated())
    assert nothing.pictures == nothing.infotexts == ()


@pytest.mark.parametrize(
    ("settings", "every"),
    [
        ({"show_progress_every_n_steps": 7}, 7),
        ({"show_progress_every_n_steps": 7, "live_previews_enable": False}, 0),
    ],
)
async def test_the_watch_knows_the_plan_s_numbers(
    tmp_path: Path, settings: dict[str, Any], every: int
) -> None:
    served = services(tmp_path, **settings)
    request = Txt2ImgRequest(steps=11, n_iter=3, enable_hr=True)
    drawn, _, progress = await run(served, request, grey(0, 0, 0))
    assert (progress.batch_count, progress.passes, progress.steps) == (3, 2, 11)
    assert (progress.batch, progress.done) == (0, 0)
    watch = Watch()
    watch.begin_plan(batch_count=1, passes=1, steps=11, preview_every=every)
    watch.want_preview()
    watch.stepped(7, "latents")
    assert watch.preview_due() == bool(every)
    assert len(drawn.pictures) == 3


async def test_files_are_told_by_the_hashes_that_loading_them_gave(tmp_path: Path) -> None:
    one_tensor(tmp_path / "VAE" / "v.safetensors")
    served = services(tmp_path, sd_vae="v.safetensors")
    fresh = FakeCatalog(replace(CIRCLES, sha256=None))
    hashed = replace(served, library=replace(served.library, checkpoints=fresh))  # type: ignore[arg-type]

    class Loading(FakeCatalog):
        """It is hashed by the time that it is asked for again."""

        def find(self, alias: str) -> Any:
            found = super().find(alias)
            return found and replace(found, sha256="e" * 64)

    loaded = replace(hashed.library, checkpoints=Loading(replace(CIRCLES, sha256=None)))  # type: ignore[arg-type]
    drawn, plan, _ = await run(replace(hashed, library=loaded), Txt2ImgRequest(), grey(0))
    assert plan.model.checkpoint.sha256 is None
    assert drawn.known.checkpoint.short_hash == "e" * 10
    assert drawn.known.vae is not None
    assert drawn.known.vae.sha256 is not None
    assert f"VAE hash: {drawn.known.vae.short_hash}, VAE: v.safetensors" in drawn.infotexts[0]


@pytest.mark.parametrize(("refined", "told"), [(set(), False), ({0}, True), ({1}, True)])
async def test_a_refiner_is_told_once_it_took_over(
    tmp_path: Path, refined: set[int], told: bool
) -> None:
    request = Txt2ImgRequest(refiner_checkpoint="squares", refiner_switch_at=0.5)
    done = grey(0, effects=Effects(refined=refined))
    drawn, plan, _ = await run(services(tmp_path), request, done)
    assert plan.refiner is not None
    assert (drawn.known.refiner is not None) == told
    assert ("Refiner: " in drawn.infotexts[0]) == told


async def test_the_init_picture_reaches_the_plan(tmp_path: Path) -> None:
    request = Img2ImgRequest(
        init_images=[sent(Image.new("RGB", (64, 64), (7, 7, 7)))], width=64, height=64, seed=1
    )
    drawn, plan, _ = await run(services(tmp_path), request, grey(9))
    assert isinstance(plan, Img2ImgPlan)
    assert np.unique(plan.init.pixels).tolist() == [7]
    assert level(drawn.pictures[0]) == 9
    assert "Denoising strength: 0.75" in drawn.infotexts[0]


def masked(**fields: Any) -> Img2ImgRequest:
    """Two pictures, the left half of which is to be repainted."""
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    own = {
        "init_images": [sent(Image.new("RGB", (64, 64), (shade,) * 3)) for shade in (100, 200)],
        "mask": sent(mask),
        "mask_blur": 0,
        "inpaint_full_res": False,
        "batch_size": 2,
        "n_iter": 2,
        "width": 64,
        "height": 64,
    }
    return Img2ImgRequest.model_validate({**own, **fields})


async def test_each_result_is_put_into_its_own_picture(tmp_path: Path) -> None:
    drawn, _, _ = await run(services(tmp_path), masked(), grey(10, 20, 30, 40))
    found = [np.asarray(picture)[32, (8, 56), 0].tolist() for picture in drawn.pictures]
    assert found == [[10, 100], [20, 200], [30, 100], [40, 200]]


async def test_masks_follow_their_pictures_where_settings_ask(tmp_path: Path) -> None:
    settings = {"return_mask": True, "return_mask_composite": True}
    drawn, _, _ = await run(services(tmp_path), masked(override_settings=settings), grey(10, 20))
    for beside, shade in zip(drawn.beside, (10, 20), strict=True):
        mask, composite = beside
        assert (mask.mode, composite.mode) == ("RGB", "RGBA")
        assert np.asarray(mask)[32, (8, 56), 0].tolist() == [255, 0]
        assert np.asarray(composite)[32, 8].tolist() == [shade, shade, shade, 255]
        assert np.asarray(composite)[32, 56].tolist() == [0, 0, 0, 0]
    assert [text is not None for _, text in _shown(drawn)] == [True, False, False] * 2


async def test_the_infotext_can_be_left_out_by_the_request_s_settings(tmp_path: Path) -> None:
    for keep in (True, False):
        request = Txt2ImgRequest(override_settings={"enable_pnginfo": keep})
        drawn, _, _ = await run(services(tmp_path), request, Generated(images=[image()]))
        assert _shown(drawn) == [(drawn.pictures[0], drawn.infotexts[0] if keep else None)]


async def test_soft_inpainting_makes_its_masks_from_the_latents(tmp_path: Path) -> None:
    """What did not change comes from the original, whatever the mask says."""
    scripts = {"soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}
    request = masked(alwayson_scripts=scripts, n_iter=1, init_images=masked().init_images)
    same, moved = np.zeros((4, 8, 8), np.float32), np.full((4, 8, 8), 9, np.float32)
    images = [
        GeneratedImage(
            index=i, pixels=np.full((64, 64, 3), 10, np.uint8), latents=(same, (same, moved)[i])
        )
        for i in range(2)
    ]
    drawn, plan, _ = await run(services(tmp_path), request, Generated(images=images))
    assert isinstance(plan, Img2ImgPlan)
    assert plan.init.inpainting is not None
    assert plan.init.inpainting.soft is not None
    kept, changed = (np.asarray(picture).astype(int)[32, 32, 0] for picture in drawn.pictures)
    assert (abs(kept - 100) <= 1, abs(changed - 10) <= 1) == (True, True)


async def test_a_setting_of_the_server_is_every_request_s(tmp_path: Path) -> None:
    served = services(tmp_path, CLIP_stop_at_last_layers=2, tiling=True)
    _, plan, _ = await run(served, Txt2ImgRequest(), grey(0))
    assert (plan.encoding.clip_skip, plan.model.tiling) == (2, True)


async def test_old_sampler_names_are_a_flag(tmp_path: Path) -> None:
    request = Txt2ImgRequest(sampler_name="DPM++ SDE")
    served = services(tmp_path)
    _, plain, _ = await run(served, request, grey(0))
    flagged = replace(served, settings=replace(served.settings, old_sampler_names=True))
    flagged = replace(flagged, jobs=JobQueue(limit=0))
    _, old, _ = await run(flagged, request, grey(0))
    assert (plain.sampler.schedule, old.sampler.schedule) == ("karras", "uniform")


@pytest.mark.parametrize(("asked", "setting"), [(True, False), (None, True)])
async def test_faces_that_nothing_restores_are_told_once(
    tmp_path: Path, asked: bool | None, setting: bool
) -> None:
    served = services(tmp_path, face_restoration=setting, face_restoration_model="GFPGAN")
    request = Txt2ImgRequest(restore_faces=asked, batch_size=2)
    drawn, _, _ = await run(served, request, grey(1, 2))
    assert drawn.warnings == ("restore_faces: GFPGAN is not installed; faces are left as they are",)
    plain, _, _ = await run(services(tmp_path), Txt2ImgRequest(), grey(1))
    assert plain.warnings == ()


async def test_an_extension_that_fails_is_told_where_it_failed(tmp_path: Path) -> None:
    class Swap(Hook):
        def finish(self, image: Image.Image) -> Touched:
            if level(image) == 20:
                raise ValueError("no face: 2, 3")
            return Touched(image, {"Swapped": level(image)})

    hooks = Hooks(hooks=(("Swap", Swap()),))
    request = Txt2ImgRequest(prompt="a", seed=5, batch_size=2, n_iter=2)
    served = services(tmp_path)
    drawn, _, _ = await run(served, request, grey(10, 20, 30, 20), hooks)
    said = "Swap: ValueError: no face: 2, 3"
    assert [level(picture) for picture in drawn.pictures] == [10, 20, 30, 20]
    told = [parsed(text).get("Extension warning") for text in drawn.infotexts]
    assert told == [None, said, None, said]
    swapped = [parsed(text).get("Swapped") for text in drawn.infotexts]
    assert swapped == ["10", None, "30", None]
    assert drawn.warnings == (said,)
    extra = reply.told(request, drawn.translated, drawn.known, drawn.infotexts).extra
    assert extra["Extension warning"] == said
    assert extra["Swapped"] == "10; 30"
    well, _, _ = await run(served, request, grey(10), hooks)
    assert well.warnings == ()
    assert "Extension warning" not in reply.extra_parameters(well.translated, well.known)


async def test_a_hook_that_cannot_be_had_is_told_of_each_picture(tmp_path: Path) -> None:
    hooks = Hooks(broken=("Swap: BadImage: not base64",))
    request = Txt2ImgRequest(prompt="a", batch_size=2)
    drawn, _, _ = await run(services(tmp_path), request, grey(10, 20), hooks)
    assert all("Extension warning: " in text for text in drawn.infotexts)
    assert drawn.warnings == ("Swap: BadImage: not base64",)


async def test_a_job_that_fails_raises_its_own_error(tmp_path: Path) -> None:
    served, device = services(tmp_path), FakeDevice()
    served.jobs.ready(device)
    async with served.jobs.accepted("txt2img", Watch(), None) as job:
        drawing = asyncio.create_task(draw(served, job, Txt2ImgRequest()))
        while not device.submitted:
            await asyncio.sleep(0.001)
        device.submitted[0][2].set_exception(ZeroDivisionError("by nought"))
        with pytest.raises(ZeroDivisionError, match="by nought"):
            await drawing


async def test_faces_are_restored_before_the_original_is_put_back(tmp_path: Path) -> None:
    weights: list[float] = []

    def restorer(picture: Image.Image, weight: float, tick: Tick) -> Image.Image:
        weights.append(weight)
        return Image.new("RGB", picture.size, (1, 2, 3))

    served = services(tmp_path, code_former_weight=0.25)
    tools = Tools(upscalers={}, restorers={"CodeFormer": restorer})
    request = Txt2ImgRequest(prompt="a", restore_faces=True, width=16, height=16)
    drawn, _, _ = await run(replace(served, tools=tools), request, Generated(images=[image(0, 9)]))
    assert drawn.pictures[0].getpixel((0, 0)) == (1, 2, 3)
    assert weights == [0.25]
    assert "Face restoration: CodeFormer" in drawn.infotexts[0]


async def test_a_restorer_that_is_not_there_or_fails_costs_no_picture(tmp_path: Path) -> None:
    def failing(picture: Image.Image, weight: float, tick: Tick) -> Image.Image:
        raise ValueError("no face")

    served = services(tmp_path)
    request = Txt2ImgRequest(prompt="a", restore_faces=True, width=16, height=16)
    for restorers, said in (
        ({}, "CodeFormer is not installed"),
        ({"CodeFormer": failing}, "no face"),
    ):
        tools = Tools(upscalers={}, restorers=restorers)
        done = Generated(images=[image(0, 9)])
        drawn, _, _ = await run(replace(served, tools=tools), request, done)
        assert drawn.pictures[0].getpixel((0, 0)) == (9, 9, 9)
        assert any(said in warning for warning in drawn.warnings)


async def test_networks_that_could_not_be_put_on_are_warned_of(tmp_path: Path) -> None:
    effects = Effects(notes={"lora 'x' does not fit this SDXL model": None})
    drawn, _, _ = await run(services(tmp_path), Txt2ImgRequest(), grey(0, effects=effects))
    assert drawn.warnings == ("lora 'x' does not fit this SDXL model",)
