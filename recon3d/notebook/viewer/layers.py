"""The objects of the 3D scene: mesh, points, cameras.

What is not seen yet is neither made nor sent: each widget and each megabyte delays the first picture.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pythreejs

from recon3d.viewer.grid import Grid, as_shares
from recon3d.viewer.view_content import Content

#: Points of the first slice: drawn at once, and alone while a hand moves the camera.
FIRST_SLICE = 150_000
#: Points of each later slice.
SLICE = 300_000

#: Triangles of a camera's pyramid: its place, then the corners of its photo.
_SIDES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1], [1, 2, 3], [1, 3, 4]], np.uint32)

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


#: Styles that every surface has.
_PLAIN: dict[str, Callable[[], Any]] = {
    "shaded": lambda: pythreejs.MeshPhongMaterial(
        side="DoubleSide", flatShading=True, color="#c4c0ba", shininess=5
    ),
    "wireframe": lambda: pythreejs.MeshBasicMaterial(color="#7fb2e5", wireframe=True),
}


class MeshLayer(Layer):
    """The surface, in several styles.

    Attributes
    ----------
    styles : tuple of str
        "textured" where there are colours, "shaded" and "wireframe".
    first_bytes, bytes_sent : int
        Bytes of what is sent at first, and of all arrays and textures so far.
    """

    def __init__(self, content: Content) -> None:
        self._whole = content
        textured = content.texture is not None and content.uv is not None
        colored = textured or content.vertex_colors is not None
        self.styles: tuple[str, ...] = (*(("textured",) if colored else ()), *_PLAIN)
        self._style: str = self.styles[0]
        #: What has been sent; the draft, until the whole follows.
        self._shown = content.draft or content
        self._draft: Any | None = None
        self._photo_due = textured
        self._materials: dict[str, Any] = {}
        geometry, place = _surface(self._shown)
        self.object = pythreejs.Mesh(geometry, self._material(), **place)
        self.first_bytes = _bytes_of(self.object)
        self.bytes_sent = self.first_bytes

    @property
    def style(self) -> str:
        """How the surface is drawn."""
        return self._style

    @style.setter
    def style(self, name: str) -> None:
        self._style = name
        self.object.material = self._material()

    @property
    def drafted(self) -> bool:
        """Whether only a draft has been sent so far."""
        return self._shown is not self._whole

    def send_next(self) -> bool:
        """Send the whole surface, and the texture, which takes browsers longer than all the rest.

        Returns
        -------
        bool
            Whether this call sent something.
        """
        if not self.drafted and not self._photo_due:
            return False
        # In one message: the page changes all of it at once.
        with self.object.hold_sync():
            if self.drafted:
                self._shown = self._whole
                self._draft = self.object.geometry
                self.object.geometry, place = _surface(self._whole)
                self.object.position, self.object.scale = place["position"], place["scale"]
                self.bytes_sent += _bytes_of(self.object)
            if self._photo_due:
                self._send_photo()
            self.object.material = self._material()
        return True

    def _send_photo(self) -> None:
        image = "data:image/jpeg;base64," + base64.b64encode(self._whole.jpeg).decode("ascii")
        # A data URI takes four characters for three bytes.
        self.bytes_sent += 4 * ((len(self._whole.jpeg) + 2) // 3)
        texture = pythreejs.ImageTexture(imageUri=image, format="RGBFormat")
        self._materials["photo"] = pythreejs.MeshBasicMaterial(side="DoubleSide", map=texture)
        self._photo_due = False

    def _material(self) -> Any:
        """Of the style; without a draft, the surface is grey until its texture has been sent."""
        name = self._style
        if name == "textured" and self._shown.vertex_colors is not None:
            name = "colors"
        elif name == "textured":
            name = "shaded" if self._photo_due else "photo"
        if name not in self._materials:
            self._materials[name] = _PLAIN[name]() if name in _PLAIN else _colors()
        return self._materials[name]

    def close(self) -> None:
        """Free the browser's memory."""
        for material in self._materials.values():
            material.close()
        # Not before: the page draws it until it has unpacked the texture.
        if self._draft is not None:
            _close_geometry(self._draft)
        _close(self.object)


class PointLayer(Layer):
    """The points, in slices: the first is sent and drawn at once, the others follow.

    Parameters
    ----------
    content : Content
    visible : bool
        Nothing is sent before the points are seen.

    Attributes
    ----------
    on_first : callable
        Called when the first slice has been sent, if that was not at the beginning.
    """

    def __init__(self, content: Content, visible: bool) -> None:
        assert content.points is not None
        self.on_first: Callable[[], None] = lambda: None
        self._grid = Grid.of(content.points)
        self._colors = content.point_colors
        self.material = pythreejs.PointsMaterial(
            size=2.0,
            sizeAttenuation=False,
            vertexColors="NoColors" if self._colors is None else "VertexColors",
        )
        edges = [0, *range(min(FIRST_SLICE, len(content.points)), len(content.points), SLICE)]
        self._slices = list(zip(edges, [*edges[1:], len(content.points)], strict=True))
        self.first: Any | None = None
        self._rest = pythreejs.Group()
        self.object = pythreejs.Group(visible=False)
        self.visible = visible

    @property
    def visible(self) -> bool:
        """Whether points are drawn."""
        return bool(self.object.visible)

    @visible.setter
    def visible(self, value: bool) -> None:
        if value and self.first is None:
            self.first = self._slice(0)
            self.object.children = (self.first, self._rest)
            self.on_first()
        self.object.visible = value

    def send_next(self) -> bool:
        """Send one more slice of the points.

        Returns
        -------
        bool
            Whether slices are left.
        """
        if self.first is None:
            return False
        sent = 1 + len(self._rest.children)
        if sent < len(self._slices):
            self._rest.children = (*self._rest.children, self._slice(sent))
        return sent + 1 < len(self._slices)

    @property
    def thinnable(self) -> bool:
        """Whether there are so many points that drawing the first slice alone helps."""
        return self.first is not None and bool(self._slices[-1][1] >= 2 * FIRST_SLICE)

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
        """Bytes of the slices, so far."""
        return self.first_bytes + sum(_bytes_of(part) for part in self._rest.children)

    @property
    def first_bytes(self) -> int:
        """Bytes of the first slice; none while nobody sees the points."""
        return 0 if self.first is None else _bytes_of(self.first)

    def close(self) -> None:
        """Free the browser's memory."""
        for part in (self.first, *self._rest.children):
            if part is not None:
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

    Parameters
    ----------
    content : Content
    visible : bool
        Nothing is sent before the cameras are seen.

    Attributes
    ----------
    targets : pythreejs.Mesh or None
        The pyramids.
    drawn : pythreejs.Group
        The lines, apart from the targets: pythreejs' rays hit every line within one unit.
    """

    def __init__(self, content: Content, visible: bool) -> None:
        assert content.frusta is not None
        self._frusta = content.frusta
        # Faint where there is a surface to see.
        self._opacity = 1.0 if content.vertices is None else 0.45
        self._aimed = True
        self.targets: Any | None = None
        self.drawn = pythreejs.Group(visible=False)
        self.object = pythreejs.Group()
        self.visible = visible

    def _make(self) -> None:
        lines = _attribute(self._frusta.reshape(-1, 3))
        self.lines = pythreejs.LineSegments(
            pythreejs.BufferGeometry(attributes={"position": lines}),
            pythreejs.LineBasicMaterial(color="#ff9a1a", transparent=True, opacity=self._opacity),
        )
        corners = np.concatenate([self._frusta[:, :1, 0], self._frusta[:, :4, 1]], axis=1)
        faces = (5 * np.arange(len(corners), dtype=np.uint32)[:, None, None] + _SIDES).ravel()
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
        self.drawn.children = (self.lines, self._mark)
        self.object.children = (self.targets,)

    @property
    def visible(self) -> bool:
        """Whether cameras are drawn."""
        return bool(self.drawn.visible)

    @visible.setter
    def visible(self, value: bool) -> None:
        if value and self.targets is None:
            self._make()
        self.drawn.visible = value
        self._aim()

    @property
    def aimed(self) -> bool:
        """Whether clicks may hit cameras; they may stand before the surface."""
        return self._aimed

    @aimed.setter
    def aimed(self, value: bool) -> None:
        self._aimed = value
        self._aim()

    def _aim(self) -> None:
        if self.targets is not None:
            self.targets.visible = self._aimed and self.visible

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
        return face // len(_SIDES)

    def mark(self, camera: int | None) -> None:
        """Highlight a camera.

        Parameters
        ----------
        camera : int or None
            Its index; None for no camera.
        """
        if self.targets is None:
            self._make()
            self._aim()
        self._mark.visible = camera is not None
        if camera is not None:
            self._marked.array = self._frusta[camera].reshape(-1, 3)

    @property
    def bytes_sent(self) -> int:
        """Bytes of lines and pyramids; none while nobody sees the cameras."""
        return 0 if self.targets is None else _bytes_of(self.lines) + _bytes_of(self.targets)

    def close(self) -> None:
        """Free the browser's memory."""
        if self.targets is not None:
            for part in (self.lines, self.targets, self._mark):
                part.material.close()
                _close(part)
        self.drawn.close()
        self.object.close()


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


def _bytes_of(thing: Any) -> int:
    return sum(int(a.array.nbytes) for a in thing.geometry.attributes.values())


def _surface(content: Content) -> tuple[Any, dict[str, Any]]:
    """Triangles with what colours them, and where they are."""
    grid = Grid.of(np.asarray(content.vertices))
    faces = np.asarray(content.faces).ravel()
    if len(grid.values) <= 65536:
        faces = faces.astype(np.uint16)
    attributes = {"position": _attribute(grid.values), "index": _attribute(faces)}
    if content.texture is not None and content.uv is not None:
        uv = as_shares(content.uv)
        attributes["uv"] = _attribute(uv, normalized=uv.dtype == np.uint16)
    elif content.vertex_colors is not None:
        attributes["color"] = _attribute(content.vertex_colors, normalized=True)
    return pythreejs.BufferGeometry(attributes=attributes), _place(grid)


def _colors() -> Any:
    return pythreejs.MeshBasicMaterial(side="DoubleSide", vertexColors="VertexColors")


def _place(grid: Grid) -> dict[str, Any]:
    return {"position": tuple(grid.low), "scale": (grid.step,) * 3}


def _close(thing: Any) -> None:
    _close_geometry(thing.geometry)
    thing.close()


def _close_geometry(geometry: Any) -> None:
    for attribute in getattr(geometry, "attributes", {}).values():
        attribute.close()
    geometry.close()
