"""Print the coverage of each package, from the data file that pytest-cov left in this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path, PurePosixPath


def main() -> None:
    """Print one row a package and one in total."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "--ignore-errors", "-o", str(report)]
        subprocess.run(command, check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in files.items():
        # recon3d/mvs/stereo.py belongs to recon3d.mvs, recon3d/types.py to recon3d.
        package = ".".join(PurePosixPath(name.replace("\\", "/")).parent.parts[:2])
        for key in (package, "total"):
            lines[key][0] += file["summary"]["covered_lines"]
            lines[key][1] += file["summary"]["num_statements"]
    total = lines.pop("total")
    for package, (covered, statements) in [*sorted(lines.items()), ("total", total)]:
        print(f"{package:<28} {statements:>6} lines {100 * covered / max(1, statements):>6.1f} %")


if __name__ == "__main__":
    main()
