"""A run's events made into rows.

Every write is one transaction that first renews the lease under the number of the claim. A runner
whose run another runner has taken over finds no row and stops.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from recon3d import events as run_events
from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Job, Project, Run, utcnow
from recon3d_api.work.claims import Claim, LostRun
from recon3d_api.work.new_pictures import NewPictures
from recon3d_api.work.quality import frame_count, quality_score
from recon3d_api.work.queue import FLAGS, emit, end_job, end_run

_StageEnd = run_events.StageCompleted | run_events.StageSkipped | run_events.StageFailed
_ENDS = run_events.RunCompleted | run_events.RunFailed | run_events.RunCancelled
#: What the run's state keeps, and no job has.
_KEPT = (
    run_events.RunStarted | run_events.InputsChecked | run_events.TimesForetold | run_events.VerdictReached
)
#: As the library names an option and its value.
_OPTION = re.compile(r"--set (?P<stage>\w+)\.(?P<option>\w+)=(?P<value>\w+(?:\.\w+)*)")


class RunRows:
    """The rows of a claimed run.

    Parameters
    ----------
    database, storage
    claim : Claim
    lease : float
        Seconds that a renewal lasts.

    Attributes
    ----------
    state : RunState
        What the events so far add up to.
    end : Event or None
        How the run ended, once its process has said so.
    cancel : bool
        Whether the run is to end.
    job_ids : dict of str to int
        Jobs by stage.
    """

    def __init__(self, database: Database, storage: Storage, claim: Claim, lease: float) -> None:
        self._database = database
        self._storage = storage
        self._claim = claim
        self._lease = lease
        self._began = time.monotonic()
        self.state = run_events.RunState()
        self.end: run_events.Event | None = None
        self.cancel = False
        self.job_ids: dict[str, int] = {}
        self._held: _StageEnd | None = None
        self._pictures = NewPictures(storage, claim.folder)
        self._told: dict[str, datetime | None] = {}

    @property
    def current(self) -> str | None:
        """The stage that runs."""
        stage = self.state.current
        return stage.name if stage else None

    def write(self, events: list[run_events.Event], usage: tuple[float | None, float | None]) -> None:
        """Renew the lease, and write what events change.

        Parameters
        ----------
        events : list of Event
        usage : tuple of float or None
            Percent of a core and MiB that the process uses now.

        Raises
        ------
        LostRun
            The run is another's.
        """
        stages = {event.stage for event in events if isinstance(event, run_events.StageProgress)}
        pictures = {stage: self._pictures.look(stage) for stage in {*stages, self.current or ""}}
        new = {stage for stage, newest in pictures.items() if newest != self._told.get(stage)}
        before = (self.state, self.end, self.cancel, self._held)
        try:
            with self._database.write(quiet=not events and not new) as session:
                run = self._fence(session)
                jobs = {job.job_type: job for job in run.jobs}
                self.job_ids = {name: job.id for name, job in jobs.items()}
                moved: dict[str, Job] = {}
                for event in events:
                    self.state = run_events.fold([event], self.state)
                    self._apply(session, run, jobs, event, moved)
                # A long step makes pictures without a word of progress.
                moved |= {name: job for name, job in jobs.items() if name in new and job.status == "running"}
                for job in moved.values():
                    emit(session, job, "job_progress", pictures[job.job_type])
                self._measure(session, run, jobs, usage)
        except BaseException:
            # Nothing was written: the same events come again.
            self.state, self.end, self.cancel, self._held = before
            raise
        self._told |= pictures

    def _fence(self, session: Session) -> Run:
        now = self._database.now(session)
        found = session.scalar(
            update(Run)
            .where(Run.id == self._claim.run_id, Run.attempt == self._claim.attempt, Run.status == "running")
            .values(lease_until=now + self._lease)
            .returning(Run.id)
            .execution_options(synchronize_session=False)
        )
        if found is None:
            raise LostRun
        run = session.get_one(Run, found)
        self.cancel = self.cancel or run.cancel_requested
        return run

    def _apply(
        self,
        session: Session,
        run: Run,
        jobs: Mapping[str, Job],
        event: run_events.Event,
        moved: dict[str, Job],
    ) -> None:
        """Turn one event into rows; what a resumed run repeats changes nothing."""
        if isinstance(event, _ENDS):
            self.end = event
            return
        if isinstance(event, _KEPT):
            return
        if event.stage not in jobs:
            return
        job = jobs[event.stage]
        if isinstance(event, run_events.StageStarted):
            if job.status == "cancelled":
                self.cancel = True
            _start(session, job)
        elif isinstance(event, run_events.StageProgress):
            if job.status == "running":
                self._progress(session, run, job, event)
                moved[event.stage] = job
        elif job.status in ("pending", "running"):
            moved.pop(event.stage, None)
            _start(session, job)
            if isinstance(event, run_events.StageFailed) or job.position == len(jobs) - 1:
                # Whoever sees the last job end may start the next run: so it ends with the run.
                self._held = event
            else:
                self._conclude(session, run, job, event)

    def _conclude(self, session: Session, run: Run, job: Job, event: _StageEnd) -> None:
        if isinstance(event, run_events.StageFailed):
            end_job(session, job, "failed", "Failed", self.redacted(_words(event.error)))
            return
        if run.cancel_requested:
            # The stage ended before its process heard of the request, which was accepted.
            end_job(session, job, "cancelled", "Cancelled")
            self._count_frames(session, run, event)
            return
        message = "Up to date"
        if isinstance(event, run_events.StageCompleted):
            told = [_for_requests(text).removesuffix(".") + "." for text in event.fallbacks]
            message = " ".join(told) or "Done"
            job.cpu_usage = round(100 * event.cpu_seconds / max(event.seconds, 1e-3), 1)
            job.memory_usage = round(event.peak_memory / 2**20, 1)
        run.crashes = 0
        verdict = self.state.verdict
        if verdict is not None and verdict.stage == event.stage:
            judged = " ".join((f"Verdict: {verdict.level}.", *verdict.sentences, *verdict.advice))
            message = judged if message in ("Done", "Up to date") else f"{judged} {message}"
        end_job(session, job, "completed", message)
        self._count_frames(session, run, event)

    def _progress(self, session: Session, run: Run, job: Job, event: run_events.StageProgress) -> None:
        fraction = self.state.stages[event.stage].fraction
        job.progress = max(job.progress, round(min(100 * fraction, 99.9), 1))
        job.message = event.message or self.state.stages[event.stage].counted
        job.eta = event.eta
        if event.stage == "feature_extraction":
            project = session.get_one(Project, run.project_id)
            done = int(fraction * project.total_frames + 1e-6)
            project.processed_frames = max(project.processed_frames, done)

    def _count_frames(self, session: Session, run: Run, event: run_events.Event) -> None:
        project = session.get_one(Project, run.project_id)
        stage = getattr(event, "stage", "")
        if stage == "frame_extraction":
            if isinstance(event, run_events.StageCompleted):
                project.total_frames = int(event.counts["frames"])
            elif (opened := self._storage.open(self._claim.folder)) is not None:
                project.total_frames = frame_count(opened)
        elif stage == "feature_extraction":
            project.processed_frames = project.total_frames

    def _measure(
        self,
        session: Session,
        run: Run,
        jobs: Mapping[str, Job],
        usage: tuple[float | None, float | None],
    ) -> None:
        run.seconds = self._seconds
        run.fraction = max(run.fraction, self.state.fraction)
        run.seconds_left = self.state.time_left(time.time())
        if run.full:
            session.get_one(Project, run.project_id).processing_time = round(run.seconds, 2)
        job, (cpu, memory) = jobs.get(self.current or ""), usage
        if job is not None and job.status == "running":
            job.cpu_usage = job.cpu_usage if cpu is None else round(cpu, 1)
            if memory is not None:
                job.memory_usage = round(max(memory, job.memory_usage or 0.0), 1)

    @property
    def _seconds(self) -> float:
        return self._claim.seconds + time.monotonic() - self._began

    # --- the end ----------------------------------------------------------------------------------

    def finish(self, code: int, tail: str, *, stopping: bool, max_crashes: int) -> None:
        """Write how the run ended; a run whose process died goes back to the queue.

        Parameters
        ----------
        code : int
            Exit status of the process.
        tail : str
            What it printed last.
        stopping : bool
            Whether the runner itself ends.
        max_crashes : int
        """
        with self._database.write() as session:
            run = self._fence(session)
            run.seconds = self._seconds
            project = session.get_one(Project, run.project_id)
            held = self._held
            whole = isinstance(self.end, run_events.RunCompleted)
            completed = whole and not self.cancel
            failed = isinstance(self.end, run_events.RunFailed)
            if held is not None and (completed or failed):
                job = next(job for job in run.jobs if job.job_type == held.stage)
                self._conclude(session, run, job, held)
            if whole and run.full:
                project.processing_time = round(run.seconds, 2)
                opened = self._storage.open(self._claim.folder)
                project.reconstruction_quality = quality_score(opened) if opened else 0.0
                # The results are this run's, even if it counts as cancelled.
                run.kept_numbers = None
            if completed:
                run.fraction = 1.0
                end_run(session, run, "completed")
            elif isinstance(self.end, run_events.RunFailed):
                self._fail(session, run, _words(self.end.error))
            elif self.cancel:
                end_run(session, run, "cancelled")
            elif stopping:
                _requeue(run, "Interrupted by the server's end; waits to be resumed")
            else:
                run.crashes += 1
                why = self.redacted(f"The process ended unexpectedly (exit status {code}). {tail}".strip())
                if run.crashes >= max_crashes:
                    self._fail(session, run, why)
                else:
                    _requeue(run, f"{why[:500]} It is tried again.")
                    run.not_before = self._database.now(session) + min(2.0**run.crashes / 4, 30.0)

    def _fail(self, session: Session, run: Run, error: str) -> None:
        error = self.redacted(error)
        if not any(job.status in ("running", "failed") for job in run.jobs):
            # It failed before a stage began, as with an unreadable input: that is the next one's.
            for job in [job for job in run.jobs if job.status == "pending"][:1]:
                _start(session, job)
                end_job(session, job, "failed", "Failed", error)
        end_run(session, run, "failed", error)

    def redacted(self, text: str) -> str:
        """Remove paths of the server from a text.

        Parameters
        ----------
        text : str

        Returns
        -------
        str
        """
        root = self._storage.root(self._claim.folder)
        for path in (self._storage.model(self._claim.folder), root, self._storage.settings.data_dir):
            text = text.replace(f"{path}/", "").replace(str(path), "the project")
        return text


def _start(session: Session, job: Job) -> None:
    if job.status == "pending":
        job.status, job.started_at, job.message = "running", utcnow(), "Started"
        emit(session, job, "job_started")


def _requeue(run: Run, message: str) -> None:
    run.status, run.runner, run.lease_until = "queued", None, 0.0
    for job in run.jobs:
        if job.status == "running":
            job.message = message


def _words(error: run_events.Failure) -> str:
    return _for_requests(f"{error.message} {error.hint}".strip())


def _for_requests(text: str) -> str:
    """The library names its own switches and options; who reads this starts runs with a request."""
    for flag in FLAGS:
        spoken = f"--{flag.replace('_', '-')}, or Pipeline({flag}=True),"
        text = text.replace(spoken, f'start-reconstruction with the body {{"{flag}": true}}')
    return _OPTION.sub(_body, text)


def _body(option: re.Match[str]) -> str:
    body = {"options": {option["stage"]: {option["option"]: option["value"]}}}
    return f"start-reconstruction with the body {json.dumps(body)}"
