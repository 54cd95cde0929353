"""A run in the background: its thread, its events, its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from recon3d.errors import Cancelled, Recon3DError, StageError
from recon3d.events import Event, EventLog, RunCancelled, RunFailed, RunState, fold, read_events
from recon3d.layout import EVENTS, RUNS
from recon3d.pipeline.background import Background
from recon3d.pipeline.execution import Execution, RunSettings
from recon3d.pipeline.failures import BUG, explain, failure_of
from recon3d.project.artifacts import Artifact
from recon3d.project.loading import load_cloud, load_mesh, load_scene
from recon3d.project.project import Project
from recon3d.project.results import Results

if TYPE_CHECKING:
    from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh

#: Seconds that the end of Python waits for the end of a run.
_AT_EXIT = 10.0
#: What an interrupted `Run.wait` says.
_GOING_ON = "The run continues in the background. run.wait() waits again; run.cancel() stops it.\n"
_ENDING = "The run is being cancelled; it ends soon, in the background.\n"


class Run:
    """A run in the background; `Pipeline.start` makes it.

    Parameters
    ----------
    settings : RunSettings
        How to run.
    project : Project
        The project to run on.
    until : str or None
        Last stage to run.
    rerun_from : str or None
        First stage that runs again although nothing changed.
    on_event : callable or None
        Receives every event, in the run's thread.

    Attributes
    ----------
    name : str
    folder : Path
        ``PROJECT/runs/NAME``, with the run's events and logs.
    """

    def __init__(
        self,
        settings: RunSettings,
        project: Project,
        until: str | None,
        rerun_from: str | None,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self._settings = settings
        self.project = project
        # Names sort by time, whichever zones the processes live in.
        self.name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}-{os.urandom(2).hex()}"
        self.folder = project.path / RUNS / self.name
        self._until = until
        self._rerun_from = rerun_from
        self._on_event = on_event
        self._cancelled = threading.Event()
        self._state = RunState()
        self._error: Recon3DError | None = None
        self._done: dict[str, Artifact] = {}
        self._background = Background(self._main, f"recon3d-{self.name}")
        self._background.start()
        # Python ends the threads of a script; the run must end before that, as cancelled.
        atexit.register(self._end_with_process)

    # --- for the one who watches ----------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """How far the run is."""
        return self._state

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        return read_events(self.folder / EVENTS)

    @property
    def running(self) -> bool:
        """Whether the run is going on; false once its results and the project's lock are released."""
        return not self._background.ended

    def cancel(self) -> None:
        """End the run soon; finished work is kept."""
        self._cancelled.set()

    def wait(self, timeout: float | None = None) -> Results:
        """Wait for the end.

        An interrupt (Ctrl-C, or a notebook's stop button) ends the waiting, not the run: wait again,
        or `cancel`.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        Results
            Paths of the files made.

        Raises
        ------
        TimeoutError
            The run has not ended after `timeout` seconds; it continues.
        KeyboardInterrupt
            The wait was interrupted; the run continues.
        Recon3DError
            What ended the run.
        """
        try:
            return self._wait(timeout)
        except KeyboardInterrupt:
            if self.running:
                sys.stderr.write(_ENDING if self._cancelled.is_set() else _GOING_ON)
            raise

    def _wait(self, timeout: float | None) -> Results:
        if not self._background.wait(timeout):
            raise TimeoutError(f"The run {self.name} is still running.")
        if self._error is not None:
            raise self._error
        return self.project.results

    def _wait_or_cancel(self) -> Results:
        """Wait; an interrupt cancels the run, and a second one stops waiting for its end."""
        with contextlib.suppress(KeyboardInterrupt):
            return self._wait(None)
        self.cancel()
        return self.wait()

    def __repr__(self) -> str:
        return f"<Run {', '.join(replace(self._state, run=self.name)._facts())}>"

    def _repr_html_(self) -> str:
        return replace(self._state, run=self.name)._repr_html_()

    # --- what there is of the model so far ------------------------------------------------------

    @property
    def scene(self) -> Scene:
        """Cameras and sparse points; the properties below read files, too.

        Raises
        ------
        InputError
            The run has not made it yet; the same holds for `cloud` and `mesh`.
        """
        return load_scene(self._done, self.project.scale)

    @property
    def cloud(self) -> PointCloud:
        """The dense point cloud."""
        return load_cloud(self._done)

    @property
    def mesh(self) -> Mesh | TexturedMesh:
        """The textured mesh; the plain one as long as there is no texture."""
        return load_mesh(self._done)

    # --- the run's own thread -------------------------------------------------------------------

    def _main(self) -> None:
        # Holds until the work is done: an end that nobody foresaw is not a success.
        self._error = ended = StageError("The run ended without a result.", BUG)
        try:
            with self.project.lock():
                self._work()
            if self._error is ended:
                self._error = None
        except BaseException as error:
            # Of the lock, or of telling how the run ended; the run's own error comes first.
            if self._error is ended:
                self._error = explain(error)
        finally:
            atexit.unregister(self._end_with_process)

    def _end_with_process(self) -> None:
        self.cancel()
        self._background.wait(_AT_EXIT)

    def _work(self) -> None:
        log: EventLog | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            log = EventLog(self.folder / EVENTS, self.name, self._listen)
            Execution(
                settings=self._settings,
                project=self.project,
                folder=self.folder,
                log=log,
                cancelled=self._cancelled,
                done=self._done,
                state=lambda: self._state,
                until=self._until,
                rerun_from=self._rerun_from,
            ).go()
        except Cancelled as error:
            self._error = error
            if log is not None:
                log.emit(RunCancelled())
        except BaseException as error:  # SystemExit, too, would end the thread without a word
            self._error = explained = explain(error)
            if log is not None:
                log.emit(RunFailed(error=failure_of(explained)))

    def _listen(self, event: Event) -> None:
        self._state = fold([event], self._state)
        if self._on_event is not None:
            self._on_event(event)
