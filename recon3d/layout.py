"""Every file and folder name inside a project, and the typed rows of its documents.

::

    PROJECT/recon3d.json                    makes the folder a project
    PROJECT/inputs/inputs.json              the inputs; photos, videos and known cameras beside it
    PROJECT/work/STAGE-FINGERPRINT/         a stage's unfinished folder
    PROJECT/artifacts/STAGE-FINGERPRINT/    a stage's finished folder
    PROJECT/runs/RUN/events.jsonl           what happened in a run; workers.log beside it
    PROJECT/results/                        the model, its cameras and the report
    PROJECT/scale.json                      the scale that the user set
    PROJECT/check.json                      what a check of the inputs found
    PROJECT/export/                         results for other programs

Stages, loaders, exports, plots and the report take names and rows from here, so that a renamed file
or field is an error in one place and not a silent absence in another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, TypeVar, get_args

from recon3d.errors import InputError, printable
from recon3d.io.atomic import read_json, write_json

# --- a project -----------------------------------------------------------------------------------

PROJECT_FILE = "recon3d.json"
CHECK_FILE = "check.json"
LOCK_FILE = ".lock"
INPUTS = "inputs"
WORK = "work"
ARTIFACTS = "artifacts"
RUNS = "runs"
RESULTS = "results"
EXPORT = "export"
SCALE_FILE = "scale.json"

MANIFEST = "manifest.json"
EVENTS = "events.jsonl"
WORKERS_LOG = "workers.log"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
TRANSFORMS = "transforms.json"
#: The COLMAP model among the results.
SPARSE = "sparse"

# --- artifacts -----------------------------------------------------------------------------------

PREVIEW = "preview.png"
IMAGES = "images"
_MASKS = "masks"
SCORES = "scores.json"
_FEATURES = "features"
DATABASE = "database.db"
MATCHES = "matches.npz"
MODELS = "models"
#: The largest model, which the later stages use.
MODEL = f"{MODELS}/0"
DEPTH_MAPS = "depth_maps"
#: The parts of a set that nothing ties together; also among the results.
COMPONENTS = "components"
POINT_CLOUD = "point_cloud.ply"
VISIBILITY = "visibility.npz"
MESH = "mesh.ply"
TEXTURED_MESH = "textured_mesh.glb"
NORMAL_MAP = "normal_map.png"
_FRAMES = "frames.json"
_REGISTRATION = "registration.json"
_INPUT_LIST = "inputs.json"
_COMPONENT_LIST = "components.json"
_COMPONENT_CLOUD = "sparse.ply"

Row = TypeVar("Row")
InputKind = Literal["video", "photo", "posed_photo"]


def images_folder(frame_extraction: Path) -> Path:
    """Locate the frames.

    Parameters
    ----------
    frame_extraction : Path
        Folder of the artifact.

    Returns
    -------
    Path
    """
    return frame_extraction / IMAGES


def frame_list_file(frame_extraction: Path) -> Path:
    """Locate the list of frames.

    Parameters
    ----------
    frame_extraction : Path
        Folder of the artifact.

    Returns
    -------
    Path
    """
    return frame_extraction / _FRAMES


def mask_file(images: Path, name: str) -> Path:
    """Locate a frame's mask; only frames with transparent pixels have one.

    Parameters
    ----------
    images : Path
        Folder of the frames.
    name : str
        Of the frame.

    Returns
    -------
    Path
        Black where the frame is hidden.
    """
    return images.parent / _MASKS / f"{name}.png"


def features_folder(feature_extraction: Path) -> Path:
    """Locate the features of all frames.

    Parameters
    ----------
    feature_extraction : Path
        Folder of the artifact.

    Returns
    -------
    Path
    """
    return feature_extraction / _FEATURES


def features_file(feature_extraction: Path, index: int) -> Path:
    """Locate a frame's features.

    Parameters
    ----------
    feature_extraction : Path
        Folder of the artifact.
    index : int
        Of the frame.

    Returns
    -------
    Path
    """
    return feature_extraction / _FEATURES / f"{index:06d}.npz"


def depth_map_file(dense: Path, view: str) -> Path:
    """Locate a view's depth map.

    Parameters
    ----------
    dense : Path
        Folder of the dense_reconstruction artifact.
    view : str
        Name of the view.

    Returns
    -------
    Path
    """
    return dense / DEPTH_MAPS / f"{view}.npz"


# --- inputs.json ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """A file that the user added.

    Parameters
    ----------
    kind : {"video", "photo", "posed_photo"}
        A posed photo belongs to a model with known cameras.
    path : str
        Where the project keeps it, relative to its ``inputs`` folder.
    name : str
        The file's own name; for a posed photo, its name in the model.
    sha256 : str
        Digest of its bytes.
    """

    kind: InputKind
    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class LeftOut:
    """A file that the user gave and that was not added.

    Parameters
    ----------
    folder : str
        Name of the folder that was given; empty for a file that was given itself.
    name : str
        The file's path in that folder.
    reason : str
        Why it was left out, such as "is a text file".
    files : int
        Files that were given, in that folder or beside it.
    """

    folder: str
    name: str
    reason: str
    files: int


@dataclass(frozen=True)
class InputList:
    """What ``inputs.json`` says.

    Parameters
    ----------
    inputs : tuple of Input
    poses : str, optional
        Folder of the COLMAP model with known cameras, relative to ``inputs``.
    left_out : tuple of LeftOut
    """

    inputs: tuple[Input, ...] = ()
    poses: str | None = None
    left_out: tuple[LeftOut, ...] = ()


def input_list_file(inputs: Path) -> Path:
    """Locate the list of inputs.

    Parameters
    ----------
    inputs : Path
        The project's ``inputs`` folder.

    Returns
    -------
    Path
    """
    return inputs / _INPUT_LIST


def read_input_list(inputs: Path) -> InputList:
    """Read the list of inputs.

    Parameters
    ----------
    inputs : Path
        The project's ``inputs`` folder.

    Returns
    -------
    InputList

    Raises
    ------
    FileNotFoundError
        The folder has no list.
    InputError
        The list is damaged.
    """
    path = input_list_file(inputs)
    if not path.exists():
        raise FileNotFoundError(path)
    document = _read(path)
    poses = document.get("poses")
    if not isinstance(poses, str | None):
        raise InputError(f"{path} is damaged: poses is not a path.", _mend(path))
    left_out = _rows(LeftOut, path, document, "left_out") if "left_out" in document else ()
    listed = InputList(_rows(Input, path, document, "inputs"), poses, left_out)
    for row in listed.inputs:
        if row.kind not in get_args(InputKind):
            raise InputError(f"{path} is damaged: unknown kind {row.kind!r}.", _mend(path))
        # A path that leads out of the project would be read, and removed by `clean`.
        parts = PurePosixPath(row.path).parts if isinstance(row.path, str) else ()
        if not parts or parts[0] == "/" or ".." in parts:
            raise InputError(f"{path} is damaged: {row.path!r} is not a path in the folder.", _mend(path))
    # Earlier versions kept names that are not UTF-8 as they were, which broke every later run.
    return replace(listed, inputs=tuple(replace(row, name=printable(row.name)) for row in listed.inputs))


def write_input_list(inputs: Path, listed: InputList) -> None:
    """Write the list of inputs.

    Parameters
    ----------
    inputs : Path
        The project's ``inputs`` folder.
    listed : InputList
    """
    write_json(input_list_file(inputs), asdict(listed))


# --- frames.json ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A frame of a frame_extraction artifact.

    Parameters
    ----------
    name : str
        File name inside the images folder.
    kind : {"video", "photo", "posed_photo"}
        What it was taken from.
    source : str
        Name of that input.
    time : float, optional
        Seconds from the start of its video.
    width, height : int
        Size in pixels.
    sharpness : float, optional
    focal_px : float, optional
        Focal length in pixels according to the metadata.
    gps : tuple of float, optional
        Latitude and longitude in degrees, altitude in metres; None for an unknown altitude.
    camera : int
        Equal for frames that share intrinsics.
    """

    name: str
    kind: Literal["video", "photo", "posed_photo"]
    source: str
    time: float | None
    width: int
    height: int
    sharpness: float | None
    focal_px: float | None
    gps: tuple[float, float, float | None] | None
    camera: int


@dataclass(frozen=True)
class FrameList:
    """What ``frames.json`` says.

    Parameters
    ----------
    frames : tuple of Frame
    sequences : tuple of tuple of str
        Names of the frames of each video, in order of time.
    photo_bits : int, optional
        Bits a channel that photos of more than 8 bits were mapped from, all alike.
    """

    frames: tuple[Frame, ...]
    sequences: tuple[tuple[str, ...], ...] = ()
    photo_bits: int | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def names(self) -> list[str]:
        """Names of the frames."""
        return [frame.name for frame in self.frames]


def read_frames(frame_extraction: Path) -> FrameList:
    """Read the list of frames.

    Parameters
    ----------
    frame_extraction : Path
        Folder of the artifact.

    Returns
    -------
    FrameList

    Raises
    ------
    InputError
        The list is missing or damaged.
    """
    path = frame_list_file(frame_extraction)
    document = _read(path)
    rows = _rows(Frame, path, document, "frames")
    try:
        frames = tuple(
            frame if frame.gps is None else replace(frame, gps=_position(frame.gps)) for frame in rows
        )
        for frame in frames:
            if not all(isinstance(side, int) and side > 0 for side in (frame.width, frame.height)):
                raise ValueError(f"the size of {frame.name!r} is not two positive numbers")
        sequences = tuple(tuple(names) for names in document["sequences"])
        return FrameList(frames, sequences, document.get("photo_bits"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}.", _mend(path)) from error


def write_frame_list(frame_extraction: Path, listed: FrameList) -> None:
    """Write the list of frames.

    Parameters
    ----------
    frame_extraction : Path
        Folder of the artifact.
    listed : FrameList
    """
    rows = [asdict(frame) for frame in listed.frames]
    write_json(
        frame_list_file(frame_extraction),
        {"frames": rows, "sequences": listed.sequences, "photo_bits": listed.photo_bits},
    )


# --- registration.json ---------------------------------------------------------------------------


@dataclass(frozen=True)
class RegisteredImage:
    """What became of a frame in the sparse reconstruction.

    Parameters
    ----------
    name : str
    registered : bool
        Whether it is part of the model that the later stages use.
    component : int, optional
        Number of the component that it belongs to; 0 has the most images.
    points : int
        Sparse points that it sees.
    error : float, optional
        Mean reprojection error in pixels.
    reason : str, optional
        Why it is not registered.
    """

    name: str
    registered: bool
    component: int | None
    points: int
    error: float | None
    reason: str | None


@dataclass(frozen=True)
class WorldFrame:
    """How the world's axes and scale were found.

    Parameters
    ----------
    up : str
    unit : {"m", ""}
    scale_from : str
    notes : tuple of str
        What was left out, and why.
    """

    up: str
    unit: str
    scale_from: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CameraGroup:
    """Images of the largest model that share a camera.

    Parameters
    ----------
    images : tuple of str
    focal_px : float
        Focal length in pixels, as found.
    how : str
        How the group was found: "shared", "alone", "given", "split: …", "merged: …", "apart: …".
    focal_given : float, optional
        Focal length in pixels according to the metadata.
    """

    images: tuple[str, ...]
    focal_px: float
    how: str
    focal_given: float | None = None


@dataclass(frozen=True)
class MappingAttempt:
    """An attempt to place the images.

    Parameters
    ----------
    name : str
    registered : int
        Images of its largest model.
    error : float, optional
        Mean reprojection error of that model in pixels.
    used : bool
        Whether the later stages use its models.
    """

    name: str
    registered: int
    error: float | None
    used: bool


@dataclass(frozen=True)
class SeenMirror:
    """A mirror, or still water, in a part of the scene.

    Parameters
    ----------
    component : int
        Number of the part.
    level : bool
        Whether it lies level below the cameras, as water does.
    share : float
        Share of the part's points that lie behind it.
    pairs : int
        Points that were recognised in front of it and behind it.
    """

    component: int
    level: bool
    share: float
    pairs: int


@dataclass(frozen=True)
class Registration:
    """What ``registration.json`` says.

    Parameters
    ----------
    images : tuple of RegisteredImage
    world : WorldFrame
    cameras : tuple of CameraGroup
    attempts : tuple of MappingAttempt
        In order; empty with known cameras.
    cameras_confirmed : bool
        False where images seemed not to share a camera and no second model confirms the groups found.
    notes : tuple of str
        What was done differently while the images were placed, and why.
    mirrors : tuple of SeenMirror
        At most one for each component.
    resting : float, optional
        Share of the matches that rest while the others move.
    """

    images: tuple[RegisteredImage, ...]
    world: WorldFrame
    cameras: tuple[CameraGroup, ...] = ()
    attempts: tuple[MappingAttempt, ...] = ()
    cameras_confirmed: bool = True
    notes: tuple[str, ...] = ()
    mirrors: tuple[SeenMirror, ...] = ()
    resting: float | None = None

    @property
    def mirror(self) -> SeenMirror | None:
        """The mirror in the component that the model is made from."""
        used = next((image.component for image in self.images if image.registered), None)
        return next((mirror for mirror in self.mirrors if mirror.component == used), None)


def read_registration(sparse: Path) -> Registration:
    """Read what became of each image.

    Parameters
    ----------
    sparse : Path
        Folder of the sparse_reconstruction artifact.

    Returns
    -------
    Registration

    Raises
    ------
    InputError
        It is missing or damaged.
    """
    path = sparse / _REGISTRATION
    document = _read(path)
    images = _rows(RegisteredImage, path, document, "images")
    (world,) = _rows(WorldFrame, path, {"world": [document.get("world")]}, "world")
    # Documents of older versions have no cameras, attempts, cameras_confirmed, notes, mirrors or resting.
    cameras = _rows(CameraGroup, path, {"cameras": document.get("cameras", ())}, "cameras")
    attempts = _rows(MappingAttempt, path, {"attempts": document.get("attempts", ())}, "attempts")
    mirrors = _rows(SeenMirror, path, {"mirrors": document.get("mirrors", ())}, "mirrors")
    return Registration(
        images,
        replace(world, notes=tuple(world.notes)),
        tuple(replace(row, images=tuple(row.images)) for row in cameras),
        attempts,
        bool(document.get("cameras_confirmed", True)),
        tuple(document.get("notes", ())),
        mirrors,
        document.get("resting"),
    )


def read_resting(sparse: Path) -> float | None:
    """Read the share of the matches that rest while the others move.

    Parameters
    ----------
    sparse : Path
        Folder of the sparse_reconstruction artifact.

    Returns
    -------
    float or None
        None where none do, or where the cameras come from elsewhere.
    """
    return read_registration(sparse).resting if (sparse / _REGISTRATION).exists() else None


def write_registration(sparse: Path, registration: Registration) -> None:
    """Write what became of each image.

    Parameters
    ----------
    sparse : Path
        Folder of the sparse_reconstruction artifact.
    registration : Registration
    """
    write_json(sparse / _REGISTRATION, asdict(registration))


# --- components.json -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Component:
    """A part of a set.

    Parameters
    ----------
    number : int
        Its place by size: 0 has the most images.
    images : int
    points : int
    used : bool
        Whether the model is made from it.
    """

    number: int
    images: int
    points: int
    used: bool


@dataclass(frozen=True)
class ComponentFiles:
    """Where the files of a component are.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @property
    def model(self) -> Path:
        """Folder of its COLMAP model."""
        return self.folder / SPARSE

    @property
    def cloud(self) -> Path:
        """Its sparse points, PLY."""
        return self.folder / _COMPONENT_CLOUD

    @property
    def transforms(self) -> Path:
        """Its cameras for nerfstudio."""
        return self.folder / TRANSFORMS


def component_files(parent: Path, number: int) -> ComponentFiles:
    """Locate the files of a component.

    Parameters
    ----------
    parent : Path
        Folder of the artifact, or of the results.
    number : int
        Of the component.

    Returns
    -------
    ComponentFiles
    """
    return ComponentFiles(parent / COMPONENTS / str(number))


def component_list_file(parent: Path) -> Path:
    """Locate the list of components.

    Parameters
    ----------
    parent : Path
        Folder of the artifact, or of the results.

    Returns
    -------
    Path
    """
    return parent / COMPONENTS / _COMPONENT_LIST


def read_component_list(parent: Path) -> tuple[Component, ...]:
    """Read the list of components.

    Parameters
    ----------
    parent : Path
        Folder of the artifact, or of the results.

    Returns
    -------
    tuple of Component
        By number; empty where all images are of one part.

    Raises
    ------
    InputError
        The list is damaged.
    """
    path = component_list_file(parent)
    return _rows(Component, path, _read(path), "components") if path.is_file() else ()


def write_component_list(parent: Path, components: Sequence[Component]) -> None:
    """Write the list of components.

    Parameters
    ----------
    parent : Path
        Folder of the artifact.
    components : sequence of Component
    """
    path = component_list_file(parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"components": [asdict(component) for component in components]})


# --- counts in the manifests ---------------------------------------------------------------------


@dataclass(frozen=True)
class FrameCounts:
    """Counts of frame_extraction."""

    stage: ClassVar[str] = "frame_extraction"
    frames: int
    photos: int
    videos: int
    scanned: int
    cameras: int
    recolored: int = 0
    masked: int = 0


@dataclass(frozen=True)
class FeatureCounts:
    """Counts of feature_extraction."""

    stage: ClassVar[str] = "feature_extraction"
    images: int
    features_per_image: int
    fewest: int


@dataclass(frozen=True)
class MatchCounts:
    """Counts of feature_matching."""

    stage: ClassVar[str] = "feature_matching"
    images: int
    pairs: int
    verified_pairs: int
    inliers: int


@dataclass(frozen=True)
class SparseCounts:
    """Counts of sparse_reconstruction; the error is the mean reprojection error in pixels."""

    stage: ClassVar[str] = "sparse_reconstruction"
    registered: int
    images: int
    components: int
    points: int
    reprojection_error: float | None


@dataclass(frozen=True)
class DenseCounts:
    """Counts of dense_reconstruction; `filled` is the mean share of pixels with depth."""

    stage: ClassVar[str] = "dense_reconstruction"
    views: int
    views_without_sources: int
    max_image_size: int
    depth_maps: int
    points: int
    filled: float


@dataclass(frozen=True)
class MeshCounts:
    """Counts of mesh_generation."""

    stage: ClassVar[str] = "mesh_generation"
    points: int
    points_outside: int
    vertices: int
    faces: int
    octree_depth: int


@dataclass(frozen=True)
class TextureCounts:
    """Counts of texturing, as `recon3d.texture.painting.TextureCounts` describes them."""

    stage: ClassVar[str] = "texturing"
    faces_seen: int
    faces_unseen: int
    views_used: int
    charts: int
    outliers: int
    atlas_size: int
    scale: float
    filled: float
    #: Artifacts of former versions do not tell it.
    pages: int = 1


Counts = FrameCounts | FeatureCounts | MatchCounts | SparseCounts | DenseCounts | MeshCounts | TextureCounts
AnyCounts = TypeVar("AnyCounts", bound=Counts)
#: Class of each stage's counts.
COUNTS: dict[str, type[Counts]] = {
    kind.stage: kind
    for kind in (
        FrameCounts,
        FeatureCounts,
        MatchCounts,
        SparseCounts,
        DenseCounts,
        MeshCounts,
        TextureCounts,
    )
}


def counts_of(kind: type[AnyCounts], counts: Mapping[str, Any]) -> AnyCounts:
    """Take a stage's counts from its manifest.

    Parameters
    ----------
    kind : type
        The stage's class of counts.
    counts : mapping
        The manifest's.

    Returns
    -------
    dataclass
        An instance of `kind`.

    Raises
    ------
    InputError
        One is missing.
    """
    known = {field.name for field in fields(kind)}
    try:
        return kind(**{name: value for name, value in counts.items() if name in known})
    except TypeError as error:
        raise InputError(
            f"The counts of {kind.stage} are incomplete: {error}.", f"Run {kind.stage} again."
        ) from None


# --- reading -------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing.", _mend(path)) from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}.", _mend(path)) from error
    except OSError as error:
        hint = "Check that it is a file and who may read it, and that its disk is there."
        raise InputError(f"{path} cannot be read: {error.strerror}.", hint) from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is damaged: it is not a JSON object.", _mend(path))
    return document


def _position(gps: Sequence[Any]) -> tuple[float, float, float | None]:
    latitude, longitude, altitude = gps
    return latitude, longitude, altitude


def _rows(kind: type[Row], path: Path, document: Mapping[str, Any], key: str) -> tuple[Row, ...]:
    """Rows of a document; unknown fields are of a newer version and are left out."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        given: Sequence[Mapping[str, Any]] = document[key]
        return tuple(kind(**{k: v for k, v in row.items() if k in known}) for row in given)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}.", _mend(path)) from error


def _mend(path: Path) -> str:
    return f"Restore {path.name} from a backup, or run the stage that wrote it again with --rerun-from."
