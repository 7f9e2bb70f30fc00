"""SD upscale: tiles of the enlarged picture in batches, joined again."""

import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs
from extensions.scripts.sd_upscale import EXTENSION

from ..fakes import FakeHost, image, picture


def test_every_tile_is_drawn_with_a_seed_of_its_own() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, image(), None, 16, "Lanczos", 2.0)
    assert [each.seed for each in host.wanted] == list(range(7, 16))
    assert {each.init_images[0].size for each in host.wanted} == {(64, 64)}
    assert host.extra[0] == {"SD upscale overlap": 16, "SD upscale upscaler": "Lanczos"}
    assert [each.size for each in drawn.images] == [(128, 128)]
    assert drawn.images[0].getpixel((0, 0)) == picture("a cat||7|4").getpixel((0, 0))
    assert drawn.images[0].getpixel((127, 127)) == picture("a cat||15|4").getpixel((0, 0))
    assert drawn.infotexts == ("a cat||7|4",)
    assert (drawn.seed, drawn.all_seeds, drawn.subseed) == (7, (15,), -1)
    assert host.expected == [9]


def test_tiles_go_in_batches_and_all_of_it_n_iter_times() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, image(batch_size=4, n_iter=2), "", 16, 1, 2)
    assert [len(each.init_images) for each in host.wanted] == [4, 4, 1] * 2
    assert [each.seed for each in host.wanted] == [7, 8, 9, 8, 9, 10]
    assert {each.n_iter for each in host.wanted} == {1}
    assert len(drawn.images) == len(drawn.infotexts) == 2
    assert drawn.seed == 7


@pytest.mark.parametrize(("asked", "size"), [("None", 128), (0, 128), ("lanczos", 256), (2, 256)])
def test_upscalers_by_name_or_place(asked: int | str, size: int) -> None:
    wanted = image(init_images=(picture("a", 128, 128),))
    (result,) = FakeHost().run(EXTENSION, wanted, "", 8, asked, 2.0).images
    assert result.size == (size, size)


def test_transparent_places_show_the_background() -> None:
    host = FakeHost()
    host.options["img2img_background_color"] = "#00ff00"
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    host.run(EXTENSION, image(init_images=(clear,)), "", 0, "None", 2.0)
    assert host.wanted[0].init_images[0].getpixel((3, 3)) == (0, 255, 0)


def test_an_interrupt_leaves_the_other_tiles_as_they_were() -> None:
    host = FakeHost(stop_after=1)
    wanted = image(init_images=(picture("big", 128, 64),))
    (result,) = host.run(EXTENSION, wanted, "", 0, "None", 2.0).images
    assert len(host.wanted) == 1
    assert result.getpixel((0, 0)) == picture("a cat||7|4").getpixel((0, 0))
    assert result.getpixel((127, 0)) == picture("big").getpixel((0, 0))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (["", 10**9, "None", 2.0], "overlap 1000000000: allowed are 0 to less than"),
        (["", 64, "None", 2.0], "overlap 64"),
        (["", 8, "SwinIR", 2.0], "upscaler 'SwinIR': allowed are None, Lanczos, Nearest"),
        (["", 8, 9, 2.0], "upscaler_index 9: allowed are 0 to 2"),
        (["", 8, -1, 2.0], "upscaler_index -1"),
        (["", 8, "Lanczos", 1e9], "scale_factor 1000000000.0: allowed are 0.1 to 16"),
        (["", 60, "Lanczos", 16], "tiles: "),
    ],
)
def test_bad_arguments_are_named(sent: list[object], said: str) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        host.run(EXTENSION, image(), *sent)
    assert host.wanted == []


def test_more_tiles_than_generations_are_refused() -> None:
    with pytest.raises(BadScriptArgs, match=r"tiles \* n_iter: 1600"):
        FakeHost().run(EXTENSION, image(n_iter=400), "", 0, "Lanczos", 2.0)
