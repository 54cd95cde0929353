"""Claims on runs: which runner works on which run, under a lease.

Any number of runners, in any number of servers, share one database: a claim is a single UPDATE,
good for a lease that the runner renews while it works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select, update

from recon3d_api.store.database import CLAIMS, Database
from recon3d_api.store.tables import Project, Run, Runner, utcnow
from recon3d_api.work import processes
from recon3d_api.work.turns import fair_order

_FORGET_RUNNER = 86_400.0


class LostRun(Exception):
    """Someone else works on the run."""


@dataclass(frozen=True)
class Claim:
    """A run that a runner may work on until its lease ends."""

    run_id: int
    attempt: int
    project_id: int
    folder: str
    quality: str
    until: str | None
    options: Mapping[str, Mapping[str, Any]]
    #: Seconds that earlier attempts took.
    seconds: float


class RunClaims:
    """Claims of one process on runs.

    Parameters
    ----------
    database : Database
    name : str
        Of the process that claims, from `processes.own_name`.
    lease : float
    """

    def __init__(self, database: Database, name: str, lease: float) -> None:
        self._database = database
        self._name = name
        self._lease = lease

    def claim(self) -> Claim | None:
        """Claim the run whose turn it is, of those that wait or whose runner is gone.

        Returns
        -------
        Claim or None
        """
        with self._database.read() as session:
            now = self._database.now(session)
            waiting = session.scalar(select(func.count()).select_from(Run).where(Run.status == "queued"))
            runners = set(session.scalars(select(Run.runner).where(Run.status == "running").distinct()))
            dead = [name for name in runners if name and name != self._name and processes.is_dead(name)]
            expired = session.scalar(
                select(func.count()).where(Run.status == "running", Run.lease_until < now)
            )
        if not (waiting or dead or expired):
            return None
        with self._database.write() as session:
            # One after the other: whose turn it is depends on what was claimed before.
            self._database.serialize(session, CLAIMS)
            now = self._database.now(session)
            free = (
                select(Run.id)
                .where(
                    or_(
                        (Run.status == "queued") & (Run.not_before <= now),
                        (Run.status == "running") & ((Run.lease_until < now) | Run.runner.in_(dead)),
                    )
                )
                .order_by(*fair_order())
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            run = session.scalar(
                update(Run)
                .where(Run.id == free.scalar_subquery())
                .values(
                    status="running",
                    runner=self._name,
                    attempt=Run.attempt + 1,
                    lease_until=now + self._lease,
                    started_at=func.coalesce(Run.started_at, utcnow()),
                )
                .returning(Run)
                .execution_options(synchronize_session=False)
            )
            if run is None:
                return None
            folder = session.scalar(select(Project.folder).where(Project.id == run.project_id))
            return Claim(
                run_id=run.id,
                attempt=run.attempt,
                project_id=run.project_id,
                folder=folder or "",
                quality=run.quality,
                until=run.until,
                options=run.options,
                seconds=run.seconds,
            )

    def beat(self) -> None:
        """Record that this process works on runs."""
        with self._database.write(quiet=True) as session:
            now = self._database.now(session)
            session.merge(Runner(name=self._name, seen=now))
            session.execute(delete(Runner).where(Runner.seen < now - _FORGET_RUNNER))

    def leave(self) -> None:
        """Record that it no longer does."""
        with self._database.write() as session:
            session.execute(delete(Runner).where(Runner.name == self._name))
