"""The photos of a project, taken as one set: one mapping of their values, and one word on each change."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from recon3d.compute import StageContext
from recon3d.errors import InputError
from recon3d.io.images import probe_photo
from recon3d.io.photo_depth import bits_used
from recon3d.stages.frame_extraction.photo_tasks import PhotoTask, measure_depth, take_photo
from recon3d.stages.frame_extraction.sources import PhotoRecord, Problem, Source

#: Names that a message lists.
_SHOWN = 5
#: Bytes a pixel of a photo of 8 bits, and of more.
_BYTES, _DEEP_BYTES = 16, 28


def take_photos(photos: Sequence[Source], images: Path, partial: Path, context: StageContext) -> int | None:
    """Take the photos into the images' folder, and tell what was changed.

    Parameters
    ----------
    photos : sequence of Source
        Each gets its photo or its problem.
    images : Path
        Folder for the images.
    partial : Path
        Folder for notes, which an interrupted run finds again.
    context : StageContext

    Returns
    -------
    int or None
        Bits a channel that photos with more than 8 bits were mapped from; None when there are none.

    Raises
    ------
    InputError
        A photo with a known camera cannot be used.
    """
    if not photos:
        return None
    deep, memory = _survey(photos)
    bits = None
    measuring, taking = context.phases(0.3 if deep else 0.0, 1.0)
    if deep:
        paths = [photos[i].path for i in deep]
        names = [photos[i].name for i in deep]
        values = measuring.map(measure_depth, paths, names=names, unit="photos", memory=memory)
        found = [value for value in values if value is not None]
        bits = bits_used(max(found)) if found else None
    tasks = [
        PhotoTask(s.path, images, s.stem, _kind(s), partial / "photos" / f"{i:05d}.json", bits or 16)
        for i, s in enumerate(photos)
    ]
    records = taking.map(take_photo, tasks, names=[s.name for s in photos], unit="photos", memory=memory)
    for source, record in zip(photos, records, strict=True):
        if isinstance(record, Problem):
            source.problem = record
            if source.kind == "posed_photo":
                raise InputError(record.message, "The model needs it. " + record.hint)
        else:
            source.photo = record
    _tell([(s.name, s.photo) for s in photos if s.photo], bits, context)
    return bits


def _kind(source: Source) -> Literal["photo", "posed_photo"]:
    return "posed_photo" if source.kind == "posed_photo" else "photo"


def _survey(photos: Sequence[Source]) -> tuple[list[int], int]:
    """Indices of the photos with more than 8 bits, and the bytes that the largest photo takes."""
    deep, memory = [], 0
    for index, source in enumerate(photos):
        with contextlib.suppress(InputError):
            info = probe_photo(source.path)
            if info.bits > 8:
                deep.append(index)
            memory = max(memory, info.width * info.height * (_DEEP_BYTES if info.bits > 8 else _BYTES))
    return deep, 150_000_000 + memory


def _tell(records: Sequence[tuple[str, PhotoRecord]], bits: int | None, context: StageContext) -> None:
    """One sentence for each kind of change."""
    spaces: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, record in records:
        if record.colors:
            spaces[record.colors, record.color_problem].append(name)
    for (space, problem), names in spaces.items():
        if problem:
            context.fallback(
                f"{_photos(names)} {_have(names)} a colour profile that cannot be used ({space}: {problem}). "
                f"The colours were taken as sRGB: {_list(names)}."
            )
        else:
            context.fallback(f"{_photos(names)} {_were(names)} converted from {space} to sRGB.")
    if deep := [name for name, record in records if record.deep]:
        unused = "" if bits == 16 else f", of which the set uses {bits}"
        context.fallback(
            f"{_photos(deep)} {_have(deep)} 16 bits a channel{unused}. The values 0 to "
            f"{(1 << (bits or 16)) - 1} were mapped to 8 bits, alike in all of them."
        )
    if masked := [name for name, record in records if record.masked]:
        context.fallback(
            f"{_photos(masked)} {_have(masked)} transparent pixels. They are masked: "
            "no features, depths or colours are taken from there."
        )
    if raw := [name for name, record in records if record.preview]:
        sizes = sorted({f"{record.width} x {record.height}" for _, record in records if record.preview})
        context.fallback(
            f"{_photos(raw)} {'is a raw file' if len(raw) == 1 else 'are raw files'}. The embedded preview "
            f"({', '.join(sizes[:_SHOWN])} pixels) stands for the raw data: {_list(raw)}. Develop raw files "
            "to use all of their pixels."
        )


def _photos(names: Sequence[str]) -> str:
    return "1 photo" if len(names) == 1 else f"{len(names)} photos"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _were(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
