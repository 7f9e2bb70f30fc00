"""launch.sh, run with an interpreter that only writes down what it is asked (fake_python.py)."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CI = ROOT / ".ci" / "run"
TOOLS = "awk bash cat cksum df dirname env find flock grep head mkdir readlink rm sed"
SERVER = "-e .[face,upscalers]"
CUDA_REPORT = '{"requires_dist": ["sympy", "nvidia-cublas>=13; platform_system == \'Linux\'"]}'


@dataclass(slots=True, kw_only=True)
class Machine:
    """A checkout and a PATH of its own; `calls` are those of Python, oldest first."""

    home: Path
    repo: Path
    environ: dict[str, str] = field(default_factory=dict)

    def launch(self, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.repo / "launch.sh"), *argv],
            cwd=self.home,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )

    def program(self, name: str, text: str) -> None:
        path = self.home / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n", "utf-8")
        path.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        log = self.home / "log"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return [json.loads(line)[1:] for line in lines]

    @property
    def installs(self) -> list[str]:
        """What pip was asked to install, in order."""
        return [
            " ".join(words[words.index("install") + 1 :]).removeprefix("-q ")
            for _, module, *words in self.calls
            if module == "pip" and "install" in words and "--dry-run" not in words
        ]

    def forget(self) -> None:
        (self.home / "log").unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    repo = tmp_path / "a house"
    (repo / "server").mkdir(parents=True)
    for name in ("launch.sh", "pyproject.toml", *(f"server/{stem}.py" for stem in STEMS)):
        shutil.copy(ROOT / name, repo / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    fake = (ROOT / "tests" / "fake_python.py").read_text("utf-8")
    # without the packages installed, which it does not need: a test starts it a dozen times
    (tools / "python3.13").write_text(f"#!{sys.executable} -S\n{fake}", "utf-8")
    (tools / "python3.13").chmod(0o755)
    environ = {"PATH": str(tools), "HOME": str(tmp_path), "FAKE_LOG": str(tmp_path / "log")}
    return Machine(home=tmp_path, repo=repo, environ=environ)


STEMS = ("__init__", "settings", "flags")


def refused(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert run.stdout == ""
    return run.stderr.splitlines()[-1].removeprefix("launch.sh: ")


def test_the_first_start_installs_and_serves(machine: Machine) -> None:
    run = machine.launch("--port", "80", "-f", "--ckpt", "a b")
    assert (run.returncode, run.stdout) == (0, "")
    assert machine.calls[0] == ["-m", "venv", str(machine.repo / ".venv")]
    assert machine.installs == ["torch==2.13.0", SERVER]
    assert machine.calls[-1] == ["-m", "server", "--port", "80", "--ckpt", "a b"]


def test_the_second_start_only_serves(machine: Machine) -> None:
    machine.launch()
    machine.forget()
    machine.launch("-f", "--api", "-f")
    assert machine.calls == [["-m", "server", "--api"]]


def test_a_change_of_pyproject_installs_again(machine: Machine) -> None:
    machine.launch()
    with (machine.repo / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    machine.forget()
    assert machine.launch().returncode == 0
    assert machine.installs == ["torch==2.13.0", SERVER]
    assert not any("venv" in call for call in machine.calls), "the environment is kept"


def test_relative_paths_stay_the_callers(machine: Machine) -> None:
    machine.launch("--ckpt", "mine.safetensors")
    last = json.loads((machine.home / "log").read_text("utf-8").splitlines()[-1])
    assert last[0] == str(machine.home)


def test_tests_bring_the_dev_extra_and_run_in_the_checkout(machine: Machine) -> None:
    run = machine.launch("test", "-k", "a b")
    assert run.returncode == 0
    assert machine.installs[-1] == "-e .[face,upscalers,dev]"
    last = json.loads((machine.home / "log").read_text("utf-8").splitlines()[-1])
    shared = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    assert last == [str(machine.repo), "-m", "pytest", *shared, "-k", "a b"]
    machine.forget()
    machine.launch("--api")
    assert machine.calls == [["-m", "server", "--api"]], "dev holds all that serving needs"


def test_each_worker_of_the_tests_computes_with_one_thread(machine: Machine) -> None:
    assert machine.launch("test").stdout == "1"
    assert machine.launch("test", OMP_NUM_THREADS="3").stdout == "3"


def test_an_environment_for_serving_is_not_enough_for_tests(machine: Machine) -> None:
    machine.launch()
    machine.launch("test")
    assert machine.installs[-1] == "-e .[face,upscalers,dev]"


def test_install_stops_after_installing_and_takes_extras(machine: Machine) -> None:
    for _ in range(2):
        machine.launch("install", EXTRAS="face,cluster")
        assert machine.installs[-1] == "-e .[face,cluster]"
        assert not any("server" in call for call in machine.calls)
    assert len(machine.installs) == 4, "asked for by name, it is made again"


def test_extras_that_are_set_and_empty_leave_the_server_bare(machine: Machine) -> None:
    machine.launch(EXTRAS="")
    assert machine.installs[-1] == "-e ."
    machine.forget()
    machine.launch(EXTRAS="")
    assert machine.calls == [["-m", "server"]]
    machine.launch("test", EXTRAS="")
    assert machine.installs[-1] == "-e .[dev]"
    machine.launch()
    assert machine.installs[-1] == SERVER, "unset, they are the usual ones"


def test_the_install_of_ci_serves_its_tests(machine: Machine) -> None:
    stage = next(line for line in CI.read_text("utf-8").splitlines() if "EXTRAS=" in line)
    extras = stage.split("EXTRAS=")[1].split()[0]
    machine.launch("install", EXTRAS=extras)
    machine.forget()
    machine.launch("test")
    assert machine.installs == []


def test_what_rembg_compiles_is_compiled_by_the_install(machine: Machine) -> None:
    run = machine.launch("install", FAKE_REMBG="2.0.86")
    assert machine.calls[-1] == ["-c", "import rembg"]
    assert "cannot be imported" not in run.stderr
    machine.forget()
    machine.launch()
    assert [call[0] for call in machine.calls] == ["-m"], "once"


def test_a_rembg_that_cannot_be_imported_is_said(machine: Machine) -> None:
    run = machine.launch(FAKE_REMBG="2.0.86", FAKE_BROKEN="rembg")
    assert "launch.sh: rembg cannot be imported" in run.stderr
    assert machine.calls[-1] == ["-m", "server"], "the rest serves"


def test_opencv_that_cannot_be_imported_gives_way_to_its_twin(machine: Machine) -> None:
    run = machine.launch("install", FAKE_OPENCV_PYTHON="5.0.0.93", FAKE_BROKEN="cv2")
    assert run.returncode == 0
    assert machine.calls[-2][-4:] == ["-q", "-y", "opencv-python", "opencv-python-headless"]
    assert machine.installs[-1] == "--no-deps opencv-python-headless==5.0.0.93"
    machine.launch("install", FAKE_OPENCV_PYTHON="5.0.0.93")
    assert machine.installs[-1] == SERVER


def test_help_installs_nothing(machine: Machine) -> None:
    run = machine.launch("--help")
    assert run.returncode == 0
    assert "--medvram" in run.stdout
    assert "./launch.sh test" in run.stdout
    assert machine.calls == []
    assert not (machine.repo / ".venv").exists()


def test_a_misspelt_flag_installs_nothing(machine: Machine) -> None:
    run = machine.launch("--api", "--medvrm")
    assert run.returncode == 2
    assert run.stderr == "darkroom: unknown flag --medvrm; did you mean --medvram?\n"
    assert machine.calls == []


def test_a_failed_install_is_said_and_tried_again(machine: Machine) -> None:
    run = machine.launch(FAKE_PIP_FAILS="-e")
    assert refused(run) == "could not install darkroom (pip's message is above)"
    assert machine.calls[-1][1] == "pip"
    machine.forget()
    assert machine.launch().returncode == 0
    assert machine.installs[-1] == SERVER


def test_venv_is_honoured(machine: Machine) -> None:
    machine.launch(VENV="else where")
    assert machine.calls[0] == ["-m", "venv", str(machine.home / "else where")]
    assert not (machine.repo / ".venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(machine: Machine) -> None:
    (machine.home / "mine").mkdir()
    (machine.home / "mine" / "letter.txt").touch()
    message = refused(machine.launch(VENV=str(machine.home / "mine")))
    assert message.endswith("is not a virtual environment; name another folder")
    assert machine.calls == []


def test_python_is_honoured(machine: Machine) -> None:
    (machine.home / "bin" / "python3.13").rename(machine.home / "my python")
    assert machine.launch(PYTHON=str(machine.home / "my python")).returncode == 0


def test_no_python_is_said(machine: Machine) -> None:
    (machine.home / "bin" / "python3.13").unlink()
    assert "no Python from 3.11 to 3.13 found" in refused(machine.launch())


def test_an_old_python_is_said(machine: Machine) -> None:
    message = refused(machine.launch(PYTHON="python3.13", FAKE_OLD="1"))
    assert message == "PYTHON=python3.13 is not a Python from 3.11 to 3.13"


def test_debians_python_without_venv_is_said(machine: Machine) -> None:
    message = refused(machine.launch(FAKE_NO_ENSUREPIP="1", FAKE_NO_PIP="1"))
    assert message.endswith("(on Debian or Ubuntu: apt install python3-venv)")


def test_debians_python_without_venv_but_with_pip_serves(machine: Machine) -> None:
    assert machine.launch(FAKE_NO_ENSUREPIP="1").returncode == 0
    venv = str(machine.repo / ".venv")
    assert machine.calls[1] == ["-m", "venv", "--without-pip", venv]
    assert machine.installs == ["pip", "torch==2.13.0", SERVER]


def test_a_full_disk_is_said_before_anything_is_made(machine: Machine) -> None:
    machine.program("df", "echo head; echo /dev/x 9 9 1048576 9% /")
    message = refused(machine.launch())
    assert "has 1024 MB free, the install needs about 4 GB" in message
    assert machine.calls == []


def test_a_bare_host_without_gpu_is_warned_of_the_cuda_build(machine: Machine) -> None:
    run = machine.launch(FAKE_REPORT=CUDA_REPORT)
    assert run.returncode == 0
    assert "there is no NVIDIA GPU, but pip would install torch's CUDA build" in run.stderr
    assert "TORCH_INDEX_URL" in run.stderr
    assert machine.installs[0] == "torch==2.13.0"
    assert "CUDA" not in machine.launch("install").stderr, "pip's choice is the CPU build"


def test_an_index_of_torch_is_honoured(machine: Machine) -> None:
    machine.launch(TORCH_INDEX_URL="file:///mirror", FAKE_REPORT=CUDA_REPORT)
    assert machine.installs[0] == "torch==2.13.0 --index-url file:///mirror"
    machine.forget()
    machine.launch()
    assert machine.installs[0] == "torch==2.13.0", "another index is another choice of torch"


@pytest.mark.parametrize("build", ["2.13.0", "2.13.0+cpu", "2.13.0+cu128"])
def test_a_torch_that_is_there_is_left(machine: Machine, build: str) -> None:
    machine.launch(FAKE_TORCH=build)
    assert machine.installs == [SERVER]


def test_another_torch_is_replaced(machine: Machine) -> None:
    machine.launch(FAKE_TORCH="2.13.1")
    assert machine.installs == ["torch==2.13.0", SERVER]


def gpu(machine: Machine, driver: str) -> None:
    machine.program("nvidia-smi", f'[[ $1 == -L ]] && echo "GPU 0: H100" || echo {driver}')


def test_a_gpu_takes_pips_own_torch(machine: Machine) -> None:
    gpu(machine, "580.65.06")
    run = machine.launch()
    assert run.returncode == 0
    assert machine.installs == ["torch==2.13.0", SERVER]


def test_an_old_driver_is_said(machine: Machine) -> None:
    gpu(machine, "550.54")
    message = refused(machine.launch())
    assert message.startswith("the NVIDIA driver 550.54 is too old for torch's CUDA 13 build")
    assert machine.installs == []
    assert machine.launch(TORCH_INDEX_URL="file:///cu12").returncode == 0


def test_a_cpu_torch_beside_a_gpu_is_said(machine: Machine) -> None:
    gpu(machine, "580.65.06")
    run = machine.launch(FAKE_TORCH="2.13.0+cpu")
    assert "torch 2.13.0+cpu is in" in run.stderr
    assert machine.installs == [SERVER]


def test_a_broken_driver_counts_as_no_gpu(machine: Machine) -> None:
    machine.program("nvidia-smi", "exit 9")
    assert machine.launch(FAKE_ONNXRUNTIME="1.32.0").returncode == 0
    assert machine.installs == ["torch==2.13.0", SERVER]


def test_onnxruntime_is_swapped_on_a_gpu(machine: Machine) -> None:
    gpu(machine, "580.65.06")
    machine.launch("install", FAKE_ONNXRUNTIME="1.32.0", FAKE_TORCH="2.13.0")
    assert machine.installs[-1] == "--no-deps onnxruntime-gpu>=1.31,<1.32"
    removal = machine.calls[-2]
    assert removal[-4:] == ["-q", "-y", "onnxruntime", "onnxruntime-gpu"]


def test_onnxruntime_is_swapped_in_an_image_for_gpus(machine: Machine) -> None:
    machine.launch("install", FAKE_ONNXRUNTIME="1.32.0", NVIDIA_VISIBLE_DEVICES="all")
    assert machine.installs[-1] == "--no-deps onnxruntime-gpu>=1.31,<1.32"
    machine.launch("install", FAKE_ONNXRUNTIME="1.32.0", NVIDIA_VISIBLE_DEVICES="void")
    assert machine.installs[-1] == SERVER


@pytest.mark.parametrize("build", ["2.13.0+cpu", "2.13.0+cu128"])
def test_onnxruntime_stays_beside_a_torch_of_another_cuda(machine: Machine, build: str) -> None:
    gpu(machine, "580.65.06")
    run = machine.launch("install", FAKE_ONNXRUNTIME="1.32.0", FAKE_TORCH=build)
    assert machine.installs == [SERVER]
    assert ("left to the CPU" in run.stderr) == build.endswith("cu128")


def test_two_launches_install_once(machine: Machine) -> None:
    argv = [str(machine.repo / "launch.sh")]
    runs = [subprocess.Popen(argv, env=machine.environ, cwd=machine.home) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert machine.installs == ["torch==2.13.0", SERVER]
    assert [call for call in machine.calls if call[1] == "server"] == [["-m", "server"]] * 2


@pytest.mark.parametrize("script", ["launch.sh", ".ci/run"])
def test_shellcheck_finds_nothing(script: str) -> None:
    beside = Path(sys.executable).parent
    shellcheck = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    run = subprocess.run(
        [shellcheck, script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout == ""
    assert os.access(ROOT / script, os.X_OK)


def test_the_image_copies_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    words = [line.split()[2:-1] for line in lines if line.startswith("COPY ")]
    names = [name for line in words for name in line]
    assert {"pyproject.toml", "launch.sh", "server", "pipelines", "extensions", "models"} <= set(
        names
    )
    assert [name for name in names if not (ROOT / name).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert set(names) & set(ignored) == set()
