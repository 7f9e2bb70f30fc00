"""What a caption can be asked to be."""

import pytest

from models.captioning.wording import BadWording, Wording


@pytest.mark.parametrize(
    ("wording", "reason"),
    [
        (Wording(beams=0), "num_beams is 0; allowed are 1 to 16"),
        (Wording(beams=17), "num_beams is 17"),
        (Wording(shortest=0), "min_length is 0; allowed are 1 to 128"),
        (Wording(shortest=1, longest=4), "max_length is 4; allowed are 5 to 100"),
        (Wording(longest=101), "max_length is 101; allowed are 5 to 100"),
        (Wording(shortest=30, longest=20), "min_length is 30; .*_max_length, which is 20"),
    ],
)
def test_what_cannot_be_is_named_with_what_can(wording: Wording, reason: str) -> None:
    with pytest.raises(BadWording, match=reason):
        wording.check(100)


def test_the_defaults_and_the_limits_are_allowed() -> None:
    Wording().check(512)
    Wording(beams=16, shortest=128, longest=256).check(512)
    with pytest.raises(BadWording, match="5 to 256"):
        Wording(longest=257).check(512)
