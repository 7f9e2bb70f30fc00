"""`python -m tests.weights`: brings the real parts, then runs all tests with real parts.

Those are the ones in this folder, and insightface's code on its own photograph.
"""

import subprocess
import sys
from pathlib import Path

from .fetch import main

HERE = Path(__file__).parent
TESTS = (HERE, HERE.parent / "extensions" / "roop" / "test_photograph.py")

status = main([])
if status == 0:
    command = [sys.executable, "-m", "pytest", "-m", "weights or not weights"]
    root = HERE.parent.parent
    status = subprocess.call([*command, *map(str, TESTS), *sys.argv[1:]], cwd=root)
sys.exit(status)
