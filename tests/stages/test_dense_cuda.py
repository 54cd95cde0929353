"""recon3d's own CUDA engine of dense_reconstruction: its choice, blocks, memory; with a GPU, its maps.

The kernels run in ``tests/mvs/test_device.py``. Here the CPU takes the place of a GPU's block of views.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.compute.cuda import own_gpu
from recon3d.errors import EngineUnavailable, OutOfMemory, StageError
from recon3d.io.depth import read_depth_map
from recon3d.mvs import device_stereo
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction import cuda_engine, engine_choice, plane_tasks
from recon3d.stages.dense_reconstruction import stage as dense_reconstruction
from recon3d.stages.dense_reconstruction.view_tasks import Folders
from recon3d.types import Scene
from tests.synthetic.scenes import Picture, Plane, arc, dense_inputs, render, scene_of

OPTIONS = DenseReconstructionOptions(max_image_size=96, num_sources=2)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    wall = Plane(np.array([0.3, 0.1, -0.95]), 0.0)
    return [render([wall], view) for view in arc(4, size=(96, 72))]


@pytest.fixture
def inputs(tmp_path: Path, pictures: list[Picture]) -> dict[str, Path]:
    return dense_inputs(tmp_path, pictures, scene_of(pictures))


class Gpu:
    """The CPU in the place of a GPU that has room for pictures up to a width."""

    def __init__(self, widest: int = 1000, fails_after: int = 1000) -> None:
        self.widest, self.fails_after = widest, fails_after
        self.blocks: list[list[str]] = []

    def __call__(self, block: cuda_engine.BlockTask) -> None:
        if len(self.blocks) == self.fails_after:
            raise KeyboardInterrupt
        if block.tasks[0].view.camera.width > self.widest:
            raise device_stereo.out_of_memory()
        self.blocks.append([task.view.name for task in block.tasks])
        for task in block.tasks:
            plane_tasks.match(task)


def run(
    inputs: dict[str, Path], out: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None, **how: Any
) -> InlineContext:
    out.mkdir(exist_ok=True)
    context = InlineContext(gpu_engines=("recon3d",) if gpu else (), **how)
    if gpu:
        monkeypatch.setattr(engine_choice, "check_engine", lambda: (True, "a device agrees"))
        monkeypatch.setattr(cuda_engine, "match_block", gpu)
    dense_reconstruction.run(inputs, OPTIONS, out, context)
    return context


def maps(out: Path) -> dict[str, Any]:
    return {path.name: read_depth_map(path).depth for path in sorted((out / "depth_maps").iterdir())}


def test_rounds_go_to_gpus_in_blocks_and_give_what_the_cpu_gives(
    inputs: dict[str, Path], tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(inputs, tmp_path / "cpu", monkeypatch, None)
    gpu = Gpu()
    monkeypatch.setattr(cuda_engine, "_BLOCK", 3)
    context = run(inputs, tmp_path / "gpu", monkeypatch, gpu)
    assert (expected.engine, context.engine) == ("cpu", "cuda")
    names = [picture.view.name for picture in pictures]
    assert gpu.blocks == [names[:3], names[3:]] * 2
    assert context.counts == expected.counts
    assert context.fallbacks == []
    on_cpu, on_gpu = maps(tmp_path / "cpu"), maps(tmp_path / "gpu")
    assert on_cpu.keys() == on_gpu.keys()
    assert all(np.array_equal(on_cpu[name], on_gpu[name]) for name in on_cpu)


def test_a_run_that_was_ended_matches_only_what_is_missing(
    inputs: dict[str, Path], tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_engine, "_BLOCK", 2)
    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path / "out", monkeypatch, Gpu(fails_after=3))
    gpu = Gpu()
    run(inputs, tmp_path / "out", monkeypatch, gpu)
    assert gpu.blocks == [[picture.view.name for picture in pictures[2:]]]


def test_a_gpu_with_too_little_memory_makes_smaller_maps_then_the_cpu_takes_over(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_reconstruction, "_SMALLEST", 60)
    context = run(inputs, tmp_path / "smaller", monkeypatch, Gpu(widest=70))
    assert context.engine == "cuda"
    assert Scene.load(tmp_path / "smaller").views[0].camera.width == 67
    smaller = "Depth maps of 96 pixels need too much memory; trying 67."
    assert context.fallbacks == [smaller]
    context = run(inputs, tmp_path / "cpu", monkeypatch, Gpu(widest=0))
    assert context.engine == "cpu"
    assert Scene.load(tmp_path / "cpu").views[0].camera.width == 96
    assert context.fallbacks == [
        smaller,
        "The GPU has too little memory; the CPU computes the depth maps, at full size.",
    ]
    with pytest.raises(OutOfMemory, match="The GPU has too little memory for depth maps of this size"):
        run(inputs, tmp_path / "required", monkeypatch, Gpu(widest=0), gpu_required=True)


FAILS = "recon3d's CUDA engine cannot be used: the device is broken"


@pytest.mark.parametrize(
    ("engines", "required", "passes", "expected", "fallbacks"),
    [
        ((), False, True, "cpu", []),
        (("recon3d",), True, True, "cuda", []),
        (("recon3d", "colmap"), False, True, "cuda", []),
        (("colmap",), False, True, "colmap-cuda", []),
        (("recon3d", "colmap"), True, False, "colmap-cuda", [f"{FAILS}; COLMAP's takes its place."]),
        (("recon3d",), False, False, "cpu", [f"{FAILS}; the CPU takes its place."]),
    ],
)
def test_the_engine_is_the_first_that_can_be_used(
    monkeypatch: pytest.MonkeyPatch,
    engines: tuple[str, ...],
    required: bool,
    passes: bool,
    expected: str,
    fallbacks: list[str],
) -> None:
    found = "a device agrees" if passes else "the device is broken"
    monkeypatch.setattr(engine_choice, "check_engine", lambda: (passes, found))
    context = InlineContext(gpu_engines=engines, gpu_required=required)
    said: list[str] = []
    context.emit = lambda done, total, unit, message: said.append(message)
    assert engine_choice.choose_engine(context) == expected
    assert context.fallbacks == fallbacks
    if expected == "cuda":
        assert said == ["Depth maps by recon3d's CUDA engine: a device agrees."]


def test_a_gpu_that_is_required_and_fails_its_check_ends_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "check_engine", lambda: (False, "the device is broken"))
    with pytest.raises(EngineUnavailable, match="cannot be used: the device is broken"):
        engine_choice.choose_engine(InlineContext(gpu_engines=("recon3d",), gpu_required=True))


def test_a_check_that_takes_its_process_along_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> tuple[bool, str]:
        raise StageError("The worker died while it ran check_engine.", "Report it.")

    monkeypatch.setattr(engine_choice, "check_engine", crash)
    context = InlineContext(gpu_engines=("recon3d",))
    assert engine_choice.choose_engine(context) == "cpu"
    assert "The worker died" in context.fallbacks[0]


def test_a_check_without_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to allocate")

    monkeypatch.setattr(engine_choice, "check_device", check)
    expected = "the GPU has too little free memory; end other programs on it"
    assert engine_choice.check_engine() == (False, expected)


def test_a_check_without_a_device_fails_and_says_why() -> None:
    if own_gpu()[0]:
        pytest.skip("there is a GPU")
    passed, found = engine_choice.check_engine()
    assert not passed
    assert "CudaSupportError" in found


def test_a_block_is_cut_to_fit_the_memory_of_a_gpu(pictures: list[Picture]) -> None:
    views = [picture.view for picture in pictures]
    tasks = []
    for view, sources in zip(views, ((1, 2), (0, 2), (1, 3), (0, 1)), strict=True):
        others = tuple(views[j] for j in sources)
        tasks.append(plane_tasks.MatchTask(Folders("", ""), 0, view, others, 1, (), 1, False, 0))
    pixels = 96 * 72
    for images, expected in ((4, [4]), (3, [2, 1, 1]), (2, None)):
        memory = device_stereo.device_bytes(pixels, images)
        if expected is None:
            with pytest.raises(OutOfMemory):
                list(cuda_engine.parts(tasks, memory))
        else:
            assert [len(part) for part in cuda_engine.parts(tasks, memory)] == expected


@pytest.mark.gpu
@pytest.mark.skipif(not own_gpu()[0], reason=own_gpu()[1])
def test_a_gpu_gives_what_the_cpu_gives(inputs: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for engines in ((), ("recon3d",)):
        out = tmp_path / f"out{len(engines)}"
        out.mkdir()
        context = InlineContext(gpu_engines=engines, gpu_required=bool(engines))
        dense_reconstruction.run(inputs, OPTIONS, out, context)
        assert context.engine == ("cuda" if engines else "cpu")
        found[context.engine] = maps(out)
    for name, depth in found["cpu"].items():
        both = (depth > 0) & (found["cuda"][name] > 0)
        assert both.mean() > 0.9 * (depth > 0).mean()
        assert np.mean(np.abs(found["cuda"][name][both] / depth[both] - 1) < 0.002) > 0.9
