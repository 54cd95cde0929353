"""Ctrl-C while a run goes on, in real processes."""

from __future__ import annotations

import ast
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recon3d.cli.sample import sample_video
from recon3d.project import Project

_GOES_ON = "The run continues in the background. run.wait() waits again; run.cancel() stops it."
_ENDS = "The run is being cancelled; it ends soon, in the background."

_START = """
import json, sys, time
import recon3d

def tell(**what):
    print(json.dumps(what), flush=True)

def slow_to_cancel(event):
    if event.type == "run_cancelled":
        tell(cancelling=True)
        time.sleep(3)

project = recon3d.Project.create(sys.argv[1])
project.add(sys.argv[2])
pipeline = recon3d.Pipeline(
    "low",
    workers=1,
    frame_extraction={"min_frames": 20, "max_frames": 20, "max_image_size": 400},
    feature_extraction={"max_features": 1500},
)
"""

_WAIT = """
run = pipeline.start(project, until="sparse_reconstruction")
tell(waits=True)
try:
    run.wait()
except KeyboardInterrupt:
    tell(interrupted=True, running=run.running, status=run.state.status, record=project.status)
"""


class _Script:
    """A Python process that is interrupted as a terminal does it."""

    def __init__(self, folder: Path, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START + code, str(folder), str(sample_video())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        told: dict[str, Any] = json.loads(line)
        return told

    def interrupt(self, after: float) -> None:
        time.sleep(after)
        assert self.process.poll() is None
        self.process.send_signal(signal.SIGINT)

    def errors(self) -> list[str]:
        """What it wrote to stderr, after its end without an error."""
        errors = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, errors
        return errors.splitlines()


def test_an_interrupted_wait_leaves_the_run_alone_and_can_wait_again(tmp_path: Path) -> None:
    again = """
try:
    run.wait(timeout=0.01)
except TimeoutError:
    tell(goes_on=True)
results = run.wait()
tell(results=sorted(results.files()), running=run.running, status=run.state.status, record=project.status)
with project.lock(patience=0):
    pass
"""
    script = _Script(tmp_path / "p", _WAIT + again)
    assert script.told() == {"waits": True}
    script.interrupt(after=1.0)
    going = {"running": True, "status": "running", "record": "running"}
    assert script.told() == {"interrupted": True, **going}
    assert script.told() == {"goes_on": True}
    done = {"running": False, "status": "completed", "record": "completed"}
    assert script.told() == {"results": ["report", "sparse", "transforms"], **done}
    assert script.errors() == [_GOES_ON]


def test_an_interrupted_run_is_cancelled_afterwards(tmp_path: Path) -> None:
    cancel = """
run.cancel()
began = time.monotonic()
try:
    run.wait()
except recon3d.Cancelled:
    seconds = time.monotonic() - began
    tell(seconds=seconds, running=run.running, status=run.state.status, record=project.status)
with project.lock(patience=0):
    pass
"""
    script = _Script(tmp_path / "p", _WAIT + cancel)
    script.told()
    script.interrupt(after=1.0)
    assert script.told()["running"]
    told = script.told()
    assert told.pop("seconds") < 5
    assert told == {"running": False, "status": "cancelled", "record": "cancelled"}
    assert script.errors() == [_GOES_ON]


_RUN = """
tell(runs=True)
try:
    pipeline.run(project, on_event={listener})
except recon3d.Cancelled:
    tell(cancelled=True)
except KeyboardInterrupt:
    tell(interrupted=True)
"""


def test_ctrl_c_in_pipeline_run_cancels(tmp_path: Path) -> None:
    script = _Script(tmp_path / "p", _RUN.format(listener="None"))
    script.told()
    _wait_for_a_run(tmp_path / "p")
    script.interrupt(after=0.5)
    assert script.told() == {"cancelled": True}
    assert script.errors() == []
    assert Project.open(tmp_path / "p").status == "cancelled"


def test_a_second_ctrl_c_in_pipeline_run_stops_waiting_for_the_end(tmp_path: Path) -> None:
    script = _Script(tmp_path / "p", _RUN.format(listener="slow_to_cancel"))
    script.told()
    _wait_for_a_run(tmp_path / "p")
    script.interrupt(after=0.5)
    assert script.told() == {"cancelling": True}
    script.interrupt(after=0.2)
    began = time.monotonic()
    assert script.told() == {"interrupted": True}
    assert time.monotonic() - began < 2
    assert script.errors() == [_ENDS]


def _wait_for_a_run(folder: Path) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob("runs/*/events.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.05)


# --- no code may ask a thread whether it lives ------------------------------------------------------


_DURATION = re.compile("time|seconds", re.IGNORECASE)


def _trusts_threads(source: str) -> list[int]:
    """Lines that ask ``Thread.is_alive``, or join a thread: an interrupted join makes both untrue."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        # A text joins one sequence; a thread joins nothing, or a number of seconds.
        numbers = [isinstance(a, ast.Constant) or _DURATION.search(ast.unparse(a)) for a in node.args]
        joins = node.func.attr == "join" and (not node.args or bool(node.keywords) or any(numbers))
        texts = isinstance(node.func.value, ast.Constant) or ast.unparse(node.func.value) == "os.path"
        if node.func.attr == "is_alive" or (joins and not texts):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", ["recon3d", "recon3d_api"])
def test_no_source_trusts_a_threads_own_word(package: str) -> None:
    sources = sorted((Path(__file__).parents[2] / package).rglob("*.py"))
    assert len(sources) > 20
    found = [f"{path}:{line}" for path in sources for line in _trusts_threads(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("while self._thread.is_alive(): pass", [1]),
        ("any(t.is_alive() for t in threads)", [1]),
        ("thread.join()", [1]),
        ("thread.join(0.2)", [1]),
        ("thread.join(timeout)", [1]),
        ("thread.join(timeout=end)", [1]),
        ("', '.join(names)", []),
        ("separator.join(names)", []),
        ("os.path.join(folder, '')", []),
        ("ended.wait(0.2)", []),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, found: list[int]) -> None:
    assert _trusts_threads(source) == found
