"""A run in the background: its thread, its events, its end."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from recon3d.artifacts import Artifact, Manifest
from recon3d.background import Background
from recon3d.compute import Cluster, StageContext, Usage, cluster_for_run
from recon3d.errors import Cancelled, EngineUnavailable, InputError, Recon3DError, StageError
from recon3d.events import (
    Event,
    EventLog,
    Failure,
    ProgressMeter,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunState,
    StageCompleted,
    StageFailed,
    StageSkipped,
    StageStarted,
    fold,
    read_events,
)
from recon3d.gpu import gpu_available, visible_devices
from recon3d.models import load_cloud, load_mesh, load_scene
from recon3d.options import STAGE_OPTIONS
from recon3d.project import Project
from recon3d.results import Results

if TYPE_CHECKING:
    from recon3d.pipeline import Pipeline, Step
    from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh

_ORDER = tuple(STAGE_OPTIONS)
_BUG = "This is most likely a bug in recon3d; please report it. Finished work is kept."
#: What an interrupted `Run.wait` says.
_GOING_ON = "The run goes on in the background. run.wait() waits again; run.cancel() stops it.\n"
_ENDING = "The run is being cancelled; it ends soon, in the background.\n"


class Run:
    """A run that goes on in the background.

    Attributes
    ----------
    name : str
    folder : Path
        ``PROJECT/runs/NAME``, with the run's events and logs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        project: Project,
        until: str | None,
        rerun_from: str | None,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.pipeline = pipeline
        self.project = project
        # Names sort by time, whichever zones the processes live in.
        self.name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}-{os.urandom(2).hex()}"
        self.folder = project.path / "runs" / self.name
        self._until = until
        self._rerun_from = rerun_from
        self._on_event = on_event
        self._cancelled = threading.Event()
        self._state = RunState()
        self._error: Recon3DError | None = None
        self._done: dict[str, Artifact] = {}
        self._background = Background(self._main, f"recon3d-{self.name}")
        self._background.start()

    # --- for the one who watches ----------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """How far the run is."""
        return self._state

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        return read_events(self.folder / "events.jsonl")

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

        Raises
        ------
        TimeoutError
            The run goes on after `timeout` seconds.
        KeyboardInterrupt
            The waiting was interrupted; the run goes on.
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
            raise TimeoutError(f"The run {self.name} goes on.")
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
        return load_scene(self._done)

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
        self._error = ended = StageError("The run ended without a result.", _BUG)
        try:
            with self.project.lock():
                self._work()
            if self._error is ended:
                self._error = None
        except BaseException as error:
            # Of the lock, or of telling how the run ended; the run's own error comes first.
            if self._error is ended:
                self._error = _explain(error)

    def _work(self) -> None:
        log: EventLog | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            log = EventLog(self.folder / "events.jsonl", self.name, self._listen)
            self._go(log)
        except Cancelled as error:
            self._error = error
            if log is not None:
                log.emit(RunCancelled())
        except BaseException as error:  # SystemExit, too, would end the thread without a word
            self._error = explained = _explain(error)
            if log is not None:
                log.emit(RunFailed(error=_failure(explained)))

    def _listen(self, event: Event) -> None:
        self._state = fold([event], self._state)
        if self._on_event is not None:
            self._on_event(event)

    def _go(self, log: EventLog) -> None:
        pipeline, project = self.pipeline, self.project
        if not project.inputs:
            raise InputError(f"{project.path} has no input.", "Add a video or photos first.")
        started = time.time()
        steps = pipeline.plan(project, until=self._until)
        log.emit(
            RunStarted(
                stages=tuple(s.stage.name for s in steps),
                quality=pipeline.quality,
                version=_version("recon3d"),
            )
        )
        forced = _ORDER.index(self._rerun_from) if self._rerun_from else len(_ORDER)
        done = self._done
        worked = False

        def make_cluster() -> Cluster:
            wanted = pipeline.engine != "cpu" and pipeline.scheduler is None
            gpus = visible_devices() if wanted and gpu_available()[0] else []
            return Cluster(
                pipeline.scheduler,
                workers=pipeline.workers,
                gpus=gpus,
                log_path=self.folder / "workers.log" if pipeline.scheduler is None else None,
            )

        try:
            with cluster_for_run(make_cluster) as cluster:
                for step in steps:
                    name = step.stage.name
                    if self._cancelled.is_set():
                        raise Cancelled()
                    if step.artifact is not None and _ORDER.index(name) < forced:
                        done[name] = step.artifact
                        relative = step.artifact.path.relative_to(project.path).as_posix()
                        log.emit(StageSkipped(stage=name, reason="up to date", artifact=relative))
                        continue
                    log.emit(StageStarted(stage=name))
                    try:
                        done[name] = self._run_stage(step, done, cluster, log)
                    except Cancelled:
                        raise
                    except BaseException as error:
                        explained = _explain(error, name)
                        log.emit(StageFailed(stage=name, error=_failure(explained)))
                        raise explained from error
                    worked = True
        except BaseException:
            # What ended the run, such as a full disk, may end this too; it is the first error that counts.
            with contextlib.suppress(Exception):
                self._publish(done, worked)
            raise
        self._publish(done, worked)
        results = {
            name: path.relative_to(project.path).as_posix() for name, path in project.results.files().items()
        }
        log.emit(RunCompleted(results=results, seconds=time.time() - started))

    def _run_stage(
        self, step: Step, done: Mapping[str, Artifact], cluster: Callable[[], Cluster], log: EventLog
    ) -> Artifact:
        pipeline, project = self.pipeline, self.project
        stage, options = step.stage, pipeline.options[step.stage.name]
        began, clock = time.time(), time.monotonic()
        own_cpu = time.thread_time()
        context = StageContext(
            cluster=cluster,
            emit=ProgressMeter(stage.name, log.emit),
            cancelled=self._cancelled,
            seed=pipeline.seed,
            engine=_engine(pipeline.engine, cluster),
            usage=Usage(),
        )
        work = project.store.begin(stage.name, step.fingerprint)
        inputs = {
            need: project.path / "inputs" if need == "inputs" else done[need].path for need in step.needs
        }
        stage.module.run(inputs, options, work, context)
        if self._cancelled.is_set():
            raise Cancelled()
        manifest = Manifest(
            stage=stage.name,
            stage_version=stage.module.VERSION,
            fingerprint=step.fingerprint,
            inputs={need: done[need].manifest.fingerprint for need in step.needs if need in done},
            options=options.model_dump(mode="json"),
            seed=pipeline.seed,
            engine=context.engine,
            workers=context.workers,
            versions={name: _version(name) for name in ("recon3d", "pycolmap", "open3d", "numpy", "numba")}
            | {"python": platform.python_version()},
            started=began,
            seconds=time.monotonic() - clock,
            cpu_seconds=context.usage.cpu_seconds + time.thread_time() - own_cpu,
            peak_memory=context.usage.peak_memory,
            counts=context.counts,
            fallbacks=tuple(context.fallbacks),
        )
        artifact = project.store.commit(work, manifest)
        log.emit(
            StageCompleted(
                stage=stage.name,
                artifact=artifact.path.relative_to(project.path).as_posix(),
                seconds=manifest.seconds,
                cpu_seconds=manifest.cpu_seconds,
                peak_memory=manifest.peak_memory,
                counts=manifest.counts,
                fallbacks=manifest.fallbacks,
            )
        )
        return artifact

    def _publish(self, done: Mapping[str, Artifact], worked: bool) -> None:
        """Bring ``results`` up to date with what was made, also when the run fails or is cancelled."""
        results = self.project.results
        if not done or not (worked or results.report is None or self._out_of_date(done)):
            return
        from recon3d.report import write_report

        for name, artifact in done.items():
            results.publish(name, artifact.path)
        write_report(self.project, list(done.values()), self._state, results.folder)

    def _out_of_date(self, done: Mapping[str, Artifact]) -> bool:
        from recon3d.report import reported_fingerprints

        results = self.project.results
        reported = reported_fingerprints(results.folder)
        return any(
            reported.get(name) != artifact.manifest.fingerprint or not results.complete(name)
            for name, artifact in done.items()
        )


def _engine(wanted: str, cluster: Callable[[], Cluster]) -> str:
    if wanted == "cpu":
        return "cpu"
    if cluster().gpus:
        return "cuda"
    if wanted == "cuda":
        raise EngineUnavailable(f"No worker has a GPU: {gpu_available()[1]}", "Use engine='cpu' or 'auto'.")
    return "cpu"


def _version(package: str) -> str:
    for name in (package, f"{package}-cuda12"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def _explain(error: BaseException, stage: str = "") -> Recon3DError:
    """Turn anything into an error of ours that says what to do."""
    if isinstance(error, StageError):
        error.stage = error.stage or stage
    if isinstance(error, Recon3DError):
        return error
    where = f"Stage {stage}" if stage else "The run"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        explained = StageError(
            f"{where} ran out of disk space{f' at {error.filename}' if error.filename else ''}.",
            "Free space on the project's disk and run the same command again; finished work is kept.",
            stage=stage,
        )
    elif isinstance(error, PermissionError):
        explained = StageError(
            f"{where} may not write {error.filename}.", "Check the folder's permissions.", stage=stage
        )
    else:
        explained = StageError(
            f"{where} failed: {type(error).__name__}: {error}",
            _BUG,
            stage=stage,
        )
    explained.__cause__ = error
    return explained


def _failure(error: Recon3DError) -> Failure:
    return Failure(
        type=type(error).__name__,
        message=error.message,
        hint=error.hint,
        log_tail=getattr(error, "log_tail", ""),
    )
