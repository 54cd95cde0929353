"""What a normal map is worth: ``python -m tests.benchmarks.normal_maps SET PROJECT``.

PROJECT is a run of the set with its true cameras and ``texturing.max_faces``. The normals that a viewer sees
with and without its map are compared with the true surface in the box that the data's README names, and with
the surface that the map was baked from; then the formats in which exports write the map.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import open3d as o3d

from recon3d.io.gltf import read_textured_mesh
from recon3d.io.ply import read_mesh
from recon3d.layout import MESH, NORMAL_MAP, TEXTURED_MESH
from recon3d.project import Project
from recon3d.surface.normals import vertex_normals
from recon3d.texture.tangents import split_for_shading
from recon3d.types import Bytes, Floats, Ints, Mesh
from tests.benchmarks.sets import DATA, SETS, TRUE_SETS
from tests.texture.normal_map_twin import coarse_frame, read_normals, unit

#: Places on each surface, and metres from the true one within which they count.
_SAMPLES, _NEAR = 300_000, 0.02
_JPEG = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_FORMATS: dict[str, tuple[str, list[int]]] = {
    "PNG": (".png", []),
    "WebP without loss": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    **{f"JPEG {q}": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, q, *_JPEG]) for q in (90, 95, 98, 100)},
}


def _places(vertices: Floats, faces: Ints) -> tuple[Ints, Floats, Floats, Floats]:
    """Faces, weights, places and normals of triangles of samples that are uniform over the surface."""
    rng = np.random.default_rng(0)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(faces), _SAMPLES, p=area / area.sum())
    u, v = np.sqrt(rng.uniform(size=_SAMPLES)), rng.uniform(size=_SAMPLES)
    weights = np.stack([1 - u, u * (1 - v), u * v], axis=1)
    return faces[face], weights, np.einsum("nk,nkc->nc", weights, vertices[faces[face]]), unit(cross[face])


def _closest(mesh: Mesh, places: Floats) -> tuple[Floats, Ints, Floats, Floats]:
    """Of the nearest points of a mesh: distances, faces, weights, normals of the faces."""
    scene, tensor = o3d.t.geometry.RaycastingScene(), o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.faces.astype(np.uint32)))
    found = {k: v.numpy() for k, v in scene.compute_closest_points(tensor(places.astype(np.float32))).items()}
    uv = found["primitive_uvs"].astype(float)
    weights = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
    normals = unit(found["primitive_normals"].astype(float))
    distances = np.linalg.norm(found["points"] - places, axis=1)
    return distances, mesh.faces[found["primitive_ids"].astype(int)], weights, normals


def _degrees(found: Floats, truth: Floats) -> str:
    angles = np.degrees(np.arccos(np.clip(np.einsum("nc,nc->n", found, truth), -1, 1)))
    return "{:6.2f} median, {:6.2f} in the worst tenth".format(*np.quantile(angles, [0.5, 0.9]))


def _recoded(picture: Bytes, suffix: str, options: list[int]) -> tuple[int, Bytes]:
    encoded = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)[1]
    return len(encoded), cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=TRUE_SETS)
    parser.add_argument("project", type=Path)
    given = parser.parse_args()
    true_set, artifacts = SETS[given.set], Project.open(given.project).artifacts
    truth, folder = read_mesh(DATA / str(true_set.truth)), artifacts["texturing"].path
    fine = read_mesh(artifacts["mesh_generation"].path / MESH)
    low, high = np.asarray(true_set.box)

    def compared(places: Floats, **kinds: Floats) -> np.ndarray:
        distances, _, _, normals = _closest(truth, places)
        counts = (distances <= _NEAR) & ((places >= low) & (places <= high)).all(axis=1)
        for name, found in kinds.items():
            print(f"  {name:<28}{_degrees(found[counts], normals[counts])}")
        return counts

    manifest = artifacts["texturing"].manifest
    print(f"texturing {manifest.cpu_seconds:.1f} CPU-s, {manifest.peak_memory / 1e6:.0f} MB")
    own = vertex_normals(fine).astype(float)
    faces, weights, places, flat = _places(fine.vertices, fine.faces)
    print(f"Degrees to the true normals; the surface, {len(fine)} faces")
    compared(places, triangles=flat, interpolated=unit(np.einsum("nk,nkc->nc", weights, own[faces])))
    shaded = split_for_shading(read_textured_mesh(folder / TEXTURED_MESH))
    picture = cv2.imread(str(folder / NORMAL_MAP))[..., ::-1]
    faces, weights, places, flat = _places(shaded.vertices, shaded.faces)
    frames, size = coarse_frame(shaded, faces, weights), len(picture)
    xy = np.einsum("nk,nkc->nc", weights, shaded.uv[faces]) * [1, -1] * size + [0, size]
    read = read_normals(picture, xy, frames)
    print(f"the textured model, {len(shaded.faces)} faces, a map of {size} x {size}")
    counts = compared(places, triangles=flat, interpolated=frames[:, 2], mapped=read)
    _, at, parts, _ = _closest(fine, places[counts])
    normals = unit(np.einsum("nk,nkc->nc", parts, own[at]))
    print("Degrees to the surface's interpolated normals")
    for name, found in {"triangles": flat, "interpolated": frames[:, 2], "mapped": read}.items():
        print(f"  {name:<28}{_degrees(found[counts], normals)}")
    print("Degrees to the map as it was baked")
    for name, how in _FORMATS.items():
        length, again = _recoded(picture, *how)
        made = read_normals(again, xy[counts], frames[counts])
        print(f"  {name:<18}{length:>9} B {_degrees(made, read[counts])}")


if __name__ == "__main__":
    main()
