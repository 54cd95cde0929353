"""Whose code can use a GPU, and why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import distributed
import numba
import numba.cuda
import pytest

from recon3d.compute import cuda
from recon3d.compute.admission import common_gpu_engines
from recon3d.compute.facts import describe_worker


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    cuda.own_gpu.cache_clear()
    cuda.colmap_gpu.cache_clear()
    yield
    cuda.own_gpu.cache_clear()
    cuda.colmap_gpu.cache_clear()


def machine(monkeypatch: pytest.MonkeyPatch, devices: int, *packages: str, compiler: bool = True) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: devices)
    monkeypatch.setattr(cuda, "is_installed", lambda package: package in packages)
    monkeypatch.setattr(numba.cuda, "is_available", lambda: compiler)


@pytest.mark.parametrize(
    ("devices", "packages", "engines"),
    [
        (0, ("numba-cuda", "pycolmap-cuda12"), ()),
        (1, ("pycolmap",), ()),
        (1, ("pycolmap", "numba-cuda"), ("recon3d",)),
        (2, ("pycolmap-cuda12", "numba-cuda"), ("recon3d", "colmap")),
        (1, ("pycolmap-cuda12",), ("colmap",)),
        (1, ("pycolmap-cuda12", "pycolmap"), ()),
    ],
)
def test_engines_follow_devices_and_packages(
    monkeypatch: pytest.MonkeyPatch, devices: int, packages: tuple[str, ...], engines: tuple[str, ...]
) -> None:
    machine(monkeypatch, devices, *packages)
    assert cuda.gpu_engines() == engines


def test_without_a_device_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 0, "pycolmap")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cuda.no_gpu_engine() == "the NVIDIA driver counts no device"


def test_each_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 1, "pycolmap")
    assert cuda.no_gpu_engine() == (
        "recon3d's own engine: numba-cuda is not installed (pip install 'recon3d[cuda]'); "
        "COLMAP's: pycolmap is the CPU wheel (pip uninstall pycolmap; pip install pycolmap-cuda12)"
    )
    cuda.own_gpu.cache_clear()
    machine(monkeypatch, 1, "pycolmap", "numba-cuda", compiler=False)
    assert cuda.own_gpu() == (False, "numba finds no compiler for CUDA (pip install 'recon3d[cuda]')")


def test_a_simulated_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 1, "numba-cuda")
    monkeypatch.setattr(numba.config, "ENABLE_CUDASIM", 1)
    available, reason = cuda.own_gpu()
    assert not available
    assert reason.startswith("NUMBA_ENABLE_CUDASIM is set")


def test_only_what_every_gpu_can_run_is_used() -> None:
    both, own = ["recon3d", "colmap"], ["recon3d"]
    assert common_gpu_engines([None, both, own]) == ("recon3d",)
    assert common_gpu_engines([None, both, both]) == ("recon3d", "colmap")
    assert common_gpu_engines([both, []]) == ()
    assert common_gpu_engines([None]) == ()


def test_looking_for_a_gpu_does_not_load_numbas_cuda_where_there_is_none() -> None:
    script = "import sys; from recon3d.compute.cuda import gpu_engines; gpu_engines(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert cuda.device_count() or "numba.cuda" not in done.stdout.split()


@pytest.mark.parametrize("resources", [{}, {"GPU": 1}])
def test_a_worker_tells_its_engines_if_it_offers_a_gpu(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, float]
) -> None:
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        resources=resources,
        # Its usual port may be another's.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        worker = cluster.workers[0]
        monkeypatch.setattr("recon3d.compute.facts.gpu_engines", lambda: ("recon3d",))
        monkeypatch.setattr("recon3d.compute.facts.prepare", lambda worker: None)
        worker.nanny = None
        told = describe_worker("", "", dask_worker=worker)
    assert told["gpu_engines"] == (["recon3d"] if resources else None)
