"""The house keeps its shape: import roots, doors that the linters cannot see, and sizes."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("server", "pipelines", "extensions", "models")
FILE_LINES = 400
FUNCTION_LINES = 60
TOO_LONG: frozenset[str] = frozenset()
"""Files and functions allowed to be longer; it only shrinks."""
BROAD_EXCEPT = ("pipelines/apart.py", "extensions/registry.py")
"""What the engine attempts for a job, and around a hook: one broad except each."""
BROUGHT = {"starlette": "fastapi", "pydantic_core": "pydantic", "anyio": "fastapi"}
"""Packages that another one of ours hands out as a part of itself."""
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter"}


def sources(*rooms: str) -> Iterator[tuple[str, str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text("utf-8")
            yield path.relative_to(ROOT).as_posix(), text, ast.parse(text)


def tracked() -> list[Path]:
    """Every file of the checkout that git knows or would take; all text files without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [path for path in ROOT.iterdir() if path.is_file()]
    return [path for name in run.stdout.split("\0") if (path := ROOT / name).is_file()]


def named(path: str, node: ast.AST) -> str:
    return f"{path}:{getattr(node, 'name', '') or getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_the_folder_of_its_name(room: str) -> None:
    spec = importlib.util.find_spec(room)
    assert spec is not None
    assert spec.origin == str(ROOT / room / "__init__.py")


def test_no_other_distribution_brings_a_package_of_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {owner for room in ROOMS for owner in owners.get(room, [])} <= {"darkroom"}


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_package_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = project["dependencies"]
    for extra, names in project["optional-dependencies"].items():
        declared += [] if extra == "dev" else names
    known = {re.split(r"[^A-Za-z0-9_.-]", name)[0].lower().replace("_", "-") for name in declared}
    owners = importlib.metadata.packages_distributions()
    for path, _, tree in sources(*ROOMS):
        for package in third_party(tree):
            package = BROUGHT.get(package, package)
            names = {name.lower().replace("_", "-") for name in owners.get(package, [package])}
            assert names & known, f"{path} imports {package}"


def third_party(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        for module in modules:
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ROOMS:
                yield top


def test_absolute_imports_are_doors_between_rooms() -> None:
    found = [
        named(path, node)
        for path, _, tree in sources(*ROOMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.level == 0
        and top_of(node) == path.partition("/")[0]
    ]
    assert found == [], "within a room, imports are relative"


def test_nothing_changes_at_module_level() -> None:
    """A table is annotated as read-only (Mapping, Sequence, ...), and mypy holds it to that."""
    assert [place for path, _, tree in sources(*ROOMS) for place in changeable(path, tree)] == []


def changeable(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield named(path, node)
    for statement in tree.body:
        match statement:
            case ast.Assign(value=value, targets=[ast.Name(id=name)]):
                pass
            case ast.AnnAssign(annotation=annotation) if is_read_only(annotation):
                continue
            case ast.AnnAssign(value=ast.expr() as value, target=ast.Name(id=name)):
                pass
            case _:
                continue
        called = value.func if isinstance(value, ast.Call) else None
        made = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name != "__all__" and (isinstance(value, MUTABLE) or made in MUTABLE_CALLS):
            yield f"{path}:{name}"


def is_read_only(annotation: ast.expr) -> bool:
    outer = ast.unparse(annotation).partition("[")[0]
    return outer in {"Mapping", "Sequence", "Collection", "AbstractSet"}


def test_files_and_functions_stay_short() -> None:
    long = {place for path, text, tree in sources(*ROOMS) for place in lengthy(path, text, tree)}
    assert long == TOO_LONG


def lengthy(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    if text.count("\n") > FILE_LINES:
        yield path
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield named(path, node)


def test_a_broad_except_stands_in_two_places() -> None:
    found = [
        path
        for path, _, tree in sources(*ROOMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type)
    ]
    assert set(found) <= set(BROAD_EXCEPT)
    assert len(found) == len(set(found)), "one each"


def is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(is_broad(part) for part in caught.elts)
    return caught is None or ast.unparse(caught) in {"Exception", "BaseException"}


def test_own_modules_are_not_imported_within_functions() -> None:
    found = [
        named(path, inner)
        for path, _, tree in sources(*ROOMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and (inner.level or top_of(inner) in ROOMS)
    ]
    assert found == []


def top_of(node: ast.ImportFrom) -> str:
    return (node.module or "").partition(".")[0]


def test_the_server_starts_without_torch() -> None:
    program = (
        "import sys, server.__main__;"
        "print(*sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile(rb"(?:pypi|pythonhosted|pytorch|npmjs|jsdelivr|unpkg)\.(?:org|com|net)")
    # a link to documentation is not a place to install from
    paths = [path for path in tracked() if path.stat().st_size < 2**20 and path.suffix != ".md"]
    found = [path for path in paths if hosts.search(path.read_bytes())]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def test_only_weights_are_large() -> None:
    size = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    large = {name for name in size if size[name] > 4 * 2**20}
    assert {name for name in large if not name.endswith(".safetensors")} == set()
    models = {name: size[name] for name in large if name.startswith("models/")}
    assert set(models) == {
        "models/demo/darkroom-demo.safetensors",
        "models/demo/darkroom-demo-inpainting.safetensors",
    }
    assert max(models.values()) <= 20_000_000
