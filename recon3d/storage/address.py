"""What ``storage=`` may be: an address such as ``s3://bucket/prefix``."""

from __future__ import annotations

import importlib.util

from recon3d.errors import EngineUnavailable, OptionError

#: Protocols whose writes are whole or not at all here, and the package that each needs.
_PACKAGES = {
    "file": "",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}


def check_storage(url: str | None, *, scheduler: bool) -> None:
    """Refuse what is no storage, before a run begins.

    Parameters
    ----------
    url : str, optional
    scheduler : bool
        Whether the workers are those of a Dask scheduler.

    Raises
    ------
    OptionError
        It is no address of a storage, or there are no workers that need one.
    """
    if url is None:
        return
    protocol_of(url)
    if not scheduler:
        raise OptionError(
            "storage= is for workers of a Dask scheduler; workers of this machine read the project's folder.",
            "Add scheduler=, or leave storage out.",
        )


def protocol_of(url: str) -> str:
    """Read the protocol of a storage's address.

    Parameters
    ----------
    url : str

    Returns
    -------
    str

    Raises
    ------
    OptionError
        It is no address of a storage.
    """
    protocol, separator, path = url.partition("://")
    if not separator or protocol not in _PACKAGES or not path.strip("/"):
        raise OptionError(
            f"{url!r} is not the address of a storage.",
            "Write s3://BUCKET/PREFIX, gs://…, az://… or file:///FOLDER.",
        )
    return protocol


def require_package(url: str) -> str:
    """Check that the package for a storage is installed.

    Parameters
    ----------
    url : str

    Returns
    -------
    str
        The protocol.

    Raises
    ------
    EngineUnavailable
        It is not.
    """
    protocol = protocol_of(url)
    package = _PACKAGES[protocol]
    if package and importlib.util.find_spec(package) is None:
        install = "pip install 'recon3d[s3]'" if package == "s3fs" else f"pip install {package}"
        raise EngineUnavailable(
            f"The storage {url} needs the package {package}.",
            f"{install}, on this machine and on all workers.",
        )
    return protocol
