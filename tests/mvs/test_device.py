"""The CUDA kernels: under numba's simulator against the CPU, and on a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recon3d.compute.cuda import own_gpu
from recon3d.errors import OutOfMemory
from recon3d.mvs import device_check, device_stereo, patchmatch
from recon3d.mvs.device_kernels import MAX_SOURCES, on_device
from recon3d.mvs.initial import inverse_depth_bounds, planes_from_points
from recon3d.mvs.stereo import PlaneMap, refine_planes
from recon3d.mvs.sweeps import Sweeps
from recon3d.options import DenseReconstructionOptions
from tests.synthetic.scenes import Plane, Sphere, arc, render

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not own_gpu()[0], reason=own_gpu()[1])]


@pytest.fixture(scope="module")
def simulated() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.mvs.on_simulator"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_kernels_pass_the_check_of_a_device(simulated: dict[str, Any]) -> None:
    check = simulated["check"]
    assert check["device"] == "numba's simulator"
    assert check["agreement"] >= 0.99
    assert check["off"] < 1e-4
    passed, found = simulated["choice"]
    assert passed
    assert found.startswith("numba's simulator agrees with the CPU on ")


def test_one_round_finds_what_the_cpu_finds(simulated: dict[str, Any]) -> None:
    found = simulated["round"]
    assert found["moved"] > 0.9  # there was something to find
    assert found["same"] >= 0.98
    assert found["chosen"] >= 0.98
    assert found["cost"] < 0.01


def test_planes_are_resized_as_on_the_cpu(simulated: dict[str, Any]) -> None:
    found = simulated["resized"]
    assert found["shape"] == [3, 13, 23]
    assert found["state"] < 1e-6
    assert found["rest"]


def test_images_are_packed_as_on_the_cpu_and_stay(simulated: dict[str, Any]) -> None:
    assert simulated["packed"] == {"equal": [True] * 4, "kept": True, "padded": True}


def test_a_block_of_views_becomes_the_files_of_the_cpu(simulated: dict[str, Any]) -> None:
    found = simulated["block"]
    assert min(found["known"]) > 0.5
    assert min(found["same"]) >= 0.98


def test_every_option_fits_the_kernels() -> None:
    limits = DenseReconstructionOptions.model_fields["num_sources"].metadata
    assert max(limit.le for limit in limits if hasattr(limit, "le")) == MAX_SOURCES


def test_the_device_runs_the_source_of_the_cpu() -> None:
    """Every function that `improve_pixel` calls is compiled a second time, none is written a second time."""
    seen: list[str] = []
    todo = [(patchmatch.improve_pixel, on_device(patchmatch.improve_pixel))]
    while todo:
        here, there = todo.pop()
        assert there.py_func.__code__ is here.py_func.__code__
        seen.append(here.py_func.__name__)
        names, others = here.py_func.__globals__, there.py_func.__globals__
        called = [n for n in here.py_func.__code__.co_names if hasattr(names.get(n), "py_func")]
        todo += [(names[name], others[name]) for name in called]
    assert {"view_cost", "sample_cost", "prepare_patch", "geometric_error"} <= set(seen)


class Device:
    """Stands for a GPU: the CPU, and what a broken device would do to its result."""

    def __init__(self, broken: float) -> None:
        self.broken = broken

    def refine(self, images: Any, reference: str, sources: list[str], *given: Any, **how: Any) -> PlaneMap:
        found = refine_planes(images[reference], [images[name] for name in sources], *given, **how)
        wrong = np.random.default_rng(0).random(found.cost.shape) < self.broken
        found.state[0][wrong] *= 1.2
        return found


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def with_device(broken: float) -> device_check.DeviceCheck:
        device_check.check_device.cache_clear()
        monkeypatch.setattr(device_stereo, "DeviceImages", lambda images: images)
        monkeypatch.setattr(device_stereo, "DeviceMaps", lambda maps, size: [array for _, array in maps])
        monkeypatch.setattr(device_stereo, "refine_on_device", Device(broken).refine)
        monkeypatch.setattr(device_stereo, "device_name", lambda: "a device")
        return device_check.check_device()

    yield with_device
    device_check.check_device.cache_clear()


def test_a_device_that_computes_the_same_passes(check: Any) -> None:
    found = check(0.0)
    assert found.passed
    assert found.agreement == 1.0


def test_a_device_that_is_wrong_at_a_sixth_of_the_pixels_fails(check: Any) -> None:
    found = check(0.17)
    assert not found.passed
    assert str(found) == (
        f"a device agrees with the CPU on {found.agreement:.1%} of the pixels of a small scene "
        "(90% are required)"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY", OutOfMemory),
        ("[700] Call to cuCtxSynchronize results in CUDA_ERROR_ILLEGAL_ADDRESS", RuntimeError),
    ],
)
def test_a_device_without_memory_is_told_from_a_broken_one(said: str, expected: type[Exception]) -> None:
    with pytest.raises(expected), device_stereo.telling_out_of_memory():
        raise RuntimeError(said)


class TestOnGpu:
    pytestmark = on_gpu

    def test_the_check_passes(self) -> None:
        found = device_check.check_device()
        assert found.passed, found

    def test_a_sphere_before_a_wall_is_as_accurate_as_on_the_cpu_and_repeatable(self) -> None:
        shapes = [Sphere(np.zeros(3), 0.55), Plane(np.array([0.0, 0.0, -1.0]), -0.6)]
        pictures = [render(shapes, view) for view in arc(5)]
        schedule = (
            Sweeps(1, 3, areas=8, variations=4, step=4.0, tilt=1.0),
            Sweeps(0, 1, areas=4, variations=2, step=0.5, tilt=0.15, views="inherited", narrow=True),
        )
        reference, *sources = (picture.stereo for picture in pictures)
        grid = np.linspace(-0.5, 0.5, 5)
        points = np.array([(x, y, 3.0) for x in grid for y in grid])
        bounds = inverse_depth_bounds(points)
        start = PlaneMap.from_state(planes_from_points(points, reference.reduced(1).camera, bounds, 0))
        names = [str(number) for number in range(5)]
        images = device_stereo.DeviceImages(dict(zip(names, (p.stereo for p in pictures), strict=True)))
        found = [
            device_stereo.refine_on_device(
                images, names[0], names[1:], start, bounds, schedule, best_views=2, seed=1
            )
            for _ in range(2)
        ]
        assert np.array_equal(found[0].state, found[1].state)
        assert np.array_equal(found[0].cost, found[1].cost)
        on_cpu = refine_planes(reference, sources, start, bounds, schedule, best_views=2, seed=1)
        truth = pictures[0].depth
        off = [np.abs(1 / planes.state[0] / truth - 1)[6:-6, 6:-6] for planes in (found[0], on_cpu)]
        assert np.median(off[0]) < 1.1 * np.median(off[1]) + 1e-4
        assert np.mean(off[0] < 0.01) > np.mean(off[1] < 0.01) - 0.01
