"""Limits, errors, health, metrics, logs, settings, migrations."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from recon3d_api.errors import ApiError
from recon3d_api.http.metrics import Metrics
from recon3d_api.http.rate_limits import RateLimits
from recon3d_api.logs import JsonFormatter, request_id
from recon3d_api.settings import InsecureSettings, Settings
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Base
from tests.api.conftest import Api, new_project, started, wait_for

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def test_general_and_processing_limits(serve: Serve) -> None:
    with serve(runners=0, rate_limit="10/minute", rate_limit_processing="2/minute") as api:
        one, other = api.user()[1], api.user()[1]
        with api.client(one) as first, api.client(other) as second:
            codes = [first.get("/projects").status_code for _ in range(15)]
            assert codes.count(200) == 10
            refused = first.get("/projects")
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert "Too many requests" in refused.json()["detail"]
            # Users do not take each other's share.
            assert second.get("/projects").status_code == 200
            codes = [second.post("/projects/9/start-reconstruction").status_code for _ in range(4)]
            assert codes == [404, 404, 429, 429]
        # Strangers are counted by address; the operations are not counted.
        assert [httpx.get(f"{api.url}/api/v1/auth/me").status_code for _ in range(12)].count(429) == 2
        assert {httpx.get(f"{api.url}/health").status_code for _ in range(12)} == {200}


def test_the_windows_of_the_contract(tmp_path: Path) -> None:
    limits = RateLimits(Settings(data_dir=tmp_path), Metrics())

    def tries(kind: str, count: int) -> int:
        taken = 0
        for _ in range(count):
            with contextlib.suppress(ApiError):
                limits.check(kind, "somebody")
                taken += 1
        return taken

    assert (tries("general", 30), tries("processing", 30)) == (10, 2)
    time.sleep(1.05)
    assert (tries("general", 30), tries("processing", 30)) == (10, 2)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers)
    try:
        yield f"redis://127.0.0.1:{port}/0", server
    finally:
        server.kill()
        server.wait()


def test_two_servers_share_limits_through_redis(
    serve: Serve, redis: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, server = redis
    shared = {"runners": 0, "rate_limit": "10/minute", "redis_url": url, "secret_key": "k9" * 20}
    with serve(**shared) as first, serve(**shared) as second:
        token = first.user()[1]
        with first.client(token) as one, second.client(token) as two:
            codes = [client.get("/auth/me").status_code for client in (one, two) * 8]
            assert codes.count(429) == 6
            # Without Redis each server counts for itself, and goes on.
            server.kill()
            server.wait()
            assert one.get("/auth/me").status_code == 200


def test_errors_are_details(client: httpx.Client, idle: Api) -> None:
    cases = [
        httpx.get(f"{idle.url}/nowhere"),
        httpx.get(f"{idle.url}/api/v1/nowhere"),
        client.request("PATCH", "/projects"),
        client.post("/projects", content=b"{", headers={"Content-Type": "application/json"}),
        client.post("/projects", content=b"\xff\xfe", headers={"Content-Type": "application/json"}),
        client.post("/projects", content=b"[" * 100_000, headers={"Content-Type": "application/json"}),
        client.get("/projects/x"),
        client.get("/projects/999999"),
        client.get("/jobs?status=%00"),
        client.get("/projects/%00"),
        client.get("/files/download/1/..%2F..%2Fetc%2Fpasswd"),
        httpx.get(f"{idle.url}/api/v1/../../etc/passwd"),
    ]
    for answer in cases:
        assert 400 <= answer.status_code < 500, (answer.url, answer.status_code)
        assert isinstance(answer.json()["detail"], str)
        assert answer.headers["x-request-id"]
    fields = client.post("/projects", json={}).json()
    assert fields["detail"] == "name: Field required"
    assert fields["errors"] == [{"loc": ["body", "name"], "msg": "Field required", "type": "missing"}]


def test_no_trace_leaves(idle: Api, client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    def explode(folder: str) -> None:
        raise RuntimeError("the secret reason")

    number = new_project(client)
    idle.service.storage.open = explode  # type: ignore[method-assign, assignment]
    try:
        answer = client.get(f"/files/list/{number}", headers={"X-Request-ID": "my-id.1"})
    finally:
        del idle.service.storage.open
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal server error"}
    assert answer.headers["x-request-id"] == "my-id.1"
    assert any("the secret reason" in (record.exc_text or "") for record in caplog.records)


def test_request_ids(idle: Api) -> None:
    ids = {httpx.get(f"{idle.url}/health").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    strange = httpx.get(f"{idle.url}/health", headers={"X-Request-ID": "a b\t" + "x" * 200})
    assert "a b" not in strange.headers["x-request-id"]


def test_log_lines_are_json() -> None:
    record = logging.LogRecord("recon3d_api.x", logging.INFO, "", 1, "Hello %s", ("you",), None)
    record.project = 7
    mark = request_id.set("id")
    try:
        line = json.loads(JsonFormatter().format(record))
    finally:
        request_id.reset(mark)
    assert line | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": "recon3d_api.x",
        "message": "Hello you",
        "request_id": "id",
        "project": 7,
    }


def test_health_ready_metrics(client: httpx.Client, idle: Api, working: Api) -> None:
    assert httpx.get(f"{idle.url}/health").json()["status"] == "ok"
    ready = httpx.get(f"{working.url}/ready")
    assert (ready.status_code, ready.json()["checks"]) == (
        200,
        {"database": "ok", "disk": "ok", "runner": "ok"},
    )
    # Without a runner of its own a server waits for a worker to be heard of.
    lonely = httpx.get(f"{idle.url}/ready")
    assert lonely.status_code == 503
    assert "worker" in lonely.json()["detail"]
    started(client)
    text = httpx.get(f"{idle.url}/metrics").text
    assert 'recon3d_http_requests_total{method="GET",route="/health",status="200"}' in text
    assert 'recon3d_jobs{job_type="texturing",status="pending"}' in text
    assert "/projects/1" not in text


def test_cors(serve: Serve) -> None:
    with serve(runners=0, cors_origins="https://a.example, https://b.example") as api:
        headers = {"Origin": "https://b.example", "Access-Control-Request-Method": "PUT"}
        answer = httpx.options(f"{api.url}/api/v1/projects", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://b.example"
        headers["Origin"] = "https://evil.example"
        answer = httpx.options(f"{api.url}/api/v1/projects", headers=headers)
        assert "access-control-allow-origin" not in answer.headers


def test_migrations_make_the_tables(new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database() or f"sqlite:///{tmp_path / 'x.db'}"
    databases = [Database(url) for _ in range(3)]
    # Three servers that start at once.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(Database.migrate, databases))
    with databases[0].engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    if databases[0].is_sqlite:
        with databases[0].engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    for database in databases:
        database.dispose()


# --- settings: no database needed -------------------------------------------------------------------


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("RECON3D_API_"):
            monkeypatch.delenv(name)
    settings = Settings()
    assert (settings.max_upload_mb, settings.runners) == (500, 1)
    assert (settings.rate_limit, settings.rate_limit_processing) == ("10/second", "2/second")
    prepared = settings.prepare()
    assert prepared.data_dir == tmp_path / "recon3d-data"
    assert prepared.resolved_database_url == f"sqlite:///{tmp_path}/recon3d-data/recon3d.db"
    secret = tmp_path / "recon3d-data" / "secret.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_text()) >= 43
    assert settings.prepare().secret_key == prepared.secret_key == secret.read_text()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://u@h/d",
        "SECRET_KEY": "s" * 40,
        "TOKEN_MINUTES": "5",
        "MAX_UPLOAD_MB": "7",
        "CORS_ORIGINS": "https://a.example,https://b.example",
        "RUNNERS": "3",
        "SCHEDULER": "tcp://h:8786",
        "REDIS_URL": "redis://h",
        "RATE_LIMIT": "5/second",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"RECON3D_API_{name}", value)
    settings = Settings()
    assert settings.resolved_database_url == "postgresql+psycopg://u@h/d"
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
    assert (settings.token_minutes, settings.max_upload_bytes, settings.runners) == (5, 7 << 20, 3)
    assert (settings.scheduler, settings.redis_url) == ("tcp://h:8786", "redis://h")


@pytest.mark.parametrize(
    "secret", ["short", "a" * 40, "changeme" * 6, "my-secret-key-of-this-very-server-0123"]
)
def test_production_refuses_weak_secrets(tmp_path: Path, secret: str) -> None:
    settings = Settings(data_dir=tmp_path, environment="production", secret_key=secret)
    with pytest.raises(InsecureSettings, match="RECON3D_API_SECRET_KEY"):
        settings.prepare()
    strong = "Zr8-qLw0_Tn4xVb7yKc2mEd9sHf6jGp3"
    assert Settings(data_dir=tmp_path, environment="production", secret_key=strong).prepare()
    assert Settings(data_dir=tmp_path, environment="production").prepare()  # the generated one


def test_empty_turns_a_limit_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RATE_LIMIT", "RATE_LIMIT_PROCESSING", "RATE_LIMIT_LOGIN", "RUNNERS", "DATABASE_URL"):
        monkeypatch.setenv(f"RECON3D_API_{name}", "")
    settings = Settings(data_dir=tmp_path)
    assert (settings.rate_limit, settings.rate_limit_processing, settings.rate_limit_login) == ("", "", "")
    assert settings.runners == 1
    limits = RateLimits(settings, Metrics())
    for _ in range(100):
        limits.check("general", "somebody")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short"),
        ("RUNNERS", "-1"),
        ("RATE_LIMIT", "abc"),
        ("RATE_LIMIT_LOGIN", "0/second"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "postgresql://u:p@h:port/d"),
        ("DATABASE_URL", "postgresql://u@127.0.0.1:1/d"),
        ("REDIS_URL", "localhost"),
        ("DATA_DIR", "/proc/nowhere"),
        ("DATA_DIR", "/dev/null"),
    ],
)
def test_bad_settings_end_the_command(tmp_path: Path, name: str, value: str) -> None:
    environment = {
        **os.environ,
        "RECON3D_API_DATA_DIR": str(tmp_path),
        "RECON3D_API_ENVIRONMENT": "production",
        f"RECON3D_API_{name}": value,
    }
    done = subprocess.run(
        [sys.executable, "-m", "recon3d_api", "--port", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"RECON3D_API_{name}" in done.stderr
    assert len(done.stderr) < 600
    assert "Traceback" not in done.stderr
