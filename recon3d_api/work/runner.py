"""The runner: claims runs from the queue and works on them, one process each."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from recon3d_api.files.storage import Storage
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from recon3d_api.work import processes
from recon3d_api.work.claims import Claim, RunClaims
from recon3d_api.work.follow import Follower
from recon3d_api.work.queue import FLAGS, PIPELINE
from recon3d_api.work.quotas import count_bytes
from recon3d_api.work.rows import RunRows

logger = logging.getLogger("recon3d_api.work.runner")

#: Seconds between looks at what tells nobody: runners that die, leases and waiting times that end.
_POLL = 2.0

#: Makes the command that works on a claim.
Command = Callable[[Claim], Sequence[str]]


class JobRunner:
    """Works on several runs at once, each in a thread of its own.

    Parameters
    ----------
    settings : Settings
    database : Database
    storage : Storage
    slots : int, optional
        Runs at once; by default as the settings say.
    command : callable, optional
        Makes the command for a claim; by default `recon3d run`.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        *,
        slots: int | None = None,
        command: Command | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage
        self._slots = settings.runners if slots is None else slots
        self._command = command or self._recon3d
        self._claims = RunClaims(database, processes.own_name(), settings.lease_seconds)
        self._stopping = threading.Event()
        self._service = hashlib.sha256(f"{database.url}{settings.data_dir}".encode()).hexdigest()[:12]
        self._workers: list[threading.Event] = []
        self._heart: list[threading.Event] = []

    @property
    def alive(self) -> bool:
        """Whether it takes runs."""
        return not all(ended.is_set() for ended in self._workers) and not self._stopping.is_set()

    def start(self) -> None:
        """Begin to take runs."""
        if self._slots == 0:
            return
        self._claims.beat()
        self._workers = [_begin(self._work, f"recon3d-runner-{number}") for number in range(self._slots)]
        self._heart = [_begin(self._beat, "recon3d-heartbeat")]

    def stop(self, timeout: float = 30.0) -> None:
        """Stop; active runs return to the queue and resume later.

        Parameters
        ----------
        timeout : float
            Seconds to wait.
        """
        self._stopping.set()
        self.wake()
        for ended in (*self._workers, *self._heart):
            if not ended.wait(timeout):
                logger.warning("A thread of the runner has not ended after %g s", timeout)

    def wake(self) -> None:
        """Look into the queue at once."""
        self._database.changes.tell()

    def _beat(self) -> None:
        while not self._stopping.wait(self._settings.lease_seconds / 3):
            try:
                self._claims.beat()
            except SQLAlchemyError as error:
                logger.warning("The database does not answer: %s", error)
        try:
            self._claims.leave()
        except SQLAlchemyError as error:
            logger.warning("The database does not answer: %s", error)

    def _work(self) -> None:
        # Processes end with the thread that started them, so this thread lives as long as the runner.
        changes = self._database.changes
        while not self._stopping.is_set():
            known = changes.number
            try:
                claim = self._claims.claim()
                if claim is not None:
                    self._follow(claim)
                    continue
            except Exception:
                # The runner continues after any error; the run is claimed again when its lease ends.
                logger.exception("Working on a run failed")
            changes.wait(known, _POLL)

    def _follow(self, claim: Claim) -> None:
        mark = f"{self._service}-{claim.run_id}"
        if claim.attempt > 1:
            ended = processes.end_marked(mark)
            logger.info(
                "Resuming a run", extra={"run": claim.run_id, "attempt": claim.attempt, "leftovers": ended}
            )
        else:
            logger.info("Starting a run", extra={"run": claim.run_id, "project": claim.project_id})
        lease = self._settings.lease_seconds
        Follower(
            RunRows(self._database, self._storage, claim, lease),
            self._storage,
            claim,
            self._command(claim),
            mark=mark,
            lease=lease,
            max_crashes=self._settings.max_crashes,
            stopping=self._stopping,
        ).follow()
        count_bytes(self._database, self._storage, claim.project_id, claim.folder)
        logger.info("Leaving a run", extra={"run": claim.run_id, "attempt": claim.attempt})

    def _recon3d(self, claim: Claim) -> list[str]:
        """The command line is the worker: there is no second way to run a reconstruction."""
        model = self._storage.model(claim.folder)
        command = [sys.executable, "-m", "recon3d", "run", "-o", str(model), "--quality", claim.quality]
        command += ["--events", "--engine", self._settings.engine]
        if claim.until:
            command += ["--until", claim.until]
        for stage, options in claim.options.items():
            if stage == PIPELINE:
                command += [f"--{flag.replace('_', '-')}" for flag in FLAGS if options.get(flag)]
                continue
            for option, value in options.items():
                command += ["--set", f"{stage}.{option}={value}"]
        if self._settings.run_workers:
            command += ["--workers", str(self._settings.run_workers)]
        if self._settings.scheduler:
            command += ["--scheduler", self._settings.scheduler]
        return command


def _begin(work: Callable[[], None], name: str) -> threading.Event:
    """Run `work` in a thread; the event tells its end.

    ``Thread.is_alive`` does not: in CPython 3.10 to 3.12, a KeyboardInterrupt during ``join(timeout)``
    makes it False while the thread runs.
    """
    ended = threading.Event()

    def go() -> None:
        try:
            work()
        finally:
            ended.set()

    threading.Thread(target=go, name=name, daemon=True).start()
    return ended
