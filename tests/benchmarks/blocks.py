"""A mesh that is made, or whose cloud is read, in parts against one that is made at once.

``python -m tests.benchmarks.blocks KEPT girl bust fountain --surface 4 [--quality medium]`` makes the surface
of a kept run (KEPT/SET-QUALITY/posed, made first where it is missing, with true cameras where the set has
some) at once and in four parts, with the same photos, and prints F-scores, open borders, errors of normals,
CPU-seconds, and the most memory that the process held. Where a set has no true surface, one of three times as
many triangles takes its place.

``python -m tests.benchmarks.blocks KEPT girl bust fountain [--quality low]`` takes the cloud of such a run
and meshes it twice: read as a whole, and read in 20 parts of which few points stay in memory. Such clouds
have too few points to be thinned. So the mesh has a triangle for 80 points only, and the limits that hold
for any mesh are taken away: what stays is twice what the mesh can use, as always. It prints the F-scores of
both at three distances and their difference, triangles, and the most memory that the worker held. Where a
set has no true surface, the mesh of the usual size takes its place.
``--memory POINTS …`` prints what reading made-up clouds of so many points takes.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from recon3d.compute import InlineContext
from recon3d.compute.worker import peak_memory, reset_peak_memory
from recon3d.evaluation import surface_scores
from recon3d.io.ply import ply_vertex_count, read_mesh, write_point_clouds
from recon3d.io.point_visibility import write_visibility
from recon3d.layout import MESH, POINT_CLOUD, VISIBILITY
from recon3d.options import MeshGenerationOptions, resolve_options
from recon3d.stages.cloud_reading import read_at_most
from recon3d.stages.mesh_generation import stage as mesh_generation
from recon3d.types import Mesh, PointCloud
from tests.benchmarks.kept_runs import kept_cloud
from tests.benchmarks.sets import DATA, DISTANCES, SETS, VOXEL
from tests.benchmarks.surface_faults import border, normal_errors

#: Points for each triangle, and parts that a cloud is read in.
_POINTS_A_FACE, _PARTS = 80, 20
#: Triangles of a reference where a set has no true surface, for each that is wanted.
_FINER = 3
#: The bar, and distances as shares of the diagonal where the scale is unknown.
_BAR, _SHARES = 0.003, (0.001, 0.002, 0.004)
#: Points of a made-up cloud that are kept, and that are made at once.
_KEPT, _MADE = 12_000_000, 1_000_000


@contextlib.contextmanager
def without_floors(points: int, *, parts: bool) -> Iterator[None]:
    """Let mesh_generation hold what a mesh can use of so many points and no more; read all, or in parts."""
    with (
        patch.object(mesh_generation, "_POINTS", 0),
        patch.object(mesh_generation, "_READ", 0 if parts else points),
        patch.object(mesh_generation, "PART", points // _PARTS),
    ):
        yield


def meshed(inputs: dict[str, Path], options: MeshGenerationOptions) -> tuple[Mesh, float, float]:
    """The mesh, megabytes, and CPU-seconds."""
    with tempfile.TemporaryDirectory() as folder:
        reset_peak_memory()
        began = time.process_time()
        mesh_generation.run(inputs, options, Path(folder), InlineContext())
        return read_mesh(Path(folder) / MESH), peak_memory() / 1e6, time.process_time() - began


def compare(kept: Path, name: str, quality: str) -> None:
    """Mesh a set's cloud, read both ways, and print."""
    dense = {"dense_reconstruction": kept_cloud(kept, name, quality).artifacts["dense_reconstruction"].path}
    usual = _options(quality)
    points = ply_vertex_count(dense["dense_reconstruction"] / POINT_CLOUD)
    options = usual.model_copy(update={"max_faces": points // _POINTS_A_FACE})
    with without_floors(points, parts=False):
        whole = meshed(dense, options)
    with without_floors(points, parts=True):
        parts = meshed(dense, options)
    print(f"\n{name} at {quality}: {points} points, {time.strftime('%F %H:%M')}")
    truth = None if SETS[name].truth else meshed(dense, usual)[0]
    _print_both(name, whole, parts, truth)


def compare_surfaces(kept: Path, name: str, quality: str, count: int) -> None:
    """Make a set's surface both ways, and print."""
    project = kept_cloud(kept, name, quality)
    inputs = {stage: artifact.path for stage, artifact in project.artifacts.items()}
    options = _options(quality)
    parts = options.model_copy(update={"part_faces": -(-options.max_faces // count)})
    print(f"\n{name} at {quality}, {count} parts, {time.strftime('%F %H:%M')}")
    whole = meshed(inputs, options)
    truth = None
    if not SETS[name].truth:  # a finer surface that is neither
        finer = {"max_faces": _FINER * options.max_faces, "part_faces": _FINER * options.max_faces}
        truth = meshed(inputs, options.model_copy(update=finer))[0]
    _print_both(name, whole, meshed(inputs, parts), truth)


def _options(quality: str) -> MeshGenerationOptions:
    options = resolve_options(quality)["mesh_generation"]
    assert isinstance(options, MeshGenerationOptions)
    return options


def _print_both(
    name: str, whole: tuple[Mesh, float, float], parts: tuple[Mesh, float, float], truth: Mesh | None
) -> None:
    """Compare with a set's true surface, or with another surface in its place."""
    data = SETS[name]
    box = data.box if truth is None else None
    if truth is None:
        truth, distances, settings = (
            read_mesh(DATA / str(data.truth)),
            DISTANCES,
            {"box": box, "voxel": VOXEL},
        )
    else:
        settings = {}
        diagonal = float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
        distances = tuple(share * diagonal for share in _SHARES)
    scores = [surface_scores(made[0], truth, distances, **settings) for made in (whole, parts)]
    for one, other in zip(*scores, strict=True):
        change = other.f_score - one.f_score
        print(
            f"  {one.distance:.4g}: F {one.f_score:.4f} whole, {other.f_score:.4f} in parts, {change:+.4f}"
            f"{'' if abs(change) <= _BAR else '  beyond the bar'}"
        )
    for title, (mesh, memory, seconds) in (("whole", whole), ("in parts", parts)):
        rim = border(mesh, box)
        off = f", {np.median(normal_errors(mesh, truth, box)):.2f}° off" if box else ""
        cost = f"{memory:.0f} MB, {seconds:.0f} CPU-s"
        print(f"  {title:<9} {len(mesh)} faces, {rim.edges} border edges{off}, {cost}", flush=True)


def made_up_cloud(folder: Path, points: int) -> None:
    """Write a cloud of points on a square, each seen by four views."""
    rng = np.random.default_rng(0)
    counts = [min(_MADE, points - start) for start in range(0, points, _MADE)]

    def part(count: int) -> PointCloud:
        xyz = rng.random((count, 3)) * (1, 1, 0)
        return PointCloud(xyz, np.zeros((count, 3), np.float32), np.zeros((count, 3), np.uint8))

    write_point_clouds(folder / POINT_CLOUD, map(part, counts), points)
    seen = ((np.full(count, 4), np.zeros(4 * count, np.int32)) for count in counts)
    lengths, views = zip(*seen, strict=True)
    write_visibility(folder / VISIBILITY, lengths, views, points, 4 * points)


def memory_of(points: int) -> None:
    """Print what reading a made-up cloud takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made_up_cloud(folder, points)
        reset_peak_memory()
        began = time.monotonic()
        read = read_at_most(folder, _KEPT)
        print(
            f"{points} points: {len(read.cloud)} kept, {peak_memory() / 1e6:.0f} MB, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )


def main() -> None:
    """Run and print."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET")
    parser.add_argument("--quality", default="low")
    parser.add_argument("--surface", type=int, metavar="PARTS")
    parser.add_argument("--memory", nargs="+", type=int, default=[], metavar="POINTS")
    given = parser.parse_args()
    for name in given.sets:
        if given.surface:
            compare_surfaces(given.kept, name, given.quality, given.surface)
        else:
            compare(given.kept, name, given.quality)
    for points in given.memory:
        memory_of(points)


if __name__ == "__main__":
    main()
