"""Commands that start Dask's processes for a cluster: ``recon3d cluster scheduler | worker``."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from recon3d.compute import usable_cores
from recon3d.compute.cuda import gpu_engines, no_gpu_engine, visible_devices
from recon3d.compute.processes import (
    check_listening,
    end_processes,
    end_tree,
    set_cache,
    start_scheduler,
    start_workers,
)
from recon3d.compute.target import scheduler_address, why_unreachable
from recon3d.errors import EngineUnavailable, OptionError
from recon3d.latch import Latch
from recon3d.rendering.formatting import count

commands = typer.Typer(
    help="Start the scheduler and the workers of a Dask cluster, set up as those of a local run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
#: Options that are not ours are Dask's.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
#: Seconds that processes take to end by themselves, and seconds between tries to reach a scheduler.
_GRACE = 10.0
_PAUSES = (1.0, 2.0, 5.0, 10.0)
#: How Dask's command line ends when it does not know an option.
_BAD_OPTION = 2
#: Workers that ran for so long had reached the scheduler.
_RAN = 60.0


@commands.command(context_settings=_PASS_ON)
def scheduler(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen at; all of this machine's by default.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any.")] = 8786,
    scheduler_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the address here, for workers and runs.")
    ] = None,
) -> None:
    """Start a scheduler; takes the options of `dask scheduler`, too."""
    check_listening(host, port)
    options = ["--host", host] if host else []
    options += ["--port", str(port)]
    if scheduler_file is not None:
        options += ["--scheduler-file", str(scheduler_file)]
    process = start_scheduler([*options, *context.args])
    with _ending_on_signals([process]) as asked:
        status = process.wait()
    raise typer.Exit(0 if asked.is_set() else status)


@commands.command(context_settings=_PASS_ON)
def worker(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="SCHEDULER", help="The scheduler's address, or its scheduler file.")
    ],
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one a core by default.")
    ] = None,
    gpus: Annotated[
        str, typer.Option(help="GPUs, each for one of the processes: auto for all, or a number.")
    ] = "auto",
    memory_limit: Annotated[
        str, typer.Option(help="Memory that a process may take, such as 8GB, before it is restarted; 0: any.")
    ] = "0",
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for what is fetched from a storage; ~/.cache by default."),
    ] = None,
    cache_size: Annotated[
        str | None, typer.Option(help="Most that it holds, such as 20GB; half of the free disk by default.")
    ] = None,
) -> None:
    """Start this machine's workers, and keep them running; takes the options of `dask worker`, too."""
    set_cache(cache, cache_size)
    devices = _devices(gpus)
    number = max(processes or usable_cores(), len(devices))
    target = scheduler_address(address)
    failures = 0
    while True:
        with_gpu = f", {len(devices)} with a GPU" if devices else ""
        _say(f"{count(number, 'worker')}{with_gpu} for {target}. Ctrl-C ends them.")
        if reason := why_unreachable(target):
            _say(
                f"No scheduler answers at {target}: {reason}. Start it there with `recon3d cluster "
                "scheduler`, or check the address. The workers keep trying."
            )
        began = time.monotonic()
        started = start_workers(target, number, gpus=devices, memory_limit=memory_limit, options=context.args)
        with _ending_on_signals(started) as asked:
            # One that has ended takes the others along: all are started anew, with the same scheduler.
            while all(process.poll() is None for process in started) and not asked.wait(0.2):
                pass
            status = next((process.returncode for process in started if process.returncode), 0)
            _end(started)
        if asked.is_set():
            raise typer.Exit(0)
        if status == _BAD_OPTION:
            raise typer.Exit(status)
        failures = 0 if time.monotonic() - began > _RAN else failures + 1
        pause = _PAUSES[min(failures, len(_PAUSES)) - 1] if failures else _PAUSES[0]
        _say(f"The scheduler {target} is gone or does not answer. Trying again in {pause:.0f} s.")
        with _ending_on_signals([]) as asked:
            if asked.wait(pause):
                raise typer.Exit(0)
        # A new scheduler has another address in its file; until it is written, the last one is tried.
        with suppress(EngineUnavailable):
            target = scheduler_address(address)


def _devices(gpus: str) -> list[str]:
    available = bool(gpu_engines())
    found = visible_devices() if available else []
    if gpus == "auto":
        return found
    if not gpus.isdecimal():
        raise OptionError(f"--gpus is {gpus!r}.", "Give auto, or a number.")
    if int(gpus) > len(found):
        why = f"there are {len(found)}" if available else no_gpu_engine()
        raise EngineUnavailable(f"--gpus asks for {gpus}: {why}.", "Run `recon3d doctor`, or use --gpus 0.")
    return found[: int(gpus)]


@contextmanager
def _ending_on_signals(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[Latch]:
    """Let the first Ctrl-C or SIGTERM end processes in order, and a second one at once."""
    asked = Latch()

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            for process in processes:
                end_tree(process.pid)  # without waiting: what this interrupts may wait for them already
        asked.set()
        for process in processes:
            process.terminate()

    previous: dict[int, Callable[[int, Any], Any] | int | None] = {
        number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_processes(processes)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
