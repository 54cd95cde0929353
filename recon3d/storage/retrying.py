"""Trying again when a storage fails, and saying what is wrong when it keeps failing."""

from __future__ import annotations

import errno
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from recon3d.errors import Cancelled, Recon3DError, StageError

T = TypeVar("T")

#: Seconds before the first retry, and at most between two.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
#: What does not get better by itself, beside missing files and permissions; names of botocore and others.
_PERMANENT = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound")
_AGAIN = "run the same command again; finished work is reused."


class Retrying:
    """Calls a storage until it answers.

    Parameters
    ----------
    url : str
        The storage's address, for messages.
    patience : float
        Seconds after the first failure in which it may come back.
    cancelled : threading.Event, optional
        Ends the waiting.
    """

    def __init__(self, url: str, patience: float, cancelled: threading.Event | None = None) -> None:
        self._url, self._patience = url, patience
        self._cancelled = cancelled or threading.Event()

    def __call__(self, doing: str, call: Callable[[], T]) -> T:
        """Call, and call again after failures that may pass.

        Parameters
        ----------
        doing : str
            What the call does, for messages: ``"write"``.
        call : callable

        Returns
        -------
        T
            What `call` returns.

        Raises
        ------
        FileNotFoundError
            There is no such file, folder or bucket.
        StageError
            The storage refuses, or has failed for too long.
        Cancelled
            The run was cancelled meanwhile.
        """
        pause, first, tries = _FIRST_PAUSE, None, 0
        while True:
            try:
                return call()
            except (Recon3DError, FileNotFoundError):
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise  # of the disk that is written; the caller knows whose it is
                if isinstance(error, PermissionError) or type(error).__name__ in _PERMANENT:
                    raise self._refused(doing, error) from error
                tries, now = tries + 1, time.monotonic()
                first = now if first is None else first
                if now - first + pause > self._patience:
                    raise self._failed(doing, error, tries) from error
            # Many workers that wait for one storage do not all come back at the same moment.
            if self._cancelled.wait(pause * random.uniform(0.7, 1.0)):
                raise Cancelled()
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _refused(self, doing: str, error: Exception) -> StageError:
        return StageError(
            f"The storage {self._url} does not allow {socket.gethostname()} to {doing}: {reason(error)}.",
            f"Check the credentials and the rights of the bucket on every machine, and {_AGAIN}",
        )

    def _failed(self, doing: str, error: Exception, tries: int) -> StageError:
        return StageError(
            f"The storage {self._url} failed on {socket.gethostname()} to {doing}, {tries} times "
            f"in {self._patience:.0f} s: {reason(error)}.",
            f"Check that it runs and can be reached from every machine, and {_AGAIN}",
        )


def reason(error: BaseException) -> str:
    """Put an exception into a few words.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
    """
    text = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
