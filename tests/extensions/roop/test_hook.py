"""roop within a job: in init pictures, in drawn ones, or not at all; and what is told of it."""

from PIL import Image

from extensions.binding import bind, with_pictures
from extensions.protocol import Hook
from extensions.roop import EXTENSION
from extensions.roop.args import Args
from extensions.roop.hook import Roop, begin
from server import infotext

from ..fakes import image as img2img
from ..fakes import text as txt2img
from .workshop import Fake, face

SOURCE, DRAWN = (40, 40), (64, 64)
RED, AT = (250, 10, 20), (32, 32)


def source() -> Image.Image:
    return Image.new("RGB", SOURCE, "white")


def fake() -> Fake:
    return Fake({SOURCE: [face(20, 20, RED)], DRAWN: [face(*AT)]})


def drawn() -> Image.Image:
    return Image.new("RGB", DRAWN, "grey")


def test_it_is_always_on_in_both_modes() -> None:
    assert EXTENSION.title == "roop"
    assert EXTENSION.modes == ("txt2img", "img2img")
    assert EXTENSION.run is None and EXTENSION.begin is begin


def test_two_arguments_are_enough() -> None:
    """As the user of the contract sends them."""
    args = bind(EXTENSION, ["UklGRpJ...", True])
    hook = begin(fake().host(), txt2img(), with_pictures(args, {"img": source()}))
    touched = hook.finish(drawn())
    assert touched.image.getpixel(AT) == RED
    assert touched.told == {"Roop": "face 0 swapped by inswapper_128.onnx; safety not checked"}


def test_it_does_nothing_unless_enabled() -> None:
    hook = begin(fake().host(), txt2img(), Args(img=source(), face_restorer_visibility=9))
    assert type(hook) is Hook
    image = drawn()
    assert hook.finish(image).image is image


def test_what_lacks_is_told_of_each_picture() -> None:
    hook = begin(fake().host(), txt2img(), Args(enable=True))
    image = drawn()
    touched = hook.finish(image)
    assert touched.image is image
    assert touched.told == {"Roop": "not swapped: no source picture"}


def test_numbers_out_of_bounds_cost_the_swap_and_are_told() -> None:
    hook = begin(fake().host(), txt2img(), Args(enable=True, face_restorer_visibility=9))
    image = drawn()
    touched = hook.finish(image)
    assert touched.image is image
    assert touched.told == {"Roop": "not swapped: face_restorer_visibility 9: allowed are 0 to 1"}


def _hook(**args: object) -> Hook:
    chosen = Args(**{"img": source(), "enable": True, "face_restorer_name": "None", **args})  # type: ignore[arg-type]
    return begin(fake().host(), img2img(), chosen)


def test_init_pictures_are_swapped_where_that_is_asked_for() -> None:
    wanted = img2img(init_images=(drawn(), drawn()))
    assert _hook().before_job(wanted) is wanted
    hook = _hook(swap_in_source=True, swap_in_generated=False)
    changed = hook.before_job(wanted)
    assert [each.getpixel(AT) for each in changed.init_images] == [RED, RED]
    image = drawn()
    touched = hook.finish(image)
    assert touched.image is image
    assert touched.told == {"Roop init": "face 0 swapped by inswapper_128.onnx; safety not checked"}


def test_both_can_be_swapped() -> None:
    hook = _hook(swap_in_source=True)
    hook.before_job(img2img(init_images=(drawn(), Image.new("RGB", SOURCE))))
    told = hook.finish(drawn()).told
    assert list(told) == ["Roop init", "Roop"]


def test_txt2img_has_no_init_pictures() -> None:
    wanted = txt2img()
    assert _hook(swap_in_source=True).before_job(wanted) is wanted


def test_without_a_source_init_pictures_stay() -> None:
    wanted = img2img(init_images=(drawn(),))
    hook = _hook(img=None, swap_in_source=True)
    assert hook.before_job(wanted) is wanted
    assert hook.finish(drawn()).told == {"Roop": "not swapped: no source picture"}


def test_a_job_that_is_interrupted_swaps_one_face_a_picture() -> None:
    workshop = fake()
    workshop.faces[DRAWN] = [face(20, 20), face(40, 40)]
    workshop.stopped = lambda: True
    args = Args(img=source(), enable=True, faces_index="0,1", face_restorer_name="None")
    hook = begin(workshop.host(), txt2img(), args)
    assert isinstance(hook, Roop)
    touched = hook.finish(drawn())
    assert touched.image.getpixel((20, 20)) == RED
    assert touched.image.getpixel((40, 40)) != RED
    assert str(touched.told["Roop"]).endswith("interrupted")


def test_what_is_told_is_read_back_from_an_infotext() -> None:
    hook = _hook(faces_index='0,"x\\",y: z')
    told = hook.finish(drawn()).told
    fields = {"Steps": 20, "Sampler": "Euler", "Seed": 1, "Size": "64x64", **told}
    assert infotext.parse(infotext.write("a prompt", "", fields))["Roop"] == told["Roop"]
