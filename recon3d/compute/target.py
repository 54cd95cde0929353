"""What ``scheduler=`` may be: an address, a scheduler file, or a Dask client."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from recon3d.errors import EngineUnavailable, OptionError

#: As Dask writes addresses. Those in a process have no host, and those of other transports none that
#: can be checked here.
_ADDRESS = re.compile(
    r"(?:(?P<kind>tcp|tls|ws|wss|ucx|ucxx)://)?(?P<host>\[[\da-fA-F:.]+(?:%\w+)?\]|[\w.-]+):(?P<port>\d{1,5})/?"
)
_IN_PROCESS = "inproc://"
#: Seconds in which a machine must accept a connection, and seconds between tries.
_ANSWER_SECONDS, _PAUSE = 2.0, 0.2
_START_ONE = "Start a scheduler with `recon3d cluster scheduler --scheduler-file FILE`, or give its address."


def scheduler_address(scheduler: str | os.PathLike[str]) -> str:
    """Find the address of a scheduler.

    Parameters
    ----------
    scheduler : str or path-like
        An address such as ``tcp://host:8786``, or the file that ``--scheduler-file`` of a scheduler
        wrote.

    Returns
    -------
    str

    Raises
    ------
    EngineUnavailable
        The file is not there, or is none of a scheduler.
    OptionError
        It is neither an address nor a file.
    """
    if not _is_file(scheduler):
        return _checked_address(os.fspath(scheduler))
    path = Path(scheduler)
    try:
        address = json.loads(path.read_text())["address"]
    except FileNotFoundError:
        raise EngineUnavailable(f"There is no scheduler file {path}.", _START_ONE) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(f"{path} is not a scheduler file: {error}", _START_ONE) from error
    return str(address)


def _is_file(scheduler: str | os.PathLike[str]) -> bool:
    text = os.fspath(scheduler)
    path = Path(text)
    named = path.suffix == ".json" or (os.sep in text and "://" not in text)
    return not isinstance(scheduler, str) or named or path.is_file()


def _checked_address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if text.startswith(_IN_PROCESS) or (found and 0 < int(found["port"]) < 65_536):
        return text
    raise OptionError(
        f"{text!r} is not the address of a scheduler.",
        "Write tcp://HOST:PORT, as `recon3d cluster scheduler` prints it, such as tcp://192.168.1.5:8786; or "
        "give a scheduler file, whose name ends in .json.",
    )


def why_unreachable(address: str, patience: float = 0) -> str:
    """Find out why nothing accepts connections at a scheduler's address.

    Parameters
    ----------
    address : str
    patience : float
        Seconds in which a scheduler that is just starting may come.

    Returns
    -------
    str
        The reason; empty when something accepts connections, or when only Dask can tell.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or (found["kind"] or "tcp").startswith("ucx"):
        return ""
    host, port = found["host"].strip("[]"), int(found["port"])
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, port), _ANSWER_SECONDS).close()
        except OSError as error:
            reason = str(error.strerror or error)
        else:
            return ""
        if time.monotonic() + _PAUSE > end:
            return reason
        time.sleep(_PAUSE)


def check_scheduler(scheduler: Any) -> None:
    """Refuse what is neither an address, nor a file, nor a client, before a run begins.

    Parameters
    ----------
    scheduler : object

    Raises
    ------
    OptionError
    """
    if scheduler is None:
        return
    if isinstance(scheduler, str | os.PathLike):
        if not os.fspath(scheduler):
            raise OptionError("scheduler is empty.", "Give an address such as tcp://host:8786.")
        # A file may be written later, by the scheduler.
        if not _is_file(scheduler):
            _checked_address(os.fspath(scheduler))
        return
    if not is_client(scheduler):
        raise OptionError(
            f"scheduler is a {type(scheduler).__name__}.",
            "Give an address, a scheduler file, or a distributed.Client.",
        )
    if scheduler.asynchronous:
        raise OptionError("The Dask client is asynchronous.", "Make it with Client(…, asynchronous=False).")


def is_client(scheduler: Any) -> bool:
    """Tell whether an object is a Dask client.

    Parameters
    ----------
    scheduler : object

    Returns
    -------
    bool
    """
    import distributed

    return isinstance(scheduler, distributed.Client)


def describe_scheduler(scheduler: Any) -> str:
    """Say in words where a run computes.

    Parameters
    ----------
    scheduler : str, path-like, distributed.Client or None

    Returns
    -------
    str
    """
    if scheduler is None:
        return "this machine"
    if isinstance(scheduler, str | os.PathLike):
        return os.fspath(scheduler)
    address = getattr(getattr(scheduler, "scheduler", None), "address", None)
    return str(address or "a closed Dask client")
