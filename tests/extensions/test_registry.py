"""What is there, in the reference's order; and hooks, of which one that fails costs nothing."""

from collections.abc import Callable, Sequence

import pytest
from PIL import Image
from PIL.Image import Image as Picture

from extensions.protocol import BadScriptArgs, Extension, Hook, Host, Touched
from extensions.registry import EXTENSIONS, NO_HOOKS, Hooks, Named, always_on, find, scripts
from extensions.scripts.loopback import Args
from extensions.wanted import Wanted

from .fakes import FakeHost, picture, text


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
    assert [each.title for each in always_on("txt2img")] == ["Rembg", "roop"]
    assert [each.title for each in always_on("extras")] == ["Rembg"]


def test_titles_are_found_in_any_case() -> None:
    found = find("LOOPBACK", scripts("img2img"))
    assert found is not None and found.title == "Loopback"
    assert find("loopback", scripts("txt2img")) is None
    assert find("loop", EXTENSIONS) is None


class Mirror(Hook):
    def finish(self, image: Picture) -> Touched:
        return Touched(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"Mirror": "left"})


class Larger(Hook):
    """Asks for more steps, and makes pictures as wide as was wanted."""

    def __init__(self, wanted: Wanted) -> None:
        self.width, self.batches = wanted.width, list[int]()

    def before_job(self, wanted: Wanted) -> Wanted:
        return wanted.changed(steps=wanted.steps + 1)

    def before_batch(self, number: int) -> None:
        self.batches.append(number)

    def finish(self, image: Picture) -> Touched:
        size = self.width, image.height
        return Touched(image.resize(size, Image.Resampling.NEAREST), {"Batches": self.batches})

    def after_batch(self, number: int, images: Sequence[Picture]) -> Sequence[Picture]:
        return [image.reduce(2) for image in images[number:]]


class Broken(Hook):
    def before_job(self, wanted: Wanted) -> Wanted:
        raise KeyError("job")

    def before_batch(self, number: int) -> None:
        raise KeyError("batch")

    def finish(self, image: Picture) -> Touched:
        raise KeyError("weights")

    def after_batch(self, number: int, images: Sequence[Picture]) -> Sequence[Picture]:
        raise KeyError("more")


def _named(title: str, make: Callable[[Wanted], Hook]) -> Named:
    def begin(host: Host, wanted: Wanted, args: object) -> Hook:
        return make(wanted)

    return Named.of(Extension(title=title, modes=("txt2img",), args=Args, begin=begin), {})


def _begun(*named: Named, width: int = 90) -> Hooks:
    return Hooks.begin(named, FakeHost().host(), text(width=width))


MIRROR = _named("Mirror", lambda wanted: Mirror())
LARGER = _named("Larger", Larger)
BROKEN = _named("Broken", lambda wanted: Broken())


def test_hooks_run_in_order_and_know_what_was_wanted() -> None:
    image = picture("a", 30, 20)
    image.putpixel((0, 0), (1, 2, 3))
    done = _begun(MIRROR, LARGER).finish(image)
    assert done.picture.size == (90, 20)
    assert done.picture.getpixel((89, 0)) == (1, 2, 3)
    assert done.told == {"Mirror": "left", "Batches": []}
    assert done.warnings == ()


def test_a_hook_that_fails_keeps_the_picture_and_warns() -> None:
    done = _begun(BROKEN, LARGER).finish(picture("a", 30, 20))
    assert done.picture.size == (90, 20)
    assert done.warnings == ("Broken: KeyError: 'weights'",)


def test_every_moment_of_a_job_comes_to_every_hook() -> None:
    asked = text(steps=4)
    wanted, hooks = _begun(BROKEN, LARGER).before_job(asked)
    assert wanted.steps == 5
    assert hooks.before_batch(0) == ("Broken: KeyError: 'batch'",)
    assert hooks.before_batch(1) == ("Broken: KeyError: 'batch'",)
    done = hooks.finish(picture("a", 30, 20))
    # a hook's state lasts for its job, and what failed before the job is told of each picture
    assert done.told == {"Batches": [0, 1]}
    assert done.warnings == ("Broken: KeyError: 'job'", "Broken: KeyError: 'weights'")
    images = [picture("a", 30, 20), picture("b", 40, 20)]
    more, failed = hooks.after_batch(1, images)
    assert [each.size for each in more] == [(20, 10)]
    assert failed == ("Broken: KeyError: 'more'",)


def test_a_hook_that_cannot_begin_is_left_out_and_told() -> None:
    def make(wanted: Wanted) -> Hook:
        raise ValueError("no weights")

    hooks = Hooks.begin([_named("Late", make), MIRROR], FakeHost().host(), text(), ("Early: gone",))
    assert [title for title, _ in hooks.hooks] == ["Mirror"]
    assert hooks.finish(picture("a")).warnings == ("Early: gone", "Late: ValueError: no weights")


def test_arguments_that_a_hook_refuses_end_the_job_before_it_is_drawn() -> None:
    def make(wanted: Wanted) -> Hook:
        raise BadScriptArgs("strength 7: allowed are 0 to 1")

    with pytest.raises(BadScriptArgs, match="strength 7"):
        _begun(MIRROR, _named("Strong", make))


def test_what_comes_before_hooks_is_guarded_as_they_are() -> None:
    def flat(image: Picture) -> Picture:
        return Image.new("RGB", image.size, "red")

    def failing(image: Picture) -> Picture:
        raise OSError("no face")

    done = _begun(MIRROR).after("Flat", flat).after("Bad", failing).finish(picture("a", 30, 20))
    assert done.picture.getpixel((0, 0)) == (255, 0, 0)
    assert done.warnings == ("Bad: OSError: no face",)


def test_without_hooks_a_picture_stays_as_it_is() -> None:
    image = picture("a")
    done = NO_HOOKS.finish(image)
    assert (done.picture, done.told, done.warnings) == (image, {}, ())
