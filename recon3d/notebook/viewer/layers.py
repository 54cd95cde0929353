"""The objects of the 3D scene: mesh, points, cameras."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pythreejs

from recon3d.viewer.grid import Grid
from recon3d.viewer.view_content import Content

#: Points of the first slice: drawn at once, and alone while a hand moves the camera.
FIRST_SLICE = 150_000
#: Points of each later slice.
SLICE = 300_000

#: Neither drawn nor shaded, yet hit by rays.
_UNSEEN = {"visible": False, "side": "DoubleSide"}


class Layer:
    """What can be switched on and off.

    Attributes
    ----------
    object : pythreejs.Object3D
        What clicks may hit.
    """

    object: Any

    @property
    def visible(self) -> bool:
        """Whether it is drawn."""
        return bool(self.object.visible)

    @visible.setter
    def visible(self, value: bool) -> None:
        self.object.visible = value


class MeshLayer(Layer):
    """The surface, in several styles.

    Attributes
    ----------
    styles : tuple of str
        "textured" where there are colours, "shaded" and "wireframe".
    """

    def __init__(self, content: Content) -> None:
        assert content.vertices is not None
        assert content.faces is not None
        self._grid = Grid.of(content.vertices)
        faces = content.faces.ravel()
        if len(content.vertices) <= 65536:
            faces = faces.astype(np.uint16)
        attributes = {"position": _attribute(self._grid.values), "index": _attribute(faces)}
        self._photo: Content | None = None
        # A data URI takes four characters for three bytes.
        self._texture_bytes = 4 * ((len(content.jpeg) + 2) // 3)
        self._materials: dict[str, Any] = {}
        if content.texture is not None and content.uv is not None:
            attributes["uv"] = _attribute(content.uv)
            self._photo = content
        elif content.vertex_colors is not None:
            attributes["color"] = _attribute(content.vertex_colors, normalized=True)
            self._materials["textured"] = pythreejs.MeshBasicMaterial(
                side="DoubleSide", vertexColors="VertexColors"
            )
        self._materials["shaded"] = pythreejs.MeshPhongMaterial(
            side="DoubleSide", flatShading=True, color="#c4c0ba", shininess=5
        )
        self._materials["wireframe"] = pythreejs.MeshBasicMaterial(color="#7fb2e5", wireframe=True)
        self.styles: tuple[str, ...] = (*(() if self._photo is None else ("textured",)), *self._materials)
        self._style: str = self.styles[0]
        geometry = pythreejs.BufferGeometry(attributes=attributes)
        self.object = pythreejs.Mesh(geometry, self._material(), **_place(self._grid))

    @property
    def style(self) -> str:
        """How the surface is drawn."""
        return self._style

    @style.setter
    def style(self, name: str) -> None:
        self._style = name
        self.object.material = self._material()

    def send_next(self) -> bool:
        """Send the texture, which takes browsers longer than all the rest.

        Returns
        -------
        bool
            Whether this call sent it.
        """
        if self._photo is None:
            return False
        image = "data:image/jpeg;base64," + base64.b64encode(self._photo.jpeg).decode("ascii")
        texture = pythreejs.ImageTexture(imageUri=image, format="RGBFormat")
        self._materials["textured"] = pythreejs.MeshBasicMaterial(side="DoubleSide", map=texture)
        self._photo = None
        self.object.material = self._material()
        return True

    def _material(self) -> Any:
        """Of the style; the surface is grey until its texture has been sent."""
        return self._materials.get(self._style) or self._materials["shaded"]

    @property
    def bytes_sent(self) -> int:
        """Bytes of arrays and texture."""
        return self._texture_bytes + self.first_bytes

    @property
    def first_bytes(self) -> int:
        """Bytes without the texture."""
        return sum(int(a.array.nbytes) for a in self.object.geometry.attributes.values())

    def close(self) -> None:
        """Free the browser's memory."""
        for material in self._materials.values():
            material.close()
        _close(self.object)


class PointLayer(Layer):
    """The points, in slices: the first is sent and drawn at once, the others follow."""

    def __init__(self, content: Content) -> None:
        assert content.points is not None
        self._grid = Grid.of(content.points)
        self._colors = content.point_colors
        self.material = pythreejs.PointsMaterial(
            size=2.0,
            sizeAttenuation=False,
            vertexColors="NoColors" if self._colors is None else "VertexColors",
        )
        edges = [0, *range(min(FIRST_SLICE, len(content.points)), len(content.points), SLICE)]
        self._slices = list(zip(edges, [*edges[1:], len(content.points)], strict=True))
        self.first = self._slice(0)
        self._rest = pythreejs.Group()
        self.object = pythreejs.Group(children=[self.first, self._rest])

    def send_next(self) -> bool:
        """Send one more slice of the points.

        Returns
        -------
        bool
            Whether slices are left.
        """
        sent = 1 + len(self._rest.children)
        if sent < len(self._slices):
            self._rest.children = (*self._rest.children, self._slice(sent))
        return sent + 1 < len(self._slices)

    @property
    def thinnable(self) -> bool:
        """Whether there are so many points that drawing the first slice alone helps."""
        return bool(self._slices[-1][1] >= 2 * FIRST_SLICE)

    @property
    def thinned(self) -> bool:
        """Whether only the first slice is drawn."""
        return not self._rest.visible

    @thinned.setter
    def thinned(self, value: bool) -> None:
        self._rest.visible = not value

    @property
    def size(self) -> float:
        """Size of a point in pixels."""
        return float(self.material.size)

    @size.setter
    def size(self, value: float) -> None:
        self.material.size = value

    @property
    def bytes_sent(self) -> int:
        """Bytes of all slices."""
        return self._grid.values.nbytes + (0 if self._colors is None else self._colors.nbytes)

    @property
    def first_bytes(self) -> int:
        """Bytes of the first slice."""
        return sum(int(a.array.nbytes) for a in self.first.geometry.attributes.values())

    def close(self) -> None:
        """Free the browser's memory."""
        for part in (self.first, *self._rest.children):
            _close(part)
        self.material.close()
        self._rest.close()
        self.object.close()

    def _slice(self, number: int) -> Any:
        start, end = self._slices[number]
        attributes = {"position": _attribute(self._grid.values[start:end])}
        if self._colors is not None:
            attributes["color"] = _attribute(self._colors[start:end], normalized=True)
        geometry = pythreejs.BufferGeometry(attributes=attributes)
        return pythreejs.Points(geometry, self.material, **_place(self._grid))


class CameraLayer(Layer):
    """All cameras as lines in one object, and unseen pyramids that clicks hit.

    A widget for each camera would break near a thousand.
    """

    def __init__(self, content: Content) -> None:
        assert content.frusta is not None
        self._frusta = content.frusta
        lines = _attribute(content.frusta.reshape(-1, 3))
        self.lines = pythreejs.LineSegments(
            pythreejs.BufferGeometry(attributes={"position": lines}),
            # Faint where there is a surface to see.
            pythreejs.LineBasicMaterial(
                color="#ff9a1a", transparent=True, opacity=1.0 if content.vertices is None else 0.45
            ),
        )
        corners = np.concatenate([content.frusta[:, :1, 0], content.frusta[:, :4, 1]], axis=1)
        sides = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1], [1, 2, 3], [1, 3, 4]], np.uint32)
        self._sides = len(sides)
        faces = (5 * np.arange(len(corners), dtype=np.uint32)[:, None, None] + sides).ravel()
        self.targets = pythreejs.Mesh(
            pythreejs.BufferGeometry(
                attributes={"position": _attribute(corners.reshape(-1, 3)), "index": _attribute(faces)}
            ),
            pythreejs.MeshBasicMaterial(**_UNSEEN),
        )
        self._marked = _attribute(np.zeros((16, 3), np.float32))
        self._mark = pythreejs.LineSegments(
            pythreejs.BufferGeometry(attributes={"position": self._marked}),
            pythreejs.LineBasicMaterial(color="#38e8ff", depthTest=False),
            visible=False,
            frustumCulled=False,
        )
        # Apart from the targets: pythreejs' rays hit every line within one unit.
        self.drawn = pythreejs.Group(children=[self.lines, self._mark])
        self.object = self.targets
        self._aimed = True

    @property
    def visible(self) -> bool:
        """Whether cameras are drawn."""
        return bool(self.drawn.visible)

    @visible.setter
    def visible(self, value: bool) -> None:
        self.drawn.visible = value
        self.targets.visible = value and self._aimed

    @property
    def aimed(self) -> bool:
        """Whether clicks may hit cameras; they may stand before the surface."""
        return self._aimed

    @aimed.setter
    def aimed(self, value: bool) -> None:
        self._aimed = value
        self.targets.visible = value and self.visible

    def camera_of(self, face: int) -> int:
        """Find the camera that a face of `targets` belongs to.

        Parameters
        ----------
        face : int
            Index of the face.

        Returns
        -------
        int
            Index of the camera.
        """
        return face // self._sides

    def mark(self, camera: int | None) -> None:
        """Highlight a camera.

        Parameters
        ----------
        camera : int or None
            Its index; None for no camera.
        """
        self._mark.visible = camera is not None
        if camera is not None:
            self._marked.array = self._frusta[camera].reshape(-1, 3)

    @property
    def bytes_sent(self) -> int:
        """Bytes of lines and pyramids."""
        parts = (self.lines, self.targets)
        return sum(a.array.nbytes for part in parts for a in part.geometry.attributes.values())

    def close(self) -> None:
        """Free the browser's memory."""
        for part in (self.lines, self.targets, self._mark):
            part.material.close()
            _close(part)
        self.drawn.close()


def unseen_box(center: Any, size: float) -> Any:
    """Make a box around everything that is not drawn, so that every click hits something.

    Parameters
    ----------
    center : ndarray, shape (3,)
    size : float
        Side of the box.

    Returns
    -------
    pythreejs.Mesh
    """
    return pythreejs.Mesh(
        pythreejs.BoxBufferGeometry(size, size, size),
        pythreejs.MeshBasicMaterial(**_UNSEEN),
        position=list(center),
    )


def _attribute(array: Any, *, normalized: bool = False) -> Any:
    return pythreejs.BufferAttribute(np.ascontiguousarray(array), normalized=normalized)


def _place(grid: Grid) -> dict[str, Any]:
    return {"position": tuple(grid.low), "scale": (grid.step,) * 3}


def _close(thing: Any) -> None:
    for attribute in getattr(thing.geometry, "attributes", {}).values():
        attribute.close()
    thing.geometry.close()
    thing.close()
