"""Hosts of a cluster as network namespaces of this machine; needs root and iproute2."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.compute import clusters
from tests.storage.s3_server import S3Server, serving

#: Why there can be none here; empty where there can.
NO_NAMESPACES = (
    "" if os.geteuid() == 0 and shutil.which("ip") else "network namespaces need root and iproute2"
)
_NUMBER = itertools.count(2)


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True)


class Network:
    """A bridge, whose address is this process's, and hosts behind it."""

    def __init__(self) -> None:
        self.bridge = f"r3d{os.getpid() % 100000}"
        self.hosts: dict[str, str] = {}
        ip("link", "add", self.bridge, "type", "bridge")
        ip("address", "add", "10.77.0.1/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    def host(self, name: str) -> str:
        """Add a host, and return its address."""
        space, number = f"{self.bridge}{name}", next(_NUMBER)
        ip("netns", "add", space)
        self.hosts[name] = space
        outer = f"{self.bridge}v{number}"
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", outer, "master", self.bridge, "up")
        ip("-n", space, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", space, "link", "set", device, "up")
        return f"10.77.0.{number}"

    def inside(self, name: str) -> list[str]:
        """The beginning of a command that runs on a host."""
        return ["ip", "netns", "exec", self.hosts[name]]

    def cut(self, name: str, seconds: float) -> None:
        """Take a host off the network for some time."""
        ip("-n", self.hosts[name], "link", "set", "eth0", "down")
        time.sleep(seconds)
        ip("-n", self.hosts[name], "link", "set", "eth0", "up")

    def close(self) -> None:
        for space in self.hosts.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", space)
        ip("link", "delete", self.bridge)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    made = Network()
    try:
        yield made
    finally:
        made.close()


def without(folder: Path, *, mebibytes: int = 0, small: Path | None = None) -> list[str]:
    """The beginning of a command that does not see a folder, and may have a small disk at another one."""
    mounts = f"mount -t tmpfs none {folder}"
    if small is not None:
        mounts += f" && mount -t tmpfs -o size={mebibytes}m none {small}"
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


class Hosts:
    """A scheduler, workers on hosts that do not see the projects, and S3, all with addresses of their own.

    Attributes
    ----------
    scheduler : str
        Its address.
    workers : sequence of psutil.Popen
        ``recon3d cluster worker`` of each host.
    caches : sequence of Path
        Of each host.
    server : S3Server
    """

    def __init__(
        self, scheduler: str, workers: Sequence[psutil.Popen], caches: Sequence[Path], server: S3Server
    ) -> None:
        self.scheduler, self.workers, self.caches, self.server = scheduler, workers, caches, server

    def processes(self) -> list[psutil.Process]:
        """The worker processes that there are now."""
        return [process for worker in self.workers for process in clusters.worker_processes(worker)]


@contextlib.contextmanager
def hosts_without_disk(
    network: Network, folder: Path, projects: Path, processes: Mapping[str, int]
) -> Iterator[Hosts]:
    """Start a scheduler on a host of its own, and workers on others.

    The environment of this process must name the S3 server's account when a run starts; see
    `S3Server.environment`.

    Parameters
    ----------
    network : Network
    folder : Path
        For logs and caches.
    projects : Path
        What the hosts do not see.
    processes : mapping of str to int
        Worker processes of each host.
    """
    address = network.host("s")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("10.77.0.1"))
        where: dict[str, Any] = {"environment": server.environment}
        _, scheduler = stack.enter_context(
            clusters.scheduler(
                folder, host=address, prefix=[*network.inside("s"), *without(projects)], **where
            )
        )
        started, caches = [], []
        for name, count in processes.items():
            network.host(name)
            caches.append(folder / f"cache-{name}")
            options = ["--processes", str(count), "--cache", str(caches[-1]), "--cache-size", "1GB"]
            prefix = [*network.inside(name), *without(projects)]
            started.append(
                stack.enter_context(clusters.workers(scheduler, folder, *options, prefix=prefix, **where))
            )
        yield Hosts(scheduler, started, caches, server)
