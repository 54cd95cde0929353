"""What `recon3d doctor` says of broken packages and of GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recon3d.cli import doctor
from recon3d.compute.cuda import no_device

# As pycolmap does: the error that names the library is not the last.
_BROKEN = """
try:
    raise ImportError("{}: cannot open shared object file: No such file or directory")
except ImportError as error:
    raise RuntimeError("Cannot import the backend.\\n  $ python -m pip install .\\n") from error
"""


@pytest.mark.parametrize(
    ("library", "fix"),
    [
        ("libSM.so.6", "apt-get install libsm6"),
        ("libcudart.so.12", "pip install nvidia-cuda-runtime-cu12"),
        ("libcurand.so.10", "pip install nvidia-curand-cu12"),
    ],
)
def test_a_missing_library_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, fix: str
) -> None:
    (tmp_path / "broken.py").write_text(_BROKEN.format(library))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = doctor._module("numpy", "broken")
    assert check.status == "problem"
    assert library in check.found
    assert check.fix.startswith(fix)


def test_hidden_devices_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert no_device() == "the NVIDIA driver counts no device (CUDA_VISIBLE_DEVICES is '-1')"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert no_device() == "the NVIDIA driver counts no device"


def test_each_use_of_a_gpu_has_a_line_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "device_count", lambda: 1)
    monkeypatch.setattr(doctor, "own_gpu", lambda: (False, "numba-cuda is not installed (pip install it)"))
    monkeypatch.setattr(doctor, "colmap_gpu", lambda: (True, "1 CUDA device"))
    own, colmap = doctor._gpus()
    assert (own.name, own.status) == ("GPU: depth maps", "note")
    assert own.found == "not by recon3d's own engine: numba-cuda is not installed (pip install it)"
    assert own.fix == "Follow the command in brackets to use the GPU."
    assert (colmap.status, colmap.found) == ("ok", "by COLMAP: 1 CUDA device")


def test_a_gpu_whose_kernels_fail_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    if doctor.device_count():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(doctor, "device_count", lambda: 1)
    monkeypatch.setattr(doctor, "own_gpu", lambda: (True, "1 CUDA device"))
    own = doctor._gpus()[0]
    assert (own.name, own.status) == ("GPU: depth maps", "problem")
    assert "colmap-cuda" in own.fix


@pytest.mark.parametrize("name", ["compiling", "project", "video", "photo"])
def test_doctor_tries_what_it_reports(name: str) -> None:
    check = doctor._trial(name)
    assert check.status == "ok", check
    assert check.fix == ""


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_an_interpreter_that_cannot_be_started_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("")  # not executable
    monkeypatch.setattr("sys.executable", str(python))
    for check in (doctor._module("numpy", "numpy"), doctor._trial("photo")):
        assert check.status == "problem"
        assert check.found == f"not tried: Python ({python}) cannot be started: Permission denied"


def test_doctor_starts_a_worker() -> None:
    check = doctor._trial("worker")
    assert check.found.startswith("started and answered in"), check


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    # A folder that is gone refuses root, too.
    script = (
        f"import os, shutil; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir(os.getcwd())\n"
        "from pathlib import Path; Path.cwd = classmethod(lambda cls: cls('/proc'))\n"
        "from recon3d.cli.trials import write_project; print('\\n'.join(write_project()))"
    )
    (tmp_path / "gone").mkdir()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found, note, fix = done.stdout.splitlines()
    assert found.startswith("/proc cannot be written to")
    assert note == "note"
    assert "--output" in fix


def test_an_installation_that_cannot_be_written_compiles_and_says_so(tmp_path: Path) -> None:
    installed = Path(shutil.copytree(
        Path(doctor.__file__).parents[1], tmp_path / "recon3d", ignore=shutil.ignore_patterns("__pycache__")
    ))  # fmt: skip
    for folder in [installed, *(path for path in installed.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file in the folder's place stops root, too
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"HOME": "/dev/null/none", "XDG_CACHE_HOME": "/dev/null/none", "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "recon3d.cli.trials", "compiling"]
    done = subprocess.run(
        command, env=environment | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found, note, fix = done.stdout.splitlines()
    assert f"kept for the time being in {temporary}" in found
    assert note == "note"
    assert "NUMBA_CACHE_DIR" in fix


def test_a_trial_that_fails_is_a_problem_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._TRIAL_FIXES, "nothing", "Mend it.")
    check = doctor._trial("nothing")
    assert (check.status, check.fix) == ("problem", "Mend it.")
    assert "KeyError" in check.found


def test_without_semaphores_the_worker_says_what_is_missing() -> None:
    # A semaphore is a file, and here no file may have any bytes.
    script = (
        "import resource; from recon3d.cli import trials; import recon3d.compute\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); trials.main('worker')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    *_, told = done.stderr.splitlines()
    assert told.startswith("No worker process can start here: this system gives no semaphores")
    assert "/dev/shm" in told
