"""What ``scheduler=`` may be: an address, a scheduler file, or a Dask client."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from recon3d.errors import EngineUnavailable, OptionError


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
    """
    text = os.fspath(scheduler)
    path = Path(text)
    is_file = (
        not isinstance(scheduler, str) or path.suffix == ".json" or (os.sep in text and "://" not in text)
    )
    if not is_file:
        return text
    hint = "Start a scheduler with `recon3d cluster scheduler --scheduler-file FILE`, or give its address."
    try:
        address = json.loads(path.read_text())["address"]
    except FileNotFoundError:
        raise EngineUnavailable(f"There is no scheduler file {path}.", hint) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(f"{path} is not a scheduler file: {error}", hint) from error
    return str(address)


def check_scheduler(scheduler: Any) -> None:
    """Refuse what is neither an address, nor a file, nor a client, before a run begins.

    Parameters
    ----------
    scheduler : object

    Raises
    ------
    OptionError
    """
    if scheduler is None or isinstance(scheduler, str | os.PathLike):
        if scheduler is not None and not os.fspath(scheduler):
            raise OptionError("scheduler is empty.", "Give an address such as tcp://host:8786.")
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
