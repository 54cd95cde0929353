"""numba's cache follows all sources of a kernel's package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INNER = "from recon3d.kernels import kernel\n\n@kernel()\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from recon3d.kernels import kernel\nfrom package.inner import inner\n\n"
    "@kernel()\ndef outer(x):\n    return 10 * inner(x)\n"
)


def test_a_change_beside_a_kernel_compiles_it_again(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(OUTER)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "from package.outer import outer; print(outer(1))"]
    for added, expected in ((1, "20"), (2, "30")):
        (package / "inner.py").write_text(INNER.format(added))
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected


def _calls_outer(tmp_path: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Import a kernel of a package whose own cache cannot be written, and call it."""
    package = tmp_path / "package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(INNER.format(1))
    (package / "outer.py").write_text(OUTER)
    # A file in the place of the folder stops root, too, unlike permissions.
    (package / "__pycache__").touch()
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": "/dev/null/none", "HOME": "/dev/null/none", **changes}
    environment = {key: value for key, value in environment.items() if value}
    script = (
        "from package.outer import outer; from recon3d.kernels import cache_folder\n"
        "print(outer(1), cache_folder(outer))"
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


def test_without_a_writable_cache_a_temporary_folder_takes_its_place(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = _calls_outer(tmp_path, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    value, folder = done.stdout.split()
    assert value == "20"
    assert Path(folder).is_relative_to(temporary)
    assert list(Path(folder).glob("*.nbi"))
    assert next(temporary.iterdir()).stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_can_change_is_not_trusted(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    planted = temporary / f"recon3d-numba-{os.getuid()}"
    planted.mkdir(parents=True)
    planted.chmod(0o777)
    done = _calls_outer(tmp_path, TMPDIR=str(temporary))
    assert done.stdout.split() == ["20", "None"], done.stderr
    assert not list(planted.iterdir())


def test_without_a_home_nothing_is_left_in_the_working_directory(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    # What os.path.expanduser gives for a user whom the system does not know.
    done = _calls_outer(tmp_path, TMPDIR=str(temporary), HOME="~", XDG_CACHE_HOME="")
    value, folder = done.stdout.split()
    assert value == "20"
    assert Path(folder).is_relative_to(temporary)
    assert not (tmp_path / "~").exists()
