"""Check recon3d on a GPU with true cameras and a true surface; ``check.sh`` starts it.

Each step is a process of its own with a time limit, and prints rows of one table as it finishes
them. recon3d's own engine comes first and COLMAP's, which is slow, last, so that a run that is ended
early has told the most. Rows and logs are also written to the folder that the environment variable OUT
names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recon3d.compute.worker import die_with_parent
from tests.gpu import steps, trouble
from tests.gpu.rows import FAILED, NO_DEVICE, OK, CheckError, Place, Row, joined
from tests.gpu.steps import ROOT
from tests.gpu.trouble import one_line


@dataclass(frozen=True)
class Step:
    """A process, its rows, and the seconds that it may take."""

    name: str
    run: Callable[[Place], None]
    rows: tuple[tuple[str, str], ...]
    seconds: float
    needs_gpu: bool = False


STEPS = (
    Step(
        "device",
        steps.device,
        (("pycolmap", ""), ("device", "cuda"), ("engine", "cuda"), ("engine", "colmap-cuda")),
        150,
    ),
    Step("scene", steps.scene, (("kernels compiled", "cpu"), ("true cameras, points", "cpu")), 150),
    Step(
        "dense_cuda",
        partial(steps.dense, engine="cuda"),
        (("depth maps and cloud", "cuda"), ("F (precision, recall)", "cuda")),
        150,
        needs_gpu=True,
    ),
    Step("gpu_tests", steps.gpu_tests, (("pytest -m gpu", "cuda"),), 90, needs_gpu=True),
    Step(
        "dense_cpu",
        partial(steps.dense, engine="cpu"),
        (("depth maps and cloud", "cpu"), ("F (precision, recall)", "cpu")),
        150,
    ),
    Step(
        "against_cpu",
        partial(steps.against_cpu, engine="cuda"),
        (("depth maps against the CPU's", "cuda"),),
        30,
        needs_gpu=True,
    ),
    Step(
        "structure_cuda",
        partial(steps.structure, engine="cuda"),
        (("features", "cuda"), ("matches", "cuda"), ("cameras from these", "cuda")),
        100,
        needs_gpu=True,
    ),
    Step(
        "structure_cpu",
        partial(steps.structure, engine="cpu"),
        (("features", "cpu"), ("matches", "cpu"), ("cameras from these", "cpu")),
        120,
    ),
    Step(
        "again_dense",
        partial(steps.again_dense, engine="cuda"),
        (("depth maps again", "cuda"),),
        60,
        needs_gpu=True,
    ),
    Step(
        "again_features",
        partial(steps.again_features, engine="cuda"),
        (("features and matches again", "cuda"),),
        60,
        needs_gpu=True,
    ),
    Step(
        "without_memory",
        trouble.without_memory,
        (
            ("depth maps told without memory", "cuda"),
            ("depth maps told without memory", "colmap-cuda"),
            ("features told without memory", "cuda"),
        ),
        90,
        needs_gpu=True,
    ),
    Step("without_device", trouble.without_device, (("told without a device", "cuda"),), 60),
    Step("killed", trouble.killed, (("told when COLMAP is killed", "colmap-cuda"),), 60, needs_gpu=True),
    Step(
        "dense_colmap",
        partial(steps.dense, engine="colmap-cuda"),
        (("depth maps and cloud", "colmap-cuda"), ("F (precision, recall)", "colmap-cuda")),
        150,
        needs_gpu=True,
    ),
    Step(
        "against_cpu_colmap",
        partial(steps.against_cpu, engine="colmap-cuda"),
        (("depth maps against the CPU's", "colmap-cuda"),),
        30,
        needs_gpu=True,
    ),
    Step(
        "again_colmap",
        partial(steps.again_dense, engine="colmap-cuda"),
        (("depth maps again", "colmap-cuda"),),
        120,
        needs_gpu=True,
    ),
)


class Table:
    """Prints rows as they come, as Markdown, and keeps them in a folder."""

    def __init__(self, out: Path | None) -> None:
        self.rows: list[Row] = []
        self._out = out
        self._lines: list[str] = []
        self._add("| what | engine | seconds | found |")
        self._add("| --- | --- | ---: | --- |")

    def add(self, row: Row) -> None:
        """Print and keep a row."""
        self.rows.append(row)
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        found = row.found if row.status == OK else joined(row.status, row.found)
        found = found.replace("|", "/").replace("\n", " ")
        self._add(f"| {row.what:<30} | {row.engine:<11} | {seconds:>5} | {found} |")
        if self._out is not None:
            document = json.dumps([asdict(row) for row in self.rows], indent=1, ensure_ascii=False)
            (self._out / "results.json").write_text(document + "\n")
            (self._out / "results.md").write_text("\n".join(self._lines) + "\n")

    def _add(self, line: str) -> None:
        self._lines.append(line)
        print(line, flush=True)

    def exit_code(self) -> int:
        """0: all worked; 1: something failed; 3: all worked, but there is no device."""
        statuses = {row.status for row in self.rows}
        return 1 if statuses - {OK, NO_DEVICE} else 3 if NO_DEVICE in statuses else 0


def run_step(step: Step, place: Place, table: Table, seconds: float, log: Path) -> None:
    """Run a step for at most `seconds`; rows that it owes say why they are missing."""
    command = [sys.executable, "-m", "tests.gpu.check", "--step", step.name]
    command += ["--data", str(place.data), "--work", str(place.work)]
    end = time.monotonic() + seconds
    owed = list(step.rows)
    with open(log, "ab") as written:
        written.write(f"--- {step.name}\n".encode())
        written.flush()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=written, text=True, start_new_session=True
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
        reason = ""
        try:
            while True:
                try:
                    line = lines.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    reason = f"stopped after {seconds:.0f} s"
                    break
                if line is None:
                    break
                if line.startswith("ROW "):
                    row = Row(**json.loads(line[4:]))
                    table.add(row)
                    with contextlib.suppress(ValueError):
                        owed.remove((row.what, row.engine))
        finally:
            # Workers have sessions of their own and die with their parent.
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None and reason:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for what, engine in owed:
        table.add(Row(what, engine, None, reason or _last_line(log, process.returncode), FAILED))


def _forward(stream: Any, lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _last_line(log: Path, status: int) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"ended with status {status}: {lines[-1][:500] if lines else 'no output'}"


def check(place: Place, seconds: float, wanted: tuple[str, ...], out: Path | None) -> int:
    """Run the steps, print the table, and return the exit code."""
    end = time.monotonic() + seconds
    began = time.monotonic()
    log = (out or place.work) / "steps.log"
    log.unlink(missing_ok=True)
    table = Table(out)
    has_device = True
    for step in (step for step in STEPS if not wanted or step.name in wanted):
        left = end - time.monotonic()
        if step.needs_gpu and not has_device:
            for what, engine in step.rows:
                table.add(Row(what, engine, None, "", NO_DEVICE))
        elif left < 2:
            for what, engine in step.rows:
                table.add(Row(what, engine, None, "not run: the time is up", FAILED))
        else:
            run_step(step, place, table, min(step.seconds, left), log)
        if step.name == "device":
            has_device = not any(row.status == NO_DEVICE for row in table.rows)
    code = table.exit_code()
    meaning = {0: "all worked", 1: "something failed", 3: "all worked, but there is no device"}[code]
    print(f"\n{meaning}; {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    if code == 1 and out is None:
        print("The end of the steps' log (all of it is kept where the variable OUT names a folder):")
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), flush=True)
    return code


def run_here(step: Step, place: Place) -> None:
    """Run a step in this process; the last line of the log says why it cannot be finished."""
    from recon3d.errors import Recon3DError

    try:
        step.run(place)
    except Recon3DError as error:
        sys.exit(f"{getattr(error, 'log_tail', '')}\n{one_line(error)}")
    except CheckError as error:
        sys.exit(str(error))


def main() -> None:
    """Run one step, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the pack's data folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for what the steps make")
    parser.add_argument("--seconds", type=float, default=460)
    parser.add_argument("--only", nargs="*", default=(), choices=[step.name for step in STEPS])
    parser.add_argument("--step", choices=[step.name for step in STEPS], help="run one step in this process")
    given = parser.parse_args()
    place = Place(given.data.resolve(), given.work.resolve())
    if given.step:
        die_with_parent()
        run_here(next(step for step in STEPS if step.name == given.step), place)
        return
    out = Path(os.environ["OUT"]).resolve() if os.environ.get("OUT") else None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    sys.exit(check(place, given.seconds, tuple(given.only), out))


if __name__ == "__main__":
    main()
