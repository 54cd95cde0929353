"""The frames that a model is made from: the best stills of each video, and the photos.

Videos are gone through twice. The first pass measures how far the image moves and how sharp each
frame is; then frames are chosen (`recon3d.selection.choose`), and the second pass decodes only
those at full size. Photos are taken as they are, or turned upright and converted to 8-bit sRGB.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext
from recon3d.errors import InputError
from recon3d.io.atomic import write_json
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
from recon3d.stages.frame_extraction.bridging import Bridges
from recon3d.stages.frame_extraction.photo_set import take_photos
from recon3d.stages.frame_extraction.sources import Problem, Source, name_sources
from recon3d.stages.frame_extraction.video_tasks import (
    ScanTask,
    WriteTask,
    merge_scans,
    plan_video,
    scan_part,
    write_frames,
)

VERSION = 5

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
    bits = take_photos(photos, images, partial, context.phase(0.0, taken))
    _scan(videos, partial, context.phase(taken, scanned))
    for source in videos:
        if source.problem is None:
            source.problem = _choose(source, options, context)
            _report_stream(source, context)
    written = scanned + 0.8 * (1 - scanned)
    _write(videos, images, options, context.phase(scanned, written))
    if options.interval is None:
        _bridge(videos, images, options, context.phase(written, 1.0))
    _check(sources, context)
    _describe(sources, bits, options, out_dir, context)
    shutil.rmtree(partial, ignore_errors=True)


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


def _choose(source: Source, options: FrameExtractionOptions, context: StageContext) -> Problem | None:
    """Choose a video's frames, or find out why it has none."""
    scan = source.scan
    times, usable, travel = scan["time"], scan["usable"], scan["travel"]
    if len(times) == 0:
        return Problem(f"{source.name} has no frame that can be decoded.", _DAMAGED)
    if not usable.any():
        what, hint = "black or blank", "Check that the lens was uncovered and the light was on; record again."
        if int(scan["errors"]):
            what, hint = "damaged", _DAMAGED
        return Problem(f"{source.name} shows nothing: all of its frames are {what}.", hint)
    _report_interlacing(source, context)
    _report_hdr(source, context)
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
        return Problem(
            f"The picture of {source.name} {moved}, so it gives one view only.",
            "Record while you walk around the object, or add photos from other places.",
        )
    gaps = np.diff(travel[source.chosen])
    if len(gaps) and float(np.median(gaps)) > max(_WIDE_STEP, 1.5 * options.motion):
        context.fallback(
            f"{source.name} moves more than {options.max_frames} frames can follow: neighbouring frames are "
            f"{float(np.median(gaps)):.0%} of the image apart. Raise frame_extraction.max_frames."
        )
    return None


def _report_stream(source: Source, context: StageContext) -> None:
    """Tell which of several videos was used; with the problem where there is one."""
    note = source.plan.info.streams_note if source.plan else ""
    if not note:
        return
    if source.problem is None:
        context.fallback(f"{source.name} {note}")
    else:
        source.problem = Problem(f"{source.problem.message} The file {note}", source.problem.hint)


def _report_interlacing(source: Source, context: StageContext) -> None:
    if source.interlaced:
        unmarked = ", though it is not marked so" if source.interlaced == "all" else ""
        context.fallback(
            f"{source.name} is interlaced{unmarked}: its frames hold two moments in alternate lines. They "
            "were deinterlaced, which costs some detail. Record in a progressive mode, such as 25p or 30p."
        )


def _report_hdr(source: Source, context: StageContext) -> None:
    if source.plan and source.plan.info.hdr:
        context.fallback(
            f"{source.name} is coded for HDR displays. Its colours were converted to sRGB; light above "
            "diffuse white was compressed."
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


def _bridge(
    videos: Sequence[Source], images: Path, options: FrameExtractionOptions, context: StageContext
) -> None:
    """Add frames where neighbouring ones hardly match, twice at most."""
    bridges = Bridges(images, options.max_frames)
    looks = context.phases(2, 1, 1, 1, 1)
    for look, write in ((looks[0], looks[1]), (looks[2], looks[3])):
        if not bridges.extend(videos, look):
            break
        _write(videos, images, options, write)
    bridges.report(videos, looks[4])
    context.progress(1, 1)  # also where nothing was left to do


def _write(
    videos: Sequence[Source], images: Path, options: FrameExtractionOptions, context: StageContext
) -> None:
    """Decode the chosen frames at full size."""
    tasks: list[WriteTask] = []
    for source in videos:
        if source.plan is None:
            continue
        groups = []
        pts, times, seekable = source.scan["pts"], source.scan["time"], source.plan.starts[0] is not None
        key_of = _key_frames(source.scan) if seekable else np.zeros(len(pts), np.int64)
        for key, members in itertools.groupby(source.chosen, key=key_of.__getitem__):
            targets = [(int(pts[i]), images / source.frame_name(i)) for i in members]
            left = [target for target in targets if not target[1].exists()]
            if left:
                groups.append((float(times[key]) if seekable else None, tuple(left)))
        for batch in _batches(groups):
            how = source.plan.references_only, source.interlaced, batch, options.max_image_size
            tasks.append(WriteTask(source.path, *how))
    missing = context.map(
        write_frames,
        tasks,
        names=[task.groups[0][1][0][1].name for task in tasks],
        unit="groups of frames",
        memory=max((s.plan.memory for s in videos if s.plan), default=0),
    )
    lost = {name for names in missing for name in names}
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
    sources: Sequence[Source],
    bits: int | None,
    options: FrameExtractionOptions,
    out_dir: Path,
    context: StageContext,
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
    write_frame_list(out_dir, FrameList(tuple(frames), tuple(sequences), bits))
    context.count(
        FrameCounts(
            frames=len(frames),
            photos=sum(frame.kind != "video" for frame in frames),
            videos=len(sequences),
            scanned=sum(len(score["time"]) for score in scores),
            cameras=len(cameras),
            recolored=sum(bool(s.photo and s.photo.colors and not s.photo.color_problem) for s in sources),
            masked=sum(bool(s.photo and s.photo.masked) for s in sources),
        )
    )
