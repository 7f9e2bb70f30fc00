"""How a caption is to be worded; torch-free."""

from dataclasses import dataclass

#: tokens of the words that BLIP begins with, and of their start
BEGUN = 4


class BadWording(ValueError):
    """A caption was asked for that cannot be; the message names the value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Beams of the search, and the tokens of a caption, those it begins with included."""

    beams: int = 1
    shortest: int = 24
    longest: int = 48

    def check(self, room: int) -> None:
        """Raise `BadWording` for what a model with room for `room` tokens cannot do."""
        most = min(room, 256)
        _within("interrogate_clip_num_beams", self.beams, 1, 16)
        _within("interrogate_clip_min_length", self.shortest, 1, 128)
        _within("interrogate_clip_max_length", self.longest, BEGUN + 1, most)
        if self.shortest > self.longest:
            raise BadWording(
                f"interrogate_clip_min_length is {self.shortest}; allowed are 1 to"
                f" interrogate_clip_max_length, which is {self.longest}"
            )


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadWording(f"{name} is {value}; allowed are {least} to {most}")
