"""What is there, in the reference's order; and hooks, of which one that fails costs nothing."""

from PIL import Image
from PIL.Image import Image as Picture

from extensions.protocol import Extension
from extensions.registry import EXTENSIONS, NO_HOOKS, Hook, Hooks, always_on, find, scripts
from extensions.scripts.loopback import Args
from extensions.wanted import Wanted

from .fakes import picture, text


def test_scripts_of_a_mode_are_in_the_references_order() -> None:
    assert [each.title for each in scripts("txt2img")] == [
        "Prompt matrix",
        "Prompts from file or textbox",
        "X/Y/Z plot",
    ]
    assert [each.title.lower() for each in scripts("img2img")] == [
        "img2img alternative test",
        "loopback",
        "outpainting mk2",
        "poor man's outpainting",
        "prompt matrix",
        "prompts from file or textbox",
        "sd upscale",
        "x/y/z plot",
    ]
    assert always_on("txt2img") == []


def test_titles_are_found_in_any_case() -> None:
    found = find("LOOPBACK", scripts("img2img"))
    assert found is not None and found.title == "Loopback"
    assert find("loopback", scripts("txt2img")) is None
    assert find("loop", EXTENSIONS) is None


def _mirrored(image: Picture, wanted: Wanted, args: object) -> Picture:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _larger(image: Picture, wanted: Wanted, args: object) -> Picture:
    return image.resize((wanted.width, image.height), Image.Resampling.NEAREST)


def _broken(image: Picture, wanted: Wanted, args: object) -> Picture:
    raise KeyError("weights")


def _hook(title: str, finish: object) -> Hook:
    extension = Extension(title=title, modes=("txt2img",), args=Args, finish=finish)  # type: ignore[arg-type]
    return Hook.of(extension, {})


def test_hooks_run_in_order_and_know_what_was_wanted() -> None:
    hooks = Hooks((_hook("Mirror", _mirrored), _hook("Larger", _larger)), text(width=90))
    image = picture("a", 30, 20)
    image.putpixel((0, 0), (1, 2, 3))
    finished, warnings = hooks.finish(image)
    assert finished.size == (90, 20)
    assert finished.getpixel((89, 0)) == (1, 2, 3)
    assert warnings == ()


def test_a_hook_that_fails_keeps_the_picture_and_warns() -> None:
    hooks = Hooks((_hook("Broken", _broken), _hook("Larger", _larger)), text(width=90))
    finished, warnings = hooks.finish(picture("a", 30, 20))
    assert finished.size == (90, 20)
    assert warnings == ("Broken: KeyError: 'weights'",)


def test_without_hooks_a_picture_stays_as_it_is() -> None:
    image = picture("a")
    assert NO_HOOKS.finish(image) == (image, ())
