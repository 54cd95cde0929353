"""What each stage can be told.

One small frozen model per stage; an unknown key is an `OptionError`. The defaults are those of
the ``medium`` preset; ``presets.toml`` holds what the other presets change.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from recon3d.rendering.formatting import card, grid

#: Pages of a texture.
MOST_PAGES = 64

Corner = tuple[float, float, float]
Box = tuple[Corner, Corner]


_BOX: TypeAdapter[Box] = TypeAdapter(Box)


def _read_region(value: object) -> object:
    """A box may be a list that the command line gives as text; what is wrong names all choices."""
    try:
        if not isinstance(value, str):
            return _BOX.validate_python(value)
        return value if value in ("auto", "all") else _BOX.validate_json(value)
    except ValidationError:
        raise ValueError(
            "Input should be 'auto', 'all', or two corners of a box, such as [[-1, -1, 0], [1, 1, 2]]"
        ) from None


class StageOptions(BaseModel):
    """Base of the stages' options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __dir__(self) -> list[str]:
        return sorted(type(self).model_fields)

    def _repr_html_(self) -> str:
        return card(type(self).__name__, [], table=grid(["option", "value", "medium"], self.rows()))

    def rows(self) -> list[tuple[str, str, str]]:
        """List the options.

        Returns
        -------
        list of (str, str, str)
            Name, value, and the value of ``medium`` where that differs.
        """
        fields = type(self).model_fields
        values = {name: getattr(self, name) for name in fields}
        return [
            (n, str(v), "" if v == fields[n].default else str(fields[n].default)) for n, v in values.items()
        ]


class FrameExtractionOptions(StageOptions):
    """Which stills are taken from a video.

    Attributes
    ----------
    max_frames : int
        Frames taken from one video at most.
    min_frames : int
        Frames taken from one video at least, where it has them.
    interval : float, optional
        Seconds between frames; by default the video's motion decides.
    motion : float
        Image motion wanted between two frames, as a fraction of the image's longer side.
    max_image_size : int
        Longer side of a frame in pixels; larger ones are scaled down. 0 keeps every pixel.
    """

    max_frames: int = Field(80, ge=3, le=5000)
    min_frames: int = Field(24, ge=2)
    interval: float | None = Field(None, gt=0)
    motion: float = Field(0.05, gt=0, le=1)
    max_image_size: int = Field(0, ge=0)


class FeatureExtractionOptions(StageOptions):
    """SIFT features.

    Attributes
    ----------
    detector : {"colmap", "opencv"}
        Whose SIFT. OpenCV's takes a third of the time or less and keeps `max_features` exactly. A GPU,
        `affine_shape` and `domain_size_pooling` always take COLMAP's.
    max_image_size : int
        Longer side at which features are looked for.
    max_features : int
        Features an image at most.
    first_octave : int or "auto"
        -1 doubles the image first: more and finer features at four times the cost. ``auto`` does so
        only for images that are not larger than `max_image_size`: they have no detail to spare. OpenCV's
        does so for those that give fewer than `max_features` otherwise.
    affine_shape, domain_size_pooling : bool
        COLMAP's slower, more invariant descriptors.
    camera_model : str
        COLMAP's camera model for images without known cameras.
    """

    detector: Literal["colmap", "opencv"] = "opencv"
    max_image_size: int = Field(1600, ge=64)
    max_features: int = Field(4096, ge=64)
    first_octave: Literal["auto"] | Annotated[int, Field(ge=-1, le=2)] = "auto"
    affine_shape: bool = False
    domain_size_pooling: bool = False
    camera_model: Literal["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"] = "SIMPLE_RADIAL"


class FeatureMatchingOptions(StageOptions):
    """Which images are matched, and how.

    Attributes
    ----------
    matcher : str
        ``auto`` matches videos sequentially with loop closure, few photos exhaustively, and
        many photos with the images that look most alike (retrieval).
    overlap : int
        Following frames that each frame of a video is matched with.
    loop_closure : int
        Similar, distant frames that each frame of a video is also matched with.
    neighbors : int
        Photos that share features, about, that each photo is matched with by ``retrieval``.
    gps_neighbors : int
        Photos nearest by GPS that each is also matched with by ``retrieval``.
    number_neighbors : int
        Photos with the next numbers in their file names that each is also matched with by ``retrieval``.
    max_exhaustive : int
        ``auto`` matches up to this many photos exhaustively.
    guided : bool
        Match all features of every pair first, not only the largest. With a GPU: match a second time,
        along the epipolar lines.
    """

    matcher: Literal["auto", "exhaustive", "sequential", "retrieval"] = "auto"
    overlap: int = Field(8, ge=1)
    loop_closure: int = Field(6, ge=0)
    neighbors: int = Field(20, ge=1)
    gps_neighbors: int = Field(8, ge=0)
    number_neighbors: int = Field(2, ge=0)
    max_exhaustive: int = Field(60, ge=2)
    guided: bool = False


class SparseReconstructionOptions(StageOptions):
    """Structure from motion.

    Attributes
    ----------
    mapper : {"incremental", "global"}
        COLMAP's incremental mapper, or its global one (GLOMAP).
    min_model_size : int
        Images that a component needs to be kept.
    part_size : int
        Images of a part. The incremental mapper cuts larger sets into parts that overlap by a fifth, maps
        these at the same time, and joins them; sets above ten times as many images into parts of a
        quarter. 0 maps every set as a whole.
    upright : bool
        Turn the model so that +y is up and centre it on its points.
    component : int
        Part of the set that the model is made from, where nothing ties all images together; 0 is the
        one with the most images.
    """

    mapper: Literal["incremental", "global"] = "incremental"
    min_model_size: int = Field(3, ge=2)
    part_size: int = Field(400, ge=0)
    upright: bool = True
    component: int = Field(0, ge=0)


class DenseReconstructionOptions(StageOptions):
    """Depth maps and their fusion.

    Attributes
    ----------
    max_image_size : int
        Longer side of a depth map in pixels.
    num_sources : int
        Source views that each view is matched against.
    iterations : int
        Rounds of PatchMatch at the coarsest level.
    geometric_iterations : int
        Rounds that also ask for agreement with the neighbours' depth maps; 0 turns them off.
    min_views : int
        Views that must agree on a depth, its own included; one fewer when they agree closely.
    """

    max_image_size: int = Field(800, ge=64)
    num_sources: int = Field(4, ge=1, le=32)
    iterations: int = Field(3, ge=1)
    geometric_iterations: int = Field(1, ge=0)
    min_views: int = Field(3, ge=2)


class MeshGenerationOptions(StageOptions):
    """The surface.

    Attributes
    ----------
    max_faces : int
        Triangles at most.
    part_faces : int
        A surface of more triangles is made in parts of so many, which are joined: memory is that of the
        parts which are made at once. With too little memory, parts become smaller.
    poisson_depth : int
        The grid has two to the power of this many vertices along a side; 0 chooses it from the
        spacing of the points and `max_faces`.
    trim : float
        Parts of the surface further than this many point spacings from any point are a guess. They
        stay where they close a gap that no photo sees through.
    region : {"auto", "all"} or two corners
        ``auto`` leaves out what is outside a ring of cameras around an object, and the torn fringe of
        the ground there; elsewhere only what is both much further away than usual and poorly measured.
        Two corners, ``[[x, y, z], [x, y, z]]``, are a box in the reconstruction's coordinates: the clip
        box of the page that ``recon3d view`` opens gives them. The report tells the share that is left
        out, and the cloud keeps it all.
    min_component : float
        Connected parts with less than this fraction of the largest part's area are removed.
    """

    max_faces: int = Field(200_000, ge=100)
    part_faces: int = Field(2_000_000, ge=1000)
    poisson_depth: int = Field(0, ge=0, le=13)
    trim: float = Field(3.0, gt=0)
    region: Annotated[Literal["auto", "all"] | Box, BeforeValidator(_read_region)] = "auto"
    min_component: float = Field(0.05, ge=0, le=1)


class TexturingOptions(StageOptions):
    """The texture.

    Attributes
    ----------
    texture_size : int
        Largest side of a page of the texture in pixels.
    texture_pages : int
        Pages of the texture at most: pictures of their own in a GLB, OBJ or USDZ file. There is more than one
        only where one would have fewer texels than the photos have pixels. All pages side by side are
        32766 pixels wide at most.
    max_image_size : int
        Longer side of the photos that are painted from; 0 keeps every pixel.
    seam_levelling : bool
        Even out exposure differences between the photos.
    max_faces : int, optional
        Triangles of the textured model at most; by default as many as the surface has. ``mesh.ply`` keeps
        them all.
    normal_map : {"auto", "on", "off"}
        Bake the surface's normals into a map for the textured model's triangles: exports that are lit
        take it and show what `max_faces` leaves out. ``auto`` does so where that leaves something out.
    """

    texture_size: int = Field(4096, ge=64, le=16384)
    texture_pages: int = Field(4, ge=1, le=MOST_PAGES)
    max_image_size: int = Field(1600, ge=0)
    seam_levelling: bool = True
    max_faces: int | None = Field(None, ge=100)
    normal_map: Literal["auto", "on", "off"] = "auto"


#: Options of each stage, in the order in which the stages run.
STAGE_OPTIONS: dict[str, type[StageOptions]] = {
    "frame_extraction": FrameExtractionOptions,
    "feature_extraction": FeatureExtractionOptions,
    "feature_matching": FeatureMatchingOptions,
    "sparse_reconstruction": SparseReconstructionOptions,
    "dense_reconstruction": DenseReconstructionOptions,
    "mesh_generation": MeshGenerationOptions,
    "texturing": TexturingOptions,
}
