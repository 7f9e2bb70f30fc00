"""Stages of the start are measured, also those that fail."""

import time

import pytest

from server.profile import StartupProfile


def test_stages_and_their_total() -> None:
    profile = StartupProfile()
    assert (profile.total, profile.stages) == (0.0, {})
    with profile.stage("first"):
        time.sleep(0.02)
    time.sleep(0.02)
    with profile.stage("second"), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError
    assert list(profile.stages) == ["first", "second"]
    assert profile.stages["first"] >= 0.02 > profile.stages["second"] >= 0.0
    assert profile.total >= 0.04


def test_a_stage_that_fails_is_measured() -> None:
    profile = StartupProfile()
    with pytest.raises(ZeroDivisionError), profile.stage("only"):
        raise ZeroDivisionError
    assert list(profile.stages) == ["only"]
