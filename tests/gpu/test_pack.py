"""The folder for a GPU machine without a network: what is in it, its size, and that it unpacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.colmap import read_scene
from recon3d.types import Scene
from tests.gpu import pack, unpack

SCRIPT = Path(__file__).with_name("check.sh")
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def scenes(pack_data: Path, data_dir: Path) -> tuple[Scene, Scene]:
    names = sorted(path.name for path in (pack_data / "images").iterdir())
    truth = data_dir / "gt_dancinggirl_photos" / "sparse_gt"
    return read_scene(pack_data / "model", names), read_scene(truth, names)


def test_small_photos_have_the_true_cameras(pack_data: Path, data_dir: Path) -> None:
    made, truth = scenes(pack_data, data_dir)
    assert len(made) == len(truth) == 5
    rng = np.random.default_rng(0)
    points = rng.uniform([-0.4, -0.3, 0.1], [0.4, 0.3, 1.8], (100, 3))
    for small, full in zip(made, truth, strict=True):
        assert small.cam_from_world == pytest.approx(full.cam_from_world, abs=1e-12)
        T = full.cam_from_world
        pixels = [v.camera.project(points @ T[:3, :3].T + T[:3, 3]) for v in (small, full)]
        assert pixels[0] == pytest.approx(pixels[1] * (800 / 1280), abs=1e-6)
        image = cv2.imread(str(pack_data / "images" / small.name))
        assert image.shape[:2] == (small.camera.height, small.camera.width) == (600, 800)
        original = cv2.imread(str(data_dir / "gt_dancinggirl_photos" / "images" / small.name))
        expected = cv2.resize(original, (800, 600), interpolation=cv2.INTER_AREA)
        assert np.abs(image.astype(float) - expected).mean() < 4


def test_views_stand_all_around(pack_data: Path, data_dir: Path) -> None:
    made, _ = scenes(pack_data, data_dir)
    angles = np.sort([np.degrees(np.arctan2(*view.center[:2])) for view in made])
    gaps = np.diff([*angles, angles[0] + 360])
    assert gaps.max() < 120


def test_the_truth_and_its_credit_are_there(pack_data: Path) -> None:
    assert (pack_data / "truth.ply").stat().st_size > 100_000
    assert "CC BY 4.0" in (pack_data / "LICENCE.txt").read_text()
    assert json.loads((pack_data / "scoring.json").read_text())["distances"] == [0.005, 0.01, 0.02]


def test_the_source_is_the_working_tree(tmp_path: Path) -> None:
    commit = pack.pack_source(tmp_path)
    assert len(commit.split()[0]) == 12
    with tarfile.open(tmp_path / "source.tar.xz") as archive:
        names = archive.getnames()
        text = archive.extractfile("source/recon3d/compute/cuda.py")
        assert text is not None
        assert text.read() == (pack.ROOT / "recon3d" / "compute" / "cuda.py").read_bytes()
    for needed in (
        "recon3d/options/presets.toml",
        "pyproject.toml",
        "tests/gpu/check.py",
        "tests/synthetic/scenes.py",
    ):
        assert f"source/{needed}" in names
    assert not any("__pycache__" in name for name in names)
    assert (tmp_path / "source.tar.xz").stat().st_size < 1_000_000


def test_an_other_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(pack.PackError, match="holds something else"):
        pack.pack(tmp_path, THIS, 16, cuda=False)
    assert (tmp_path / "mine.txt").exists()


def test_photos_that_do_not_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(pack.PackError, match="8 photos overlap too little"):
        pack.pack(tmp_path / "pack", THIS, 8, cuda=False)


def test_missing_data_is_named(tmp_path: Path) -> None:
    environment = {**os.environ, "RECON3D_TEST_DATA": str(tmp_path)}
    script = "from pathlib import Path; from tests.gpu.pack import pack_data; pack_data(Path('data'), 5)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(pack.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"PackError: {tmp_path / 'gt_dancinggirl_photos'} is missing" in done.stderr


def test_a_machine_keeps_its_own_libraries(tmp_path: Path) -> None:
    for name in ("libc.so.6", "libnowhere.so.9", "libcudart.so.12"):
        (tmp_path / name).write_bytes(b"")
    unpack.keep_missing_libraries(tmp_path)
    left = {path.name for path in tmp_path.iterdir()} - {"libcurand.so.10"}
    assert left == {"libnowhere.so.9", "libcudart.so.12"}


def check(folder: Path, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder), python],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write_pack(folder: Path, python: str, assumed: list[str]) -> None:
    for name in ("unpack.py", "check.sh"):
        (folder / name).write_bytes(SCRIPT.with_name(name).read_bytes())
    manifest = {"python": python, "assumed": assumed, "commit": "0"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("python", "assumed", "says"),
    [
        ("2.7", [], f"is for Python 2.7, {sys.executable} is {THIS}. Name another Python."),
        (THIS, ["numpy", "nowhere"], f"{sys.executable} lacks nowhere, which the pack does not bring."),
    ],
)
def test_a_machine_that_does_not_fit_is_told_so(
    tmp_path: Path, python: str, assumed: list[str], says: str
) -> None:
    write_pack(tmp_path, python, assumed)
    done = check(tmp_path)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_pack_is_small_and_checks_the_cpu(data_dir: Path, tmp_path: Path) -> None:
    """Downloads from PyPI and Debian; compressing pycolmap takes a minute or two."""
    size = pack.pack(tmp_path / "pack", THIS, 16, cuda=False)
    assert size <= pack.LIMIT
    (tmp_path / "tmp").mkdir()
    # Without this process's packages but those that the machine is assumed to have.
    done = check(tmp_path / "pack", TMPDIR=str(tmp_path / "tmp"), OUT=str(tmp_path / "out"), PYTHONPATH="")
    assert done.returncode == 3, done.stdout + done.stderr
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["status"] for row in rows} == {"ok", "no device"}
    assert list((tmp_path / "tmp").iterdir()) == []
