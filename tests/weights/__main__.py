"""`python -m tests.weights`: brings the real parts, then runs the tests that need them."""

import os
import subprocess
import sys
from pathlib import Path

from .fetch import main

status = main([])
if status == 0:
    tests = [sys.executable, "-m", "pytest", "-m", "weights", str(Path(__file__).parent)]
    status = subprocess.call([*tests, *sys.argv[1:]], env=os.environ)
sys.exit(status)
