"""The frames that a model is made from: the best stills of each video, and the photos.

Videos are gone through twice. The first pass measures how far the image moves and how sharp each
frame is; then frames are chosen (`recon3d.selection.choose`), and the second pass decodes only
those at full size. Photos are taken as they are, turned upright.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext
from recon3d.errors import InputError
from recon3d.io.atomic import write_json
from recon3d.io.images import probe_photo
from recon3d.layout import (
    SCORES,
    Frame,
    FrameCounts,
    FrameList,
    images_folder,
    read_input_list,
    write_frame_list,
)
from recon3d.options import FrameExtractionOptions
from recon3d.selection.choose import SAME_VIEW, choose_frames
from recon3d.selection.sharpness import blur
from recon3d.stages.frame_extraction.photo_tasks import PhotoTask, take_photo
from recon3d.stages.frame_extraction.sources import Problem, Source, name_sources
from recon3d.stages.frame_extraction.video_tasks import (
    ScanTask,
    WriteTask,
    merge_scans,
    plan_video,
    scan_part,
    write_frames,
)

VERSION = 3

#: Frames that one task writes, about.
_FRAMES_PER_TASK = 6
#: Steps between frames, as fractions of the longer side, above which matching becomes doubtful.
_WIDE_STEP = 0.25
_DAMAGED = "The file is damaged: copy it again from the camera, or record again."


def run(
    inputs: Mapping[str, Path],
    options: FrameExtractionOptions,
    out_dir: Path,
    context: StageContext,
) -> None:
    """Select a video's frames and prepare photos; write ``images/``, ``frames.json`` and ``scores.json``.

    Parameters
    ----------
    inputs : mapping of str to Path
        The project's folder of inputs.
    options : FrameExtractionOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    InputError
        Fewer than two inputs or frames can be used; names the file that is at fault.
    """
    folder = inputs["inputs"]
    images, partial = images_folder(out_dir), out_dir / "partial"
    images.mkdir(parents=True, exist_ok=True)
    sources = [Source(folder / row.path, row.name, row.kind) for row in read_input_list(folder).inputs]
    name_sources(sources)
    videos = [source for source in sources if source.kind == "video"]
    photos = [source for source in sources if source.kind != "video"]
    taken = (0.2 if photos else 0.0) if videos else 1.0
    scanned = taken + 0.65 * (1 - taken)
    _take_photos(photos, images, partial, context.phase(0.0, taken))
    _scan(videos, partial, context.phase(taken, scanned))
    for source in videos:
        if source.problem is None:
            _choose(source, options, context)
    _write(videos, images, options, context.phase(scanned, 1.0))
    _check(sources, context)
    _describe(sources, options, out_dir, context)
    shutil.rmtree(partial, ignore_errors=True)


def _take_photos(photos: Sequence[Source], images: Path, partial: Path, context: StageContext) -> None:
    tasks = [
        PhotoTask(s.path, images, s.stem, _photo_kind(s), partial / "photos" / f"{i:05d}.json")
        for i, s in enumerate(photos)
    ]
    records = context.map(
        take_photo, tasks, names=[s.name for s in photos], unit="photos", memory=_photo_memory(photos)
    )
    for source, record in zip(photos, records, strict=True):
        if isinstance(record, Problem):
            source.problem = record
        else:
            source.photo = record
        if source.problem and source.kind == "posed_photo":
            raise InputError(source.problem.message, "The model needs it. " + source.problem.hint)


def _photo_memory(photos: Sequence[Source]) -> int:
    """Bytes that turning the largest photo takes."""
    pixels = 0
    for source in photos:
        with contextlib.suppress(InputError):
            info = probe_photo(source.path)
            pixels = max(pixels, info.width * info.height)
    return 150_000_000 + 14 * pixels


def _photo_kind(source: Source) -> Literal["photo", "posed_photo"]:
    return "posed_photo" if source.kind == "posed_photo" else "photo"


def _scan(videos: Sequence[Source], partial: Path, context: StageContext) -> None:
    """Measure motion and sharpness through all videos."""
    if not videos:
        return
    planning = context.phase(0.0, 0.0)
    plans = planning.map(plan_video, [s.path for s in videos], names=[s.name for s in videos])
    tasks: list[list[ScanTask]] = []
    for number, (source, plan) in enumerate(zip(videos, plans, strict=True)):
        tasks.append([])
        if isinstance(plan, Problem):
            source.problem = plan
            continue
        source.plan = plan
        for part, start in enumerate(plan.starts):
            stop = plan.starts[part + 1] if part + 1 < len(plan.starts) else None
            result = partial / "scan" / f"{number:03d}-{part:05d}.npz"
            tasks[-1].append(ScanTask(source.path, start, stop, plan.references_only, result))
    flat = [task for group in tasks for task in group]
    context.map(
        scan_part,
        flat,
        names=[f"{task.path.name} from {task.start or 0:.0f} s" for task in flat],
        unit="parts",
        memory=max((s.plan.memory for s in videos if s.plan), default=0),
    )
    for source, group in zip(videos, tasks, strict=True):
        if group:
            source.scan = merge_scans([task.result for task in group])


def _choose(source: Source, options: FrameExtractionOptions, context: StageContext) -> None:
    """Choose a video's frames, or find out why it has none."""
    scan = source.scan
    times, usable, travel = scan["time"], scan["usable"], scan["travel"]
    if len(times) == 0:
        source.problem = Problem(f"{source.name} has no frame that can be decoded.", _DAMAGED)
        return
    if not usable.any():
        what, hint = "black or blank", "Check that the lens was uncovered and the light was on; record again."
        if int(scan["errors"]):
            what, hint = "damaged", _DAMAGED
        source.problem = Problem(f"{source.name} shows nothing: all of its frames are {what}.", hint)
        return
    _report_damage(source, context)
    dull = blur(scan["sharpness"], times)
    if options.interval is not None:
        position, step, fewest, least = times, options.interval, 2, options.interval
    else:
        position, step, fewest, least = travel, options.motion, options.min_frames, SAME_VIEW
    source.chosen = choose_frames(
        position, dull, usable, step=step, min_frames=fewest, max_frames=options.max_frames, min_step=least
    )
    if len(source.chosen) < 2:
        moved = "has a single frame" if len(times) == 1 else "hardly moves"
        source.problem = Problem(
            f"The picture of {source.name} {moved}, so it gives one view only.",
            "Record while you walk around the object, or add photos from other places.",
        )
        return
    gaps = np.diff(travel[source.chosen])
    if len(gaps) and float(np.median(gaps)) > max(_WIDE_STEP, 1.5 * options.motion):
        context.fallback(
            f"{source.name} moves more than {options.max_frames} frames can follow: neighbouring frames are "
            f"{float(np.median(gaps)):.0%} of the image apart. Raise frame_extraction.max_frames."
        )


def _report_damage(source: Source, context: StageContext) -> None:
    duration = source.plan.info.duration if source.plan else None
    end = float(source.scan["time"][-1])
    if duration and end < 0.9 * duration - 0.2:
        context.fallback(
            f"The pictures of {source.name} end after {end:.1f} of {duration:.1f} s; the file seems to be "
            "incomplete. What is there was used."
        )
    if errors := int(source.scan["errors"]):
        context.fallback(f"{source.name}: {errors} damaged places were skipped.")


def _write(
    videos: Sequence[Source], images: Path, options: FrameExtractionOptions, context: StageContext
) -> None:
    """Decode the chosen frames at full size."""
    tasks: list[WriteTask] = []
    reused = 0
    for source in videos:
        if source.plan is None:
            continue
        groups = []
        pts, times, seekable = source.scan["pts"], source.scan["time"], source.plan.starts[0] is not None
        key_of = _key_frames(source.scan) if seekable else np.zeros(len(pts), np.int64)
        for key, members in itertools.groupby(source.chosen, key=key_of.__getitem__):
            targets = [(int(pts[i]), images / source.frame_name(i)) for i in members]
            left = [target for target in targets if not target[1].exists()]
            reused += len(targets) - len(left)
            if left:
                groups.append((float(times[key]) if seekable else None, tuple(left)))
        for batch in _batches(groups):
            tasks.append(WriteTask(source.path, source.plan.references_only, batch, options.max_image_size))
    missing = context.map(
        write_frames,
        tasks,
        names=[task.groups[0][1][0][1].name for task in tasks],
        unit="groups of frames",
        memory=max((s.plan.memory for s in videos if s.plan), default=0),
    )
    lost = {name for names in missing for name in names}
    if reused:
        context.log(f"{reused} frames of an earlier, unfinished run were kept.")
    for source in videos:
        kept = [i for i in source.chosen if source.frame_name(i) not in lost]
        source.chosen = np.array(kept, np.int64)
    if lost:
        context.fallback(
            f"{len(lost)} chosen frames could not be decoded a second time: {', '.join(sorted(lost)[:5])}."
        )


def _key_frames(scan: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Index of the frame that decoding of each frame can start from, shape (N,)."""
    indices = np.arange(len(scan["key"]))
    return np.asarray(np.maximum.accumulate(np.where(scan["key"], indices, 0)), np.int64)


def _batches(groups: Iterable[tuple[float | None, tuple[tuple[int, Path], ...]]]) -> list[Any]:
    """Put neighbouring groups of frames together into tasks of a sensible size."""
    batches: list[list[Any]] = [[]]
    for group in groups:
        if sum(len(targets) for _, targets in batches[-1]) >= _FRAMES_PER_TASK:
            batches.append([])
        batches[-1].append(group)
    return [tuple(batch) for batch in batches if batch]


def _check(sources: Sequence[Source], context: StageContext) -> None:
    """Refuse fewer than two frames; otherwise report what was left out."""
    frames = sum(1 if s.photo else len(s.chosen) for s in sources)
    problems = [(s, s.problem) for s in sources if s.problem]
    if frames >= 2:
        for source, problem in problems:
            left = "one frame of it was used" if len(source.chosen) else "it was left out"
            context.fallback(f"{problem.message} So {left}.")
        return
    if problems:
        also = f" ({len(problems) - 1} other inputs cannot be used either.)" if len(problems) > 1 else ""
        raise InputError(problems[0][1].message + also, problems[0][1].hint)
    raise InputError(
        f"A model needs two photos at least; the project has {frames}.", "Add photos or a video that moves."
    )


def _describe(
    sources: Sequence[Source], options: FrameExtractionOptions, out_dir: Path, context: StageContext
) -> None:
    """Write frames.json and scores.json."""
    frames: list[Frame] = []
    sequences: list[tuple[str, ...]] = []
    cameras: dict[str, int] = {}
    for source in sources:
        if not source.photo and not len(source.chosen):
            continue
        key = source.photo.camera if source.photo else f"video {source.stem}"
        rows = source.frames(options.max_image_size, cameras.setdefault(key, len(cameras)))
        frames += rows
        if source.kind == "video":
            sequences.append(tuple(row.name for row in rows))
    scores = [source.scores() for source in sources if source.scan]
    write_json(out_dir / SCORES, {"videos": scores})
    write_frame_list(out_dir, FrameList(tuple(frames), tuple(sequences)))
    context.count(
        FrameCounts(
            frames=len(frames),
            photos=sum(frame.kind != "video" for frame in frames),
            videos=len(sequences),
            scanned=sum(len(score["time"]) for score in scores),
            cameras=len(cameras),
        )
    )
