"""Following one run's process: what it prints, its requests to cancel, its end."""

from __future__ import annotations

import contextlib
import functools
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from recon3d import events as run_events
from recon3d_api.files.storage import Storage
from recon3d_api.threads import in_background
from recon3d_api.work import job_log as joblog
from recon3d_api.work import processes
from recon3d_api.work.claims import Claim, LostRun
from recon3d_api.work.confinement import confined
from recon3d_api.work.rows import RunRows

_FLUSH = 0.25  # seconds between writes while events come
_IDLE = 0.5  # and while none come: the lease is renewed, requests to cancel are seen
_TICK = 0.05
_SAMPLE = 2.0
_GRACE = 10.0
_TAIL = 5

_Line = tuple[str, str]


class Follower:
    """Works on one claim, in the thread that calls `follow`.

    Parameters
    ----------
    rows : RunRows
    storage : Storage
    claim : Claim
    command : sequence of str
    mark : str
        Marks the run's processes.
    lease : float
        Seconds for which the run is this runner's after the database was last reached.
    max_crashes : int
    stopping : threading.Event
        Set when the runner ends: the run goes back to the queue.
    """

    def __init__(
        self,
        rows: RunRows,
        storage: Storage,
        claim: Claim,
        command: Sequence[str],
        *,
        mark: str,
        lease: float,
        max_crashes: int,
        stopping: threading.Event,
    ) -> None:
        self._rows = rows
        self._storage = storage
        self._claim = claim
        self._command = command
        self._mark = mark
        self._lease = lease
        self._max_crashes = max_crashes
        self._stopping = stopping
        self._lines: queue.Queue[_Line] = queue.Queue()
        self._unwritten: list[_Line] = []
        self._usage: tuple[float | None, float | None] = (None, None)
        self._tail: list[str] = []
        self._logged = 0
        self._renewed = time.monotonic()

    def follow(self) -> None:
        """Run the process to its end, and write how it went."""
        root = self._storage.root(self._claim.folder)
        root.mkdir(exist_ok=True)  # without parents: a data folder that is gone is not made anew
        with confined(self._storage, self._claim.folder, self._mark) as launcher:
            self._follow(
                processes.spawn([*launcher, *self._command], self._mark, root, processes.child_environment())
            )

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        pipes = (("event", process.stdout), ("log", process.stderr))
        read = [
            in_background(functools.partial(_read, kind, pipe, self._lines), f"recon3d-read-{kind}")
            for kind, pipe in pipes
        ]
        lost = False
        try:
            self._watch(process)
        except LostRun:
            lost = True
        finally:
            processes.end_group(process, self._mark)
            code = process.wait()
            for ended in read:
                ended.wait()
            for _, pipe in pipes:
                if pipe is not None:
                    pipe.close()
        with contextlib.suppress(LostRun):
            if not lost:
                self._patiently(self._write)
                self._patiently(lambda: self._finish(code))

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        meter = processes.UsageMeter(process.pid)
        flushed = sampled = 0.0
        asked: float | None = None
        while process.poll() is None:
            now = time.monotonic()
            if now - sampled > _SAMPLE:
                sampled, self._usage = now, meter.sample()
            if asked is None and self._rows.end is not None:
                asked = now  # it has said how the run went; its last steps may take a moment
            elif asked is None and (self._rows.cancel or self._stopping.is_set()):
                processes.ask_to_end(process)
                asked = now
            if asked is not None and now - asked > _GRACE:
                processes.end_group(process, self._mark)
            if now - flushed > (_IDLE if self._lines.empty() else _FLUSH):
                flushed = now
                try:
                    self._write()
                except SQLAlchemyError as error:
                    # Without the database the run continues while nobody else can have taken it.
                    if now - self._renewed > self._lease:
                        raise LostRun from error
            time.sleep(_TICK)

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write although the database fails for a moment."""
        while True:
            try:
                return write()
            except SQLAlchemyError as error:
                if time.monotonic() - self._renewed > self._lease:
                    raise LostRun from error
                time.sleep(_IDLE)

    def _write(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._unwritten.append(self._lines.get_nowait())
        events, log = [], []
        current = self._rows.current
        for kind, text in self._unwritten:
            if kind == "log":
                log.append((current, text))
                continue
            try:
                event = run_events.parse_event(text)
            except ValidationError:
                continue  # of a newer recon3d
            events.append(event)
            current = getattr(event, "stage", current)
            log.extend((current, line) for line in joblog.describe(event))
            tail = getattr(getattr(event, "error", None), "log_tail", "")
            if tail and isinstance(event, run_events.StageFailed):
                log.extend((current, line) for line in tail.splitlines())
        self._rows.write(events, self._usage)
        self._unwritten = []
        self._renewed = time.monotonic()
        self._tail = [*self._tail, *(text for _, text in log)][-_TAIL:]
        self._log([*log, *((current, line) for line in self._worker_lines())])

    def _finish(self, code: int) -> None:
        self._rows.finish(
            code, " ".join(self._tail), stopping=self._stopping.is_set(), max_crashes=self._max_crashes
        )

    def _log(self, log: list[tuple[str | None, str]]) -> None:
        for number, (stage, job_id) in enumerate(self._rows.job_ids.items()):
            # What is said before the first stage begins is the first job's.
            lines = [
                self._rows.redacted(text)
                for name, text in log
                if name == stage or (number == 0 and name not in self._rows.job_ids)
            ]
            if lines:
                with contextlib.suppress(OSError):  # a full disk; the run itself will say so
                    joblog.append(self._storage.log(self._claim.folder, job_id), lines)

    def _worker_lines(self) -> list[str]:
        """What the run's workers have printed since the last time."""
        if not self._rows.state.run:
            return []
        runs = self._storage.model(self._claim.folder) / "runs"
        try:
            with open(runs / self._rows.state.run / "workers.log", "rb") as file:
                file.seek(self._logged)
                text = file.read(1 << 20)
        except OSError:
            return []
        text = text[: text.rfind(b"\n") + 1]
        self._logged += len(text)
        return text.decode("utf-8", "replace").splitlines()


def _read(kind: str, pipe: IO[bytes] | None, lines: queue.Queue[_Line]) -> None:
    if pipe is not None:
        for line in pipe:
            lines.put((kind, line.decode("utf-8", "replace").rstrip("\n")))
