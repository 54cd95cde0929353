"""What compiling costs a new installation: kernels have numba compile no more than they need.

Slices and expressions of whole arrays pull numba's own functions in, which it compiles for each shape and
type, with their error messages. Loops over scalars compile several times faster, and run as fast.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher

import recon3d.surface
import recon3d.texture

ROOT = Path(__file__).parents[1]
#: Of NumPy: functions of scalars, and their types.
SCALAR = {"sqrt", "exp", "arccos", "floor", "ceil", "isfinite"}
SCALAR |= {"float32", "float64", "int16", "int32", "int64", "uint8", "uint64"}


def _kernels(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                name = mark.func if isinstance(mark, ast.Call) else mark
                if isinstance(name, ast.Name) and name.id in ("kernel", "_compiled"):
                    yield node


def _expensive(kernel: ast.FunctionDef) -> Iterator[str]:
    for node in (found for line in kernel.body for found in ast.walk(line)):
        if isinstance(node, ast.Slice | ast.Raise | ast.JoinedStr | ast.In | ast.List | ast.Dict):
            yield type(node).__name__
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            module = owner.id if isinstance(owner, ast.Name) else ""
            if module != "math" and not (module == "np" and node.func.attr in SCALAR):
                yield ast.unparse(node.func)
        elif isinstance(node, ast.For) and not (
            isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) == "range"
        ):
            yield f"for … in {ast.unparse(node.iter)}"


def kernels() -> Iterator[tuple[str, Any]]:
    """The kernels of both packages, by their full names."""
    for package in (recon3d.surface, recon3d.texture):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, value in vars(module).items():
                if isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__:
                    yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("package", ["surface", "texture"])
def test_kernels_are_loops_over_scalars(package: str) -> None:
    compiled = [(path.name, k) for path in (ROOT / "recon3d" / package).glob("*.py") for k in _kernels(path)]
    assert len(compiled) > 15
    found = {f"{name}: {k.name}": what for name, k in compiled if (what := sorted(set(_expensive(k))))}
    assert found == {}


def test_kernels_count_no_references() -> None:
    """None makes an array; numba would count the references to those that it is given, too."""
    assert [name for name, k in kernels() if k.targetoptions.get("_nrt", True)] == []
