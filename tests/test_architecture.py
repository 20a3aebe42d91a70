"""The rules of the house: who imports whom, how long a file is, what it tells of itself, and who may name a cell."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recurra import cells, wrappers

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "recurra"
FILES = sorted(SOURCE.rglob("*.py"))
MAY_NAME_CELLS = {"layers", "tasks", "cli", "testing", "cells", "wrappers"}
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

each_file = pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def test_import_contracts() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_file
def test_file_has_one_idea_and_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@each_file
def test_all_lists_what_is_public_and_nothing_else(file: Path) -> None:
    tree = tree_of(file)
    defined = {node.name for node in tree.body if isinstance(node, Documented) and not node.name.startswith("_")}
    listed: list[str] | None = None
    known: set[str] = set(defined)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                listed = ast.literal_eval(value)
            case ast.Assign(targets=targets):
                known |= {t.id for t in targets if isinstance(t, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                known.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                known |= {alias.asname or alias.name for alias in names}
            case _:
                pass
    if not tree.body[1:]:
        return
    assert listed is not None, "a module without __all__"
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert not defined - set(listed), "public, but not in __all__"
    assert not set(listed) - known, "in __all__, but not in the module"


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Yield every public class, function and method of a module."""
    for child in node.body:
        if isinstance(child, Documented) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{child.name}.")


def contract_methods() -> set[str]:
    """Return the methods whose meaning `Cell`, `Wrapper` and torch have documented once for all that define them."""
    tree = tree_of(SOURCE / "core" / "cell.py")
    documented = {name.split(".")[1] for name, node in public(tree) if "." in name and ast.get_docstring(node)}
    return documented | {"step", "extra_repr", "forward"}


@each_file
def test_everything_public_has_a_docstring(file: Path) -> None:
    tree = tree_of(file)
    assert ast.get_docstring(tree), "the module"
    inherited = contract_methods()
    bare = [
        name
        for name, node in public(tree)
        if not ast.get_docstring(node) and not ("." in name and node.name in inherited)
    ]
    assert not bare


@each_file
def test_only_some_rooms_name_a_cell(file: Path) -> None:
    if file.relative_to(SOURCE).parts[0] in MAY_NAME_CELLS:
        return
    names = {*cells.names(), *wrappers.names()}
    said = [n.value for n in ast.walk(tree_of(file)) if isinstance(n, ast.Constant) and n.value in names]
    assert not said


@each_file
def test_cells_and_wrappers_know_the_core_only(file: Path) -> None:
    if file.relative_to(SOURCE).parts[0] not in ("cells", "wrappers"):
        return
    imported = {n.module for n in ast.walk(tree_of(file)) if isinstance(n, ast.ImportFrom) and n.module}
    imported |= {a.name for n in ast.walk(tree_of(file)) if isinstance(n, ast.Import) for a in n.names}
    assert not [m for m in imported if m.split(".")[0] == "recurra" and not m.startswith("recurra.core")]


@each_file
def test_there_is_no_pickle(file: Path) -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree_of(file)):
        match node:
            case ast.Import(names=names):
                assert not forbidden & {a.name.split(".")[0] for a in names}
            case ast.ImportFrom(module=str(module)):
                assert module.split(".")[0] not in forbidden
            case ast.Attribute(value=ast.Name(id="torch"), attr=attr):
                assert attr not in ("save", "load")
            case _:
                pass


def test_there_is_no_utils() -> None:
    assert not [f for f in FILES if f.stem in ("utils", "helpers", "misc", "common")]


def test_importing_recurra_loads_nothing_heavy_beyond_torch() -> None:
    """Pictures, the command line and compilers are loaded where they are used."""
    heavy = ("matplotlib", "rich", "typer", "click", "torch._dynamo", "torch._inductor", "sympy", "sklearn", "onnx")
    heavy = tuple(name for name in heavy if name.startswith("torch.") or importlib.util.find_spec(name))
    assert not _loaded(heavy, "recurra") - _loaded(heavy, "torch")


def _loaded(names: tuple[str, ...], module: str) -> set[str]:
    """Tell which of some modules a fresh Python has loaded after importing one."""
    code = f"import sys, {module}; print(*[m for m in {names!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
