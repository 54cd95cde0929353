"""Checking the workers of a Dask scheduler when a run connects: refused, or warned about, in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recon3d.compute.facts import describe_worker
from recon3d.compute.preload import preparing_plugin, watching_plugin
from recon3d.compute.settings import DASK_SETTINGS
from recon3d.compute.versions import code_digest, versions
from recon3d.errors import Cancelled, EngineUnavailable, Recon3DError
from recon3d.storage import Storage

#: Seconds that a worker may take to answer; one that runs another task may be silent for longer.
_ANSWER = 30.0
#: Seconds between looks at whether silent workers are still there.
_LOOK = 0.5
#: Seconds that clocks may differ.
_CLOCKS = 2.0
_SAME_STORAGE = "Check that its credentials and its AWS_ENDPOINT_URL lead to the same storage as here."
_RIGHT = "`recon3d cluster worker` starts workers that are set up right."


#: What a worker tells, or why it does not, and when it was asked and had answered.
_Answer = tuple[dict[str, Any] | Exception, float, float]


@dataclass
class Admission:
    """What was found about the workers."""

    #: Sentences about what is not as it should be and does not stop a run.
    notes: list[str] = field(default_factory=list)
    #: Bytes of memory by host.
    memory: dict[str, int] = field(default_factory=dict)
    #: Workers that are there.
    count: int = 0
    #: Whose code every GPU can run; see `recon3d.compute.cuda.gpu_engines`.
    gpu_engines: tuple[str, ...] = ()


def admit_workers(
    client: Any,
    workers: Mapping[str, Mapping[str, Any]],
    place: Path | Storage | None,
    cancelled: threading.Event | None,
) -> Admission:
    """Prepare the workers of a scheduler and check them.

    Parameters
    ----------
    client : distributed.Client
    workers : mapping
        What the scheduler knows of each, by address.
    place : Path or Storage, optional
        What the workers must see as this process does.
    cancelled : threading.Event, optional
        Ends the wait for their answers.

    Returns
    -------
    Admission

    Raises
    ------
    EngineUnavailable
        A worker runs other code, has several threads, or does not see the place.
    Cancelled
        The wait was cancelled.
    """
    token = os.urandom(16).hex()
    with _token_at(place, token) as file:
        answers = client.sync(_ask_all, client, list(workers), file, token, cancelled)
    admission = Admission(count=len(answers))
    _check(answers, place, admission.notes)
    for address, (answer, _, _) in answers.items():
        if isinstance(answer, dict):
            limit = int(workers[address].get("memory_limit") or 0)
            # As the scheduler calls it: names of machines and of containers may be alike.
            host, memory = workers[address]["host"], answer["memory"]
            known = admission.memory.get(host, 0)
            admission.memory[host] = min(memory, known + (limit or memory))
    admission.gpu_engines = common_gpu_engines(
        [answer.get("gpu_engines") for answer, _, _ in answers.values() if isinstance(answer, dict)]
    )
    _check_scheduler(client, admission.notes)
    if any(isinstance(answer, dict) and not answer["preloaded"] for answer, _, _ in answers.values()):
        # A worker that crashes is started anew, and would lack what was set in the first one.
        client.register_plugin(preparing_plugin())
        client.register_plugin(watching_plugin())
    return admission


@contextlib.contextmanager
def _token_at(place: Path | Storage | None, token: str) -> Iterator[str]:
    """Leave a token for the workers; yields where, as `describe_worker` takes it."""
    name = f".seen-{token[:8]}"
    if place is None:
        yield ""
    elif isinstance(place, Storage):
        place.write_text(name, token)
        try:
            yield f"{place.url}/{name}"
        finally:
            with contextlib.suppress(Recon3DError, OSError):
                place.remove(name)
    else:
        file = place.resolve() / name
        try:
            file.write_text(token)
            yield str(file)
        finally:
            file.unlink(missing_ok=True)


def common_gpu_engines(answers: Iterable[list[str] | None]) -> tuple[str, ...]:
    """List whose code every GPU can run: a task that needs one goes to any.

    Parameters
    ----------
    answers : iterable of list of str or None
        By worker; None if it offers no GPU.

    Returns
    -------
    tuple of str
        In the order of the first answer.
    """
    able = [answer for answer in answers if answer is not None]
    return tuple(name for name in able[0] if all(name in other for other in able)) if able else ()


async def _ask_all(
    client: Any, workers: Iterable[str], file: str, token: str, cancelled: threading.Event | None
) -> dict[str, _Answer]:
    """Ask all workers at once; one that the scheduler has lost meanwhile is left out."""

    async def ask(address: str) -> _Answer:
        first = time.time()
        while True:
            began = time.time()
            answer: dict[str, Any] | Exception
            try:
                found = await asyncio.wait_for(
                    client.run(describe_worker, file, token, workers=[address], on_error="return"), _ANSWER
                )
                answer = found[address]
            except asyncio.TimeoutError as error:
                answer = error
            # A worker that ends at this moment breaks the connection before the scheduler knows of it.
            if not isinstance(answer, OSError) or time.time() - first > _ANSWER:
                return answer, began, time.time()
            await asyncio.sleep(_LOOK / 2)

    asked = {address: asyncio.ensure_future(ask(address)) for address in workers}
    try:
        while (await asyncio.wait(asked.values(), timeout=_LOOK))[1]:
            if cancelled is not None and cancelled.is_set():
                raise Cancelled()
            known = (await client.scheduler.identity())["workers"]
            for address in [a for a, task in asked.items() if a not in known and not task.done()]:
                asked.pop(address).cancel()
            if not asked:
                break
        return {address: task.result() for address, task in asked.items()}
    finally:
        for task in asked.values():
            task.cancel()


def _check(answers: Mapping[str, _Answer], place: Path | Storage | None, notes: list[str]) -> None:
    own, code = versions(), code_digest()
    refused: dict[tuple[str, str], list[str]] = {}
    warned: dict[tuple[str, str], list[str]] = {}

    def refuse(address: str, what: str, hint: str) -> None:
        refused.setdefault((what, hint), []).append(address)

    def warn(address: str, what: str, hint: str) -> None:
        warned.setdefault((what, hint), []).append(address)

    install = f"Install recon3d {own['recon3d']} there with the same packages, and start the workers again."
    for address, (answer, began, ended) in answers.items():
        if isinstance(answer, OSError | asyncio.TimeoutError):
            warn(
                address,
                f"did not answer for {_ANSWER:.0f} s and is not checked",
                "It may be busy or stopped.",
            )
            continue
        if isinstance(answer, ImportError | AttributeError):
            refuse(address, f"cannot load recon3d {own['recon3d']} ({answer})", install)
            continue
        if isinstance(answer, Exception):
            refuse(address, f"failed the check ({type(answer).__name__}: {answer})", install)
            continue
        theirs = answer["versions"]
        for name in ("recon3d", "pycolmap", "Dask"):
            if theirs.get(name) != own[name]:
                refuse(address, f"has {name} {theirs.get(name)}, this process {own[name]}", install)
        if theirs["recon3d"] == own["recon3d"] and answer["code"] != code:
            refuse(address, f"runs changed code of recon3d {own['recon3d']}", install)
        for name in ("Python", "numba", "NumPy"):
            if theirs.get(name) != own[name]:
                what = f"has {name} {theirs.get(name)}, this process {own[name]}: results may differ"
                warn(address, what, install)
        if answer["nthreads"] != 1:
            what = f"runs {answer['nthreads']} tasks at once, and native code is not thread-safe"
            refuse(address, what, "Start it with --nthreads 1, or LocalCluster(threads_per_worker=1).")
        if answer.get("cache"):  # older versions do not tell
            problem, hint = answer["cache"]
            refuse(address, f"cannot use its cache: {problem}", hint)
        if answer["folder"] and isinstance(place, Storage):
            what = f"cannot use the storage {place.url}: {answer['folder']}"
            refuse(address, what, answer.get("hint") or _SAME_STORAGE)
        elif answer["folder"]:
            what = f"does not see {place} as this process does: {answer['folder']}"
            refuse(
                address,
                what,
                "Mount the project's disk there under the same path, writable, or use --storage.",
            )
        if not answer["nanny"]:
            what = "has no nanny: a crash in native code ends it, and cancelling does not end its task"
            warn(address, what, "Start it with --nanny.")
        if answer["unpinned"]:
            what = f"loaded NumPy without {' and '.join(answer['unpinned'])} set to 1: threads compete"
            warn(address, what, _RIGHT)
        off = max(began - answer["clock"], answer["clock"] - ended)
        if off > _CLOCKS:
            word = "behind" if answer["clock"] < began else "ahead"
            what = f"has a clock {off:.0f} s {word}: times in reports will be wrong"
            warn(address, what, "Set the machines' clocks by NTP.")
    if refused:
        (what, hint), addresses = next(iter(refused.items()))
        raise EngineUnavailable(f"The worker {_named(addresses)} {what}.", hint)
    notes += [f"The worker {_named(a)} {what}. {hint}" for (what, hint), a in warned.items()]


def _named(addresses: list[str]) -> str:
    more = len(addresses) - 1
    return f"{addresses[0]} (and {more} more)" if more else addresses[0]


def _check_scheduler(client: Any, notes: list[str]) -> None:
    """Tell of settings that only the scheduler's own process can have."""
    import dask.config

    setting = "distributed.scheduler.worker-ttl"
    # A function of Dask, which is there also where recon3d is not.
    ttl = client.run_on_scheduler(dask.config.get, setting)
    if ttl != DASK_SETTINGS[setting]:
        notes.append(
            f"The scheduler {client.scheduler.address} gives up workers that are silent for {ttl}, as they "
            "are in long native calls. Start it with `recon3d cluster scheduler`, or with "
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None."
        )
