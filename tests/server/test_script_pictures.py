"""Pictures among the arguments of scripts: read, or fetched under the guard."""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

from extensions.protocol import Extension, Hook, Host, Touched
from extensions.registry import Named
from extensions.wanted import Pictures, Wanted
from server.imagecodec import BadImage, decode
from server.remote import BadAddress, LocalAddress
from server.script_pictures import hooks_with_pictures, script_with_pictures
from server.selected import Selected

from .calling import calling
from .test_remote import GUARDED, OPEN, Site, page, png, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """A picture, and a text that may look like an address."""

    face: Image | None = None
    word: str = ""


@dataclass
class Painter(Hook):
    """Gives the picture that was sent, in place of the one that was drawn."""

    args: Args

    def finish(self, image: Image) -> Touched:
        return Touched(image if self.args.face is None else self.args.face.resize(image.size))


def begin(_: Host, __: Wanted, args: Args) -> Hook:
    return Painter(args)


HOOK = Extension(title="Paint", modes=("txt2img",), args=Args, begin=begin)


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def red(args: Any) -> int:
    """The level of red of the picture that a script is given."""
    assert isinstance(args.face, Image)
    level = args.face.convert("RGB").getpixel((0, 0))
    assert isinstance(level, tuple)
    return int(level[0])


async def test_pictures_are_read_and_fetched(site: Site) -> None:
    site.pages["/x.png"] = page(200, png(70))
    for sent, wanted in (
        (base64_of(png(90)), 90),
        (f"data:image/png;base64,{base64_of(png(80))}", 80),
        (site.at("/x.png"), 70),
    ):
        (hook,), broken = await hooks_with_pictures([Named.of(HOOK, [sent, site.at("/y")])], OPEN)
        assert (red(hook.args), hook.args.word, broken) == (wanted, site.at("/y"), ())
        script = await script_with_pictures(Selected(HOOK, hook.args), OPEN)
        assert red(script.args) == wanted
    assert [path for path, *_ in site.asked] == ["/x.png"]


@pytest.mark.parametrize("sent", [None, ""])
async def test_no_picture_is_none(sent: str | None) -> None:
    (hook,), broken = await hooks_with_pictures([Named.of(HOOK, {"face": sent})], GUARDED)
    assert (hook.args.face, broken) == (None, ())


async def test_addresses_pass_the_guard(site: Site) -> None:
    site.pages["/x.png"] = page(200, png())
    hook = Named.of(HOOK, {"face": site.at("/x.png")})
    with pytest.raises(LocalAddress):
        await hooks_with_pictures([hook], GUARDED)
    with pytest.raises(LocalAddress):
        await script_with_pictures(Selected(HOOK, hook.args), GUARDED)
    assert site.asked == []
    with pytest.raises(BadAddress):
        await hooks_with_pictures([Named.of(HOOK, {"face": site.at("/none")})], OPEN)


async def test_what_is_no_picture_costs_its_hook_alone() -> None:
    bad, good = Named.of(HOOK, ["not base64!", ""]), Named.of(HOOK, [base64_of(png()), ""])
    found, broken = await hooks_with_pictures([bad, good], GUARDED)
    assert [red(hook.args) for hook in found] == [90]
    (said,) = broken
    assert said.startswith("Paint: BadImage: not base64")
    with pytest.raises(BadImage):
        await script_with_pictures(Selected(HOOK, bad.args), GUARDED)


async def test_jobs_get_the_pictures(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the route: an always-on script's address, and a selected one's that is refused."""
    site.pages["/x.png"] = page(200, png(60))
    hook = Named.of(HOOK, {"face": site.at("/x.png")})
    monkeypatch.setattr("server.answer.hooks", lambda mode, sent, among: (hook,))
    async with calling(tmp_path) as called:
        refused = await called.client.post("/sdapi/v1/txt2img", json={})
        assert refused.json()["detail"] == "Request to local resource not allowed"
        assert (called.device.submitted, site.asked) == ([], [])
        options = called.services.options
        options._current = replace(options.current, api_forbid_local_requests=False)
        answering = asyncio.create_task(called.client.post("/sdapi/v1/txt2img", json={}))
        await called.submitted(1)
        called.finish(1)
        (picture,) = (await answering).json()["images"]
        assert decode(picture).getpixel((0, 0)) == (60, 0, 0)

        def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
            raise AssertionError("it has no picture")

        options._current = replace(options.current, api_forbid_local_requests=True)
        script = Extension(title="Other", modes=("txt2img",), args=Args, run=run)
        monkeypatch.setattr("server.answer.hooks", lambda mode, sent, among: ())
        monkeypatch.setattr(
            "server.answer.selected", lambda mode, body, among: Selected(script, hook.args)
        )
        refused = await called.client.post("/sdapi/v1/txt2img", json={})
        assert refused.json()["detail"] == "Request to local resource not allowed"
