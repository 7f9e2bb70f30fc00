"""Switch upon switch, memory stays what it was; tests/bench/test_swap.py has the long form."""

import subprocess
import sys
from pathlib import Path

import pytest

SWITCHES = 42
SETTLED = 18
MOST = 1.06


@pytest.mark.slow
def test_memory_does_not_grow_from_switch_to_switch(tmp_path: Path) -> None:
    """Each lap over the three checkpoints takes some 35 MB of weights: kept, two would show."""
    command = [sys.executable, "-m", "tests.models.soaking", str(tmp_path), str(SWITCHES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory = [int(line) for line in done.stdout.splitlines() if line.isdecimal()]
    assert len(memory) == SWITCHES
    assert max(memory[-9:]) <= MOST * max(memory[SETTLED - 9 : SETTLED])
