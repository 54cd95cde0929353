"""The folder that COLMAP's dense stage works in: its layout and its lists.

::

    images/        undistorted images
    masks/         NAME.png, for images that are partly hidden: --StereoFusion.mask_path
    sparse/        cameras, images, points3D, rigs and frames of the undistorted images, binary
    stereo/        patch-match.cfg and fusion.cfg, and the maps:
        depth_maps/   NAME.photometric.bin, then NAME.geometric.bin
        normal_maps/
        consistency_graphs/

A view has the name ``view_INDEX.png`` here unless others are given: commas and blanks mean something
in COLMAP's lists. See https://colmap.github.io/format.html#dense-reconstruction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path

#: Depth and normals from the images alone, or also from agreement with the other views' maps.
Kind = Literal["photometric", "geometric"]
_STEREO = ("depth_maps", "normal_maps", "consistency_graphs")


@dataclass(frozen=True)
class DenseWorkspace:
    """Paths in a folder of COLMAP's dense stage.

    Parameters
    ----------
    folder : Path
    names : tuple of str
        Names of the views' images, without commas and blanks.
    """

    folder: Path
    names: tuple[str, ...] = ()

    def name(self, index: int) -> str:
        """Name a view's image.

        Parameters
        ----------
        index : int
            Of the view.

        Returns
        -------
        str
        """
        return self.names[index] if self.names else f"view_{index:05d}.png"

    @property
    def model(self) -> Path:
        """The sparse model's folder."""
        return self.folder / "sparse"

    @property
    def config(self) -> Path:
        """The list of each view's source views."""
        return self.folder / "stereo" / "patch-match.cfg"

    def mask(self, index: int) -> Path:
        """Locate the mask of a view's undistorted image.

        Parameters
        ----------
        index : int
            Of the view.

        Returns
        -------
        Path
        """
        return self.folder / "masks" / f"{self.name(index)}.png"

    def image(self, index: int) -> Path:
        """Locate a view's undistorted image.

        Parameters
        ----------
        index : int
            Of the view.

        Returns
        -------
        Path
        """
        return self.folder / "images" / self.name(index)

    def depth_map(self, index: int, kind: Kind) -> Path:
        """Locate a view's depth map.

        Parameters
        ----------
        index : int
            Of the view.
        kind : {"photometric", "geometric"}

        Returns
        -------
        Path
        """
        return self.folder / "stereo" / "depth_maps" / f"{self.name(index)}.{kind}.bin"

    def normal_map(self, index: int, kind: Kind) -> Path:
        """Locate a view's normal map.

        Parameters
        ----------
        index : int
            Of the view.
        kind : {"photometric", "geometric"}

        Returns
        -------
        Path
        """
        return self.folder / "stereo" / "normal_maps" / f"{self.name(index)}.{kind}.bin"

    def has_maps(self, index: int, kind: Kind) -> bool:
        """Tell whether a view's maps are complete; COLMAP leaves partial ones when it is killed.

        Parameters
        ----------
        index : int
            Of the view.
        kind : {"photometric", "geometric"}

        Returns
        -------
        bool
        """
        return is_whole_map(self.depth_map(index, kind), 1) and is_whole_map(self.normal_map(index, kind), 3)

    def make_folders(self) -> None:
        """Make the folders that are missing; COLMAP makes none."""
        for part in ("images", "sparse", *(f"stereo/{kind}" for kind in _STEREO)):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def files_read(self, problem: Problem, kind: Kind) -> list[Path]:
        """List the files that the matching of a view reads.

        Parameters
        ----------
        problem : Problem
        kind : {"photometric", "geometric"}

        Returns
        -------
        list of Path
            With the sparse model's folder; also the view's own maps, which are kept if they are complete.
        """
        views = (problem.index, *problem.sources)
        files = [self.model, *map(self.image, views)]
        files += [self.depth_map(problem.index, kind), self.normal_map(problem.index, kind)]
        if kind == "geometric":
            files += [self.depth_map(view, "photometric") for view in views]
            files += [self.normal_map(view, "photometric") for view in views]
        return files

    def prepare(self, sources: Mapping[int, Sequence[int]]) -> None:
        """Make the folders, and list the source views of each view.

        Parameters
        ----------
        sources : mapping of int to sequence of int
            By view; best first.
        """
        self.make_folders()
        with atomic_path(self.config) as temporary:
            temporary.write_text(
                problem_list({self.name(i): [self.name(j) for j in chosen] for i, chosen in sources.items()})
            )
        with atomic_path(self.config.with_name("fusion.cfg")) as temporary:
            temporary.write_text("".join(f"{self.name(i)}\n" for i in sources))


@dataclass(frozen=True)
class PatchMatchSettings:
    """What COLMAP's PatchMatchOptions are set to; the names are theirs.

    Parameters
    ----------
    window_radius, window_step : int
        Of the patches compared, in pixels.
    num_samples : int
        Source views drawn for each comparison.
    num_iterations : int
        Sweeps in all four directions.
    cache_size : float
        Gigabytes of images and maps that the process keeps in main memory.
    """

    window_radius: int = 5
    window_step: int = 1
    num_samples: int = 15
    num_iterations: int = 5
    cache_size: float = 2.0


@dataclass(frozen=True)
class Problem:
    """A view to match.

    Parameters
    ----------
    index : int
    sources : tuple of int
        Views that it is matched against.
    depth_range : tuple of float
        Smallest and largest depth.
    """

    index: int
    sources: tuple[int, ...]
    depth_range: tuple[float, float]


def problem_list(sources: Mapping[str, Sequence[str]]) -> str:
    """Format a ``patch-match.cfg``: an image's name, then on one line the names of its source images.

    Parameters
    ----------
    sources : mapping of str to sequence of str
        Source images of each image.

    Returns
    -------
    str
    """
    return "".join(f"{name}\n{', '.join(chosen)}\n" for name, chosen in sources.items())


def read_problem_list(path: Path) -> dict[str, list[str]]:
    """The source images of each image in a ``patch-match.cfg``.

    COLMAP's words ``__all__`` and ``__auto__, 20`` are given back as they stand.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to list of str
        Source images of each image.

    Raises
    ------
    InputError
        The file cannot be read, or an image lacks the line of its sources.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Give COLMAP's patch-match.cfg.") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) % 2:
        raise InputError(f"{path} lacks the sources of {lines[-1]}.", "Each image takes two lines.")
    return {
        name: [part.strip() for part in re.split("[,;]", listed) if part.strip()]
        for name, listed in zip(lines[::2], lines[1::2], strict=True)
    }


def is_whole_map(path: Path, channels: int) -> bool:
    """Tell whether a map of COLMAP is complete.

    Parameters
    ----------
    path : Path
    channels : int
        Number of channels that it must have.

    Returns
    -------
    bool
    """
    try:
        with open(path, "rb") as file:
            *fields, _ = file.read(64).split(b"&", 3)
        width, height, found = (int(field) for field in fields)
        size = path.stat().st_size
    except (OSError, ValueError):
        return False
    expected = sum(len(field) + 1 for field in fields) + 4 * width * height * channels
    return found == channels and size == expected
