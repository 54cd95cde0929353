"""The loop of a run: stage after stage, each in a folder that is renamed once it is whole."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recon3d.compute import Cluster, StageContext, Usage, cluster_for_run, usable_cores
from recon3d.compute.cuda import colmap_gpu, gpu_engines, no_gpu_engine, visible_devices
from recon3d.errors import (
    Cancelled,
    EngineUnavailable,
    InputError,
    Recon3DError,
    ReconstructionError,
    StageError,
)
from recon3d.events import (
    EventLog,
    InputsChecked,
    RunCompleted,
    RunStarted,
    RunState,
    StageCompleted,
    StageFailed,
    StageProgress,
    StageSkipped,
    StageStarted,
    TimesForetold,
    VerdictReached,
)
from recon3d.io.atomic import TEMPORARY
from recon3d.layout import INPUTS, WORKERS_LOG
from recon3d.options import StageOptions
from recon3d.options.value_types import DaskClient
from recon3d.pipeline.failures import explain, failure_of
from recon3d.pipeline.judging import judge_artifacts
from recon3d.pipeline.plan import Step, load_stage, plan_steps
from recon3d.pipeline.progress import ProgressMeter
from recon3d.pipeline.report import (
    left_out_rows,
    published_fingerprints,
    reported_fingerprints,
    reported_left_out,
    result_names,
    write_report,
)
from recon3d.preflight.check import check_project, machine_factors
from recon3d.preflight.foretelling import foretell
from recon3d.project.artifacts import Artifact, Manifest
from recon3d.project.project import Project
from recon3d.project.shelf import Shelf
from recon3d.stage_table import STAGE_NAMES

#: How to go on all the same.
KEEP_PARTIAL = "What was made is kept; --accept-partial, or Pipeline(accept_partial=True), continues with it."


#: Stages that may run on GPUs, by whose code uses them: nobody knows how long they take there.
_ON_GPUS = {
    "colmap": ("feature_extraction", "feature_matching", "dense_reconstruction"),
    "recon3d": ("dense_reconstruction",),
}
#: Why a stage need not run.
_UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class RunSettings:
    """What a pipeline was told; its parameters are those of `Pipeline`."""

    quality: str
    options: Mapping[str, StageOptions]
    engine: str
    scheduler: str | os.PathLike[str] | DaskClient | None
    storage: str | None
    workers: int | None
    seed: int
    accept_partial: bool = False
    force: bool = False
    performance_report: Path | None = None


@dataclass
class Execution:
    """One run of the stages.

    Parameters
    ----------
    settings : RunSettings
    project : Project
        Its lock is held by the caller.
    folder : Path
        The run's own.
    log : EventLog
        Receives the events.
    cancelled : threading.Event
        Ends the run soon.
    done : dict of str to Artifact
        Filled with the finished artifact of each stage.
    state : callable
        Gives what the events so far add up to.
    until, rerun_from : str, optional
        As in `Pipeline.start`.
    """

    settings: RunSettings
    project: Project
    folder: Path
    log: EventLog
    cancelled: threading.Event
    done: dict[str, Artifact]
    state: Callable[[], RunState]
    until: str | None
    rerun_from: str | None
    _factors: dict[str, float] = field(default_factory=dict, init=False)
    #: Whether results or their report are this run's.
    _changed: bool = field(default=False, init=False)

    def go(self) -> None:
        """Run the stages that are not up to date, and publish what was made.

        Raises
        ------
        Cancelled
            The run was cancelled.
        Recon3DError
            A stage failed.
        """
        started = time.monotonic()
        try:
            self._run_stages()
        except BaseException:
            # What ended the run, such as a full disk, may end this too; it is the first error that counts.
            with contextlib.suppress(Exception):
                self._publish()
            raise
        self._publish()
        project = self.project
        old = project.results.outdated
        results = {
            name: path.relative_to(project.path).as_posix()
            for name, path in project.results.files().items()
            if name not in old
        }
        self.log.emit(RunCompleted(results=results, seconds=time.monotonic() - started))

    def _run_stages(self) -> None:
        settings, project, log = self.settings, self.project, self.log
        if not project.inputs:
            raise InputError(f"{project.path} has no input.", "Add a video or photos first.")
        # A run that was killed may have left whole artifacts that were arriving; nothing reads them, and what
        # cannot be removed is in nobody's way.
        for path in (*project.store.leftovers(), *project.results.leftovers()):
            if path.name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    project.store.remove(path)
        steps = plan_steps(project, settings.options, settings.seed, self.until)
        log.emit(
            RunStarted(
                stages=tuple(s.stage.name for s in steps),
                quality=settings.quality,
                version=_version("recon3d"),
                notes=project.notes,
            )
        )
        forced = STAGE_NAMES.index(self.rerun_from) if self.rerun_from else len(STAGE_NAMES)
        done = self.done
        # A run that is killed tells no more: what is of other inputs or options is called so from now on.
        self._publish()
        self._check(steps)

        clusters: list[Cluster] = []
        shelf = None if settings.storage is None else Shelf(settings.storage, self.cancelled)

        def make_cluster() -> Cluster:
            gpus = self._gpus()
            made = Cluster(
                settings.scheduler,
                workers=settings.workers,
                gpus=gpus,
                log_path=self.folder / WORKERS_LOG if settings.scheduler is None else None,
                folder=self.folder if settings.storage is None else project.path,
                storage=settings.storage,
                performance_report=settings.performance_report,
                cancelled=self.cancelled,
            )
            clusters.append(made)
            if made.dashboard:
                self._tell(f"Dashboard: {made.dashboard}")
            return made

        with cluster_for_run(make_cluster) as cluster:
            for step in steps:
                name = step.stage.name
                if self.cancelled.is_set():
                    raise Cancelled()
                again = STAGE_NAMES.index(name) >= forced
                if again or step.artifact is None:
                    log.emit(StageStarted(stage=name))
                try:
                    artifact, reason = self._find(step, again, shelf)
                    if artifact is None:
                        self._foretell(cluster)
                        artifact = self._run_step(step, cluster, again)
                    if shelf is not None:
                        shelf.put(artifact, replace=not reason)
                    done[name] = artifact
                    self._changed = self._changed or reason != _UP_TO_DATE
                    if name in ("sparse_reconstruction", steps[-1].stage.name):
                        self._judge(name)
                except Cancelled:
                    raise
                except BaseException as error:
                    if self.cancelled.is_set():  # what fails from then on fails by the cancelling
                        raise Cancelled() from error
                    explained = explain(error, name)
                    log.emit(StageFailed(stage=name, error=failure_of(explained)))
                    raise explained from error
                log.emit(self._ended(artifact, reason))
        for ended in clusters:
            for note in ended.take_notes():
                self._tell(note)

    def _tell(self, message: str) -> None:
        """Log a message about the workers, at the stage that is running or was the last."""
        stages = self.state().stages
        stage = self.state().current or stages[max(stages, key=lambda name: stages[name].started or 0)]
        self.log.emit(
            StageProgress(
                stage=stage.name, done=stage.done, total=stage.total, unit=stage.unit, message=message
            )
        )

    def _find(self, step: Step, again: bool, shelf: Shelf | None) -> tuple[Artifact | None, str]:
        """Find what a stage would make, here or in the storage, and why it need not run."""
        if again:
            return None, ""
        if step.artifact is not None:
            return step.artifact, _UP_TO_DATE
        if shelf is not None:
            found = shelf.fetch(self.project.store, step.stage.name, step.fingerprint)
            if found is not None:
                return found, f"fetched from {shelf.url}"
        return None, ""

    def _run_step(self, step: Step, cluster: Callable[[], Cluster], again: bool) -> Artifact:
        """Run a stage, after what it only chooses from; that is kept when the choice is impossible."""
        if step.base is not None:
            known = None if again else step.base.artifact
            self.done[step.stage.name] = known or self._run_stage(step.base, cluster)
        return self._run_stage(step, cluster)

    def _run_stage(self, step: Step, cluster: Callable[[], Cluster]) -> Artifact:
        settings, project, log, done = self.settings, self.project, self.log, self.done
        stage, options = step.stage, step.options
        module = load_stage(stage.name)
        began, clock = time.time(), time.monotonic()
        own_cpu = time.thread_time()
        engines = _gpu_engines(settings.engine, cluster)
        context = StageContext(
            cluster=cluster,
            emit=ProgressMeter(stage.name, log.emit),
            cancelled=self.cancelled,
            seed=settings.seed,
            engine="cuda" if "colmap" in engines else "cpu",
            gpu_engines=engines,
            gpu_required=settings.engine not in ("auto", "cpu"),
            usage=Usage(),
        )
        if engines and context.engine == "cpu" and stage.name == "feature_extraction":
            context.log("Features and matches come from the CPU: COLMAP has no CUDA here.")
        work = project.store.begin(stage.name, step.fingerprint)
        inputs = {need: project.path / INPUTS if need == "inputs" else done[need].path for need in step.needs}
        module.run(inputs, options, work, context)
        if self.cancelled.is_set():
            raise Cancelled()
        manifest = Manifest(
            stage=stage.name,
            stage_version=module.VERSION,
            fingerprint=step.fingerprint,
            inputs={need: done[need].manifest.fingerprint for need in step.needs if need in done},
            options=options.model_dump(mode="json"),
            seed=settings.seed,
            engine=context.engine,
            workers=context.workers,
            versions={name: _version(name) for name in ("recon3d", "pycolmap", "open3d", "numpy", "numba")}
            | {"python": platform.python_version()},
            started=began,
            seconds=time.monotonic() - clock,
            cpu_seconds=context.usage.cpu_seconds + time.thread_time() - own_cpu,
            peak_memory=context.usage.peak_memory,
            moved={} if settings.storage is None else asdict(context.usage.moved),
            counts=context.counts,
            fallbacks=tuple(context.fallbacks),
        )
        return project.store.commit(work, manifest)

    def _ended(self, artifact: Artifact, reason: str) -> StageCompleted | StageSkipped:
        manifest = artifact.manifest
        relative = artifact.path.relative_to(self.project.path).as_posix()
        if reason:
            return StageSkipped(
                stage=artifact.stage,
                reason=reason,
                artifact=relative,
                seconds=manifest.seconds,
                cpu_seconds=manifest.cpu_seconds,
                peak_memory=manifest.peak_memory,
                counts=manifest.counts,
            )
        return StageCompleted(
            stage=artifact.stage,
            artifact=relative,
            seconds=manifest.seconds,
            cpu_seconds=manifest.cpu_seconds,
            peak_memory=manifest.peak_memory,
            counts=manifest.counts,
            fallbacks=manifest.fallbacks,
        )

    def _check(self, steps: Sequence[Step]) -> None:
        """Look at the inputs before hours are spent; what is certain to fail is refused."""
        known_cameras = self.project.poses is not None
        cameras = next((step for step in steps if step.stage.name == "sparse_reconstruction"), None)
        if known_cameras or cameras is None or cameras.artifact is not None:
            return
        if cameras.base is not None and cameras.base.artifact is not None:
            return
        try:
            found = check_project(self.project, workers=self.settings.workers, cancelled=self.cancelled)
        except StageError as error:
            # A check that fails must not stop a run that may succeed.
            self.log.emit(
                InputsChecked(level="doubtful", sentences=(error.message,), advice=("The run continues.",))
            )
            return
        self.log.emit(InputsChecked(level=found.level, sentences=found.sentences, advice=found.advice))
        self._factors = found.factors
        foretold = [e.stages for e in found.estimates if e.quality == self.settings.quality]
        if foretold and self.settings.scheduler is None and not self._gpus():
            self.log.emit(TimesForetold(seconds=foretold[0]))
        if found.level == "hopeless" and not self.settings.force:
            # Forcing helps where the check may err; without two images it fails at once.
            hint = () if found.blank else ("--force, or Pipeline(force=True), continues nevertheless.",)
            name = self.project.inputs[0].name
            more = len(self.project.inputs) - 1
            message = " ".join((f"{name} and {more} more:" if more else f"{name}:", *found.sentences))
            kind = InputError if found.blank else ReconstructionError
            raise kind(message, " ".join((*found.advice, *hint)))

    def _gpus(self) -> list[str]:
        """GPUs of this machine that the run's own workers may use."""
        wanted = self.settings.engine != "cpu" and self.settings.scheduler is None
        return visible_devices() if wanted and gpu_engines() else []

    def _foretell(self, cluster: Callable[[], Cluster]) -> None:
        """Say how long the stages take, as soon as the frames are there and whenever more is known.

        What is not known is not said: the prices are those of CPUs, and of this machine's.
        """
        settings = self.settings
        if "frame_extraction" not in self.done or settings.scheduler is not None:
            return
        engines = _gpu_engines(settings.engine, cluster)
        on_gpus = {stage for name in engines for stage in _ON_GPUS[name]}
        workers = settings.workers or usable_cores()
        try:
            # Runs with known cameras, and those that continue, have not looked at their inputs.
            self._factors = self._factors or machine_factors(
                self.project, workers=settings.workers, cancelled=self.cancelled
            )
            seconds = foretell(self.done, settings.options, workers, self._factors)
        except Cancelled:
            raise
        except (Recon3DError, KeyError, IndexError):
            # The speed of the machine cannot be found; or a list of frames that is missing, damaged or
            # empty, or counts of another version: the stage that needs them says so.
            return
        seconds = {name: value for name, value in seconds.items() if name not in on_gpus}
        self.log.emit(TimesForetold(seconds={name: round(value, 2) for name, value in seconds.items()}))

    def _judge(self, stage: str) -> None:
        """Say how far what is there can be trusted, before hours are spent on what follows."""
        verdict = judge_artifacts(self.done, known_cameras=self.project.poses is not None)
        if verdict is None:
            return
        self.log.emit(
            VerdictReached(
                stage=stage, level=verdict.level, sentences=verdict.sentences, advice=verdict.advice
            )
        )
        if verdict.level == "unusable" and not self.settings.accept_partial:
            raise ReconstructionError(" ".join(verdict.doubts), " ".join((*verdict.advice, KEEP_PARTIAL)))

    def _publish(self) -> None:
        """Bring ``results`` up to date with what was made so far, also when the run fails or is cancelled."""
        results, done = self.project.results, self.done
        published = published_fingerprints(results.folder)
        missed, planned = published.keys() - done.keys(), dict[str, str]()
        if missed:  # it may still be what this run would make
            steps = plan_steps(self.project, self.settings.options, self.settings.seed)
            planned = {step.stage.name: step.fingerprint for step in steps}
        there = results.files()
        other = result_names(name for name in missed if published[name] != planned.get(name))
        outdated = [name for name in other if name in there]
        # Also a run that made nothing may be of other inputs or options than what is there.
        told = results.outdated == set(outdated)
        if told and not self._changed and not (done and self._out_of_date()):
            return
        for name, artifact in done.items():
            results.publish(name, artifact.path)
            published[name] = artifact.manifest.fingerprint
        write_report(
            self.project,
            list(done.values()),
            self.state(),
            results.folder,
            published=published,
            outdated=outdated,
        )
        self._changed = True

    def _out_of_date(self) -> bool:
        results = self.project.results
        if results.report is None:
            return True
        if reported_left_out(results.folder) != left_out_rows(self.project):
            return True
        reported = reported_fingerprints(results.folder)
        return any(
            reported.get(name) != artifact.manifest.fingerprint or not results.complete(name, artifact.path)
            for name, artifact in self.done.items()
        )


def _gpu_engines(wanted: str, cluster: Callable[[], Cluster]) -> tuple[str, ...]:
    """Whose code may use the workers' GPUs; see `recon3d.compute.cuda.gpu_engines`."""
    if wanted == "cpu":
        return ()
    found = cluster().gpu_engines
    if wanted == "colmap-cuda":
        found = tuple(name for name in found if name == "colmap")
        if not found:
            raise EngineUnavailable(
                f"COLMAP cannot use a GPU of the workers: {colmap_gpu()[1]}.",
                "Use engine='cuda', 'cpu' or 'auto'.",
            )
    if not found and wanted == "cuda":
        raise EngineUnavailable(f"No worker has a GPU: {no_gpu_engine()}", "Use engine='cpu' or 'auto'.")
    return found


def _version(package: str) -> str:
    for name in (package, f"{package}-cuda12"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
