"""COLMAP's PatchMatch in its own process: options, failures; the real thing needs a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pycolmap
import pytest

from recon3d.colmap import patch_match
from recon3d.colmap.patch_match import match_views, patch_match_options
from recon3d.compute.cuda import visible_devices
from recon3d.errors import EngineUnavailable, OutOfMemory, StageError
from recon3d.io.colmap_dense import DenseWorkspace, PatchMatchSettings, Problem
from recon3d.io.depth import write_colmap_map

PROBLEMS = [Problem(0, (1, 2), (1.0, 3.0)), Problem(1, (0, 2), (1.5, 2.5))]
#: Stands in for COLMAP: writes whole maps for the views named in WRITES, says SAYS, exits with EXITS.
CHILD = """
import json, os, sys
from pathlib import Path
import numpy as np
from recon3d.io.colmap_dense import DenseWorkspace
from recon3d.io.depth import write_colmap_map
job = json.load(sys.stdin)
workspace = DenseWorkspace(Path(job["folder"]))
Path(job["folder"], "job.json").write_text(json.dumps(job))
for index in map(int, os.environ["WRITES"].split()):
    assert not workspace.depth_map(index, job["kind"]).exists()
    write_colmap_map(workspace.depth_map(index, job["kind"]), np.ones((3, 4), np.float32))
    write_colmap_map(workspace.normal_map(index, job["kind"]), np.ones((3, 4, 3), np.float32))
print(os.environ["SAYS"])
sys.exit(int(os.environ["EXITS"]))
"""


def behave(monkeypatch, writes="0 1", says="", exits=0):
    monkeypatch.setattr(patch_match, "_CHILD", CHILD)
    for name, value in (("WRITES", writes), ("SAYS", says), ("EXITS", exits)):
        monkeypatch.setenv(name, str(value))


def match(folder, settings=PatchMatchSettings(), titles=()):  # noqa: B008
    match_views(folder, PROBLEMS, "geometric", settings, filtered=True, titles=titles)


@pytest.mark.skipif(pycolmap.has_cuda, reason="this pycolmap has CUDA")
def test_without_cuda_the_real_child_says_so(tmp_path):
    with pytest.raises(EngineUnavailable, match="built without CUDA") as caught:
        match(tmp_path)
    assert "engine='cpu'" in caught.value.hint


def test_the_job_reaches_the_child_and_whole_maps_stay(tmp_path, monkeypatch):
    behave(monkeypatch, writes="1")
    workspace = DenseWorkspace(tmp_path)
    write_colmap_map(workspace.depth_map(0, "geometric"), np.ones((3, 4), np.float32))
    write_colmap_map(workspace.normal_map(0, "geometric"), np.ones((3, 4, 3), np.float32))
    # A killed run left this one cut off; COLMAP would skip the view because it exists.
    workspace.depth_map(1, "geometric").write_bytes(b"4&3&1&xx")
    before = workspace.depth_map(0, "geometric").stat().st_mtime_ns
    match(tmp_path, PatchMatchSettings(num_iterations=7))
    assert workspace.depth_map(0, "geometric").stat().st_mtime_ns == before
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["kind"] == "geometric"
    assert job["settings"]["num_iterations"] == 7
    assert job["problems"][1] == {"index": 1, "sources": [0, 2], "depth_range": [1.5, 2.5]}


@pytest.mark.parametrize(
    ("says", "exits", "error"),
    [
        ("CUDA error at gpu_mat.h:10 - out of memory", 1, OutOfMemory),
        ("CUDA error at x.cu:10 - an illegal memory access was encountered", 1, StageError),
        ("nothing", 0, StageError),
    ],
)
def test_what_goes_wrong_is_told(tmp_path, monkeypatch, says, exits, error):
    behave(monkeypatch, writes="0", says=says, exits=exits)
    with pytest.raises(error) as caught:
        match(tmp_path)
    assert type(caught.value) is error
    assert says in caught.value.log_tail
    if error is StageError:
        assert "view_00001.png" in caught.value.message
        assert "view_00000.png" not in caught.value.message


def test_photos_and_the_cause_are_named(tmp_path, monkeypatch):
    says = "*** Aborted\n[gpu_mat.h:10] CUDA error at gpu_mat.h:10 - invalid device ordinal\nPC: @ 0x7f"
    behave(monkeypatch, writes="", says=says, exits=1)
    with pytest.raises(StageError) as caught:
        match(tmp_path, titles=["girl.jpg", "boy.jpg"])
    assert "left out girl.jpg and 1 more: [gpu_mat.h:10] CUDA error" in caught.value.message
    assert "PC:" not in caught.value.message


def test_a_killed_child_is_out_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(patch_match, "_CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(OutOfMemory, match="was killed, most likely because the machine's memory"):
        match(tmp_path)


def test_the_child_dies_with_its_parent(tmp_path):
    child = (
        "from recon3d.compute.worker import die_with_parent; die_with_parent();"
        "import time; print('up', flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    )
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        process.kill()
        # The pipe closes when both have gone, and the child by itself would stay for a minute.
        assert process.stdout.read() == ""
    assert time.monotonic() - start < 30


def test_options_are_what_colmap_accepts():
    options = patch_match_options(PatchMatchSettings(4, 2, 10, 3, 1.5), "photometric", (0.5, 4.0), False)
    assert options.check()
    assert (options.window_radius, options.window_step, options.num_samples) == (4, 2, 10)
    assert (options.num_iterations, options.cache_size) == (3, 1.5)
    assert (options.depth_min, options.depth_max) == (0.5, 4.0)
    assert (options.gpu_index, options.geom_consistency, options.filter) == ("0", False, False)
    assert patch_match_options(PatchMatchSettings(), "geometric", (1, 2), True).geom_consistency
    with pytest.raises(StageError, match="refuses"):
        patch_match_options(PatchMatchSettings(window_step=5), "geometric", (1, 2), True)


def test_devices_are_named_as_cuda_names_them(monkeypatch):
    monkeypatch.setattr("recon3d.compute.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8932f937,7")
    assert visible_devices() == ["3", "GPU-8932f937"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_devices() == []
