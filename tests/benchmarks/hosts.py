"""A run on hosts without a common disk against the same on this machine: bytes, seconds, repeated work.

``python -m tests.benchmarks.hosts KEPT bust:low fountain:medium [--kill 20]`` needs root. For each set it
runs everything with two workers of this machine, kept in KEPT/SET-QUALITY/local, and then with four workers
on two hosts and a scheduler on a third, which are network namespaces, and an S3 server between them.
``--kill S`` kills a random one of the worker processes every S seconds. It prints for each stage how many
files have the same bytes, and the bytes that were moved; and how many seconds workers worked for nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.kept_runs import kept_run, run, source
from tests.compute import clusters
from tests.compute.namespaces import NO_NAMESPACES, hosts_without_disk, network
from tests.compute.task_times import TaskTimes, measured

#: Worker processes of each host.
_HOSTS = {"a": 2, "b": 2}
_MOVED = ("uploaded", "fetched", "cached", "sent", "downloaded")


def differences(local: Mapping[str, str], remote: Mapping[str, str]) -> dict[str, tuple[int, list[str]]]:
    """Of each stage the number of files, and the names of those that differ or are on one side only."""
    found: dict[str, tuple[int, list[str]]] = {}
    for name in {**local, **remote}:
        count, others = found.get(name.partition("/")[0], (0, []))
        others += [name] if local.get(name) != remote.get(name) else []
        found[name.partition("/")[0]] = count + 1, others
    return found


def report(local: Path, remote: Path, times: TaskTimes) -> bool:
    """Print the tables; whether all bytes are the same."""
    compared = differences(clusters.digests(local), clusters.digests(remote))
    print(f"{'stage':<24}{'files':>7}{'same':>7}" + "".join(f"{word + ' MB':>15}" for word in _MOVED))
    total = dict.fromkeys(_MOVED, 0)
    for stage, moved in clusters.moved(remote).items():
        count, others = compared.get(stage, (0, []))
        total = {word: total[word] + moved[word] for word in _MOVED}
        print(
            f"{stage:<24}{count:>7}{count - len(others):>7}"
            + "".join(f"{moved[word] / 1e6:>15.2f}" for word in _MOVED)
        )
        for name in others[:5]:
            print(f"  differs: {name}")
    print(f"{'all':<38}" + "".join(f"{total[word] / 1e6:>15.2f}" for word in _MOVED))
    print(
        f"{times.killed} worker processes killed; tasks took {sum(times.needed.values()):.0f} s, and "
        f"{sum(times.lost.values()):.1f} s for nothing: {100 * times.repeated:.1f} % repeated"
    )
    for function, seconds in sorted(times.lost.items(), key=lambda row: -row[1]):
        if seconds:
            print(f"  {function:<24}{times.needed[function]:>8.1f} s needed{seconds:>8.1f} s for nothing")
    return not any(others for _, others in compared.values())


def compare(name: str, quality: str, kept: Path, every: float, seed: int) -> bool:
    """Run a set both ways, and print; whether all bytes are the same."""
    local = kept_run(kept, name, quality).path
    folder = local.parent
    projects = folder / "projects"
    shutil.rmtree(projects, ignore_errors=True)
    projects.mkdir()
    loads = [os.getloadavg()[0]]
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        network() as hosts_network,
        hosts_without_disk(hosts_network, Path(scratch), projects, _HOSTS) as hosts,
        measured(hosts.scheduler, hosts.processes, every, seed) as times,
    ):
        options = ["--scheduler", hosts.scheduler, "--storage", hosts.server.url]
        seconds = run(source(name), quality, projects / "remote", options, hosts.server.environment)
    loads.append(os.getloadavg()[0])
    print(
        f"\n{name} at {quality}, {sum(_HOSTS.values())} workers on {len(_HOSTS)} hosts, {seconds:.0f} s, "
        f"{time.strftime('%F %H:%M')}, load {loads[0]:.1f} to {loads[1]:.1f}"
        + (f", a worker killed every {every:g} s" if every else "")
    )
    same = report(local, projects / "remote", times)
    print("All bytes are the same." if same else "NOT all bytes are the same.", flush=True)
    shutil.rmtree(projects)
    return same


def main() -> None:
    """Run and print."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="+", metavar="SET:QUALITY")
    parser.add_argument("--kill", type=float, default=0.0, metavar="S")
    parser.add_argument("--seed", type=int, default=5, help="of the choice of the killed processes")
    given = parser.parse_args()
    if NO_NAMESPACES:
        parser.error(NO_NAMESPACES)
    same = [compare(*named.split(":"), given.kept, given.kill, given.seed) for named in given.sets]
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
