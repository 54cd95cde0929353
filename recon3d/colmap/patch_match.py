"""COLMAP's PatchMatch on a GPU, in a process of its own.

COLMAP ends its process when a CUDA call fails, so a block of views is matched by a child of the
worker: its exit and its last lines tell what happened, and the GPU's memory is free afterwards.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pycolmap

from recon3d.compute.cuda import device_count, no_device
from recon3d.compute.worker import die_with_parent
from recon3d.errors import EngineUnavailable, OutOfMemory, StageError
from recon3d.io.colmap_dense import DenseWorkspace, Kind, PatchMatchSettings, Problem, problem_list

_CHILD = "from recon3d.colmap.patch_match import _main; _main()"
#: What COLMAP prints before it ends.
_CAUSE = re.compile("CUDA error|Check failed")
#: Exit status of a child whose pycolmap or machine has no CUDA.
_NO_CUDA = 3


def match_views(
    folder: Path,
    problems: Sequence[Problem],
    kind: Kind,
    settings: PatchMatchSettings,
    *,
    filtered: bool,
    titles: Sequence[str] = (),
) -> None:
    """Write the depth and normal maps of some views of a workspace [1]_.

    The GPU is the first that the process sees (``CUDA_VISIBLE_DEVICES``). Maps that are there and
    whole are kept.

    Parameters
    ----------
    folder : Path
        See `recon3d.io.colmap_dense.DenseWorkspace`.
    problems : sequence of Problem
    kind : {"photometric", "geometric"}
        For geometric maps the photometric ones of the views and of their sources must be there.
    settings : PatchMatchSettings
    filtered : bool
        Whether COLMAP drops what it holds for unreliable.
    titles : sequence of str, optional
        What errors call each problem's view; by default its name in the workspace.

    Raises
    ------
    EngineUnavailable
        pycolmap has no CUDA, or no device answers.
    OutOfMemory
        The GPU's memory is too small for the images.
    StageError
        Another failure; the child's last lines are attached.

    References
    ----------
    .. [1] Schönberger et al., Pixelwise View Selection for Unstructured Multi-View Stereo, ECCV 2016.
    """
    workspace = DenseWorkspace(folder)
    for problem in problems:
        if not workspace.has_maps(problem.index, kind):
            # COLMAP skips views whose files exist, cut off or not.
            workspace.depth_map(problem.index, kind).unlink(missing_ok=True)
            workspace.normal_map(problem.index, kind).unlink(missing_ok=True)
    job = {
        "folder": str(folder),
        "problems": [asdict(problem) for problem in problems],
        "kind": kind,
        "settings": asdict(settings),
        "filtered": filtered,
    }
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    titles = titles or [workspace.name(problem.index) for problem in problems]
    missing = [
        title
        for problem, title in zip(problems, titles, strict=True)
        if not workspace.has_maps(problem.index, kind)
    ]
    if child.returncode == 0 and not missing:
        return
    raise _failure(child.returncode, child.stdout, missing)


def _failure(status: int, output: str, missing: Sequence[str]) -> StageError | EngineUnavailable:
    """What the child's exit and output mean."""
    tail = "\n".join(output.splitlines()[-30:])
    if status == _NO_CUDA:
        return EngineUnavailable(
            f"COLMAP cannot use a GPU here: {tail}", "Use engine='cpu', or see `recon3d doctor`."
        )
    if status == -9:
        return OutOfMemory(
            "COLMAP's PatchMatch was killed, most likely because the machine's memory is too small.",
            "Lower max_image_size of dense_reconstruction, or use a machine with more memory.",
            log_tail=tail,
        )
    if "out of memory" in output.lower():
        return OutOfMemory(
            "The GPU has too little memory for depth maps of this size.",
            "Lower max_image_size of dense_reconstruction, or use engine='cpu'.",
            log_tail=tail,
        )
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    left_out = f"{missing[0]}{more}" if missing else "nothing"
    cause = next((line.strip() for line in output.splitlines() if _CAUSE.search(line)), "")
    return StageError(
        f"COLMAP's PatchMatch ended with status {status} and left out {left_out}{cause and f': {cause}'}.",
        "The log's tail says why; engine='cpu' does without a GPU. Finished views are kept.",
        log_tail=tail,
    )


def _main() -> None:
    """Match the views of the job on standard input; runs in the child."""
    die_with_parent()
    job = json.load(sys.stdin)
    folder, kind = Path(job["folder"]), job["kind"]
    workspace = DenseWorkspace(folder)
    if not pycolmap.has_cuda:
        sys.stdout.write("this pycolmap was built without CUDA.")
        sys.exit(_NO_CUDA)
    if not device_count():
        sys.stdout.write(f"{no_device()}.")
        sys.exit(_NO_CUDA)
    for row in job["problems"]:
        if workspace.has_maps(row["index"], kind):
            continue
        names = {workspace.name(row["index"]): [workspace.name(j) for j in row["sources"]]}
        with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
            config.write(problem_list(names))
            config.flush()
            # COLMAP takes one range of depths a call, and every view has its own.
            pycolmap.patch_match_stereo(
                str(folder),
                options=patch_match_options(
                    PatchMatchSettings(**job["settings"]), kind, row["depth_range"], job["filtered"]
                ),
                config_path=config.name,
            )


def patch_match_options(
    settings: PatchMatchSettings, kind: Kind, depth_range: tuple[float, float], filtered: bool
) -> pycolmap.PatchMatchOptions:
    """Build COLMAP's options for one view.

    Parameters
    ----------
    settings : PatchMatchSettings
    kind : {"photometric", "geometric"}
    depth_range : (float, float)
        Smallest and largest depth.
    filtered : bool
        Whether COLMAP drops unreliable depths.

    Returns
    -------
    pycolmap.PatchMatchOptions

    Raises
    ------
    StageError
        COLMAP rejects the options.
    """
    options = pycolmap.PatchMatchOptions()
    for name, value in asdict(settings).items():
        setattr(options, name, value)
    options.gpu_index = "0"
    options.num_threads = 1
    options.max_image_size = -1  # the images have the size wanted
    options.depth_min, options.depth_max = depth_range
    options.geom_consistency = kind == "geometric"
    options.filter = filtered
    if not options.check():
        raise StageError(f"COLMAP refuses these options:\n{options.summary()}", "Check the preset.")
    return options
