"""How live previews are drawn by the settings."""

from typing import Any

import pytest

from pipelines.watch import ONLY_FINISHED
from server.options import Options
from server.progress import preview_content, preview_settings


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (10, "Approx NN")),
        ({"show_progress_every_n_steps": 3, "show_progress_type": "TAESD"}, (3, "TAESD")),
        ({"show_progress_every_n_steps": 0, "show_progress_type": "Full"}, (1, "Full")),
        ({"show_progress_every_n_steps": -1}, (ONLY_FINISHED, "Approx NN")),
        ({"show_progress_type": "Approx cheap"}, (10, "Approx cheap")),
        ({"show_progress_type": "no such"}, (10, "Full")),
        ({"live_previews_enable": False}, (0, "Approx NN")),
        ({"live_previews_enable": False, "show_progress_every_n_steps": -1}, (0, "Approx NN")),
    ],
)
def test_previews_follow_their_settings(settings: dict[str, Any], wanted: tuple[int, str]) -> None:
    options, _ = Options.defaults().with_overrides(settings)
    assert preview_settings(options) == wanted


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, "Prompt"),
        ({"live_preview_content": "Negative prompt"}, "Negative prompt"),
        ({"live_preview_content": "Combined"}, "Combined"),
        ({"live_preview_content": "no such"}, "Combined"),
    ],
)
def test_what_previews_show_is_a_setting(settings: dict[str, Any], wanted: str) -> None:
    options, _ = Options.defaults().with_overrides(settings)
    assert preview_content(options) == wanted
