"""The 3D viewer of notebooks; the one door to pythreejs."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np

from recon3d.errors import EngineUnavailable
from recon3d.notebook.content import Budget, Content, Shown, content_of

try:
    import ipywidgets
    import pythreejs
except ImportError as error:
    raise EngineUnavailable(
        f"The viewer needs {error.name}, which is not installed.", "pip install 'recon3d[notebook]'"
    ) from error


class Viewer:
    """A model that can be turned, in a notebook's cell.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
    width, height : int
        Size in pixels.
    budget : Budget, optional
        What is larger is thinned before it is sent; the line below the picture says so.

    Attributes
    ----------
    content : Content
        What was sent.
    layers : dict of str to widget
        The 3D objects "mesh", "points" and "cameras", as far as there are any.

    Raises
    ------
    InputError
        There is nothing to show yet.
    """

    def __init__(
        self, shown: Shown, *, width: int = 800, height: int = 500, budget: Budget | None = None
    ) -> None:
        self.content = content_of(shown, budget)
        self.layers: dict[str, Any] = _layers(self.content)
        target, radius = _extent(self.content)
        up = np.array([0.0, 1.0, 0.0]) if self.content.up is None else np.asarray(self.content.up, float)
        self.camera = pythreejs.PerspectiveCamera(
            fov=45, aspect=width / height, near=radius / 100, far=radius * 100, up=up.tolist()
        )
        self.controls = pythreejs.OrbitControls(controlling=self.camera)
        self._home = (target, radius, up)
        scene = pythreejs.Scene(children=[*self.layers.values(), self.camera], background="#15181c")
        self.scene = scene
        self._renderer = pythreejs.Renderer(
            camera=self.camera, scene=scene, controls=[self.controls], width=width, height=height
        )
        self.fit()
        self.widget = ipywidgets.VBox([self._renderer, self._controls(), ipywidgets.Label(self._told())])

    def fit(self) -> None:
        """Look at the whole model."""
        target, radius, up = self._home
        # Across the up axis, whichever it is.
        side = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0])
        side /= np.linalg.norm(side)
        back = np.cross(side, up) + 0.6 * side + 0.5 * up
        eye = target + back / np.linalg.norm(back) * radius * 2.8
        self.camera.position = eye.tolist()
        self.controls.target = target.tolist()
        self.camera.lookAt(target.tolist())

    @property
    def bytes_sent(self) -> int:
        """Size of the arrays and the texture that go to the browser."""
        content = self.content
        arrays = ("points", "point_colors", "vertices", "faces", "vertex_colors", "uv", "frusta")
        size: int = sum(array.nbytes for name in arrays if (array := getattr(content, name)) is not None)
        if content.texture is not None:
            size += len(_data_uri(content.texture))
        return size

    def close(self) -> None:
        """Free the browser's memory; a page can hold about eight viewers."""
        self._renderer.close()
        for layer in self.layers.values():
            layer.geometry.close()
            layer.material.close()
            layer.close()
        self.widget.close()

    def _controls(self) -> Any:
        boxes = []
        for name, layer in self.layers.items():
            box = ipywidgets.Checkbox(layer.visible, description=name, indent=False)
            box.observe(lambda change, layer=layer: setattr(layer, "visible", change["new"]), "value")
            boxes.append(box)
        if "points" in self.layers:
            size = ipywidgets.FloatSlider(2.0, min=1, max=8, description="Point size")
            material = self.layers["points"].material
            size.observe(lambda change: setattr(material, "size", change["new"]), "value")
            boxes.append(size)
        back = ipywidgets.ColorPicker(value="#15181c", concise=True, description="Background")
        back.observe(lambda change: setattr(self.scene, "background", change["new"]), "value")
        fit = ipywidgets.Button(description="Fit")
        fit.on_click(lambda _: self.fit())
        return ipywidgets.HBox([*boxes, back, fit], layout={"flex_flow": "row wrap"})

    def _told(self) -> str:
        return ", ".join([*self.content.notes, f"{self.bytes_sent / 1e6:.1f} MB sent"])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)  # type: ignore[no-untyped-call]


def _layers(content: Content) -> dict[str, Any]:
    layers: dict[str, Any] = {}
    if content.vertices is not None and content.faces is not None:
        attributes = {
            "position": pythreejs.BufferAttribute(content.vertices, normalized=False),
            "index": pythreejs.BufferAttribute(content.faces.ravel(), normalized=False),
        }
        settings: dict[str, Any] = {"side": "DoubleSide"}
        if content.texture is not None and content.uv is not None:
            attributes["uv"] = pythreejs.BufferAttribute(content.uv, normalized=False)
            settings["map"] = pythreejs.ImageTexture(imageUri=_data_uri(content.texture))
        elif content.vertex_colors is not None:
            attributes["color"] = _colors(content.vertex_colors)
            settings["vertexColors"] = "VertexColors"
        if content.texture is None and content.vertex_colors is None:
            material = pythreejs.MeshNormalMaterial(side="DoubleSide", flatShading=True)
        else:
            material = pythreejs.MeshBasicMaterial(**settings)
        layers["mesh"] = pythreejs.Mesh(pythreejs.BufferGeometry(attributes=attributes), material)
    if content.points is not None:
        attributes = {"position": pythreejs.BufferAttribute(content.points, normalized=False)}
        settings = {"size": 2.0, "sizeAttenuation": False}
        if content.point_colors is not None:
            attributes["color"] = _colors(content.point_colors)
            settings["vertexColors"] = "VertexColors"
        material = pythreejs.PointsMaterial(**settings)
        layers["points"] = pythreejs.Points(pythreejs.BufferGeometry(attributes=attributes), material)
        layers["points"].visible = "mesh" not in layers
    if content.frusta is not None:
        # One object for all: a widget a camera breaks near a thousand.
        lines = pythreejs.BufferAttribute(content.frusta.reshape(-1, 3), normalized=False)
        layers["cameras"] = pythreejs.LineSegments(
            pythreejs.BufferGeometry(attributes={"position": lines}),
            pythreejs.LineBasicMaterial(color="#ff9a1a"),
        )
    return layers


def _colors(colors: Any) -> Any:
    return pythreejs.BufferAttribute((colors / 255).astype(np.float32), normalized=False)


def _extent(content: Content) -> tuple[Any, float]:
    """Middle and radius of what there is, without its farthest two in a hundred."""
    positions = next(a for a in (content.vertices, content.points, content.frusta) if a is not None)
    low, high = np.percentile(positions.reshape(-1, 3), [2, 98], axis=0)
    return (low + high) / 2, float(np.linalg.norm(high - low)) / 2 or 1.0


def _data_uri(texture: Any) -> str:
    _, data = cv2.imencode(".jpg", texture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
