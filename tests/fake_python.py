"""Stands for an interpreter and its pip in the tests of launch.sh; run as a program.

It writes each call to the file `$FAKE_LOG`, makes environments that hold itself, and leaves to the
real interpreter what needs one. `$FAKE_*` say how the machine behaves.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def log(argv: list[str]) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([str(Path.cwd()), *argv]) + "\n")


def main() -> int:
    argv = [word for word in sys.argv[1:] if word != "-P"]
    match argv:
        case ["-c", program, *_] if "version_info" in program:
            return int("FAKE_OLD" in os.environ)
        case ["-c", program, *_] if "ensurepip" in program:
            return int("FAKE_NO_ENSUREPIP" in os.environ)
        case ["-c", _, "torch" | "onnxruntime" | "opencv-python" | "rembg" as package]:
            sys.stdout.write(os.environ.get(f"FAKE_{package.upper().replace('-', '_')}", ""))
            return 0
        case ["-c", "import cv2" | "import rembg" as program]:
            broken = os.environ.get("FAKE_BROKEN") == program.split()[1]
            log(["-c", program])
            return int(broken)
        case ["-c", *_] | ["-m", "server.settings", *_]:
            return subprocess.call([sys.executable, *sys.argv[1:]])
        case ["--version"]:
            sys.stdout.write("Python 3.13.0")
            return 0
    log(argv)
    match argv:
        case ["-m", "venv", *_, folder]:
            (Path(folder) / "bin").mkdir(parents=True)
            (Path(folder) / "pyvenv.cfg").touch()
            shutil.copy(__file__, Path(folder) / "bin" / "python")
        case ["-m", "pip", "--version"]:
            return int("FAKE_NO_PIP" in os.environ)
        case ["-m", "pip", *words] if "--dry-run" in words:
            sys.stdout.write(os.environ.get("FAKE_REPORT", '{"requires_dist": ["sympy"]}'))
        case ["-m", "pip", *words] if os.environ.get("FAKE_PIP_FAILS", "-") in words:
            return 1
        case ["-m", "pytest", *_]:
            sys.stdout.write(os.environ["OMP_NUM_THREADS"])
        case ["-m", "server", *_] if Path("/proc/self/fd/9").exists():
            sys.stderr.write("the lock is still held")
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
