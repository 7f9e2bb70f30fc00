"""A script's generations as plans of its job, and what the script gets to see of them."""

import asyncio
import base64
import io
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.binding import bind
from extensions.protocol import BadScriptArgs, Extension, Hook, Host, Touched
from extensions.registry import NO_HOOKS, Hooks
from extensions.scripts import prompt_matrix
from extensions.wanted import Inversion, Mode, Pictures, Wanted
from models.networks.files import NetworkCatalog
from pipelines.generate import Generated, GeneratedImage
from pipelines.plan import Img2ImgPlan, Plan, Txt2ImgPlan
from pipelines.watch import Watch
from server.jobs import JobQueue
from server.options import OptionsStore
from server.schemas.generation import GenerationRequest
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.script_host import ScriptRun, told_of
from server.services import Services
from server.settings import parse
from server.wanted import wanted_of

from .fakes import CHECKPOINT, FakeCatalog, FakeDevice, library


class Painter(FakeDevice):
    """A device that is done at once: each picture's grey level is its seed."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure

    def submit(self, plan: Plan, watch: Watch) -> Future[Generated]:
        future = super().submit(plan, watch)
        if self.failure is not None:
            future.set_exception(self.failure)
            return future
        images = [
            GeneratedImage(
                index=index, pixels=np.full((plan.height, plan.width, 3), seed % 256, np.uint8)
            )
            for index, seed in enumerate(plan.seeds.seeds)
        ]
        future.set_result(Generated(images=images))
        return future

    def plan(self, number: int = 0) -> Plan:
        return self.submitted[number][0]


@dataclass(frozen=True, slots=True)
class NoArgs:
    """No arguments."""


def script(run: Any) -> Extension:
    modes: tuple[Mode, ...] = ("txt2img", "img2img")
    return Extension(title="Test", modes=modes, args=NoArgs, run=run)


@dataclass
class Stage:
    """Services over a painter, and a way to run a script on them."""

    services: Services
    painter: Painter

    async def run(
        self,
        extension: Extension,
        request: GenerationRequest,
        named: Mapping[str, object] | None = None,
        hooks: Hooks | None = None,
    ) -> tuple[Pictures, ScriptRun]:
        async with self.services.jobs.accepted("txt2img", Watch(), None) as job:
            run = ScriptRun(
                services=self.services, job=job, request=request, hooks=hooks or NO_HOOKS
            )
            return await run.run(extension, bind(extension, named or {})), run


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    settings = parse(["--data-dir", str(tmp_path)])
    painter = Painter()
    jobs = JobQueue(limit=0)
    jobs.ready(painter)
    services = Services(
        settings=settings,
        options=OptionsStore(settings.config_path),
        library=library(FakeCatalog(CHECKPOINT), tmp_path),
        jobs=jobs,
    )
    return Stage(services, painter)


def _text(**fields: object) -> Txt2ImgRequest:
    return Txt2ImgRequest.model_validate(
        {"prompt": "a", "seed": 5, "steps": 3, "width": 32, "height": 16, **fields}
    )


def _photo(level: int = 100) -> str:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _image(**fields: object) -> Img2ImgRequest:
    return Img2ImgRequest.model_validate(
        {"seed": 5, "steps": 3, "width": 32, "height": 32, "init_images": [_photo()], **fields}
    )


async def test_every_image_may_have_its_own_prompt_and_seed(stage: Stage) -> None:
    request = _text(prompt="a|<lora:x:1> b", negative_prompt="bad # really", batch_size=2)
    drawn, _ = await stage.run(prompt_matrix.EXTENSION, request, {"different_seeds": True})
    plan = stage.painter.plan()
    assert plan.prompts == ("a", "a, <lora:x:1> b")
    assert plan.negative_prompts == ("bad \n", "bad \n")
    assert (plan.seeds.seeds, plan.batch_size, len(plan.networks)) == ((5, 6), 2, 2)
    assert drawn.all_prompts == plan.prompts
    assert drawn.all_seeds == (5, 6)
    assert drawn.images[2].getpixel((0, 0)) == (6, 6, 6)
    assert drawn.images[2].info["parameters"] == drawn.infotexts[2]
    assert drawn.infotexts[2].startswith("a, <lora:x:1> b\nNegative prompt: bad \n\nSteps: 3,")


async def test_missing_networks_are_looked_for_once_and_all_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(NetworkCatalog, "find", lambda _, name: asked.append(name))

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        host.generate(wanted.changed(prompt=("a <lora:x:1>", "b <lora:y:1>"), n_iter=2), {})
        return host.generate(wanted.changed(prompt="c <lora:z:1>"), {})

    request = _text(enable_hr=True, denoising_strength=0.5, hr_prompt="d <lora:w:1>")
    _, ran = await stage.run(script(run), request)
    assert asked == ["x", "w", "y", "z"]
    assert ran.warnings == [f"lora not found: {name}" for name in "xwyz"]


@pytest.mark.parametrize(("own", "used"), [("", ("a", "b")), ("mine", ("mine", "mine"))])
async def test_a_hires_pass_has_the_prompts_of_the_first(
    stage: Stage, own: str, used: tuple[str, ...]
) -> None:
    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        return host.generate(wanted.changed(prompt=("a", "b"), n_iter=2), {})

    request = _text(enable_hr=True, denoising_strength=0.5, hr_prompt=own)
    await stage.run(script(run), request)
    plan = stage.painter.plan()
    assert isinstance(plan, Txt2ImgPlan) and plan.hires is not None
    assert plan.prompts == ("a", "b")
    assert plan.hires.prompts == used
    assert len(plan.hires.networks) == 2


async def test_parameters_lead_or_follow(stage: Stage) -> None:
    texts: list[str] = []

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        drawn = host.generate(wanted, {"Loops": 3})
        texts.append(host.describe(drawn, {"Script": "Test", "X Values": "1,2"}))
        return drawn

    request = _text(sampler_name="DPM++ 2M", eta=0.5, sampler_index="Euler a")
    drawn, _ = await stage.run(script(run), request)
    assert drawn.extra_generation_params == {"Loops": 3, "Schedule type": "Karras"}
    assert texts[0].endswith(', Loops: 3, Script: Test, X Values: "1,2", Version: v1.10.1')
    assert drawn.infotexts[0].endswith(", Loops: 3, Version: v1.10.1")


async def test_pictures_masks_and_noise_reach_the_plan(stage: Stage) -> None:
    inversion = Inversion(
        prompt="was",
        negative_prompt="",
        steps=4,
        cfg_scale=2.0,
        randomness=0.5,
        sigma_adjustment=True,
    )
    white, half = Image.new("L", (32, 32), 255), Image.new("L", (32, 32))
    half.paste(255, (16, 0, 32, 32))

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        assert wanted.init_images[0].getpixel((0, 0)) == (100, 100, 100)
        masked = wanted.changed(
            mask=white,
            latent_mask=half,
            inpaint_full_res=False,
            inpainting_fill=1,
            mask_blur_x=0,
            mask_blur_y=0,
        )
        return host.generate(masked.changed(inversion=inversion), {})

    await stage.run(script(run), _image())
    plan = stage.painter.plan()
    assert isinstance(plan, Img2ImgPlan) and plan.init.inpainting is not None
    assert plan.init.inpainting.latents.tolist() == [[0, 0, 1, 1]] * 4
    assert (plan.init.inpainting.conditioning == 1).all()
    assert plan.inversion is not None
    assert (plan.inversion.prompt, plan.inversion.steps, plan.inversion.scale) == ("was", 4, 2.0)
    assert (plan.inversion.randomness, plan.inversion.sigma_adjustment) == (0.5, True)


async def test_colours_may_be_those_of_another_picture(stage: Stage) -> None:
    stage.services.options.set({"img2img_color_correction": True}, save=False)
    red = Image.new("RGB", (16, 16), (200, 50, 50))

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        return host.generate(wanted.changed(color_reference=red), {})

    drawn, _ = await stage.run(script(run), _image(seed=120))
    pixel = drawn.images[0].getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel[0] > pixel[1] + 50


async def test_a_field_out_of_bounds_is_named(stage: Stage) -> None:
    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        with pytest.raises(BadScriptArgs, match="steps 0: ensure this value is greater"):
            host.check(wanted.changed(steps=0))
        return host.generate(wanted.changed(width=10**9), {})

    with pytest.raises(BadScriptArgs, match="width 1000000000: ensure this value is less"):
        await stage.run(script(run), _text())
    assert stage.painter.submitted == []


async def test_a_script_knows_what_there_is_and_how_its_job_is(stage: Stage) -> None:
    seen: dict[str, object] = {}

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        host.expect(7)
        seen["progress"] = stage.services.jobs.current
        seen["stopped"] = host.stopped()
        job = stage.services.jobs.current
        assert job is not None
        drawn = host.generate(wanted, {})
        seen["batches"] = job.watch.progress().batch_count
        seen["skipped"] = host.skipped()
        job.watch.interrupt()
        seen["then"] = host.stopped()
        seen["upscaled"] = host.upscale(drawn.images[0], "Nearest", 2.0).size
        seen["model"] = host.find_checkpoint("some"), host.find_checkpoint("other")
        seen["names"] = host.names["upscalers"][:2]
        return drawn

    await stage.run(script(run), _text(n_iter=2))
    assert (seen["stopped"], seen["skipped"], seen["then"]) == (False, False, True)
    assert seen["batches"] == 14
    assert seen["upscaled"] == (64, 32)
    assert seen["model"] == ("some.safetensors", None)
    assert seen["names"] == ("None", "Lanczos")


async def test_hooks_and_warnings_of_generations(stage: Stage) -> None:
    class Bright(Hook):
        def finish(self, image: Image.Image) -> Touched:
            if image.getpixel((0, 0)) == (6, 6, 6):
                raise ValueError("no six")
            return Touched(Image.eval(image, lambda level: level + 100))

    hooks = Hooks(hooks=(("Bright", Bright()),))

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        host.generate(wanted.changed(sampler_name="Oiler"), {})
        return host.generate(wanted.changed(n_iter=2, sampler_name="Oiler"), {})

    drawn, ran = await stage.run(script(run), _text(), hooks=hooks)
    assert [each.getpixel((0, 0)) for each in drawn.images] == [(105, 105, 105), (6, 6, 6)]
    assert ran.warnings == ["unknown sampler 'Oiler': used DPM++ 2M", "Bright: ValueError: no six"]


async def test_what_ends_a_generation_ends_the_script(stage: Stage) -> None:
    stage.painter.failure = RuntimeError("out of memory")

    def run(host: Host, wanted: Wanted, args: object) -> Pictures:
        return host.generate(wanted, {})

    with pytest.raises(RuntimeError, match="out of memory"):
        await stage.run(script(run), _text())


async def test_many_scripts_do_not_wait_for_each_other_for_ever(stage: Stage) -> None:
    request = _text(prompt="a|b")
    runs = [stage.run(prompt_matrix.EXTENSION, request) for _ in range(40)]
    done = await asyncio.wait_for(asyncio.gather(*runs), 60)
    assert [len(drawn.images) for drawn, _ in done] == [3] * 40


async def test_a_script_is_told_in_the_wires_order(stage: Stage) -> None:
    drawn, _ = await stage.run(prompt_matrix.EXTENSION, _text(prompt="a|b", styles=["none"]))
    told = told_of(drawn)
    assert list(told)[:8] == [
        "prompt",
        "all_prompts",
        "negative_prompt",
        "all_negative_prompts",
        "seed",
        "all_seeds",
        "subseed",
        "all_subseeds",
    ]
    assert list(told)[-3:] == ["clip_skip", "is_using_inpainting_conditioning", "version"]
    assert (told["prompt"], told["all_prompts"]) == ("a", ("a", "a, b"))
    assert told["index_of_first_image"] == 1
    assert len(told["infotexts"]) == 3
    assert told["styles"] == ["none"]


def test_what_is_wanted_has_resolved_names(stage: Stage) -> None:
    options = stage.services.options.current
    wanted = wanted_of(_text(sampler_name="", sampler_index="Euler Karras"), options)
    assert (wanted.mode, wanted.sampler_name, wanted.scheduler) == ("txt2img", "Euler", "Karras")
    assert (wanted.do_not_save_grid, wanted.do_not_save_samples) == (True, True)
    wanted = wanted_of(_image(scheduler="beta", save_images=True, mask=_photo(255)), options)
    assert (wanted.mode, wanted.scheduler, wanted.do_not_save_grid) == ("img2img", "beta", False)
    assert wanted.mask.size == (32, 32)
    assert (wanted.latent_mask, wanted.inversion, wanted.color_reference) == (None, None, None)
