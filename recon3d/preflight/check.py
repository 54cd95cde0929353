"""Tell before hours are spent whether inputs can make a model, and what a run would take."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recon3d.errors import Cancelled, InputError, StageError
from recon3d.io.atomic import read_json, write_json
from recon3d.layout import CHECK_FILE, InputKind
from recon3d.preflight.result import InputCheck
from recon3d.project.gathering import gather, left_out_notes
from recon3d.project.project import MARKER, Project

#: What the process that decodes files is told of the environment: no secrets of a service.
_KEPT = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "TZ", "SYSTEMROOT", "VIRTUAL_ENV")
_KEPT_FAMILIES = ("PYTHON", "LC_", "LD_", "DYLD_", "OMP_", "NUMBA_", "XDG_")
#: Seconds that a check may take: it is cut short by itself long before.
_PATIENCE = 180
#: Seconds between looks at whether the run is cancelled.
_LOOK = 0.3


def check(
    inputs: Project | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    workers: int | None = None,
    launcher: Sequence[str] = (),
) -> InputCheck:
    """Look at a sample of the inputs, before hours are spent on them.

    Parameters
    ----------
    inputs : Project, path-like or sequence of path-like
        A project or its folder, or videos, photos and folders of photos.
    workers : int, optional
        Worker processes that a run would have; by default one a core.
    launcher : sequence of str
        Command line that starts the command after it, as in a sandbox. The check decodes the inputs in
        a process of its own.

    Returns
    -------
    InputCheck
        Whether they can make a model, advice, and what a run would take at each quality.

    Raises
    ------
    InputError
        A file is missing, or there is none.
    StageError
        The check itself failed.

    Examples
    --------
    >>> recon3d.check("statue.mp4").level  # doctest: +SKIP
    'good'
    """
    if isinstance(inputs, Project):
        return check_project(inputs, workers=workers, recall=False, launcher=launcher)
    given = [Path(inputs)] if isinstance(inputs, str | os.PathLike) else [Path(path) for path in inputs]
    if len(given) == 1 and (given[0] / MARKER).is_file():
        return check_project(Project.open(given[0]), workers=workers, recall=False, launcher=launcher)
    gathered, left_out = gather(given, None, kinds=("video", "photo"), strict=False, hashed=False)
    files = [(file.kind, file.path) for file in gathered]
    found = _in_another_process(files, [Path.cwd()], workers, launcher=launcher)
    return replace(found, notes=(*left_out_notes(left_out, reported=False), *found.notes))


def check_project(
    project: Project,
    *,
    workers: int | None = None,
    recall: bool = True,
    cancelled: threading.Event | None = None,
    launcher: Sequence[str] = (),
) -> InputCheck:
    """Look at a project's inputs, or recall what an earlier check of the same inputs found.

    Parameters
    ----------
    project : Project
    workers : int, optional
        As in `check`.
    recall : bool
        Recall an earlier check although runs since then would change the times that it foretold.
    cancelled : threading.Event, optional
        Ends the check.
    launcher : sequence of str
        As in `check`.

    Returns
    -------
    InputCheck

    Raises
    ------
    InputError
        The project has no input.
    Cancelled
        `cancelled` was set.
    """
    if not project.inputs:
        raise InputError(f"{project.path} has no input.", "Add a video or photos first.")
    fingerprint = project.inputs_fingerprint()
    path = project.path / CHECK_FILE
    runs = len(project.store.all())
    try:
        document = read_json(path)
        known = document["inputs"] == fingerprint and document["workers"] == workers
        if known and (recall or document["runs"] == runs):
            return InputCheck.from_json(document["check"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or one of another version
    files = [(item.kind, project.input_file(item)) for item in project.inputs]
    found = _in_another_process(files, [project.path, project.path.parent], workers, cancelled, launcher)
    with contextlib.suppress(OSError):  # a full disk or a read-only folder: it is only looked at again
        document = {"inputs": fingerprint, "workers": workers, "runs": runs, "check": found.to_json()}
        write_json(path, document)
    return found


def machine_factors(
    project: Project, *, workers: int | None = None, cancelled: threading.Event | None = None
) -> dict[str, float]:
    """Find how fast this machine is, for a run whose inputs need no check.

    Parameters
    ----------
    project : Project
    workers : int, optional
        As in `check`.
    cancelled : threading.Event, optional
        Ends it.

    Returns
    -------
    dict of str to float
        See `InputCheck`.

    Raises
    ------
    StageError
        It failed.
    Cancelled
        `cancelled` was set.
    """
    try:
        document = read_json(project.path / CHECK_FILE)
        known: dict[str, float] = InputCheck.from_json(document["check"]).factors
        if known and document["workers"] == workers:
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or one of another version
    answer = _answer_of({"history": [str(project.path), str(project.path.parent)]}, cancelled)
    return dict(answer["factors"])


def _in_another_process(
    files: Sequence[tuple[InputKind, Path]],
    history: Sequence[Path],
    workers: int | None,
    cancelled: threading.Event | None = None,
    launcher: Sequence[str] = (),
) -> InputCheck:
    request = {
        "photos": [str(path) for kind, path in files if kind != "video"],
        "videos": [str(path) for kind, path in files if kind == "video"],
        "history": [str(path) for path in history],
        "workers": workers,
    }
    return InputCheck.from_json(_answer_of(request, cancelled, launcher))


def _answer_of(
    request: Mapping[str, object], cancelled: threading.Event | None, launcher: Sequence[str] = ()
) -> dict[str, Any]:
    # Names are bytes: JSON keeps what cannot be decoded as escapes.
    text = json.dumps(request)
    try:
        process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "recon3d.preflight"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=_environment(), start_new_session=True,  # Ctrl-C is for the run, which ends this itself
        )  # fmt: skip
    except OSError as error:
        raise StageError(
            f"The check of the inputs cannot start Python ({sys.executable}): {error.strerror}.",
            "Check the permissions of this file, or install recon3d in a new environment.",
        ) from error
    with process:
        try:
            answer, errors = _answer(process, text, cancelled)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise StageError(
            f"The check of the inputs failed (exit status {process.returncode}).",
            "A run continues without it; please report this.",
            log_tail="\n".join(errors.strip().splitlines()[-5:]),
        )
    found: dict[str, Any] = json.loads(answer)
    return found


def _answer(
    process: subprocess.Popen[str], request: str, cancelled: threading.Event | None
) -> tuple[str, str]:
    end = time.monotonic() + _PATIENCE
    given: str | None = request
    while time.monotonic() < end:
        if cancelled is not None and cancelled.is_set():
            raise Cancelled()
        try:
            return process.communicate(given, timeout=_LOOK)
        except subprocess.TimeoutExpired:
            given = None
    raise StageError(
        f"The check of the inputs did not end within {_PATIENCE} s.", "A run continues without it."
    )


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith(_KEPT_FAMILIES)}
