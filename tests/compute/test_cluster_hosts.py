"""Hosts of a cluster, as network namespaces of this machine; needs root and iproute2."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recon3d.compute import Cluster, StageContext, cluster_for_run
from recon3d.errors import EngineUnavailable
from tests.compute import clusters
from tests.compute.namespaces import NO_NAMESPACES, Network, without

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)]


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@contextlib.contextmanager
def three_hosts(network: Network, folder: Path) -> Iterator[str]:
    """A scheduler and two workers on hosts of their own; its address."""
    address = network.host("s")
    with contextlib.ExitStack() as stack:
        _, scheduler = stack.enter_context(
            clusters.scheduler(folder, host=address, prefix=network.inside("s"))
        )
        for name in ("a", "b"):
            network.host(name)
            stack.enter_context(
                clusters.workers(scheduler, folder, "--processes", "1", prefix=network.inside(name))
            )
        yield scheduler


def test_three_hosts_make_the_same_model(
    network: Network, tmp_path: Path, local_model: dict[str, str]
) -> None:
    with three_hosts(network, tmp_path) as scheduler:
        run = clusters.small_run(tmp_path / "remote", "--scheduler", scheduler)
        assert run.wait() == 0
    assert clusters.digests(tmp_path / "remote") == local_model


def test_a_network_that_is_away_for_half_a_minute_loses_nothing(network: Network, tmp_path: Path) -> None:
    with three_hosts(network, tmp_path) as scheduler, cluster_for_run(lambda: Cluster(scheduler)) as cluster:
        context = StageContext(cluster, lambda *_: None)
        pids = set(context.map(nap, [1.0] * 4))
        assert len(pids) == 2
        cut = threading.Thread(target=network.cut, args=("a", 30))
        cut.start()
        began = time.monotonic()
        assert set(context.map(nap, [0.5] * 8)) == pids  # the same processes: none was lost
        assert time.monotonic() - began > 20
        cut.join()


def test_a_worker_that_does_not_see_the_folder_is_refused_by_name(network: Network, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    with (
        clusters.scheduler(tmp_path) as (_, scheduler),
        clusters.workers(scheduler, tmp_path, "--processes", "1", prefix=without(project)),
    ):
        with pytest.raises(EngineUnavailable, match=r"tcp://.* does not see .*project.*missing") as told:
            Cluster(scheduler, folder=project)
        assert "Mount the project's disk there under the same path" in told.value.hint
        assert list(project.iterdir()) == []
