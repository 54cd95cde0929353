"""A film or an animated picture that goes once around the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recon3d.errors import InputError, OptionError, StageError
from recon3d.io.atomic import atomic_path
from recon3d.layout import EXPORT
from recon3d.rendering.framing import Opening, Photos
from recon3d.rendering.opening import opening_of
from recon3d.rendering.render import render_mesh, render_points
from recon3d.rendering.viewpoint import Pinhole, look_at
from recon3d.types import Bytes, Floats, Mesh, PointCloud, Scene, TexturedMesh

_FPS = {".mp4": 30.0, ".gif": 15.0}
_SIZES = {".mp4": (720, 720), ".gif": (480, 480)}
#: Largest side in pixels, and most pictures.
_LARGEST, _MOST = 4096, 3600
#: Most pictures a second; browsers slow down a GIF that shows one for less than 2/100 s.
_FASTEST = {".mp4": 120.0, ".gif": 50.0}
_FIELD_OF_VIEW = 30.0
#: Part of the picture that the subject takes, and places at which that is measured.
_FILL, _PLACES = 0.86, 24
#: H.264's constant rate factor: hardly to be told from the pictures.
_CRF = 18
#: Pictures that give a GIF its 256 colours.
_PALETTE_PICTURES = 6


class ShownProject(Protocol):
    """What of a `recon3d.Project` its turntable needs."""

    @property
    def path(self) -> Path:
        """The project's folder."""
        ...

    @property
    def mesh(self) -> Mesh | TexturedMesh:
        """The mesh."""
        ...

    @property
    def cloud(self) -> PointCloud:
        """The dense cloud."""
        ...

    @property
    def scene(self) -> Scene:
        """Cameras and sparse points."""
        ...


@dataclass(frozen=True)
class Turn:
    """How a turntable looks.

    Parameters
    ----------
    size : (int, int), optional
        Width and height in pixels; 720 x 720, or 480 x 480 for a GIF. Odd sizes of a film become even.
    seconds : float
        Length of one turn.
    fps : float, optional
        Pictures a second; 30, or 15 for a GIF.
    elevation : float
        Degrees of the camera above the horizon.

    Raises
    ------
    OptionError
        A value is out of its range.
    """

    size: tuple[int, int] | None = None
    seconds: float = 8.0
    fps: float | None = None
    elevation: float = 15.0

    def __post_init__(self) -> None:
        if self.size is not None and not all(16 <= side <= _LARGEST for side in self.size):
            width, height = self.size
            raise OptionError(
                f"A turntable of {width} x {height} pixels cannot be made.",
                f"Choose sides from 16 to {_LARGEST}.",
            )
        if not -89 <= self.elevation <= 89:
            raise OptionError(f"The elevation is {self.elevation:g} degrees.", "Choose one from -89 to 89.")
        fastest = _FASTEST[".mp4"]
        if self.fps is not None and not 0 < self.fps <= fastest:
            raise OptionError(
                f"{self.fps:g} pictures a second cannot be made.",
                f"Choose a number above 0 and up to {fastest:g}.",
            )


def write_turntable(
    project: ShownProject,
    output: Path | None = None,
    turn: Turn | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a turn around a project's model in software, and write it as a film or a GIF.

    Parameters
    ----------
    project : Project
        Its textured mesh is shown, else the plain one, else the dense cloud.
    output : Path, optional
        Ends in ``.mp4`` (H.264) or ``.gif``; ``PROJECT/export/PROJECT.mp4`` by default.
    turn : Turn, optional
    progress : callable, optional
        Receives the number of finished pictures and of all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        There is no model yet.
    OptionError
        The file's suffix is neither of these, or the turn has too many or too few pictures for it.
    StageError
        The file cannot be written; names it.
    """
    turn = turn or Turn()
    path = output or project.path / EXPORT / f"{project.path.name}.mp4"
    suffix = path.suffix.lower()
    if suffix not in _FPS:
        raise OptionError(f"{path} is neither a film nor a GIF.", "Choose a name in .mp4 or .gif.")
    gif = suffix == ".gif"
    size, fps = turn.size or _SIZES[suffix], turn.fps or _FPS[suffix]
    if fps > _FASTEST[suffix]:
        raise OptionError(
            f"A GIF cannot show {fps:g} pictures a second.",
            f"Choose up to {_FASTEST[suffix]:g}, or a name in .mp4.",
        )
    if not 2 <= turn.seconds * fps <= _MOST:
        raise OptionError(
            f"A turn of {turn.seconds:g} s at {fps:g} pictures a second cannot be made.",
            f"Choose one with 2 to {_MOST} pictures.",
        )
    if not gif:
        size = (size[0] // 2 * 2, size[1] // 2 * 2)
    count = round(turn.seconds * fps)
    shown, opening = _model(project)
    pictures = _pictures(shown, opening, count, size, turn.elevation, progress)
    try:
        with atomic_path(path) as temporary:
            (_write_gif if gif else _write_film)(temporary, pictures, size, fps)
    except OSError as error:
        raise StageError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free space on the disk, check the folder's permissions, or choose another place with --output.",
        ) from error
    return path


def _model(project: ShownProject) -> tuple[Mesh | TexturedMesh | PointCloud, Opening]:
    """What is shown, and the view that it opens with."""
    up, photos = None, None
    try:
        scene = project.scene
        up, photos = scene.up, Photos.of(scene.views) if len(scene) else None
    except InputError:
        pass
    shown: Mesh | TexturedMesh | PointCloud
    try:
        shown = project.mesh
    except InputError:
        shown = project.cloud
    if not len(shown.points if isinstance(shown, PointCloud) else shown.faces):
        raise InputError("The model is empty.", "Run the pipeline again.")
    return shown, opening_of(shown, photos, up)


def _pictures(
    shown: Mesh | TexturedMesh | PointCloud,
    opening: Opening,
    count: int,
    size: tuple[int, int],
    elevation: float,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Bytes]:
    for number, (camera, pose) in enumerate(_cameras(opening, count, size, elevation)):
        if isinstance(shown, PointCloud):
            yield render_points(shown, camera, pose)
        else:
            yield render_mesh(shown, camera, pose)
        if progress is not None:
            progress(number + 1, count)


def _cameras(
    opening: Opening, count: int, size: tuple[int, int], elevation: float
) -> list[tuple[Pinhole, Floats]]:
    """Cameras on a circle from which the subject fits all pictures; the first on the opening view's side."""
    up, middle = opening.up, opening.target
    z = opening.back - (opening.back @ up) * up
    if np.linalg.norm(z) < 1e-9:
        z = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    z /= np.linalg.norm(z)
    x = np.cross(up, z)
    e = np.radians(elevation)

    def outward(angle: float) -> Floats:
        made: Floats = np.cos(e) * (np.sin(angle) * x + np.cos(angle) * z) + np.sin(e) * up
        return made

    tangent = np.tan(np.radians(_FIELD_OF_VIEW) / 2)
    focal = 0.5 * min(size) / tangent
    distance = 1e-9
    for angle in np.linspace(0, 2 * np.pi, _PLACES, endpoint=False):
        _, pose = look_at(middle + outward(angle), middle, up, 1.0, size)
        seen = (opening.frame - middle) @ pose[:3, :3].T
        reach = np.abs(seen[:, :2]) / (_FILL * tangent * np.array(size) / min(size))
        distance = max(distance, float((reach.max(axis=1) - seen[:, 2]).max()))
    angles = 2 * np.pi * np.arange(count) / count
    return [look_at(middle + distance * outward(a), middle, up, focal, size) for a in angles]


def _write_film(path: Path, pictures: Iterator[Bytes], size: tuple[int, int], fps: float) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = container.add_stream("libx264", rate=rate, options={"crf": str(_CRF)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        # Players take what is not told for BT.601 or BT.709 by the size: colours would differ.
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            film = frame.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(film))
        container.mux(stream.encode())


def _write_gif(path: Path, pictures: Iterator[Bytes], size: tuple[int, int], fps: float) -> None:
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    chosen = images[:: max(1, len(images) // _PALETTE_PICTURES)]
    sheet = Image.fromarray(np.vstack([np.asarray(image) for image in chosen]))
    # One palette for all: with its own each, colours would flicker.
    palette = sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
    frames = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    # A GIF counts in 1/100 s: rounded times, not rounded durations, keep the whole turn's length.
    times = np.round(100 / fps * np.arange(len(frames) + 1)).astype(int)
    frames[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=(10 * np.diff(times)).tolist(),
        loop=0,
        optimize=False,
    )
