"""The camera: orbiting, flying, fitting, and which way is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pythreejs
from scipy.spatial.transform import Rotation

from recon3d.errors import OptionError
from recon3d.notebook.viewer.picking import Hand
from recon3d.types import Floats

FIELD_OF_VIEW = 45.0
_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
#: A flying head turns about a point this near, in radii of the model.
_NEAR = 1e-3
#: Degrees from the horizon: straight above, left and right have no meaning.
_STEEPEST = 89.0
#: Degrees and factor of a pressed key.
_TURN, _ZOOM = 6.0, 1.15
Move = Literal["forward", "back", "left", "right", "up", "down"]


class Navigation:
    """Where the camera is, looks and turns.

    Parameters
    ----------
    target : ndarray, shape (3,)
        Middle of the model.
    radius : float
        Its size.
    up : ndarray, shape (3,)
    aspect : float
        Width over height of the picture.

    Attributes
    ----------
    camera, controls : pythreejs objects
    """

    def __init__(self, target: Floats, radius: float, up: Floats, aspect: float) -> None:
        self._home, self.radius = target, radius
        self._scene_up = up / np.linalg.norm(up)
        self._mode = "orbit"
        # It shines from where it is towards the origin: with the camera, from the eye. (pythreejs'
        # directional light leaves an error in the browser's console.)
        self._lamp = pythreejs.HemisphereLight(color="#ffffff", groundColor="#101216", intensity=0.95)
        self.camera = pythreejs.PerspectiveCamera(
            fov=FIELD_OF_VIEW,
            aspect=aspect,
            near=radius / 200,
            far=radius * 200,
            up=self._scene_up.tolist(),
            children=[self._lamp],
        )
        self.hand = Hand(self.camera)
        self._listeners: list[Callable[[], None]] = []
        self.camera.observe(lambda _: self._tell(), ["position", "quaternion"])
        self.controls = pythreejs.OrbitControls(controlling=self.camera, enableKeys=False)
        self.controls.observe(lambda _: self._tell(), "target")
        self.fit()

    # --- state ----------------------------------------------------------------------------------

    @property
    def position(self) -> Floats:
        """Eye in the scene, shape (3,)."""
        return np.array(self.camera.position, np.float64)

    @property
    def target(self) -> Floats:
        """What the camera looks at, shape (3,)."""
        return np.array(self.controls.target, np.float64)

    @property
    def up(self) -> Floats:
        """Unit vector, shape (3,)."""
        return np.array(self.camera.up, np.float64)

    @property
    def distance(self) -> float:
        """From the eye to the middle of what is looked at."""
        away = self._home if self._mode == "fly" else self.target
        return float(np.linalg.norm(self.position - away))

    def on_move(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the camera moves, also by the mouse.

        Parameters
        ----------
        listener : callable
            Called without arguments.
        """
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def look(self, eye: Floats, target: Floats) -> None:
        """Set the camera's position and what it looks at.

        Parameters
        ----------
        eye, target : ndarray of float64, shape (3,)
            Relative to the content's origin.
        """
        eye, target = np.asarray(eye, np.float64), np.asarray(target, np.float64)
        back = eye - target
        back = back / np.linalg.norm(back)
        right = self._right_of(-back)
        axes = np.stack([right, np.cross(back, right), back], axis=1)
        # As state, not as a message: a page that is loaded again has it too.
        self.controls.target = target.tolist()
        self.hand.move(position=eye.tolist(), quaternion=Rotation.from_matrix(axes).as_quat().tolist())

    # --- what people ask for --------------------------------------------------------------------

    def fit(self) -> None:
        """Look at the whole model."""
        up = self.up
        side = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0])
        side /= np.linalg.norm(side)
        back = np.cross(side, up) + 0.6 * side + 0.5 * up
        eye = self._home + back / np.linalg.norm(back) * self.radius * 2.8
        self.look(eye, self._home if self._mode == "orbit" else eye + _NEAR * (self._home - eye))

    @property
    def mode(self) -> str:
        """ "orbit": turn about the model; "fly": turn the head, and `step`."""
        return self._mode

    @mode.setter
    def mode(self, name: str) -> None:
        if name not in ("orbit", "fly"):
            raise OptionError(f"Unknown mode {name!r}.", "Use 'orbit' or 'fly'.")
        if name == self._mode:
            return
        self._mode = name
        eye, ahead = self.position, self._ahead()
        flying = name == "fly"
        reach = _NEAR * self.radius if flying else max(float(ahead @ (self._home - eye)), 0.1 * self.radius)
        # About a point before the eye an orbit turns the head; the hand then pulls the picture.
        self.controls.rotateSpeed = -0.4 if flying else 1.0
        self.controls.enableZoom = self.controls.enablePan = not flying
        self.look(eye, eye + reach * ahead)

    def step(self, move: Move, amount: float = 0.1) -> None:
        """Move the camera and its target.

        Parameters
        ----------
        move : Move
            Direction.
        amount : float
            Distance, in radii of the model.

        Raises
        ------
        OptionError
            There is no such move.
        """
        ahead = self._ahead()
        right = self._right_of(ahead)
        along = {
            "forward": ahead,
            "back": -ahead,
            "left": -right,
            "right": right,
            "up": self.up,
            "down": -self.up,
        }
        if move not in along:
            raise OptionError(f"Unknown move {move!r}.", f"Use one of {', '.join(along)}.")
        shift = along[move] * amount * self.radius
        self.look(self.position + shift, self.target + shift)

    def turn(self, right: float, up: float) -> None:
        """Turn about what is looked at; in flight, turn the head.

        Parameters
        ----------
        right, up : float
            Degrees that the camera goes to its right and up.
        """
        eye, target, axis = self.position, self.target, self.up
        back = eye - target
        level = np.degrees(np.arcsin(np.clip(back @ axis / np.linalg.norm(back), -1, 1)))
        up = float(np.clip(up, -_STEEPEST - level, _STEEPEST - level))
        about = Rotation.from_rotvec(np.radians(right) * axis)
        about *= Rotation.from_rotvec(-np.radians(up) * self._right_of(-back))
        if self._mode == "fly":
            self.look(eye, eye - about.inv().apply(back))
        else:
            self.look(target + about.apply(back), target)

    def zoom(self, factor: float) -> None:
        """Come closer to what is looked at; in flight, go ahead.

        Parameters
        ----------
        factor : float
            How much larger it gets.
        """
        if self._mode == "fly":
            self.step("forward" if factor > 1 else "back")
        else:
            self.look(self.target + (self.position - self.target) / factor, self.target)

    def press(self, key: str) -> None:
        """Do what a key does: arrows turn, + and - zoom, and W, A, S, D move in flight.

        Parameters
        ----------
        key : str
            As browsers name it, such as "ArrowLeft".
        """
        turns = {
            "ArrowLeft": (-_TURN, 0),
            "ArrowRight": (_TURN, 0),
            "ArrowUp": (0, _TURN),
            "ArrowDown": (0, -_TURN),
        }
        moves: dict[str, Move] = {"w": "forward", "a": "left", "s": "back", "d": "right"}
        if key in turns:
            self.turn(*turns[key])
        elif key in ("+", "="):
            self.zoom(_ZOOM)
        elif key in ("-", "_"):
            self.zoom(1 / _ZOOM)
        elif key in moves and self.mode == "fly":
            self.step(moves[key], 0.05)

    def follow(self, other: Navigation) -> None:
        """Take over another camera's position.

        Parameters
        ----------
        other : Navigation
        """
        if not np.allclose(self.up, other.up):
            self._turn_up(other.up)
        self.mode = other.mode
        self.look(other.position, other.target)

    def set_up(self, axis: str) -> None:
        """Choose the axis that points up, and show the whole model.

        Parameters
        ----------
        axis : {"scene", "+x", "-x", "+y", "-y", "+z", "-z"}

        Raises
        ------
        OptionError
            There is no such axis.
        """
        if axis == "scene":
            up = self._scene_up
        elif axis[:1] in ("+", "-") and axis[1:] in _AXES:
            up = np.array(_AXES[axis[1:]]) * (1 if axis[0] == "+" else -1)
        else:
            raise OptionError(f"Unknown axis {axis!r}.", "Use 'scene', '+x', '-x', '+y', '-y', '+z' or '-z'.")
        self._turn_up(up)
        self.fit()

    def _turn_up(self, up: Floats) -> None:
        self.camera.up = up.tolist()
        # The browser's controls learn up when they are made.
        old = self.controls
        self.controls = pythreejs.OrbitControls(
            controlling=self.camera,
            enableKeys=False,
            rotateSpeed=old.rotateSpeed,
            enableZoom=old.enableZoom,
            enablePan=old.enablePan,
            target=old.target,
        )
        self.controls.observe(lambda _: self._tell(), "target")
        old.close()

    def cam_from_scene(self) -> Floats:
        """Compute the camera's pose, with OpenCV's axes.

        Returns
        -------
        ndarray of float64, shape (4, 4)
        """
        ahead = self._ahead()
        right = self._right_of(ahead)
        rotation = np.stack([right, np.cross(ahead, right), ahead])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, -rotation @ self.position
        return pose

    def close(self) -> None:
        """Free the browser's memory."""
        self.controls.close()
        self.camera.close()
        self._lamp.close()

    def _right_of(self, ahead: Floats) -> Floats:
        right = np.cross(ahead, self.up)
        if np.linalg.norm(right) < 1e-6:  # straight up or down: any side will do
            right = np.cross(ahead, np.eye(3)[np.argmin(np.abs(ahead))])
        return np.asarray(right / np.linalg.norm(right))

    def _ahead(self) -> Floats:
        ahead = self.target - self.position
        return np.asarray(ahead / np.linalg.norm(ahead))
