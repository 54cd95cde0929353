"""How a worker's process ended: real processes, and the rules."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recon3d.compute import deaths, machine
from recon3d.compute.deaths import Cause, Death, Watch, describe_death
from recon3d.compute.machine import free_memory, oom_kills, usable_memory

_GB = 10**9


@pytest.mark.parametrize(
    ("death", "cause"),
    [
        # Small memory, much of it free: somebody.
        (Death(9, memory=_GB, usable=24 * _GB, free=12 * _GB, oom_kills=0), Cause.KILLED),
        (Death(15, memory=_GB, usable=24 * _GB, free=12 * _GB), Cause.KILLED),
        # Large memory, but much is free: nothing ends a process for that.
        (Death(9, memory=9 * _GB, usable=24 * _GB, free=12 * _GB, oom_kills=0), Cause.KILLED),
        # The kernel's word counts, however fast the memory grew between looks.
        (Death(9, memory=_GB, usable=24 * _GB, free=12 * _GB, oom_kills=1), Cause.MEMORY),
        # A program that watches the memory ended the largest.
        (Death(9, memory=9 * _GB, usable=24 * _GB, free=2 * _GB, oom_kills=0), Cause.MEMORY),
        (Death(9, memory=9 * _GB, usable=24 * _GB, free=2 * _GB), Cause.MEMORY),
        # Others have taken the memory: a coarser result would not help.
        (Death(9, memory=_GB, usable=24 * _GB, free=2 * _GB, oom_kills=0), Cause.KILLED),
        # The nanny's own limit.
        (Death(15, over_limit=True, memory=_GB, usable=24 * _GB, free=12 * _GB, limit=_GB), Cause.MEMORY),
        (Death(6, memory=_GB, usable=24 * _GB, free=2 * _GB, oom_kills=0), Cause.CRASHED),
        (Death(11), Cause.CRASHED),
        (Death(0), Cause.CRASHED),
        # Without a look, a kill says nothing of memory.
        (Death(9), Cause.KILLED),
        (Death(), Cause.UNKNOWN),
        (Death(lost=True), Cause.LOST),
    ],
)
def test_the_cause(death: Death, cause: Cause) -> None:
    assert death.cause is cause


def nanny_of(process: subprocess.Popen[bytes]) -> Any:
    logs: list[tuple[str, str]] = []
    inner = SimpleNamespace(pid=process.pid)
    return SimpleNamespace(process=SimpleNamespace(process=inner), get_logs=lambda: logs, logs=logs)


@contextlib.contextmanager
def holding(size: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds so many bytes; it is killed at the end."""
    code = f"import sys, time; b = bytearray({size}); b[::4096] = b'x' * len(b[::4096]); print(1, flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


def test_a_nanny_knows_what_its_worker_held_when_it_was_killed() -> None:
    with holding(300_000_000) as process:
        nanny = nanny_of(process)
        nanny.recon3d_watch = watch = Watch(nanny)
        watch.look()
        assert not watch.has_ended(process.pid)
    nanny.logs.append(("INFO", f"Worker process {process.pid} was killed by signal 9"))
    nanny.logs.append(("INFO", "Worker process 1 exited with status 1"))
    watch.look()
    assert watch.has_ended(process.pid)
    death = Death(**asyncio.run(describe_death(process.pid, nanny)))
    assert death.signal == signal.SIGKILL
    assert death.memory is not None
    assert 300_000_000 < death.memory < 400_000_000
    assert death.usable == usable_memory()
    assert 0 < death.free <= death.usable
    assert death.cause is Cause.KILLED
    assert death.facts.startswith("it held 0.3 GB while ")


def test_what_the_kernel_ended_meanwhile_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts a kill before the process is gone: looks from before that decide."""
    counts = iter([3, 3, 4, 4, 4])
    monkeypatch.setattr(deaths, "oom_kills", lambda: next(counts))
    with holding(1) as process:
        watch = Watch(nanny_of(process))
        for _ in range(3):
            watch.look()
    watch.look()
    assert watch.seen(process.pid)["oom_kills"] == 1


def test_a_nanny_that_has_not_looked_tells_what_its_log_says() -> None:
    logs = [("WARNING", "Worker tcp://a:1 (pid=7) exceeded 95% memory budget. Restarting...")]
    found = asyncio.run(describe_death(7, SimpleNamespace(get_logs=lambda: logs)))
    assert Death(**found) == Death(over_limit=True)


def test_free_memory_is_what_this_process_can_take() -> None:
    before = free_memory()
    assert 0 < before <= usable_memory()
    with holding(1_000_000_000):
        assert free_memory() < before - 500_000_000


def test_the_limit_of_a_control_group_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, used, parts = (tmp_path / name for name in ("max", "current", "stat"))
    limit.write_text("3000000")
    used.write_text("2500000")
    parts.write_text("anon 1\nactive_file 100000\ninactive_file 200000\n")
    monkeypatch.setattr(machine, "_GROUPS", ((str(limit), str(used), str(parts)),))
    assert usable_memory() == 3_000_000
    assert free_memory() == 800_000
    limit.write_text("max")
    assert free_memory() > 3_000_000


def test_the_kernels_count_is_known_where_the_kernel_tells_it() -> None:
    assert "oom_kill " not in Path("/proc/vmstat").read_text() or isinstance(oom_kills(), int)
