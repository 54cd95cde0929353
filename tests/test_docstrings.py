"""Public functions document their parameters and what they return, as numpydoc has it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import recon3d
from recon3d.errors import Recon3DError
from tests.test_public import DEEP

#: Missing, unknown or misplaced parameters, missing types, and missing sections of what comes back.
CODES = {"PR01", "PR02", "PR03", "PR04", "PR10", "RT01", "YD01", "GL08"}
#: Functions whose docstring is shown to users of another interface, which documents their parameters.
ELSEWHERE = {
    "recon3d.cli.commands": "the docstring is the command's help; typer lists the options",
    "recon3d.cli.preflight_commands": "the same",
    "recon3d_api.commands.audit_log": "the same",
    "recon3d_api.commands.users": "the same",
    "recon3d_api.http.routes": "the docstring is the route's description; OpenAPI lists the parameters",
}
#: Migrations are scripts of alembic.
NO_API = "recon3d_api.store.migrations"


def modules() -> Iterator[ModuleType]:
    for package in ("recon3d", "recon3d_api"):
        root = importlib.import_module(package)
        yield root
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            private = any(part.startswith("_") for part in found.name.split("."))
            if not private and not found.name.startswith(NO_API):
                yield importlib.import_module(found.name)


def functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public functions and methods that a module defines, by their full names."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from methods(value)
        elif inspect.isroutine(inspect.unwrap(getattr(value, "py_func", value))):
            yield f"{module.__name__}.{name}", inspect.unwrap(getattr(value, "py_func", value))


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        plain = inspect.unwrap(getattr(value, "__func__", value))
        if not name.startswith("_") and inspect.isfunction(plain):
            yield f"{kind.__module__}.{kind.__qualname__}.{name}", plain


def is_elsewhere(name: str, function: Any) -> bool:
    """Whether the function is decorated as a command or a route."""
    if not any(name.startswith(f"{module}.") for module in ELSEWHERE):
        return False
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return bool(node.decorator_list)


def faults(name: str, value: Any) -> list[str]:
    found = [(code, text) for code, text in validate(name)["errors"] if code in CODES]
    if not inspect.isclass(value) and str(inspect.signature(value).return_annotation) == "Iterator[None]":
        found = [fault for fault in found if fault[0] != "YD01"]
    document = NumpyDocString(inspect.getdoc(value) or "")
    found += [
        ("shape", f"{entry.name or entry.type}: an array's shape is missing")
        for section in ("Parameters", "Returns", "Yields")
        for entry in document[section]
        if "ndarray" in entry.type and "shape" not in " ".join([entry.type, *entry.desc])
    ]
    return [f"{name}: {code} {text}" for code, text in found]


def raised(function: Any) -> set[str]:
    """Names of the exceptions of recon3d that a function raises by itself."""
    own = {kind.__name__ for kind in subclasses(Recon3DError)}
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    names = {ast.unparse(call.func if isinstance(call, ast.Call) else call) for call in calls}
    return {name.split(".")[-1] for name in names} & own


def subclasses(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def is_named(error: str, names: set[str]) -> bool:
    """Whether a docstring names an exception or a base of it."""
    kind = next(kind for kind in subclasses(Recon3DError) if kind.__name__ == error)
    return any(base.__name__ in names for base in kind.__mro__)


@pytest.mark.parametrize("package", ["recon3d", "recon3d_api"])
def test_functions_document_parameters_and_results(package: str) -> None:
    problems: list[str] = []
    count = 0
    for module in modules():
        if module.__name__.split(".")[0] != package:
            continue
        for name, function in functions(module):
            if not is_elsewhere(name, function):
                count += 1
                problems += faults(name, function)
                names = {
                    entry.type or entry.name
                    for entry in NumpyDocString(inspect.getdoc(function) or "")["Raises"]
                }
                problems += [
                    f"{name}: raises {error} and does not say so"
                    for error in raised(function)
                    if not is_named(error, names)
                ]
    assert count > 100
    assert not problems, "\n" + "\n".join(problems)


def test_public_classes_document_their_parameters() -> None:
    classes = [getattr(recon3d, name) for name in recon3d.__all__]
    classes += [
        getattr(importlib.import_module(module), name) for module, names in DEEP.items() for name in names
    ]
    problems: list[str] = []
    for kind in {kind for kind in classes if inspect.isclass(kind)}:
        problems += faults(f"{kind.__module__}.{kind.__qualname__}", kind)
    assert not problems, "\n" + "\n".join(sorted(problems))


def test_a_gap_is_found() -> None:
    def gap(path: str) -> int:
        """Do something."""
        if path:
            return 1
        raise recon3d.InputError(path, "")

    globals()["gap"] = gap
    try:
        codes = {fault.split(": ")[1].split()[0] for fault in faults(f"{__name__}.gap", gap)}
    finally:
        del globals()["gap"]
    assert codes == {"PR01", "RT01"}
    assert raised(gap) == {"InputError"}
    assert not is_named("InputError", {"StageError"})
    assert is_named("InputError", {"Recon3DError"})
