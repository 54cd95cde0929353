"""Small pieces of real work that `recon3d doctor` tries, each in a process of its own.

``python -m recon3d.cli.trials NAME`` prints what it found; the line "note" and a fix may follow.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def compile_kernel() -> list[str]:
    """Compile a kernel and keep it, as dense stereo does.

    Returns
    -------
    list of str
        What was found and, where it is not as it should be, "note" and what to do.
    """
    from recon3d.kernels import cache_folder, kernel, temporary_cache

    @kernel()
    def total(count: int) -> int:
        found = 0
        for i in range(count):
            found += i
        return found

    started = time.perf_counter()
    if total(5) != 10:
        raise RuntimeError("a compiled function gives a wrong result")
    seconds = time.perf_counter() - started
    kept = cache_folder(total)
    if kept is None:
        return [
            f"compiled in {seconds:.1f} s, but not kept: no folder can be written to",
            "note",
            "Set NUMBA_CACHE_DIR to a folder that you may write to; else each process compiles again.",
        ]
    if kept.is_relative_to(temporary_cache()):
        return [
            f"compiled in {seconds:.1f} s, kept for the time being in {kept.parent}",
            "note",
            "Set NUMBA_CACHE_DIR to a folder that lasts, so that a restart does not compile again.",
        ]
    return [f"compiled in {seconds:.1f} s, kept in {kept}"]


def start_worker() -> list[str]:
    """Start a worker process and let it do something.

    Returns
    -------
    list of str
        See `compile_kernel`.
    """
    from recon3d.compute import Cluster, StageContext, cluster_for_run

    started = time.perf_counter()
    with cluster_for_run(lambda: Cluster(workers=1)) as cluster:
        worker = StageContext(cluster=cluster, emit=lambda *_: None).call(os.getpid)
    if worker == os.getpid():
        raise RuntimeError("the task ran in the calling process")
    return [f"started and answered in {time.perf_counter() - started:.1f} s"]


def write_project() -> list[str]:
    """Write a project with a photo, here or else among the temporary files, and read it back.

    Returns
    -------
    list of str
        See `compile_kernel`.
    """
    from recon3d.errors import ProjectError

    try:
        return [f"written and read in {_project_below(Path.cwd())}"]
    except (OSError, ProjectError) as error:
        refused = getattr(error, "strerror", None) or str(error)
    found = f"{Path.cwd()} cannot be written to ({refused}); {_project_below(None)} can"
    return [found, "note", "Run recon3d in another folder, or name one with --output."]


def _project_below(folder: Path | None) -> Path:
    import numpy as np
    from PIL import Image

    from recon3d.project.project import Project

    with tempfile.TemporaryDirectory(prefix=".recon3d-doctor-", dir=folder) as name:
        photo = Path(name) / "photo.jpg"
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(photo)
        Project.create(Path(name) / "p").add_photos(photo)
        with Project.open(Path(name) / "p").lock():
            pass
        if len(Project.open(Path(name) / "p").inputs) != 1:
            raise RuntimeError("the project does not hold the photo")
        return Path(name).parent


def read_video() -> list[str]:
    """Decode a frame of the bundled video.

    Returns
    -------
    list of str
        See `compile_kernel`.
    """
    from recon3d.cli.sample import sample_video
    from recon3d.io.video import VideoReader

    with VideoReader(sample_video()) as reader:
        info = reader.info()
        image = reader.image(next(reader.frames()))
    if image.shape[:2] != (info.height, info.width):
        raise RuntimeError(f"a frame has the shape {image.shape}")
    return [f"{info.codec}, {info.width} x {info.height}"]


def decode_photo() -> list[str]:
    """Write a JPEG file and decode it.

    Returns
    -------
    list of str
        See `compile_kernel`.
    """
    import numpy as np
    from PIL import Image

    from recon3d.io.images import read_photo

    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "photo.jpg"
        Image.fromarray(np.full((48, 64, 3), (250, 5, 5), np.uint8)).save(photo, quality=95)
        red, green, blue = read_photo(photo).rgb[24, 32]
    if red < 240 or max(green, blue) > 20:
        raise RuntimeError(f"red is decoded as {red}, {green}, {blue}")
    return ["JPEG, decoded in its right colours"]


def match_on_gpu() -> list[str]:
    """Let the GPU match a small scene, and compare with the CPU.

    Returns
    -------
    list of str
        See `compile_kernel`.
    """
    from recon3d.mvs.device_check import check_device

    found = check_device()
    if not found.passed:
        raise RuntimeError(str(found))
    return [f"by recon3d's own engine: {found}; compiled and computed in {found.seconds:.1f} s"]


#: What doctor calls each.
TRIALS: dict[str, Callable[[], list[str]]] = {
    "compiling": compile_kernel,
    "worker": start_worker,
    "project": write_project,
    "video": read_video,
    "photo": decode_photo,
    "gpu": match_on_gpu,
}


def main(name: str) -> None:
    """Do one and print what was found, or end with what went wrong.

    Parameters
    ----------
    name : str
        A key of `TRIALS`.
    """
    from recon3d.errors import Recon3DError

    try:
        told = TRIALS[name]()
    except Recon3DError as error:
        # The doctor shows the last line.
        sys.exit(f"{error.message} {error.hint}".replace("\n", " "))
    sys.stdout.write("\n".join(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
