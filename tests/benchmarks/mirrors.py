"""How many pairs of points name the plane of a mirror, in projects with and without one.

``python -m tests.benchmarks.mirrors PROJECT...`` reads what sparse_reconstruction left. Sets whose
second attempt looked for more features cannot be read again and are left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from recon3d import colmap
from recon3d.layout import DATABASE, MODEL
from recon3d.matching.mirror import strongest_plane
from recon3d.project import Project
from recon3d.types import Scene


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="+", type=Path)
    print(f"{'project':<16}{'points':>8}{'pairs':>7}{'behind':>8}{'seconds':>9}")
    for folder in parser.parse_args().projects:
        artifacts = Project.open(folder).artifacts
        sparse, matching = artifacts["sparse_reconstruction"].path, artifacts["feature_matching"].path
        seen = colmap.read_sightings(sparse / MODEL, matching / DATABASE)
        begin = time.perf_counter()
        plane = strongest_plane(seen, Scene.load(sparse).up)
        seconds = time.perf_counter() - begin
        behind = 0.0 if plane is None else float((seen.points @ plane.normal < plane.offset).mean())
        pairs = 0 if plane is None else plane.pairs
        print(f"{folder.name:<16}{len(seen.points):>8}{pairs:>7}{behind:>8.0%}{seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
