#!/usr/bin/env bash
# Darkroom on a fresh machine:
#   ./launch.sh [flags]             install if need be, then start the server
#   ./launch.sh test [pytest args]  run the tests
#   ./launch.sh install             install and stop
#   ./launch.sh --help              list the flags
# Environment: PYTHON= interpreter, VENV= virtual environment (.venv), EXTRAS= the extras of pyproject.toml
# (face,upscalers; set and empty for a server without them), TORCH_INDEX_URL= package index that torch comes from.
set -euo pipefail

CUDA_DRIVER=580 # the oldest NVIDIA driver that runs the CUDA 13 of torch's default Linux build
CPU_GB=4
CUDA_GB=9
EXTRAS=${EXTRAS-face,upscalers}

here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
venv=${VENV:-$here/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
stamp=$venv/.darkroom
torch=$(sed -n 's/.*"torch==\([^"]*\)".*/\1/p' "$here/pyproject.toml")

say() { printf 'launch.sh: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# pyenv's shims and broken links are found by name and fail when run, so a candidate is asked, not looked up
python_fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    python_fits "$PYTHON" || die "PYTHON=$PYTHON is not a Python from 3.11 to 3.13"
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    if python_fits "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "no Python from 3.11 to 3.13 found (on Debian or Ubuntu: apt install python3 python3-venv); PYTHON=/path/to/python names one"
}

pip_() { "$venv/bin/python" -P -m pip --disable-pip-version-check --no-input "$@"; }

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }

installed_version() {
  "$venv/bin/python" -c 'import sys
from importlib.metadata import PackageNotFoundError, version
try:
    print(version(sys.argv[1]))
except PackageNotFoundError:
    pass' "$1"
}

# what the environment must hold; the install is made again when this changes
wanted() {
  local gpu=no
  command -v nvidia-smi >/dev/null && gpu=yes
  printf 'pyproject=%s torch=%s index=%s nvidia-smi=%s root=%s extras=%s\n' \
    "$(cksum <"$here/pyproject.toml")" "$torch" "${TORCH_INDEX_URL:-}" "$gpu" "$here" "$1"
}

is_installed() {
  [[ -x $venv/bin/python && -f $stamp ]] || return 1
  local found
  found=$(<"$stamp")
  # an environment that has the test tools too serves as well
  [[ $found == "$(wanted "$1")" || $found == "$(wanted "$(join_extras "$1" dev)")" ]]
}

join_extras() { printf '%s\n' "${1:+$1,}$2"; }

check_disk() {
  local folder=$venv free_kb
  while [[ ! -d $folder ]]; do folder=$(dirname -- "$folder"); done
  free_kb=$(df -Pk -- "$folder" | awk 'NR == 2 { print $4 }')
  [[ $free_kb =~ ^[0-9]+$ ]] || return 0
  ((free_kb >= $1 * 1024 * 1024)) ||
    die "not enough disk: $folder has $((free_kb / 1024)) MB free, the install needs about $1 GB; VENV=/other/disk/venv puts it elsewhere"
}

make_venv() {
  local python=$1
  if [[ -x $venv/bin/python ]] && python_fits "$venv/bin/python" && pip_ --version >/dev/null 2>&1; then
    return
  fi
  if [[ ! -f $venv/pyvenv.cfg && -n $(find "$venv" -mindepth 1 ! -name .lock -print -quit) ]]; then
    die "VENV=$venv holds something that is not a virtual environment; name another folder"
  fi
  say "making $venv with $("$python" --version)"
  if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    "$python" -m venv "$venv" || die "could not make $venv"
  elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian's python3 without python3-venv, but with python3-pip
    "$python" -m venv --without-pip "$venv" || die "could not make $venv"
    "$python" -m pip --python "$venv/bin/python" install -q pip || die "could not put pip into $venv"
  else
    die "$python cannot make virtual environments (on Debian or Ubuntu: apt install python3-venv)"
  fi
}

# pip's own settings decide which build `torch` means; on a bare host it is the CUDA build, GPU or not
would_bring_cuda() {
  pip_ install -q --dry-run --no-deps --ignore-installed --report - "torch==$torch" 2>/dev/null |
    grep -Eq '"(nvidia|cuda)-'
}

install_torch() {
  local found driver
  found=$(installed_version torch)
  if [[ $found == "$torch" || $found == "$torch"+* ]]; then
    if [[ $found == *+cpu ]] && has_gpu; then
      say "torch $found is in $venv although there is a GPU; 'pip uninstall torch' there and './launch.sh install' replace it"
    fi
    return
  fi
  if [[ -n ${TORCH_INDEX_URL:-} ]]; then
    pip_ install "torch==$torch" --index-url "$TORCH_INDEX_URL" || die "could not install torch $torch from TORCH_INDEX_URL"
    return
  fi
  if has_gpu; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
    if [[ ${driver%%.*} =~ ^[0-9]+$ ]] && ((${driver%%.*} < CUDA_DRIVER)); then
      die "the NVIDIA driver $driver is too old for torch's CUDA 13 build ($CUDA_DRIVER is needed); set TORCH_INDEX_URL to an index of CUDA 12 builds"
    fi
    check_disk "$CUDA_GB"
  elif would_bring_cuda; then
    say "there is no NVIDIA GPU, but pip would install torch's CUDA build, some 5 GB larger; set TORCH_INDEX_URL to an index of CPU builds to avoid it"
    check_disk "$CUDA_GB"
  fi
  pip_ install "torch==$torch" || die "could not install torch $torch (pip's message is above)"
}

# nvidia's images say by a variable what they are, though there is no GPU while one is built from them
is_for_gpu() { has_gpu || [[ ${NVIDIA_VISIBLE_DEVICES:-void} != @(void|none) ]]; }

# Both packages fill the same folder, and the CPU one wins where pip has put both
swap_onnxruntime() {
  local wanted_gpu
  [[ -n $(installed_version onnxruntime) ]] && is_for_gpu || return 0
  case $(installed_version torch) in
    *+cpu) return ;;
    *+cu1[0-2]*)
      say "onnxruntime's GPU build is for CUDA 13, torch here for an older one: faces and backgrounds are left to the CPU"
      return
      ;;
  esac
  wanted_gpu=$("$venv/bin/python" -c 'import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(tomllib.load(file)["project"]["optional-dependencies"]["gpu"][0])' "$here/pyproject.toml")
  pip_ uninstall -q -y onnxruntime onnxruntime-gpu
  pip_ install -q --no-deps "$wanted_gpu" || die "could not install $wanted_gpu"
}

# opencv-python draws windows by libraries that a server may lack and only root can add; its twin does without
swap_opencv() {
  local found
  found=$(installed_version opencv-python)
  [[ -n $found ]] || return 0
  "$venv/bin/python" -P -c 'import cv2' >/dev/null 2>&1 && return
  pip_ uninstall -q -y opencv-python opencv-python-headless
  pip_ install -q --no-deps "opencv-python-headless==$found" || die "could not install opencv-python-headless $found"
}

# numba compiles at rembg's first import, which takes up to a minute, and keeps the result
compile_rembg() {
  [[ -n $(installed_version rembg) ]] || return 0
  say "compiling for rembg"
  "$venv/bin/python" -P -c 'import rembg' >/dev/null 2>&1 ||
    say "rembg cannot be imported: '$venv/bin/python -c \"import rembg\"' tells why"
}

# install PYTHON EXTRAS [again]
install() {
  local python=$1 extras=$2 again=${3:-}
  mkdir -p -- "$venv" 2>/dev/null || die "cannot create $venv; VENV=/another/folder puts it elsewhere"
  [[ -w $venv ]] || die "cannot write to $venv; VENV=/another/folder puts it elsewhere"
  if command -v flock >/dev/null; then
    exec 9>"$venv/.lock"
    flock -n 9 || {
      say "another launch.sh is installing into $venv; waiting for it"
      flock 9
    }
  fi
  if [[ -z $again ]] && is_installed "$extras"; then
    exec 9>&-
    return
  fi
  rm -f -- "$stamp"
  check_disk "$CPU_GB"
  make_venv "$python"
  install_torch
  say "installing darkroom${extras:+ with $extras}; this takes a few minutes"
  (cd -- "$here" && pip_ install -q -e ".${extras:+[$extras]}") || die "could not install darkroom (pip's message is above)"
  swap_onnxruntime
  swap_opencv
  compile_rembg
  wanted "$extras" >"$stamp"
  exec 9>&- # the server must not hold the lock
}

ensure_installed() {
  is_installed "$1" && return
  local python
  python=$(find_python)
  install "$python" "$1"
}

# Arguments that need no install to answer: --help, and flags that cannot be followed. The settings
# are standard library only, so any Python that fits can read them.
check_flags() {
  local python=$venv/bin/python argument
  [[ -x $python ]] && python_fits "$python" || python=$(find_python)
  PYTHONPATH=$here "$python" -P -m server.settings "$@"
  for argument in "$@"; do
    [[ $argument != --help && $argument != -h ]] || exit 0
  done
}

serve() {
  local argument arguments=()
  for argument in "$@"; do
    # webui.sh's own flag: run as root
    [[ $argument == -f ]] || arguments+=("$argument")
  done
  check_flags "${arguments[@]}"
  ensure_installed "$EXTRAS"
  # not by a change of folder: relative paths among the flags are the caller's
  PYTHONPATH=$here exec "$venv/bin/python" -P -m server "${arguments[@]}"
}

run_tests() {
  ensure_installed "$(join_extras "$EXTRAS" dev)"
  cd -- "$here"
  # a worker a core, each with what it alone needs; whole files, for what their tests share, in their order:
  # xdist's own takes those of few tests last, and these are the slowest
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  exec "$venv/bin/python" -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
}

case ${1-} in
  install)
    base_python=$(find_python)
    install "$base_python" "$EXTRAS" again
    ;;
  test) run_tests "${@:2}" ;;
  *) serve "$@" ;;
esac
