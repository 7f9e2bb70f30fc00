"""The scripts of a stock webui: known by title, told of as the reference tells of them."""

from server.stock_scripts import STOCK_SCRIPTS

from .test_names import NAMES


def test_titles() -> None:
    assert [each.title for each in STOCK_SCRIPTS if each.listed] == [
        "extra options",
        "Hypertile",
        "soft inpainting",
        "refiner",
        "sampler",
        "seed",
    ]
    assert [each.title for each in STOCK_SCRIPTS if not each.described] == ["Hypertile", "comments"]
    assert [each.title for each in STOCK_SCRIPTS if "txt2img" not in each.modes] == [
        "soft inpainting"
    ]


def test_arguments_name_what_there_is() -> None:
    args = {each.title: each.args(NAMES) for each in STOCK_SCRIPTS}
    assert args["refiner"][1]["choices"] == ("one [1111111111]",)
    assert (args["sampler"][1]["value"], args["sampler"][2]["value"]) == ("DPM++ 2M", "Automatic")
    assert [each["label"] for each in args["seed"]][:2] == ["Seed", "Extra"]
    assert args["soft inpainting"][3] == {
        "label": "Transition contrast boost",
        "value": 4,
        "minimum": 1,
        "maximum": 32,
        "step": 0.5,
        "choices": None,
    }
