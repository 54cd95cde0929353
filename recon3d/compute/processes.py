"""Starting and ending Dask's processes, on this machine, for a run or for a cluster."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil

from recon3d.compute.settings import CLUSTER_FAILURES, PRELOAD, process_environment, worker_options
from recon3d.errors import EngineUnavailable, OptionError
from recon3d.storage import FOLDER_VARIABLE, SIZE_VARIABLE


def set_cache(folder: Path | None, size: str | None) -> None:
    """Set where the workers that are started next keep what they fetch from a storage.

    Parameters
    ----------
    folder : Path, optional
    size : str, optional
        Most that it holds, as Dask reads it: ``20GB``.

    Raises
    ------
    OptionError
        The size is none.
    """
    from dask.utils import parse_bytes

    if folder is not None:
        os.environ[FOLDER_VARIABLE] = str(folder.expanduser().absolute())
    if size is not None:
        try:
            os.environ[SIZE_VARIABLE] = str(parse_bytes(size))
        except ValueError:
            raise OptionError(f"--cache-size is {size!r}.", "Give a size such as 20GB.") from None


def start_workers(
    scheduler: str,
    count: int,
    *,
    gpus: Sequence[str] = (),
    memory_limit: str = "0",
    output: IO[bytes] | int | None = None,
    options: Sequence[str] = (),
) -> list[subprocess.Popen[bytes]]:
    """Start processes that keep workers running until they, or the process that called, end.

    Parameters
    ----------
    scheduler : str
        Address of the Dask scheduler that the workers report to.
    count : int
        Workers; there are as many as GPUs at least.
    gpus : sequence of str
        Devices, as ``CUDA_VISIBLE_DEVICES`` calls them. For each, one of the workers offers the Dask
        resource ``GPU`` and sees that device only, as number 0.
    memory_limit : str
        Of each worker, as Dask reads it; ``0`` for none.
    output : file or int, optional
        Receives what they print; by default where this process prints.
    options : sequence of str
        Further options of ``dask worker``.

    Returns
    -------
    list of subprocess.Popen
        One process for the workers without a GPU, and one for each GPU.
    """
    environment = process_environment({"logging.distributed": "warning"})
    groups: list[tuple[int, str | None]] = [(1, device) for device in gpus]
    if count > len(gpus):
        groups.insert(0, (count - len(gpus), None))
    started = []
    for size, device in groups:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
        command += [*worker_options(size, memory_limit=memory_limit, gpu=device is not None), *options]
        seen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        started.append(
            # A session of its own: Ctrl-C is for the process that called, which ends the workers itself.
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, **seen},
                start_new_session=True,
            )
        )
    return started


def start_scheduler(options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a Dask scheduler that ends with the process that called.

    Parameters
    ----------
    options : sequence of str
        Of ``dask scheduler``.

    Returns
    -------
    subprocess.Popen
    """
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--preload", PRELOAD, *options]
    environment = process_environment(CLUSTER_FAILURES)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)


def check_listening(host: str, port: int) -> None:
    """Raise if a scheduler could not listen at an address.

    Parameters
    ----------
    host : str
        As Dask takes it; empty for all addresses of this machine.
    port : int

    Raises
    ------
    EngineUnavailable
        The port is in use, or is not for this user.
    OptionError
        The host is another machine, or none.
    """
    name = host.rpartition("://")[2].strip("[]") or "0.0.0.0"
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Dask does
                tried.bind(address)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            what = "is in use" if error.errno == errno.EADDRINUSE else "is for administrators only"
            raise EngineUnavailable(
                f"Port {port} {what} on this machine.",
                "Choose another with --port; 0 takes any that is free.",
            ) from None
        raise OptionError(
            f"{host!r} is not an address of this machine: {error.strerror or error}.",
            "Give --host one of its addresses, or leave it out to listen at all of them.",
        ) from None


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill processes and all that they started, and wait for their end.

    Parameters
    ----------
    processes : sequence of subprocess.Popen
    """
    for process in processes:
        end_tree(process.pid)
        process.wait()


def end_tree(pid: int) -> None:
    """Kill a process and all that it started.

    Parameters
    ----------
    pid : int
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        # Workers die with their nanny (see the preload); what they started may not.
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
