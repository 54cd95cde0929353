"""A project's frames and depth maps, as sequences that read a file when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from recon3d.errors import InputError
from recon3d.layout import DEPTH_MAPS, images_folder
from recon3d.project.artifacts import Artifact
from recon3d.rendering.formatting import count

if TYPE_CHECKING:
    from recon3d.types import DepthMap


class Frames(Sequence[Path]):
    """The frames' picture files, in the order of their names.

    Parameters
    ----------
    paths : sequence of Path
    """

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._paths = tuple(paths)

    @classmethod
    def of(cls, made: Artifact | None) -> Frames:
        """List what a stage extracted.

        Parameters
        ----------
        made : Artifact or None
            Of frame_extraction.

        Returns
        -------
        Frames
            Empty before the stage has ended.
        """
        if made is None:
            return cls()
        return cls(sorted(path for path in images_folder(made.path).rglob("*") if path.is_file()))

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Path | Frames:
        """Give a file, or some of them."""
        return Frames(self._paths[index]) if isinstance(index, slice) else self._paths[index]

    def __repr__(self) -> str:
        return f"<Frames: {_named([path.name for path in self._paths], 'picture')}>"


class DepthMaps(Sequence["DepthMap"]):
    """The depth maps of the views, each read from its file when it is asked for.

    Parameters
    ----------
    paths : mapping of str to Path
        Files by the views' names.

    Examples
    --------
    >>> project.depth_maps[0]  # doctest: +SKIP
    >>> project.depth_maps["frame_000012.jpg"].depth  # doctest: +SKIP
    """

    def __init__(self, paths: Mapping[str, Path] | None = None) -> None:
        self._paths = dict(paths or {})

    @classmethod
    def of(cls, made: Artifact | None) -> DepthMaps:
        """List what a stage made.

        Parameters
        ----------
        made : Artifact or None
            Of dense_reconstruction.

        Returns
        -------
        DepthMaps
            Empty before the stage has ended.
        """
        if made is None:
            return cls()
        folder = made.path / DEPTH_MAPS
        found = sorted(folder.rglob("*.npz"))
        return cls({path.relative_to(folder).as_posix()[: -len(".npz")]: path for path in found})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[DepthMap]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int | str) -> DepthMap: ...
    @overload
    def __getitem__(self, index: slice) -> DepthMaps: ...
    def __getitem__(self, index: int | str | slice) -> DepthMap | DepthMaps:
        """Read a depth map, by its number or its view's name; a slice reads nothing."""
        if isinstance(index, slice):
            return DepthMaps({name: self._paths[name] for name in self.names[index]})
        name = index if isinstance(index, str) else self.names[index]
        if name not in self._paths:
            raise InputError(f"There is no depth map of {name!r}.", "See project.depth_maps.names.")
        from recon3d.io.depth import read_depth_map

        return read_depth_map(self._paths[name])

    def __repr__(self) -> str:
        return f"<DepthMaps: {_named(self.names, 'map')}>"


def _named(names: Sequence[str], noun: str) -> str:
    told = count(len(names), noun)
    if len(names) < 2:
        return ", ".join([told, *names])
    return f"{told}, {names[0]} … {names[-1]}"
