"""Extras at work: models that take their time, extensions, and what else goes on meanwhile."""

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from extensions.protocol import Extension, Hook, Host, Touched, arg
from extensions.wanted import Wanted
from pipelines.pictures.upscale import Tick, Upscaler
from server.tools import PLAIN, Restorer, Tools

from ..calling import SOON_S, Called, calling, post_until
from ..fakes import FakeDevice
from .served import serve

SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"


def picture(width: int = 16, color: str = "red") -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, 8), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


class Slow:
    """A model of factor 2 that is half done until it is let go."""

    def __init__(self, slow_from: int = 0) -> None:
        """The runs before `slow_from` (from 0) do not wait."""
        self.begun, self.go = threading.Event(), threading.Event()
        self.runs, self.slow_from = 0, slow_from

    def __call__(self, image: Image.Image, tick: Tick) -> Image.Image:
        number, self.runs = self.runs, self.runs + 1
        if number >= self.slow_from:
            tick(0.5)
            self.begun.set()
            for _ in range(int(SOON_S * 100)):
                tick(0.5)
                if self.go.wait(0.01):
                    break
        return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)

    async def under_way(self) -> None:
        async with asyncio.timeout(SOON_S):
            await asyncio.to_thread(self.begun.wait, SOON_S)


@asynccontextmanager
async def served(
    folder: Path,
    *,
    upscalers: dict[str, Upscaler] | None = None,
    restorers: dict[str, Restorer] | None = None,
    extensions: tuple[Extension, ...] = (),
) -> AsyncIterator[Called]:
    async with calling(folder) as called:
        tools = Tools(upscalers={**PLAIN.upscalers, **(upscalers or {})}, restorers=restorers or {})
        services = replace(called.services, tools=tools, extensions=extensions)
        called.app.state.services = services
        yield called
        services.workers.close()


def sent(count: int) -> list[dict[str, str]]:
    return [{"data": picture(16 + 8 * number), "name": "../same.png"} for number in range(count)]


async def test_progress_moves_within_a_picture(tmp_path: Path) -> None:
    slow = Slow(slow_from=1)
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        body = {"imageList": sent(2), "upscaler_1": "Slow"}
        asked = asyncio.create_task(called.post(BATCH, body))
        await slow.under_way()
        shown = await called.get("/sdapi/v1/progress")
        assert (shown["state"]["job"], shown["state"]["job_count"]) == ("extras", 2)
        assert (shown["state"]["job_no"], shown["progress"]) == (1, pytest.approx(0.01 + 0.75))
        assert shown["current_image"] is None
        slow.go.set()
        images = (await asked)["images"]
        assert [opened(each).size for each in images] == [(32, 16), (48, 16)]
        assert (await called.get("/sdapi/v1/progress"))["progress"] == 0


async def test_an_interrupt_ends_it_within_the_picture(tmp_path: Path) -> None:
    slow = Slow(slow_from=1)
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        asked = asyncio.create_task(
            called.post(BATCH, {"imageList": sent(3), "upscaler_1": "Slow"})
        )
        await slow.under_way()
        await called.post("/sdapi/v1/interrupt")
        async with asyncio.timeout(SOON_S):
            answer = await asked
        assert [opened(each).size for each in answer["images"]] == [(32, 16)]
        assert slow.runs == 2
        # an interrupt is over with its job
        slow.go.set()
        body = {"image": picture(), "upscaler_1": "Slow"}
        assert opened((await called.post(SINGLE, body))["image"]).size == (32, 16)


async def test_an_interrupted_single_picture_is_no_picture(tmp_path: Path) -> None:
    slow = Slow()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        asked = asyncio.create_task(called.post(SINGLE, {"image": picture(), "upscaler_1": "Slow"}))
        await slow.under_way()
        await called.post("/sdapi/v1/interrupt")
        assert await asked == {"html_info": "<p></p>", "image": None}


async def test_a_skip_goes_on_with_the_next_picture(tmp_path: Path) -> None:
    slow = Slow()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        asked = asyncio.create_task(
            called.post(BATCH, {"imageList": sent(2), "upscaler_1": "Slow"})
        )
        await slow.under_way()
        slow.begun.clear()
        await called.post("/sdapi/v1/skip")
        await slow.under_way()
        slow.go.set()
        assert [opened(each).size for each in (await asked)["images"]] == [(48, 16)]


async def test_a_cancelled_job_is_told_so(tmp_path: Path) -> None:
    slow = Slow()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        body = {"image": picture(), "upscaler_1": "Slow"}
        asked = asyncio.create_task(called.client.post(SINGLE, json=body))
        await slow.under_way()
        (job,) = called.services.jobs.jobs
        await called.post("/internal/cancel", {"id_task": job.id})
        assert (await asked).status_code == 499


async def test_who_hangs_up_ends_the_work(tmp_path: Path) -> None:
    slow = Slow()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        gone = asyncio.Event()
        body = {"imageList": sent(3), "upscaler_1": "Slow"}
        asked = asyncio.create_task(post_until(called.app, BATCH, body, gone))
        await slow.under_way()
        gone.set()
        async with asyncio.timeout(SOON_S):
            await asked
            while called.services.jobs.jobs:
                await asyncio.sleep(0.001)
        assert slow.runs == 1


async def test_other_requests_are_answered_meanwhile(tmp_path: Path) -> None:
    slow = Slow()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        body = {"image": picture(), "upscaler_1": "Slow"}
        many = [asyncio.create_task(called.post(SINGLE, body)) for _ in range(12)]
        await slow.under_way()
        # what needs a thread of the common pool gets one
        async with asyncio.timeout(SOON_S):
            told = await called.post("/sdapi/v1/png-info", {"image": picture()})
        assert told["info"] == ""
        assert not any(each.done() for each in many)
        slow.go.set()
        assert len(await asyncio.gather(*many)) == 12


async def test_nothing_is_saved(tmp_path: Path) -> None:
    async with served(tmp_path) as called:
        body = {"imageList": sent(2), "upscaler_1": "Lanczos", "save_images": True}
        assert len((await called.post(BATCH, body))["images"]) == 2
    suffixes = (".png", ".jpg", ".webp", ".txt", ".csv")
    assert [each for each in tmp_path.rglob("*") if each.suffix in suffixes] == []


async def test_a_thousand_times_is_refused_before_any_work(tmp_path: Path) -> None:
    slow = Slow()
    slow.go.set()
    async with served(tmp_path, upscalers={"Slow": slow}) as called:
        body = {"imageList": sent(2), "upscaler_1": "Slow", "upscaling_resize": 1000}
        answer = await called.client.post(BATCH, json=body)
        assert (answer.status_code, slow.runs) == (422, 0)
        assert "a picture of 16x8 enlarged 1000 times" in answer.json()["detail"]
        # a picture that is none is found before the others are worked on
        files = [*sent(1), {"data": "zzz", "name": "b"}]
        answer = await called.client.post(BATCH, json={"imageList": files, "upscaler_1": "Slow"})
        assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid encoded image")
        assert slow.runs == 0


async def test_an_unknown_upscaler_comes_before_the_picture(tmp_path: Path) -> None:
    async with served(tmp_path, upscalers={"4x-Sharp": Slow()}) as called:
        answer = await called.client.post(SINGLE, json={"image": "zzz", "upscaler_1": "4x-sharp"})
        assert (answer.status_code, answer.json()) == (
            500,
            {
                "error": "AssertionError",
                "detail": "Invalid upscaler, needs to be one of these: "
                "None , Lanczos , Nearest , 4x-Sharp",
                "body": "",
                "errors": "could not find upscaler named 4x-sharp",
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintArgs:
    """Arguments of an extension that paints pictures over."""

    color: str = arg("#00ff00", "Colour")
    pattern: Image.Image | None = arg(None, "Pattern")


class Paint(Hook):
    """Paints over what it gets, in the colour or with the pattern."""

    def __init__(self, host: Host, args: PaintArgs) -> None:
        self.host, self.args = host, args

    def finish(self, image: Image.Image) -> Touched:
        if self.args.color == "upscaled":
            return Touched(self.host.upscale(image, "Nearest", 2), {"Paint": "twice"})
        if self.args.pattern is not None:
            return Touched(self.args.pattern.resize(image.size), {"Paint": "pattern"})
        return Touched(Image.new("RGB", image.size, self.args.color), {"Paint": self.args.color})


def painting(seen: list[Wanted], begin: Callable[..., Hook] | None = None) -> Extension:
    def begun(host: Host, wanted: Wanted, args: PaintArgs) -> Hook:
        seen.append(wanted)
        return Paint(host, args)

    return Extension(
        title="Paint", modes=("extras", "txt2img"), args=PaintArgs, begin=begin or begun
    )


async def painted(called: Called, args: Any, **fields: Any) -> tuple[Any, str]:
    body = {"image": picture(), "alwayson_scripts": {"paint": {"args": args}}, **fields}
    answer = await called.client.post(SINGLE, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers.get("x-darkroom-warning", "")


async def test_an_extension_works_on_what_is_enlarged_and_restored(tmp_path: Path) -> None:
    seen: list[Wanted] = []
    restorers: dict[str, Restorer] = {"GFPGAN": lambda image, *_: Image.new("RGB", image.size)}
    extensions = (painting(seen),)
    async with served(tmp_path, restorers=restorers, extensions=extensions) as called:
        fields = {"upscaler_1": "Nearest", "gfpgan_visibility": 1}
        answer, warning = await painted(called, ["#0000ff"], **fields)
        result = opened(answer["image"])
        assert (result.size, result.getpixel((0, 0)), warning) == ((32, 16), (0, 0, 255), "")
        assert answer["html_info"].endswith("GFPGAN visibility: 1.0, Paint: #0000ff</p>")
        assert answer["html_info"] == f"<p>{result.info['postprocessing']}</p>"
        assert [(each.mode, each.upscaler_1) for each in seen] == [("extras", "Nearest")]
        # by name, with a picture of its own, and with what the server lends
        answer, _ = await painted(called, {"pattern": picture(color="white")})
        assert opened(answer["image"]).getpixel((3, 3)) == (255, 255, 255)
        answer, _ = await painted(called, ["upscaled"])
        assert opened(answer["image"]).size == (32, 16)
        # and one that is not named does nothing
        answer = await called.post(SINGLE, {"image": picture()})
        assert opened(answer["image"]).getpixel((0, 0)) == (255, 0, 0)


async def test_an_extension_that_fails_costs_no_picture(tmp_path: Path) -> None:
    def broken(host: Host, wanted: Wanted, args: PaintArgs) -> Hook:
        raise LookupError("paint.onnx is missing in models/paint")

    async with served(tmp_path, extensions=(painting([], broken),)) as called:
        answer, warning = await painted(called, [])
        assert opened(answer["image"]).getpixel((0, 0)) == (255, 0, 0)
        told = "Paint: LookupError: paint.onnx is missing in models/paint"
        assert warning == told
        assert told in answer["html_info"]
        assert told in opened(answer["image"]).info["postprocessing"]
    async with served(tmp_path, extensions=(painting([]),)) as called:
        # a picture of its own that is none, and a colour that is none
        for args in ({"pattern": "zzz"}, ["no colour"]):
            answer, warning = await painted(called, args)
            assert warning.startswith("Paint: ")
            assert opened(answer["image"]).getpixel((0, 0)) == (255, 0, 0)


async def test_extensions_that_are_not_for_extras_are_refused(tmp_path: Path) -> None:
    other = replace(painting([]), title="Other", modes=("txt2img",))
    async with served(tmp_path, extensions=(painting([]), other)) as called:
        for title in ("Other", "nope"):
            body = {"image": picture(), "alwayson_scripts": {title: {"args": []}}}
            answer = await called.client.post(SINGLE, json=body)
            assert answer.status_code == 422
            assert f"Script '{title}' not found" in answer.json()["detail"]
        body = {"image": picture(), "alwayson_scripts": {"Paint": {"args": {"colour": 1}}}}
        answer = await called.client.post(SINGLE, json=body)
        assert (answer.status_code, "color" in answer.text) == (422, True)


async def test_a_skip_within_an_extension_leaves_the_picture_out(tmp_path: Path) -> None:
    slow = Slow()
    extensions = (painting([], lambda host, wanted, args: _Upscaling(host)),)
    async with served(tmp_path, upscalers={"Slow": slow}, extensions=extensions) as called:
        body = {"imageList": sent(2), "alwayson_scripts": {"Paint": {}}}
        asked = asyncio.create_task(called.post(BATCH, body))
        await slow.under_way()
        slow.begun.clear()
        await called.post("/sdapi/v1/skip")
        await slow.under_way()
        slow.go.set()
        assert [opened(each).size for each in (await asked)["images"]] == [(48, 16)]


class _Upscaling(Hook):
    """Has the server enlarge what it gets."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def finish(self, image: Image.Image) -> Touched:
        return Touched(self.host.upscale(image, "Slow", 2))


def test_an_extension_that_settings_switch_off_is_no_step(tmp_path: Path) -> None:
    client = serve(tmp_path, device=FakeDevice())
    client.post("/sdapi/v1/options", json={"disabled_extensions": ["rembg"]})
    body = {"image": "never read", "alwayson_scripts": {"rembg": {"args": []}}}
    refused = client.post("/sdapi/v1/extra-single-image", json=body)
    assert (refused.status_code, refused.json()["detail"]) == (422, "Script 'rembg' not found")
