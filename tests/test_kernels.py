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
