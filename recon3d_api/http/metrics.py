"""Numbers for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import func, select

from recon3d_api.store.database import Database
from recon3d_api.store.tables import Job, Run
from recon3d_api.work import deletions

_STATES = ("queued", "running", "completed", "failed", "cancelled")


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recon3d_http_requests_total",
            "Requests by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "recon3d_http_request_seconds",
            "Duration of requests by route.",
            ("method", "route"),
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
            registry=self.registry,
        )
        self.uploaded = Counter(
            "recon3d_uploaded_bytes_total", "Bytes of accepted uploads.", registry=self.registry
        )
        self.refused = Counter(
            "recon3d_refused_total",
            "Refusals by kind: upload, rate_limit, login.",
            ("kind",),
            registry=self.registry,
        )
        self.listeners = Gauge(
            "recon3d_websocket_listeners", "Open WebSocket connections.", registry=self.registry
        )
        self.runs = Gauge("recon3d_runs", "Runs by status.", ("status",), registry=self.registry)
        self.jobs = Gauge(
            "recon3d_jobs", "Jobs by type and status.", ("job_type", "status"), registry=self.registry
        )

        self.unowned = Gauge(
            "recon3d_unowned_folders",
            "Folders without a project when the server started; `recon3d-api gc` lists them.",
            registry=self.registry,
        )
        self.deletions = Gauge(
            "recon3d_pending_deletions",
            "Deleted projects whose files are not removed yet.",
            registry=self.registry,
        )

    def render(self, database: Database) -> bytes:
        """Render the metrics for Prometheus; runs and jobs are counted now.

        Parameters
        ----------
        database : Database

        Returns
        -------
        bytes
        """
        with database.read() as session:
            counted = session.execute(select(Run.status, func.count()).group_by(Run.status))
            runs: dict[str, int] = {row[0]: row[1] for row in counted}
            jobs = session.execute(
                select(Job.job_type, Job.status, func.count()).group_by(Job.job_type, Job.status)
            ).all()
            self.deletions.set(deletions.pending(session))
        for status in _STATES:
            self.runs.labels(status).set(runs.get(status, 0))
        self.jobs.clear()
        for job_type, status, count in jobs:
            self.jobs.labels(job_type, status).set(count)
        return generate_latest(self.registry)
