"""PLY files: point clouds and meshes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.types import Mesh, PointCloud

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
#: Bytes that hold any sensible header.
_LONGEST_HEADER = 65_536
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
#: The property of vertices that close a gap.
_GUESSED = "guessed"
_COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


@dataclass
class _Element:
    name: str
    count: int
    #: (property, type of the length or "", type)
    properties: list[tuple[str, str, str]]


def write_point_cloud(path: Path, cloud: PointCloud) -> None:
    """Write a cloud as binary PLY with float32 coordinates, atomically.

    Parameters
    ----------
    path : Path
    cloud : PointCloud
    """
    write_point_clouds(path, [cloud], len(cloud))


def write_point_clouds(path: Path, parts: Iterable[PointCloud], count: int) -> None:
    """Write several clouds as one file; only one of them need be in memory at a time.

    Parameters
    ----------
    path : Path
    parts : iterable of PointCloud
        All with the same columns.
    count : int
        Points of all together.
    """
    with atomic_path(Path(path)) as temporary, open(temporary, "wb") as file:
        for number, part in enumerate(parts):
            rows = _rows(part.points, part.normals, part.colors)
            if number == 0:
                file.write(_own_header(count, rows.dtype))
            file.write(rows.tobytes())


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary PLY with float32 coordinates, atomically.

    Parameters
    ----------
    path : Path
    mesh : Mesh
    """
    rows = _rows(mesh.vertices, mesh.normals, mesh.colors, mesh.guessed)
    triangles = np.empty(len(mesh.faces), [("n", "u1"), ("v", "<i4", 3)])
    triangles["n"] = 3
    triangles["v"] = mesh.faces
    with atomic_path(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(_own_header(len(rows), rows.dtype, len(triangles)))
        file.write(rows.tobytes())
        file.write(triangles.tobytes())


def _rows(
    points: NDArray[np.float64],
    normals: NDArray[np.float32] | None,
    colors: NDArray[np.uint8] | None,
    guessed: NDArray[np.bool_] | None = None,
) -> NDArray[np.void]:
    groups: list[tuple[tuple[str, ...], str, NDArray[Any]]] = [(("x", "y", "z"), "<f4", points)]
    if normals is not None:
        groups.append((("nx", "ny", "nz"), "<f4", normals))
    if colors is not None:
        groups.append((("red", "green", "blue"), "u1", colors))
    if guessed is not None:
        groups.append(((_GUESSED,), "u1", guessed[:, None]))
    rows = np.empty(len(points), [(name, kind) for names, kind, _ in groups for name in names])
    for names, _, values in groups:
        for column, name in enumerate(names):
            rows[name] = values[:, column]
    return rows


def _own_header(vertices: int, columns: np.dtype[Any], faces: int | None = None) -> bytes:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment made by recon3d",
        f"element vertex {vertices}",
    ]
    for name in columns.names or ():
        lines.append(f"property {'uchar' if columns[name] == np.uint8 else 'float'} {name}")
    if faces is not None:
        lines += [f"element face {faces}", "property list uchar int vertex_indices"]
    return "\n".join([*lines, "end_header\n"]).encode()


def ply_vertex_count(path: Path) -> int:
    """Read the number of vertices from a PLY file's header.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int

    Raises
    ------
    InputError
        The file cannot be read, or is not PLY.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_LONGEST_HEADER)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    _, elements, _ = _header(path, head)
    counts = [element.count for element in elements if element.name == "vertex"]
    if not counts:
        raise _damaged(path, "it has no vertices")
    return counts[0]


def read_point_cloud(path: Path) -> PointCloud:
    """Read a PLY file as a cloud, without its faces.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PointCloud

    Raises
    ------
    InputError
        The file is not a PLY file, or is damaged.
    """
    vertices, _ = _read(Path(path))
    points, normals, colors = _columns(Path(path), vertices)
    return PointCloud(points, normals, colors)


def read_point_cloud_in_parts(
    path: Path, rows: int, first: int = 0, last: int | None = None
) -> Iterator[PointCloud]:
    """Read a cloud that `write_point_clouds` wrote part by part.

    Parameters
    ----------
    path : Path
    rows : int
        Points of a part; the last has fewer.
    first, last : int
        Points from the first one on and before the last one are read; by default all.

    Yields
    ------
    PointCloud

    Raises
    ------
    InputError
        The file is not a binary PLY file that begins with vertices, or is damaged.
    """
    with open(path, "rb") as file:
        order, elements, offset = _header(path, file.read(_LONGEST_HEADER))
        vertices = elements[0] if elements else _Element("", 0, [])
        if order == "=" or vertices.name != "vertex" or any(length for _, length, _ in vertices.properties):
            raise _damaged(path, "it is no cloud of this program")
        kind = np.dtype([(name, order + value) for name, _, value in vertices.properties])
        file.seek(offset + first * kind.itemsize)
        end = vertices.count if last is None else min(last, vertices.count)
        for start in range(first, end, rows):
            count = min(rows, end - start)
            data = file.read(count * kind.itemsize)
            if len(data) < count * kind.itemsize:
                raise _damaged(path, "vertex data end early")
            yield PointCloud(*_columns(path, np.frombuffer(data, kind)))


def read_mesh(path: Path) -> Mesh:
    """Read a PLY file as a mesh; polygons become triangles.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Mesh

    Raises
    ------
    InputError
        The file is not a PLY file, is damaged, or has no faces.
    """
    vertices, faces = _read(Path(path))
    # MeshLab and others write an empty face element for point clouds.
    if faces is None or not len(faces):
        raise InputError(f"{path} has no faces.", "Give a mesh, not a point cloud.")
    points, normals, colors = _columns(Path(path), vertices)
    if faces.min() < 0 or faces.max() >= len(points):
        raise _damaged(Path(path), "a face names a vertex that is not there")
    guessed = vertices[_GUESSED] != 0 if _GUESSED in (vertices.dtype.names or ()) else None
    return Mesh(points, faces, colors, normals, guessed)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not a PLY file that can be read: {why}.", "Export it again.")


def _columns(
    path: Path, data: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None, NDArray[np.uint8] | None]:
    names = data.dtype.names or ()

    def stack(wanted: tuple[str, ...], kind: Any) -> NDArray[Any] | None:
        if not set(wanted) <= set(names):
            return None
        return np.stack([data[name] for name in wanted], axis=1).astype(kind)

    points = stack(("x", "y", "z"), np.float64)
    if points is None:
        raise _damaged(path, "its vertices have no x, y, z")
    colors = None
    for wanted in _COLOURS:
        if set(wanted) <= set(names):
            kind = data.dtype[wanted[0]].kind
            factor = 255.0 if kind == "f" else 1.0
            colors = np.stack([np.round(data[n] * factor) for n in wanted], axis=1).astype(np.uint8)
            break
    return points, stack(("nx", "ny", "nz"), np.float32), colors


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    order, elements, offset = _header(path, data)
    vertices: NDArray[Any] | None = None
    faces: NDArray[np.int32] | None = None
    text = iter(data[offset:].split(b"\n")) if order == "=" else None
    for element in elements:
        lists = any(length for _, length, _ in element.properties)
        try:
            if text is not None:
                rows = [next(text).split() for _ in range(element.count)]
                if element.name == "face":
                    faces = _fan([_text_polygon(row, element) for row in rows])
                elif element.name == "vertex":
                    dtype = [(name, kind) for name, _, kind in element.properties]
                    values = np.array([[float(v) for v in row] for row in rows], np.float64)
                    columns = values.reshape(element.count, len(dtype)).T
                    vertices = np.rec.fromarrays(list(columns), dtype=dtype)
            elif not lists:
                dtype = [(name, order + kind) for name, _, kind in element.properties]
                table = np.frombuffer(data, dtype, element.count, offset)
                offset += table.nbytes
                if element.name == "vertex":
                    vertices = table
            else:
                table, offset = _lists(data, offset, order, element)
                if element.name == "face":
                    faces = table
        except (ValueError, IndexError, StopIteration, TypeError) as error:
            raise _damaged(path, f"{element.name} data end early or are damaged ({error})") from error
    if vertices is None:
        raise _damaged(path, "it has no vertices")
    return vertices, faces


def _header(path: Path, data: bytes) -> tuple[str, list[_Element], int]:
    end = data.find(b"end_header")
    offset = data.find(b"\n", end) + 1
    if not data.startswith(b"ply") or end < 0 or offset == 0:
        raise _damaged(path, "it has no PLY header")
    order, elements = "", list[_Element]()
    for line in data[:end].decode("ascii", "replace").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = _ORDERS[words[1]]
            elif words[:1] == ["element"]:
                if int(words[2]) < 0:
                    raise ValueError(words[2])
                elements.append(_Element(words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append((words[4], _TYPES[words[2]], _TYPES[words[3]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append((words[2], "", _TYPES[words[1]]))
        except (KeyError, IndexError, ValueError) as error:
            raise _damaged(path, f"header line {line!r}") from error
    if not order:
        raise _damaged(path, "its header names no format")
    return order, elements, offset


def _lists(data: bytes, offset: int, order: str, element: _Element) -> tuple[NDArray[np.int32], int]:
    """Lists of vertex indices; fast when all are triangles without further properties."""
    if len(element.properties) == 1:
        _, length, kind = element.properties[0]
        dtype = np.dtype([("n", order + length), ("v", order + kind, 3)])
        if len(data) - offset >= dtype.itemsize * element.count:
            table = np.frombuffer(data, dtype, element.count, offset)
            if (table["n"] == 3).all():
                return np.ascontiguousarray(table["v"], np.int32), offset + table.nbytes
    polygons = []
    wanted = _polygon_property(element)
    for _ in range(element.count):
        for position, (_, length, kind) in enumerate(element.properties):
            count = 1
            if length:
                count = int(np.frombuffer(data, order + length, 1, offset)[0])
                offset += np.dtype(length).itemsize
            values = np.frombuffer(data, order + kind, count, offset)
            offset += values.nbytes
            if position == wanted:
                polygons.append(values.tolist())
    return _fan(polygons), offset


def _polygon_property(element: _Element) -> int:
    """Which property holds a face's vertices: the one of that name, else the first list."""
    lists = [i for i, (_, length, _) in enumerate(element.properties) if length]
    if not lists:
        raise ValueError("no list of vertices")
    named = [i for i in lists if element.properties[i][0] in ("vertex_indices", "vertex_index")]
    return (named or lists)[0]


def _text_polygon(row: list[bytes], element: _Element) -> list[int]:
    wanted, start = _polygon_property(element), 0
    for _, length, _ in element.properties[:wanted]:
        start += 1 + (int(row[start]) if length else 0)
    polygon = [int(v) for v in row[start + 1 : start + 1 + int(row[start])]]
    if len(polygon) != int(row[start]):
        raise ValueError("a face is truncated")
    return polygon


def _fan(polygons: list[list[int]]) -> NDArray[np.int32]:
    triangles = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return np.array(triangles, np.int32).reshape(-1, 3)
