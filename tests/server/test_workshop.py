"""What extensions borrow: files by kind, sessions, tools, and what is said where they are not."""

from pathlib import Path

import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs, Missing
from models.errors import CorruptCheckpoint
from pipelines.pictures.upscale import Tick
from server.app import create_app
from server.services import Services
from server.settings import parse
from server.tools import PLAIN, Tools
from server.workshop import Hurry, lent, workshop

PICTURE = Image.new("RGB", (16, 8), (9, 8, 7))


@pytest.fixture
def services(tmp_path: Path) -> Services:
    found: Services = create_app(parse(["--data-dir", str(tmp_path)])).state.services
    return found


def with_tools(services: Services, tools: Tools) -> Services:
    return Services(
        settings=services.settings,
        options=services.options,
        library=services.library,
        jobs=services.jobs,
        tools=tools,
    )


def test_weights_are_those_of_their_folder_now(services: Services, tmp_path: Path) -> None:
    shop = workshop(services, services.options.current)
    assert shop.folder("roop") == tmp_path / "models" / "roop"
    assert shop.weights("roop") == {}
    (tmp_path / "models" / "roop" / "own").mkdir(parents=True)
    file = tmp_path / "models" / "roop" / "own" / "swap.onnx"
    file.write_bytes(b"x")
    assert shop.weights("roop") == {"own/swap.onnx": file}
    with pytest.raises(KeyError, match="no kind of weights 'safes'"):
        shop.weights("safes")


def test_a_session_is_opened_once_and_a_damaged_file_is_told(
    services: Services, tmp_path: Path
) -> None:
    shop = workshop(services, services.options.current)
    file = tmp_path / "net.bin"
    file.write_bytes(b"x")
    assert shop.session("net", [file], object) is shop.session("net", [file], object)

    def damaged() -> object:
        raise CorruptCheckpoint(file, "cut off")

    with pytest.raises(Missing, match=r"net\.bin: cut off"):
        shop.session("other", [file], damaged)


def test_what_is_not_here_is_told_by_file_and_folder(services: Services, tmp_path: Path) -> None:
    shop = workshop(services, services.options.current)
    with pytest.raises(Missing, match="buffalo_l"):
        shop.faces(PICTURE)
    with pytest.raises(Missing, match=r"codeformer-v0\.1\.0\.pth .*models/Codeformer"):
        shop.restore(PICTURE, "CodeFormer", 0.5)
    with pytest.raises(BadScriptArgs, match="'Nope': allowed are None, Lanczos, Nearest"):
        shop.upscale(PICTURE, "Nope", 2)


def test_tools_work_on_pictures(services: Services) -> None:
    def red(image: Image.Image, tick: Tick) -> Image.Image:
        return Image.new("RGB", (image.width * 4, image.height * 4), "red")

    def restored(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        return Image.new("RGB", image.size, (int(weight * 200), 0, 0))

    tools = Tools(upscalers={**PLAIN.upscalers, "Red": red}, restorers={"GFPGAN": restored})
    shop = workshop(with_tools(services, tools), services.options.current)
    bigger = shop.upscale(PICTURE, "Red", 2)
    assert (bigger.size, bigger.getpixel((3, 3))) == ((32, 16), (255, 0, 0))
    assert shop.restore(PICTURE, "GFPGAN", 0.5).getpixel((0, 0)) == (100, 0, 0)
    assert shop.names["upscalers"] == ("None", "Lanczos", "Nearest", "Red")


def test_a_job_that_is_to_stop_makes_do_with_what_is_quick(services: Services) -> None:
    def slow(image: Image.Image, tick: Tick) -> Image.Image:
        tick(0.5)
        raise AssertionError("it went on")

    def restored(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        tick(0.5)
        raise AssertionError("it went on")

    def stop(share: float) -> None:
        raise Hurry

    tools = Tools(upscalers={"Slow": slow}, restorers={"GFPGAN": restored})
    fields = lent(with_tools(services, tools), services.options.current, stop)
    bigger = fields["upscale"](PICTURE, "Slow", 2)
    assert (bigger.size, bigger.getpixel((3, 3))) == ((32, 16), (9, 8, 7))
    assert fields["restore"](PICTURE, "GFPGAN", 1.0) is PICTURE


def test_work_is_handed_to_another_thread(services: Services) -> None:
    shop = workshop(services, services.options.current)
    assert shop.beside(lambda: 6 * 7).result(10) == 42
