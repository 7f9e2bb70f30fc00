"""How far a job is while a script draws any number of generations."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from extensions.binding import bind
from extensions.protocol import Extension
from extensions.registry import NO_HOOKS
from extensions.scripts import loopback, prompt_matrix, prompts_from_file, xyz_plot
from pipelines.generate import Generated
from pipelines.plan import Plan
from pipelines.watch import Watch
from server.jobs import Job, JobQueue
from server.options import OptionsStore
from server.progress import read
from server.schemas.generation import GenerationRequest
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.script_host import ScriptRun
from server.services import Services
from server.settings import parse

from .fakes import CHECKPOINT, FakeCatalog, FakeDevice, image, library

STEPS = 2


class Walker(FakeDevice):
    """Goes through the steps of each plan and looks at the job's share after each."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []
        self.titles: list[str] = []
        self.job: Job | None = None

    def submit(self, plan: Plan, watch: Watch) -> Future[Generated]:
        future = super().submit(plan, watch)
        watch.begin()
        for _ in self._steps(plan, watch):
            assert self.job is not None
            reading = read(self.job)
            self.shares.append(reading.share)
            self.titles.append(reading.state.job)
        future.set_result(Generated(images=[image(i) for i in range(len(plan.prompts))]))
        return future

    def _steps(self, plan: Plan, watch: Watch) -> Iterator[None]:
        for index in range(plan.batch_count):
            watch.begin_batch(index)
            for _ in range(plan.passes):
                watch.begin_pass(STEPS)
                for step in range(STEPS):
                    watch.stepped(step + 1, "latents")
                    yield
                watch.end_pass()


def _photo() -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _text(**fields: object) -> Txt2ImgRequest:
    return Txt2ImgRequest.model_validate({"prompt": "a|b", "width": 16, "height": 16, **fields})


def _image(**fields: object) -> Img2ImgRequest:
    return Img2ImgRequest.model_validate({"init_images": [_photo()], "steps": STEPS, **fields})


CELLS = {"x_type": "Seed", "x_values": "1,2,3", "y_type": "CFG Scale", "y_values": "4,5"}


@pytest.mark.parametrize(
    ("script", "request_", "args", "steps", "last"),
    [
        (xyz_plot, _text(), CELLS, 6, "6 out of 6"),
        (xyz_plot, _text(enable_hr=True), CELLS, 12, "6 out of 6"),
        (xyz_plot, _text(enable_hr=True, n_iter=2), CELLS, 24, "12 out of 12"),
        (loopback, _image(n_iter=2), {"loops": 3}, 6, "6 out of 6"),
        (prompt_matrix, _text(), {}, 2, "Batch 2 out of 2"),
        (
            prompts_from_file,
            _text(),
            {"prompt_txt": "a\n--prompt b --n_iter 3\nc"},
            5,
            "5 out of 5",
        ),
    ],
    ids=["xyz", "xyz hires", "xyz hires batches", "loopback", "matrix", "lines"],
)
async def test_progress_goes_up_to_the_end(
    tmp_path: Path,
    script: Any,
    request_: GenerationRequest,
    args: dict[str, object],
    steps: int,
    last: str,
) -> None:
    settings = parse(["--data-dir", str(tmp_path)])
    device, jobs = Walker(), JobQueue(limit=0)
    jobs.ready(device)
    services = Services(
        settings=settings,
        options=OptionsStore(settings.config_path),
        library=library(FakeCatalog(CHECKPOINT), tmp_path),
        jobs=jobs,
    )
    extension: Extension = script.EXTENSION
    async with jobs.accepted("txt2img", Watch(), None) as job:
        device.job = job
        run = ScriptRun(services=services, job=job, request=request_, hooks=NO_HOOKS)
        await run.run(extension, bind(extension, args))
        assert read(job).share == 1
    assert len(device.shares) == steps * STEPS
    assert device.shares == sorted(device.shares)
    assert len({*device.shares}) == len(device.shares)
    assert device.shares[-1] == 1
    assert device.titles[-1] == last
