"""Workers fetch what their next task reads while they work."""

from __future__ import annotations

import os
import time
from pathlib import Path

from recon3d.compute import Cluster, StageContext, cluster_for_run, reads
from tests.compute import clusters

_TASKS, _BYTES = 5, 100_000


@reads(lambda task: [task[0]])
def work(task: tuple[Path, Path, Path]) -> bool:
    """Work until the cache has what another task reads, too, as long as there is one."""
    path, cache, begun = task
    assert len(path.read_bytes()) == _BYTES
    (begun / path.name).touch()
    wanted = min(len(list(begun.iterdir())) + 1, _TASKS)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len([blob for blob in cache.glob("blobs/*/*") if blob.stat().st_size == _BYTES]) >= wanted:
            return True
        time.sleep(0.02)
    return False


def test_what_the_next_task_reads_is_fetched_while_one_works(tmp_path: Path) -> None:
    project, cache, begun = tmp_path / "statue", tmp_path / "cache", tmp_path / "begun"
    folder = project / "work" / "stage-0"
    for made in (folder, begun):
        made.mkdir(parents=True)
    files = [folder / str(number) for number in range(_TASKS)]
    for file in files:
        file.write_bytes(os.urandom(_BYTES))
    make = {"folder": project, "storage": f"file://{tmp_path}/store"}
    with (
        clusters.scheduler(tmp_path) as (_, address),
        clusters.workers(address, tmp_path, "--processes", "1", "--cache", str(cache)),
        cluster_for_run(lambda: Cluster(address, **make)) as cluster,
    ):
        context = StageContext(cluster, lambda *_: None)
        # The paths of the cache and of the marks are no files of the project.
        seen = context.map(work, [(file, cache, begun) for file in files], names=[f.name for f in files])
        assert seen == [True] * _TASKS
        moved = context.usage.moved
    # What was fetched before its task began was fetched all the same.
    assert (moved.fetched, moved.cached) == (_TASKS * _BYTES, 0)
