"""Which engine computes the depth maps: this project's on a GPU, COLMAP's, or the CPU."""

from __future__ import annotations

from typing import Literal

from recon3d.compute import StageContext
from recon3d.errors import Cancelled, EngineUnavailable, OutOfMemory, Recon3DError
from recon3d.mvs.device_check import check_device

#: What the manifest calls them.
DenseEngine = Literal["cpu", "cuda", "colmap-cuda"]
_HINT = "Use engine='cpu' or 'auto', or see `recon3d doctor`."


def choose_engine(context: StageContext) -> DenseEngine:
    """Choose the engine, and tell which it is and why.

    This project's own is taken if it finds on the GPU what the CPU finds, on a small scene.

    Parameters
    ----------
    context : StageContext

    Returns
    -------
    {"cpu", "cuda", "colmap-cuda"}

    Raises
    ------
    EngineUnavailable
        None can use the GPU, and the CPU may not take its place.
    """
    if "recon3d" in context.gpu_engines:
        passed, found = _tried(context)
        if passed:
            context.log(f"Depth maps by recon3d's CUDA engine: {found}.")
            return "cuda"
        problem = f"recon3d's CUDA engine cannot be used: {found}"
        if "colmap" in context.gpu_engines:
            context.fallback(f"{problem}; COLMAP's takes its place.")
        elif context.gpu_required:
            raise EngineUnavailable(f"{problem}.", _HINT)
        else:
            context.fallback(f"{problem}; the CPU takes its place.")
    if "colmap" in context.gpu_engines:
        context.log("Depth maps by COLMAP's CUDA engine.")
        return "colmap-cuda"
    return "cpu"


def check_engine() -> tuple[bool, str]:
    """Check the GPU of a worker.

    Returns
    -------
    passed : bool
    found : str
        What it was, or why the check failed.
    """
    try:
        from recon3d.mvs.device_stereo import telling_out_of_memory

        with telling_out_of_memory():
            found = check_device()
    except OutOfMemory:
        return False, "the GPU has too little free memory; end other programs on it"
    except Exception as error:  # of the driver, of its compiler, or of the package that drives them
        return False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return found.passed, f"{found}; compiled and computed in {found.seconds:.1f} s"


def _tried(context: StageContext) -> tuple[bool, str]:
    try:
        return context.call(check_engine, gpu=True)
    except Cancelled:
        raise
    except Recon3DError as error:  # the worker crashed
        return False, error.message
