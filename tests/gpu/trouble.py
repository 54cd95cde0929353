"""What users are told when something goes wrong on a GPU."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from tests.gpu.rows import FAILED, OK, CheckError, Place, Row, emit, joined
from tests.gpu.steps import ROOT, pipeline, posed_copy

#: For what goes wrong on purpose: quick, and one try with smaller maps before it gives up.
TROUBLE = {"max_image_size": 400, "geometric_iterations": 0}


def told(what: str, expected: tuple[str, ...], run: Callable[..., Any], engine: str = "cuda") -> Row:
    """What the user is told when something goes wrong; only the errors expected are right."""
    from recon3d.errors import Recon3DError

    began = time.monotonic()
    messages: list[str] = []

    def listen(event: Any) -> None:
        if getattr(event, "message", ""):
            messages.append(event.message)

    try:
        run(on_event=listen)
        outcome, status = "no error", OK if "no error" in expected else FAILED
    except Recon3DError as error:
        name = type(error).__name__
        outcome, status = one_line(error), OK if name in expected else FAILED
        sys.stderr.write(f"{what}: {error}\n{getattr(error, 'log_tail', '')}\n")
    found = joined(*dict.fromkeys(messages), outcome)
    return Row(what, engine, time.monotonic() - began, found, status)


def one_line(error: Any) -> str:
    """An error of recon3d with its hint."""
    return f"{type(error).__name__}: {error.message} Hint: {error.hint}".replace("\n", " ")


def without_device(place: Place) -> None:
    """What users are told when they ask for a GPU that is not there."""
    from recon3d.project import Project

    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    project = Project.create(place.work / "no-device")
    project.add_photos(place.photos)
    run = partial(pipeline("cuda", place).run, project, until="frame_extraction")
    emit(told("told without a device", ("EngineUnavailable",), run))


def killed(place: Place) -> None:
    """What users are told when COLMAP's process is killed; the stage tries once more, with smaller maps."""
    project = posed_copy(place, "killed")
    end, hit = threading.Event(), threading.Event()

    def kill_first() -> None:
        me = psutil.Process()
        while not end.wait(0.02):
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("colmap.patch_match" in part for part in child.cmdline()):
                        time.sleep(0.5)
                        child.kill()
                        hit.set()
                        return

    thread = threading.Thread(target=kill_first, daemon=True)
    thread.start()
    run = partial(pipeline("colmap-cuda", place, dense_reconstruction=TROUBLE).run, project)
    run = partial(run, until="dense_reconstruction")
    row = told("told when COLMAP is killed", ("OutOfMemory", "no error"), run, "colmap-cuda")
    end.set()
    if not hit.is_set():
        row = replace(row, found=joined("COLMAP's process was not there to kill", row.found), status=FAILED)
    emit(row)


def without_memory(place: Place) -> None:
    """What users are told when another program has taken the GPU's memory."""
    from recon3d.project import Project

    project = Project.create(place.work / "no-memory-features")
    project.add_photos(place.photos)
    features = partial(pipeline("cuda", place).run, project, until="feature_extraction")
    depths = {
        engine: partial(
            pipeline(engine, place, dense_reconstruction=TROUBLE).run,
            posed_copy(place, f"no-memory-{engine}"),
            until="dense_reconstruction",
        )
        for engine in ("cuda", "colmap-cuda")
    }
    taker = subprocess.Popen(
        [sys.executable, "-c", "from tests.gpu.device_memory import take_memory; take_memory()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert taker.stdin is not None
    assert taker.stdout is not None
    try:
        answer = taker.stdout.readline().strip()
        if not answer.isdigit():
            raise CheckError(f"the GPU's memory could not be taken: {answer or 'see the log'}")
        sys.stderr.write(f"{int(answer) / 1e9:.1f} GB taken\n")
        expected = ("OutOfMemory", "StageError", "EngineUnavailable")
        # Where not even the check of recon3d's own engine has room, COLMAP's takes its place.
        for engine, run in depths.items():
            emit(told("depth maps told without memory", ("OutOfMemory",), run, engine))
        emit(told("features told without memory", expected, features))
    finally:
        taker.stdin.close()
        taker.wait(timeout=30)
