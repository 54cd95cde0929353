"""Readable twins of the kernels of tangents and normal maps, and a reader of maps as viewers are."""

from __future__ import annotations

import numpy as np

from recon3d.texture.fine_surface import FineSurface
from recon3d.texture.normal_map import FLAT, CoarseSurface
from recon3d.texture.tangents import ShadedMesh
from recon3d.types import Bytes, Floats, Ints


def unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)


def tangents(vertices: Floats, normals: Floats, uv: Floats, faces: Ints) -> Floats:
    """Twin of `vertex_tangents`, where faces have area in the texture."""
    sums, sides = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    normals, uv = normals.astype(float), uv.astype(float)
    for face in faces:
        edges, across = vertices[face[1:]] - vertices[face[0]], uv[face[1:]] - uv[face[0]]
        if np.linalg.det(across) == 0:
            continue
        # The edges are `across` times the derivatives by u and v.
        along_u, _ = np.linalg.solve(across, edges)
        for k, v in enumerate(face):

            def flat(vector: Floats, normal: Floats = normals[v]) -> Floats:
                return unit(vector - (vector @ normal) * normal)

            left, right = (flat(vertices[face[(k + turn) % 3]] - vertices[v]) for turn in (1, 2))
            angle = np.arccos(np.clip(left @ right, -1, 1))
            sums[v] += angle * flat(along_u)
            sides[v] += angle * np.sign(np.linalg.det(across))
    return np.hstack([unit(sums), np.where(sides < 0, -1.0, 1.0)[:, None]])


def closest(triangles: Floats, place: Floats) -> tuple[Floats, Floats]:
    """Distances (F,) of the nearest points of triangles (F, 3, C), and their barycentric weights (F, 3)."""
    candidates = []
    for k in range(3):
        p, edge = triangles[:, k], triangles[:, (k + 1) % 3] - triangles[:, k]
        along = np.einsum("fc,fc->f", place - p, edge) / np.einsum("fc,fc->f", edge, edge)
        weights = np.zeros((len(triangles), 3))
        weights[:, (k + 1) % 3] = np.clip(along, 0, 1)
        weights[:, k] = 1 - weights[:, (k + 1) % 3]
        candidates.append(weights)
    edges = triangles[:, 1:] - triangles[:, :1]
    inner = np.einsum("fcn,fc->fn", np.linalg.pinv(edges), place - triangles[:, 0])
    inner = np.column_stack([1 - inner.sum(axis=1), inner])
    candidates.append(np.where(inner.min(axis=1, keepdims=True) >= 0, inner, candidates[0]))
    weights = np.stack(candidates)
    distances = np.linalg.norm(np.einsum("nfk,fkc->nfc", weights, triangles) - place, axis=2)
    best, faces = distances.argmin(axis=0), np.arange(len(triangles))
    return distances[best, faces], weights[best, faces]


def fine_normal(fine: FineSurface, place: Floats, normal: Floats, reach: float) -> Floats | None:
    """Twin of `look_up`: every face is looked at."""
    triangles, normals = fine.vertices[fine.faces], fine.normals[fine.faces].astype(float)
    u, v = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    away = np.cross(u, v) @ normal <= 0
    distances, weights = closest(triangles, place)
    distances[away] = np.inf
    nearest = int(distances.argmin())
    if distances[nearest] > reach:
        return None
    # place + t * normal = corner + second * u + third * v
    system = np.stack([u, v, np.broadcast_to(-normal, u.shape)], axis=2)
    system[away] = np.eye(3)
    second, third, t = np.linalg.solve(system, (place - triangles[:, 0])[..., None])[..., 0].T
    crossing = np.stack([1 - second - third, second, third], axis=1)
    missed = away | (crossing.min(axis=1) < -1e-9)
    met = int(np.where(missed, np.inf, np.abs(t)).argmin())
    if not missed[met] and abs(t[met]) <= min(reach, 4 * distances[nearest]):
        return crossing[met] @ normals[met]
    return weights[nearest] @ normals[nearest]


def bake(coarse: CoarseSurface, fine: FineSurface) -> Bytes:
    """Twin of `bake_rows`, for all rows."""
    size = len(coarse.owner)
    made = np.full((size, size, 3), FLAT, np.uint8)
    for row, column in zip(*np.nonzero(coarse.owner >= 0), strict=True):
        mine = np.flatnonzero(coarse.chart == coarse.owner[row, column])
        if not len(mine):
            continue
        distances, weights = closest(coarse.xy[coarse.faces[mine]], np.array([column + 0.5, row + 0.5]))
        best = int(np.where(distances < 1e-12, 0, distances).argmin())
        if distances[best] > 1.5:
            continue
        corners, weight = coarse.faces[mine[best]], weights[best]
        frame = coarse_frame(coarse, corners[None], weight[None])[0]
        seen = fine_normal(fine, weight @ coarse.vertices[corners], frame[2], coarse.reach)
        if seen is not None:
            value = np.linalg.solve(frame.T, unit(seen))
            value[2] = max(value[2], 0.05 * np.linalg.norm(value))
            made[row, column] = np.floor(127.5 * (unit(value) + 1) + 0.5)
    return made


def coarse_frame(coarse: CoarseSurface | ShadedMesh, faces: Ints, weights: Floats) -> Floats:
    """Tangents, bitangents and normals of places on faces, shape (N, 3, 3), as three.js interpolates them."""
    normals, tangents = coarse.normals.astype(float)[faces], coarse.tangents.astype(float)[faces]
    side = np.cross(normals, tangents[..., :3]) * tangents[..., 3:]
    parts = [np.einsum("nk,nkc->nc", weights, part) for part in (tangents[..., :3], side, normals)]
    return np.stack([unit(part) for part in parts], axis=1)


def read_normals(picture: Bytes, xy: Floats, frames: Floats) -> Floats:
    """Normals of places in a map, in its texels, as a graphics processor reads them: bilinear."""
    size = len(picture)
    x, y = np.clip(xy - 0.5, 0, size - 1).T
    column, row = np.minimum(x.astype(int), size - 2), np.minimum(y.astype(int), size - 2)
    right, below = (x - column)[:, None], (y - row)[:, None]
    value = picture.astype(float) / 255 * 2 - 1
    top = value[row, column] * (1 - right) + value[row, column + 1] * right
    bottom = value[row + 1, column] * (1 - right) + value[row + 1, column + 1] * right
    return unit(np.einsum("na,nac->nc", top * (1 - below) + bottom * below, frames))
