"""A project: one folder with its inputs, artifacts, runs and results.

Only relative paths are stored, so the folder can be moved. Every change is a rename, so a crash at
any moment leaves either the old state or the new one. One writer at a time holds the lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon3d.errors import InputError, ProjectError, printable
from recon3d.export.project_export import export_project
from recon3d.io.atomic import read_json, write_json
from recon3d.layout import (
    INPUTS,
    LOCK_FILE,
    PREVIEW,
    PROJECT_FILE,
    RESULTS,
    Input,
    InputKind,
    LeftOut,
    input_list_file,
)
from recon3d.options.value_types import Material, TextureFormat, TurnValues
from recon3d.project.artifacts import Artifact, ArtifactStore, bytes_in
from recon3d.project.cleaning import Cleaning, superseded_artifacts
from recon3d.project.contents import DepthMaps, Frames
from recon3d.project.gathering import gather, left_out_notes
from recon3d.project.inputs import InputFolder
from recon3d.project.loading import load_cloud, load_mesh, load_scene
from recon3d.project.lock import PATIENCE, hold
from recon3d.project.results import Results
from recon3d.project.runs import RunRecord, newest_artifacts, runs_of
from recon3d.project.scale import Scale, scale_of, set_scale
from recon3d.rendering.formatting import byte_text, card, count, grid, jpeg_uri

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

if TYPE_CHECKING:
    from recon3d.notebook.viewer import Viewer
    from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh

#: File that makes a folder a project.
MARKER = PROJECT_FILE
_FORMAT = 1


class Project:
    """A folder that holds everything about one reconstruction.

    Use `Project.create` or `Project.open`.

    Parameters
    ----------
    path : Path
        The project's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # --- making and opening ---------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, exist_ok: bool = False) -> Project:
        """Make a project.

        Parameters
        ----------
        path : path-like
            A folder that does not exist yet, or is empty.
        exist_ok : bool
            Open the project when it exists already.

        Returns
        -------
        Project

        Raises
        ------
        ProjectError
            The folder is in use or cannot be written.
        """
        root = Path(path).expanduser().absolute()
        if str(root) != printable(str(root)):
            raise ProjectError(
                f"{root} cannot be a project: its name is not UTF-8, or has control characters.",
                "Choose a folder with a plain name for the project.",
            )
        if (root / MARKER).is_file():
            if exist_ok:
                return cls.open(root)
            raise ProjectError(
                f"{root} is a project already.",
                "Use Project.open or exist_ok=True, or choose another folder.",
            )
        if root.exists() and not root.is_dir():
            raise ProjectError(f"{root} is a file.", "Choose a folder for the project.")
        if _lost_marker(root):
            raise _lost(root)
        if root.is_dir() and any(entry.name != LOCK_FILE for entry in root.iterdir()):
            raise ProjectError(
                f"{root} is not empty and not a project.", "Choose an empty or a new folder for the project."
            )
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_json(root / MARKER, {"format": _FORMAT, "created": time.time()})
            InputFolder(root / INPUTS).begin()
        except OSError as error:
            raise ProjectError(
                f"{root} cannot be written: {error.strerror}.",
                "Choose a folder that you may write to, on a disk with free space.",
            ) from error
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Project:
        """Open a project.

        Parameters
        ----------
        path : path-like
            The project's folder.

        Returns
        -------
        Project

        Raises
        ------
        ProjectError
            The folder is not a project, or one of a newer version.
        """
        root = Path(path).expanduser().absolute()
        try:
            document = read_json(root / MARKER)
        except FileNotFoundError:
            if _lost_marker(root):
                raise _lost(root) from None
            raise ProjectError(
                f"{root} is not a recon3d project.",
                "Make one with Project.create or `recon3d run INPUT -o FOLDER`.",
            ) from None
        except (OSError, ValueError) as error:
            raise ProjectError(
                f"{root / MARKER} cannot be read: {error}.", "Restore the file, or start a new project."
            ) from error
        number = document.get("format", 0) if isinstance(document, dict) else None
        if not isinstance(number, int):
            raise ProjectError(
                f"{root / MARKER} is damaged: it names no format.",
                "Restore the file, or start a new project.",
            )
        if number > _FORMAT:
            raise ProjectError(f"{root} was made by a newer recon3d.", "pip install --upgrade recon3d")
        return cls(root)

    def lock(self, patience: float = PATIENCE) -> contextlib.AbstractContextManager[None]:
        """Lock the project against other writers.

        Parameters
        ----------
        patience : float
            Seconds to wait for another process; status checks also take the lock briefly.

        Returns
        -------
        context manager
            Releases the lock at its end.

        Raises
        ------
        ProjectError
            Another process works on it, or the folder cannot be written.
        """
        return hold(self.path, patience)

    @property
    def name(self) -> str:
        """Name of the project: that of its folder."""
        return self.path.name

    # --- inputs ---------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The files that were added.

        Raises
        ------
        ProjectError
            ``inputs/inputs.json`` is damaged, or missing although there are files: see `relist_inputs`.
        """
        return self._inputs.items

    def input_file(self, item: Input) -> Path:
        """Locate the project's copy of an input.

        Parameters
        ----------
        item : Input
            One of `inputs`.

        Returns
        -------
        Path
        """
        return self.path / INPUTS / item.path

    @property
    def poses(self) -> Path | None:
        """Folder of the COLMAP model with known cameras, if the user gave one."""
        return self._inputs.poses

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files that were given and not added, with their reasons."""
        return self._inputs.left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about the inputs, in sentences: what was left out, and why."""
        return left_out_notes(self.left_out)

    def add(self, inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Input, ...]:
        """Copy videos, photos and folders of them into the project.

        Files are known by their content. Subfolders are searched, too. What cannot be used is left
        out, as long as something else can: `left_out` lists it, and every run tells it.

        Parameters
        ----------
        inputs : path-like or sequence of path-like
            Files, and folders of files.

        Returns
        -------
        tuple of Input
            The inputs that were added.

        Raises
        ------
        InputError
            A path does not exist, or nothing that was given can be used.
        """
        return self._gather(inputs, ("video", "photo"), strict=False)

    def add_video(self, path: str | os.PathLike[str]) -> Input:
        """Copy a video into the project; a video that it holds already is not added again.

        Parameters
        ----------
        path : path-like
            The video.

        Returns
        -------
        Input
            The video in the project.

        Raises
        ------
        InputError
            The file is missing, or is not a video that can be read.
        """
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder.", "Give a video; `add` takes folders.")
        return self._gather(path, ("video",), strict=True)[0]

    def add_photos(
        self, photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    ) -> tuple[Input, ...]:
        """Copy photos into the project.

        Every photo that is named must be readable. What cannot be used of a folder is left out:
        see `add`.

        Parameters
        ----------
        photos : path-like or sequence of path-like
            A photo, a folder of photos, or several of them.

        Returns
        -------
        tuple of Input
            The photos in the project.

        Raises
        ------
        InputError
            A file is missing or cannot be read, or a folder holds no photo.
        """
        return self._gather(photos, ("photo",), strict=True)

    def add_posed_photos(
        self, images: str | os.PathLike[str], model: str | os.PathLike[str]
    ) -> tuple[Input, ...]:
        """Copy photos and a COLMAP model of their known cameras into the project.

        Parameters
        ----------
        images : path-like
            Folder that the model's image names are relative to.
        model : path-like
            Folder with cameras, images and points3D, as .bin or .txt.

        Returns
        -------
        tuple of Input
            The photos in the project.

        Raises
        ------
        InputError
            The model is incomplete, or names a photo that is missing or of another size.
        """
        from recon3d.project.posed_photos import gather_posed

        files = gather_posed(Path(images).expanduser(), Path(model).expanduser())
        with self.lock():
            return self._inputs.add(files, poses=Path(model).expanduser())

    def remove_inputs(self, inputs: Sequence[Input]) -> tuple[Input, ...]:
        """Remove the project's copies of inputs; the files that were added stay where they are.

        Results stay until the next run, which starts from the inputs that are left.

        Parameters
        ----------
        inputs : sequence of Input
            Some of `inputs`.

        Returns
        -------
        tuple of Input
            What was removed.

        Raises
        ------
        InputError
            One is not an input of this project. Nothing was removed.
        ProjectError
            An input's camera is known, or a run works on the project. Nothing was removed.
        """
        with self.lock():
            return self._inputs.remove([item.path for item in inputs])

    def relist_inputs(self) -> tuple[Input, ...]:
        """Write ``inputs/inputs.json`` anew, from the files in ``inputs``, when it was lost or damaged.

        Artifacts made from the same files are found again. A damaged list is kept as
        ``inputs.json.former``.

        Returns
        -------
        tuple of Input
            What is on the list now.

        Raises
        ------
        ProjectError
            There are photos with known cameras and others, the cameras are missing, or a run works on
            the project.
        """
        with self.lock():
            return self._inputs.relist()

    def _gather(
        self,
        given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        kinds: tuple[InputKind, ...],
        *,
        strict: bool,
    ) -> tuple[Input, ...]:
        listed = [given] if isinstance(given, str | os.PathLike) else list(given)
        paths = [Path(entry).expanduser() for entry in listed]
        files, left_out = gather(paths, self.path, kinds=kinds, strict=strict)
        with self.lock():
            return self._inputs.add(files, left_out)

    @property
    def _inputs(self) -> InputFolder:
        return InputFolder(self.path / INPUTS)

    def inputs_fingerprint(self) -> str:
        """Compute a digest of the inputs' bytes and names.

        Returns
        -------
        str
            Hexadecimal digits.
        """
        return self._inputs.fingerprint()

    # --- what was made --------------------------------------------------------------------------

    @property
    def store(self) -> ArtifactStore:
        """Where artifacts are kept."""
        return ArtifactStore(self.path)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The finished artifact of each stage that the newest run made or used."""
        return newest_artifacts(self.path, self.store.all())

    @property
    def frames(self) -> Frames:
        """Files of the extracted frames, in order of their names; empty before the first run."""
        return Frames.of(self.artifacts.get("frame_extraction"))

    @property
    def depth_maps(self) -> DepthMaps:
        """Depth maps by number or view's name, each read when it is asked for; empty before there are any."""
        return DepthMaps.of(self.artifacts.get("dense_reconstruction"))

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Runs, oldest first."""
        return runs_of(self.path)

    @property
    def results(self) -> Results:
        """The files made so far."""
        return Results(self.path / RESULTS)

    @property
    def size(self) -> int:
        """Bytes on disk; a file with two names in the project counts once."""
        return bytes_in(self.path)

    def clean(self, *, superseded: bool = False, dry_run: bool = False) -> Cleaning:
        """Remove unfinished work and half-written files; finished artifacts and all inputs stay.

        Parameters
        ----------
        superseded : bool
            Also remove artifacts of earlier runs. What the newest run of each stage made or used
            stays, with everything that it was made from; so does what no run's log names.
        dry_run : bool
            Only tell what would be removed.

        Returns
        -------
        Cleaning
            What was removed, its size, and files in ``inputs`` that are not on the list of inputs.

        Raises
        ------
        ProjectError
            A run works on the project, or a file that tells what is needed is missing or damaged.
            Nothing was removed then.
        """
        with self.lock():
            paths = [*self.store.leftovers(), *self._inputs.leftovers(), *self.results.leftovers()]
            if superseded:
                paths += superseded_artifacts(self.store.all(), self.artifacts.values(), self.runs)
            cleaning = Cleaning({p: bytes_in(p) for p in paths}, tuple(self._inputs.unlisted()), dry_run)
            if not dry_run:
                for path in paths:
                    self.store.remove(path)
            return cleaning

    def view(self, **options: Any) -> Viewer:
        """Show the model in a notebook.

        Parameters
        ----------
        **options
            See `recon3d.notebook.viewer.Viewer`.

        Returns
        -------
        Viewer
            Displays itself as the last value of a cell.

        Raises
        ------
        EngineUnavailable
            The extra ``notebook`` is not installed.
        InputError
            There is nothing to show yet.
        """
        from recon3d.notebook.viewer import Viewer

        return Viewer(self, **options)

    def set_scale(self, measured: float, known: float) -> Scale:
        """Set the true length of something in the model; exports are in metres from then on.

        Parameters
        ----------
        measured : float
            Its length in the reconstruction, as `Viewer.measured` gives it.
        known : float
            Its true length in metres.

        Returns
        -------
        Scale

        Raises
        ------
        InputError
            A length is not above zero, or there is no reconstruction yet.
        ProjectError
            A run works on the project.
        """
        return set_scale(self, measured, known)

    @property
    def scale(self) -> Scale | None:
        """Metres per unit, where `set_scale` was used for the present reconstruction."""
        return scale_of(self)

    def export(
        self,
        format: str,
        output: str | os.PathLike[str] | None = None,
        *,
        material: Material = "unlit",
        texture_format: TextureFormat = "jpeg",
        occlusion: bool = False,
    ) -> Path:
        """Write the results for other programs; see `recon3d.export.project_export.export_project`.

        Parameters
        ----------
        format : {"glb", "obj", "ply", "stl", "usdz", "colmap", "colmap-dense", "nerfstudio"}
        output : path-like, optional
            File or folder to write; ``export/`` in the project by default.
        material : {"unlit", "pbr"}
            Of a GLB: as the photos show it, or rough and not metallic, with normals, for programs that light
            it.
        texture_format : {"jpeg", "png", "webp"}
            Of a GLB.
        occlusion : bool
            Of a GLB of the material ``pbr``: how open the surface is to light from all around, as a map.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        InputError
            The result does not exist yet.
        OptionError
            There is no such format, or a format other than GLB has no such material or texture format.
        """
        path = None if output is None else Path(output)
        return export_project(
            self, format, path, material=material, texture_format=texture_format, occlusion=occlusion
        )

    def turntable(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        **look: Unpack[TurnValues],
    ) -> Path:
        """Write a film or an animated picture that goes once around the model.

        Parameters
        ----------
        output : path-like, optional
            Ends in ``.mp4`` or ``.gif``; ``export/NAME.mp4`` in the project by default.
        progress : callable, optional
            Receives the number of finished pictures and of all.
        **look
            ``size`` (width and height in pixels), ``seconds`` of a turn, ``fps``, and the camera's
            ``elevation`` in degrees: see `recon3d.export.turntable.Turn`.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        InputError
            There is no model yet.
        OptionError
            A value is out of its range, or the file's suffix is another.
        """
        from recon3d.export.turntable import Turn, write_turntable

        return write_turntable(self, None if output is None else Path(output), Turn(**look), progress)

    @property
    def scene(self) -> Scene:
        """Cameras and sparse points; `cloud` and `mesh` read files, too.

        Raises
        ------
        InputError
            It is not made yet; the same holds for `cloud` and `mesh`.
        """
        return load_scene(self.artifacts, self.scale)

    @property
    def cloud(self) -> PointCloud:
        """The dense point cloud."""
        return load_cloud(self.artifacts)

    @property
    def mesh(self) -> Mesh | TexturedMesh:
        """The textured mesh; the plain one as long as there is no texture."""
        return load_mesh(self.artifacts)

    # --- how it shows itself --------------------------------------------------------------------

    @property
    def thumbnail(self) -> Path | None:
        """A picture of the newest product: the model, else its first frame or photo; None before."""
        made = self.artifacts
        for stage in ("texturing", "mesh_generation", "dense_reconstruction"):
            if stage in made and (made[stage].path / PREVIEW).is_file():
                return made[stage].path / PREVIEW
        found = self.frames or [self.input_file(item) for item in self.inputs if item.kind != "video"]
        return found[0] if found else None

    @property
    def status(self) -> str:
        """State of the newest run; "new" before the first, "interrupted" when its process ended."""
        runs = self.runs
        return runs[-1].status if runs else "new"

    def __dir__(self) -> list[str]:
        internal = {"input_file", "inputs_fingerprint", "lock", "store"}
        # An error names the first one when it is needed; the card shows what the others tell.
        hidden = {*internal, "relist_inputs", "remove_inputs", "left_out", "notes"}
        return sorted(name for name in super().__dir__() if name not in hidden)

    def __repr__(self) -> str:
        try:
            made = ", ".join(self.artifacts) or "nothing yet"
            return f"<Project {self.path}: {count(len(self.inputs), 'input')}, made: {made}>"
        except ProjectError as error:
            return f"<Project {self.path}: {error.message}>"

    def _repr_html_(self) -> str:
        title = f"Project {self.path.name}"
        try:
            kinds = Counter(item.kind.replace("_", " ") for item in self.inputs)
            made, picture = self.artifacts, self.thumbnail
        except ProjectError as error:
            return card(title, [str(self.path), error.message, error.hint])
        given = ", ".join(count(number, kind) for kind, number in kinds.items()) or "no inputs yet"
        rows = []
        for stage, artifact in made.items():
            manifest = artifact.manifest
            counts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in manifest.counts.items())
            rows.append((stage.replace("_", " "), f"{manifest.seconds:.1f} s", counts))
        table = grid(["made", "time", ""], rows) if rows else ""
        facts = [str(self.path), given, *self.notes, f"{self.status}, {byte_text(self.size)} on disk"]
        return card(title, facts, jpeg_uri(picture), table)


def _lost_marker(root: Path) -> bool:
    """Whether a folder has what a project has, but not the file that makes it one."""
    return not (root / MARKER).exists() and (
        input_list_file(root / INPUTS).is_file() or bool(ArtifactStore(root).all())
    )


def _lost(root: Path) -> ProjectError:
    return ProjectError(
        f"{root} holds a recon3d project, but its {MARKER} is missing.",
        f'Restore the file, or write it again with the text {{"format": {_FORMAT}}}: nothing else is lost.',
    )
