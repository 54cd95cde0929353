"""Digests of the code behind each stage, kept in ``versions.json`` beside the stage's VERSION.

A stage's fingerprint holds VERSION and no code. When code that a stage uses changes and VERSION does
not, old projects count as up to date and keep results of the old code. `problems` finds that case.

Usage, from the repository's root::

    python -m tests.stages.versions                          show what changed
    python -m tests.stages.versions --accept STAGE ...       record the code after VERSION was raised
    python -m tests.stages.versions --accept STAGE ... --same-results
                                                             record code that cannot change results
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("versions.json")

#: Modules that every stage imports and that cannot change a stage's results. A package stands for all
#: of its modules. Do not list a module that computes or encodes any part of an artifact, except the
#: preview picture.
LEFT_OUT = {
    "recon3d": "the list of public names; it imports the whole package for type checkers",
    "recon3d.compute": "says where tasks run, not what they do",
    "recon3d.errors": "error classes only",
    "recon3d.io.atomic": "temporary files and renaming; the callers decide the content",
    "recon3d.options": "option values are part of the fingerprint",
    "recon3d.rendering": "text and HTML of objects, and the preview picture",
    "recon3d.stages.preview": "the preview picture",
}
#: Methods that show an object to a person.
SHOWING = {
    "__dir__",
    "__repr__",
    "__str__",
    "_details",
    "_facts",
    "_picture",
    "_repr_html_",
}
#: Methods of a stage's context that take text for the log and the report.
TELLING = {"fallback", "log"}


def stage_names(root: Path = ROOT) -> list[str]:
    """Names of the stages, from the sources under `root`: modules of recon3d/stages with a VERSION."""
    folder = root / "recon3d" / "stages"
    names = {path.stem if path.is_file() else path.name for path in folder.iterdir()}
    return sorted(name for name in names if name.isidentifier() and _version_file(root, name) is not None)


def version(root: Path, stage: str) -> tuple[int, Path]:
    """The stage's VERSION and the file that holds it."""
    path = _version_file(root, stage)
    if path is None:
        raise SystemExit(f"No stage {stage!r}; choose from {', '.join(stage_names(root))}")
    return next(_versions(path)), path


def _version_file(root: Path, stage: str) -> Path | None:
    folder = root / "recon3d" / "stages"
    for path in (folder / f"{stage}.py", folder / stage / "stage.py"):
        if path.is_file() and next(_versions(path), None) is not None:
            return path
    return None


def _versions(path: Path) -> Iterator[int]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VERSION":
            yield ast.literal_eval(node.value)


def digests(root: Path, stage: str) -> dict[str, str]:
    """A digest of each module that the stage imports, directly or through other modules.

    Imports inside functions count. Imports for type checkers do not.
    """
    found: dict[str, str] = {}
    waiting: list[tuple[str, str | None]] = [(f"recon3d.stages.{stage}", "*")]
    seen: set[tuple[str, str | None]] = set()
    while waiting:
        module, name = waiting.pop()
        path = _module_file(root, module)
        if (module, name) in seen or path is None or _is_left_out(module):
            continue
        seen.add((module, name))
        is_package = path.name == "__init__.py"
        found[module], imports = _parsed(path.read_text(encoding="utf-8"), module, is_package)
        # A package stands for the names that are taken from it, not for all that it offers.
        waiting += [
            taken for taken in imports if not is_package or (name is not None and name in (taken[1], "*"))
        ]
    return dict(sorted(found.items()))


@functools.cache
def _parsed(source: str, module: str, is_package: bool) -> tuple[str, list[tuple[str, str | None]]]:
    """The digest of a module's code, and what it imports."""
    tree = _Normal().visit(ast.parse(source))
    imports = list(_imports(tree, module, is_package=is_package))
    if is_package:
        tree.body = [part for part in tree.body if not isinstance(part, (ast.Import, ast.ImportFrom))]
    return hashlib.sha256(_dump(tree).encode()).hexdigest()[:16], imports


def _dump(node: Any) -> str:
    """`ast.dump`, but the same on each version of Python: empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in sorted(node._fields) if name != "ctx")
        parts = [f"{name}={_dump(value)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(parts)})"
    return f"[{', '.join(map(_dump, node))}]" if isinstance(node, list) else repr(node)


def _module_file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _is_left_out(module: str) -> bool:
    return module == "recon3d" or any(
        module == name or module.startswith(f"{name}.") for name in LEFT_OUT if name != "recon3d"
    )


def _imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, str | None]]:
    """Modules that `tree` imports, with the name taken from each; some may be no modules.

    "*" stands for the whole module, None for a package that is imported only because it is around one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.name, "*") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")
                package = package[: len(package) - node.level + is_package]
                base = ".".join([*package, *([base] if base else [])])
            names = [(base, alias.name) for alias in node.names]
            # The imported name may be a module itself.
            names += [(f"{base}.{alias.name}", "*") for alias in node.names]
        else:
            continue
        for name, taken in names:
            parts = name.split(".")
            if parts[0] == "recon3d":
                yield name, taken
                yield from ((".".join(parts[:i]), None) for i in range(1, len(parts)))


class _Normal(ast.NodeTransformer):
    """Removes what cannot change a result: docstrings, annotations, text for people, typing imports."""

    def _body(self, node: Any) -> Any:
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:]
        node.body = [
            part
            for part in node.body
            if not (isinstance(part, ast.FunctionDef) and part.name in SHOWING)
            and not (isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__all__")
        ]
        return self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._body(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._body(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        # The name of a dataclass's field stays, its type goes.
        return ast.Assign([node.target], self.visit(node.value) if node.value else ast.Constant(None))

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return [self.visit(part) for part in node.orelse]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return _Wordless().visit(self.generic_visit(node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr in TELLING:
            node.args = [_Wordless().visit(argument) for argument in node.args]
        return self.generic_visit(node)


class _Wordless(ast.NodeTransformer):
    """Removes the wording of messages."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


def record(path: Path = RECORD) -> dict[str, Any]:
    """What was recorded last, by stage: its version and the digests of its modules."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def problems(root: Path = ROOT, path: Path = RECORD) -> list[str]:
    """What is to be done before the stages of `root` may be released; empty when nothing is."""
    recorded = record(path)
    names = stage_names(root)
    found = [
        f"{stage}: no such stage; remove it from {path.name}" for stage in sorted({*recorded} - {*names})
    ]
    for stage in names:
        now, file = version(root, stage)
        relative = file.relative_to(root)
        modules = digests(root, stage)
        accept = f"python -m tests.stages.versions --accept {stage}"
        if stage not in recorded:
            found.append(f"{stage}: not recorded yet; run `{accept}`")
            continue
        before, known = recorded[stage]["version"], recorded[stage]["modules"]
        changed = sorted(m for m in {*modules, *known} if modules.get(m) != known.get(m))
        if now < before:
            found.append(f"{stage}: VERSION in {relative} went down from {before} to {now}; restore it")
        elif now > before:
            found.append(f"{stage}: VERSION in {relative} is new; run `{accept}`")
        elif changed:
            found.append(
                f"{stage}: the code changed ({', '.join(changed)}) and VERSION did not.\n"
                f"  If the results can change, raise VERSION in {relative} to {now + 1} and run `{accept}`.\n"
                f"  If they cannot, run `{accept} --same-results`."
            )
    return found


def accept(stages: Sequence[str], *, same_results: bool, root: Path = ROOT, path: Path = RECORD) -> None:
    """Record the present code of `stages`.

    Changed code under an unchanged VERSION needs `same_results`. Without it, nothing is written.
    """
    recorded = record(path)
    for stage in stages:
        now, file = version(root, stage)
        entry = {"version": now, "modules": digests(root, stage)}
        known = recorded.get(stage, entry)
        if now < known["version"]:
            raise SystemExit(f"VERSION in {file} went down from {known['version']} to {now}; restore it")
        if now == known["version"] and entry != known and not same_results:
            raise SystemExit(
                f"The code of {stage} changed under VERSION {now}. Raise VERSION in {file}, or add"
                " --same-results if the results cannot change."
            )
        recorded[stage] = entry
    path.write_text(json.dumps(dict(sorted(recorded.items())), indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.stages.versions")
    parser.add_argument("--accept", nargs="+", metavar="STAGE", default=[], help="stages to record")
    parser.add_argument("--same-results", action="store_true", help="the changed code gives the same results")
    chosen = parser.parse_args(arguments)
    if chosen.accept:
        accept(chosen.accept, same_results=chosen.same_results)
    left = problems()
    print("\n".join(left) or "All stages are recorded.")
    if left and not chosen.accept:
        sys.exit(1)


if __name__ == "__main__":
    main()
