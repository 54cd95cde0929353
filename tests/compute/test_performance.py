"""Dask's dashboard and its performance report, as users ask for them."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import distributed
import pytest

from recon3d.compute import Cluster, StageContext, cluster_for_run
from recon3d.compute.performance import PerformanceReport
from recon3d.errors import OptionError
from tests.compute import clusters


def a_task_with_a_name(x: int) -> int:
    return x + 1


def test_a_local_run_has_a_performance_report(tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    report = tmp_path / "reports" / "run.html"
    with cluster_for_run(lambda: Cluster(workers=1, performance_report=report)) as cluster:
        context = StageContext(cluster, lambda *_: None)
        assert context.map(a_task_with_a_name, [1, 2]) == [2, 3]
        assert context.fallbacks == []
    assert "a_task_with_a_name" in report.read_text()


def test_a_report_that_cannot_be_made_is_told_when_the_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"file.run\.html"):
        Cluster(workers=1, performance_report=tmp_path / "file" / "run.html")
    monkeypatch.setattr("distributed.versions._version_cached", lambda package: None)
    report = tmp_path / "run.html"
    settings = {"n_workers": 0, "dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    with distributed.LocalCluster(**settings) as local, distributed.Client(local) as client:
        made = PerformanceReport(client, report)
        assert "has no bokeh" in made.problem
        assert "recon3d[cluster]" in made.problem
        assert made.write() == ""
    assert not report.exists()


@pytest.mark.slow
def test_the_dashboard_of_a_cluster_is_told_and_answers(tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    report = tmp_path / "run.html"
    with (
        clusters.scheduler(tmp_path, "--dashboard", "--dashboard-address", "127.0.0.1:0") as (_, address),
        clusters.workers(address, tmp_path, "--processes", "1"),
        cluster_for_run(lambda: Cluster(address, performance_report=report)) as cluster,
    ):
        assert StageContext(cluster, lambda *_: None).call(a_task_with_a_name, 1) == 2
        with urllib.request.urlopen(cluster().dashboard, timeout=30) as page:
            assert b"Dask" in page.read()
    assert "a_task_with_a_name" in report.read_text()
