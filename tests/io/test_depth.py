"""Depth maps on disk."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from recon3d.errors import InputError
from recon3d.io.depth import read_colmap_map, read_depth_map, write_colmap_map, write_depth_map
from recon3d.types import Camera, DepthMap


@pytest.fixture
def depth_map():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(5, 7, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    depth = rng.uniform(1, 2, (5, 7)).astype(np.float32)
    depth[0, 0], normal[0, 0] = 0, 0
    camera = Camera("PINHOLE", 7, 5, (8.0, 8.5, 3.5, 2.5))
    confidence = rng.random((5, 7)).astype(np.float32)
    return DepthMap("a.jpg", camera, depth, normal.astype(np.float32), confidence)


def test_written_and_read(tmp_path, depth_map):
    path = tmp_path / "maps" / "a.jpg.npz"
    write_depth_map(path, depth_map)
    again = read_depth_map(path)
    assert again.name == "a.jpg"
    assert again.camera == depth_map.camera
    assert np.array_equal(again.depth, depth_map.depth)
    assert again.normal == pytest.approx(depth_map.normal, abs=1e-4)
    assert again.confidence == pytest.approx(depth_map.confidence, abs=1 / 255)
    assert again.normal.dtype == again.confidence.dtype == np.float32
    assert [p.name for p in path.parent.iterdir()] == ["a.jpg.npz"]


def test_large_map_takes_nine_bytes_a_pixel(tmp_path):
    shape = (200, 300)
    camera = Camera("PINHOLE", 300, 200, (8.0, 8.5, 3.5, 2.5))
    zeros = np.zeros(shape, np.float32)
    write_depth_map(
        tmp_path / "a.npz", DepthMap("a", camera, zeros, np.zeros((*shape, 3), np.float32), zeros)
    )
    assert (tmp_path / "a.npz").stat().st_size < 9.1 * 200 * 300


@pytest.mark.parametrize("content", [b"", b"not a map", b"PK\x03\x04 cut"])
def test_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.npz"):
        read_depth_map(path)


def test_cut_off_file_is_named(tmp_path, depth_map):
    path = tmp_path / "a.npz"
    write_depth_map(path, depth_map)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"a\.npz"):
        read_depth_map(path)


def test_colmap_format_round_trip(tmp_path, depth_map):
    write_colmap_map(tmp_path / "d.bin", depth_map.depth)
    write_colmap_map(tmp_path / "n.bin", depth_map.normal)
    assert np.array_equal(read_colmap_map(tmp_path / "d.bin"), depth_map.depth)
    assert np.array_equal(read_colmap_map(tmp_path / "n.bin"), depth_map.normal)
    # The header, then whole planes: all x, then all y, then all z.
    data = (tmp_path / "n.bin").read_bytes()
    assert data.startswith(b"7&5&3&")
    assert np.frombuffer(data[6:], "<f4")[:35].reshape(5, 7) == pytest.approx(depth_map.normal[..., 0])


def test_colmap_reads_our_depth_map(tmp_path, depth_map):
    write_colmap_map(tmp_path / "d.bin", depth_map.depth)
    theirs = pycolmap.DepthMap()
    theirs.read(str(tmp_path / "d.bin"))
    assert np.array_equal(np.asarray(theirs.to_array()), depth_map.depth)


@pytest.mark.parametrize("content", [b"", b"7&5&1", b"7&5&1&" + bytes(10), b"x&y&z&"])
def test_damaged_colmap_map_is_named(tmp_path, content):
    (tmp_path / "d.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"d\.bin"):
        read_colmap_map(tmp_path / "d.bin")
