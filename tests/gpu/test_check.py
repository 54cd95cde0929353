"""The table of the GPU check: rows, limits and exit codes, with the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from recon3d.compute.cuda import gpu_engines
from tests.gpu import check, pack, steps
from tests.gpu.check import FAILED, NO_DEVICE, OK, Place, Row, Step, Table

no_gpu = pytest.mark.skipif(bool(gpu_engines()), reason="there is a GPU")


def run(data: Path, work: Path, *steps: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    work.mkdir()
    command = [sys.executable, "-m", "tests.gpu.check", "--data", str(data), "--work", str(work)]
    return subprocess.run(
        [*command, "--seconds", str(seconds), "--only", *steps],
        cwd=check.ROOT,
        env={**os.environ, "OUT": str(work / "out"), "NUMBA_CACHE_DIR": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )


def rows_of(work: Path) -> list[Row]:
    return [Row(**row) for row in json.loads((work / "out" / "results.json").read_text())]


@no_gpu
def test_without_a_device_the_rows_of_the_gpu_say_so(pack_data: Path, tmp_path: Path) -> None:
    done = run(pack_data, tmp_path / "work", "device", "without_device", "gpu_tests", "again_dense")
    assert done.returncode == 3, done.stdout + done.stderr
    rows = {(row.what, row.engine): row for row in rows_of(tmp_path / "work")}
    assert {what: row.status for what, row in rows.items()} == {
        ("pycolmap", ""): OK,
        ("device", "cuda"): NO_DEVICE,
        ("engine", "cuda"): NO_DEVICE,
        ("engine", "colmap-cuda"): NO_DEVICE,
        ("pytest -m gpu", "cuda"): NO_DEVICE,
        ("depth maps again", "cuda"): NO_DEVICE,
        ("told without a device", "cuda"): OK,
    }
    assert rows["told without a device", "cuda"].found.startswith("EngineUnavailable: No worker has a GPU")
    assert done.stdout.splitlines()[1] == "| --- | --- | ---: | --- |"
    assert (tmp_path / "work" / "out" / "results.md").read_text() in done.stdout


def test_a_step_is_stopped_at_its_limit_and_the_rest_is_told(pack_data: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(pack_data, tmp_path / "work", "structure_cpu", "without_device", seconds=2.5)
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    rows = rows_of(tmp_path / "work")
    assert [row.what for row in rows] == [
        what for s in ("structure_cpu", "without_device") for what in owed(s)
    ]
    assert {row.status for row in rows} == {FAILED}
    assert rows[0].found.startswith("stopped after")
    assert rows[-1].found == "not run: the time is up"


def owed(name: str) -> list[str]:
    return [what for step in check.STEPS if step.name == name for what, _ in step.rows]


def test_a_step_that_fails_says_why(pack_data: Path, tmp_path: Path) -> None:
    done = run(pack_data, tmp_path / "work", "dense_cpu", "again_dense")
    assert done.returncode == 1
    *others, last = rows_of(tmp_path / "work")
    # The depth maps that this one needs are not there; a failed step does not end the check.
    assert last.found == "ended with status 1: an earlier step has not finished dense reconstruction"
    reason = "ended with status 1: an earlier step has not finished sparse reconstruction"
    assert [row.found for row in others] == [reason] * 2


def test_exit_codes() -> None:
    for statuses, code in (([OK], 0), ([OK, NO_DEVICE], 3), ([OK, NO_DEVICE, FAILED], 1)):
        table = Table(None)
        for status in statuses:
            table.add(Row("what", "cuda", 1.0, "found", status))
        assert table.exit_code() == code


def test_what_tells_the_most_comes_first_and_colmaps_slow_maps_last() -> None:
    names = [step.name for step in check.STEPS]
    assert names[:6] == ["device", "scene", "dense_cuda", "gpu_tests", "dense_cpu", "against_cpu"]
    assert names[-3:] == ["dense_colmap", "against_cpu_colmap", "again_colmap"]


def test_our_engine_is_measured_first_and_all_three_on_the_same_views() -> None:
    dense = {step.name: step for step in check.STEPS if step.name.startswith("dense_")}
    assert list(dense) == ["dense_cuda", "dense_cpu", "dense_colmap"]
    assert [step.rows[0] for step in dense.values()] == [
        ("depth maps and cloud", engine) for engine in ("cuda", "cpu", "colmap-cuda")
    ]


@pytest.mark.slow
def test_all_that_is_measured_on_the_cpu(data_dir: Path, tmp_path: Path) -> None:
    """The same functions measure a GPU; a second run on the CPU is the same, bit for bit."""
    pack.pack_data(tmp_path / "data", 16)  # fewer do not overlap
    place, table = Place(tmp_path / "data", tmp_path), Table(None)
    functions = (
        steps.scene,
        *(partial(f, engine="cpu") for f in (steps.structure, steps.dense)),
        *(partial(f, engine="cpu") for f in (steps.again_features, steps.again_dense, steps.against_cpu)),
    )
    for function in functions:
        rows = capture(Step("step", function, (), 200), place)
        for row in rows:
            table.add(row)
    found = {row.what: row.found for row in table.rows}
    assert "16 of 16 images' features the same" in found["features and matches again"]
    assert "numbers of matches the same" in found["features and matches again"]
    for what in ("depth maps again", "depth maps against the CPU's"):
        assert found[what].startswith("16 of 16 the same, bit for bit; known in both 100.0 %")


def capture(step: Step, place: Place) -> list[Row]:
    rows: list[Row] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "emit", rows.append)
        step.run(place)
    return rows
