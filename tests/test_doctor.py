"""What `recon3d doctor` says of broken packages and of GPUs."""

from __future__ import annotations

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
