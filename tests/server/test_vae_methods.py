from pathlib import Path

import pytest

from models.approx_files import NO_APPROXIMATIONS, ApproxFiles, Approximations
from server.options import Options
from server.vae_methods import vae_methods

ALL: Approximations = {
    "SD1": ApproxFiles(taesd_decoder=Path("d"), taesd_encoder=Path("e")),
    "SDXL": ApproxFiles(network=Path("n")),
}


def methods(decode: str, encode: str, files: Approximations) -> tuple[str, str, int]:
    changes = {"sd_vae_decode_method": decode, "sd_vae_encode_method": encode}
    found, warnings = vae_methods(Options.defaults().with_overrides(changes)[0], files)
    return found.decode, found.encode, len(warnings)


@pytest.mark.parametrize(
    ("decode", "encode", "expected"),
    [
        ("Full", "Full", ("Full", "Full", 0)),
        ("TAESD", "TAESD", ("TAESD", "TAESD", 0)),
        ("Approx NN", "Approx NN", ("Approx NN", "Full", 0)),
        ("Approx cheap", "Approx cheap", ("Approx cheap", "Full", 0)),
        ("Approximation", "taesd", ("Full", "Full", 0)),
    ],
)
def test_names_are_the_references(decode: str, encode: str, expected: tuple[str, str, int]) -> None:
    assert methods(decode, encode, ALL) == expected


def test_absent_weights_cost_a_warning_each() -> None:
    assert methods("TAESD", "TAESD", NO_APPROXIMATIONS) == ("Full", "Full", 2)
    assert methods("Approx NN", "Full", NO_APPROXIMATIONS) == ("Full", "Full", 1)
    assert methods("Approx cheap", "Full", NO_APPROXIMATIONS) == ("Approx cheap", "Full", 0)
