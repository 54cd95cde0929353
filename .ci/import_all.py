"""Import every module of the installed packages; print those that fail."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import recon3d
import recon3d_api


def main() -> int:
    """Return how many modules fail."""
    failed = total = 0
    for package in (recon3d, recon3d_api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Programs and Alembic's scripts run when imported.
            if module.name.endswith(".__main__") or ".migrations." in module.name:
                continue
            total += 1
            try:
                importlib.import_module(module.name)
            except Exception as error:
                failed += 1
                print(f"{module.name}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{total} modules of {recon3d.__file__} and {recon3d_api.__file__}, {failed} fail")
    return failed


if __name__ == "__main__":
    sys.exit(main() > 0)
