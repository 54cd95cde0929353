"""Any error made into one of ours, which says what to do next."""

from __future__ import annotations

import errno

from recon3d.errors import Recon3DError, StageError
from recon3d.events import Failure

BUG = "This is most likely a bug in recon3d; please report it. Finished work is kept."


def explain(error: BaseException, stage: str = "") -> Recon3DError:
    """Turn any exception into an error of recon3d that says what to do.

    Parameters
    ----------
    error : BaseException
    stage : str
        Name of the stage that failed.

    Returns
    -------
    Recon3DError
    """
    if isinstance(error, StageError):
        error.stage = error.stage or stage
    if isinstance(error, Recon3DError):
        return error
    where = f"Stage {stage}" if stage else "The run"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        explained = StageError(
            f"{where} ran out of disk space{f' at {error.filename}' if error.filename else ''}.",
            "Free space on the project's disk and run the same command again; finished work is kept.",
            stage=stage,
        )
    elif isinstance(error, PermissionError):
        explained = StageError(
            f"{where} may not write {error.filename}.", "Check the folder's permissions.", stage=stage
        )
    else:
        explained = StageError(f"{where} failed: {type(error).__name__}: {error}", BUG, stage=stage)
    explained.__cause__ = error
    return explained


def failure_of(error: Recon3DError) -> Failure:
    """Convert an error for events and reports.

    Parameters
    ----------
    error : Recon3DError

    Returns
    -------
    Failure
    """
    return Failure(
        type=type(error).__name__,
        message=error.message,
        hint=error.hint,
        log_tail=getattr(error, "log_tail", ""),
    )
