"""Clusters of real processes on this machine, started as people start them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recon3d.project import Project
from tests.docs.small_runs import SMALL

_SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "bust.mp4"


@contextlib.contextmanager
def started(
    arguments: Sequence[object],
    *,
    log: Path,
    environment: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[psutil.Popen]:
    """Start ``python -m …`` and end it, and all that it has started, at the end."""
    command = [*prefix, sys.executable, "-m", *map(str, arguments)]
    with open(log, "ab") as output:
        process = psutil.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = [process, *process.children(recursive=True)]
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(5)
            for member in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        process.wait()


@contextlib.contextmanager
def scheduler(
    folder: Path,
    *options: str,
    environment: dict[str, str] | None = None,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
) -> Iterator[tuple[psutil.Popen, str]]:
    """A scheduler of ``recon3d cluster scheduler``, and its address."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    command = ["recon3d", "cluster", "scheduler", "--host", host, "--port", "0", "--no-dashboard"]
    command += ["--scheduler-file", str(file), *options]
    log = folder / "scheduler.log"
    with started(command, log=log, environment=environment, prefix=prefix) as process:
        yield process, address_in(file, process)


@contextlib.contextmanager
def workers(
    address: str | Path,
    folder: Path,
    *options: str,
    environment: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[psutil.Popen]:
    """Workers of ``recon3d cluster worker``."""
    command = ["recon3d", "cluster", "worker", address, "--gpus", "0", *options]
    log = folder / "workers.log"
    with started(command, log=log, environment=environment, prefix=prefix) as process:
        yield process


def address_in(file: Path, process: subprocess.Popen[bytes] | psutil.Popen) -> str:
    """Wait for a scheduler's file, and read the address in it."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(file.read_text())["address"])
        assert process.poll() is None, "the scheduler has ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worker_processes(supervisor: psutil.Popen) -> list[psutil.Process]:
    """The processes that run tasks, below ``recon3d cluster worker``."""
    found = []
    for child in supervisor.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def tls_environment(folder: Path) -> dict[str, str]:
    """Make a certificate of 127.0.0.1, and the environment in which Dask uses it everywhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recon3d test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    environment = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(cert_file)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(cert_file)
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(key_file)
    return environment


def as_settings(environment: dict[str, str]) -> dict[str, str]:
    """Dask's settings of environment variables, for this process."""
    return {
        name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-"): value
        for name, value in environment.items()
    }


def small_run(project: Path, *options: object, **how: Any) -> subprocess.Popen[Any]:
    """Start a run of the sample that takes a minute; `how` is for the process."""
    sizes = [f"--set={s}.{o}={v}" for s, options in SMALL.items() for o, v in options.items()]
    command = [sys.executable, "-m", "recon3d", "run", _SAMPLE, "-o", project, "-q", "low", *sizes, *options]
    return subprocess.Popen(list(map(str, command)), **how)


def digests(project: Path) -> dict[str, str]:
    """What each stage made; without manifests, which tell times."""
    found = {}
    for name, artifact in Project.open(project).artifacts.items():
        for path in sorted(artifact.path.rglob("*")):
            if path.is_file() and path.name != "manifest.json":
                relative = path.relative_to(artifact.path)
                found[f"{name}/{relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def moved(project: Path) -> dict[str, dict[str, int]]:
    """Bytes that each stage moved, in the order of the stages."""
    manifests = [json.loads(path.read_text()) for path in project.glob("artifacts/*/manifest.json")]
    return {m["stage"]: m["moved"] for m in sorted(manifests, key=lambda m: m["started"])}
