"""What operators get apart: metrics on a port or with a token, and documentation without a network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Api
from tests.notebook.browser import EXECUTABLE, launch

Serve = Callable[..., AbstractContextManager[Api]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_metrics_and_readiness_can_need_a_token(serve: Serve) -> None:
    with serve(runners=0, operations_token="s3cret-é") as api:
        for path in ("/metrics", "/ready"):
            assert httpx.get(f"{api.url}{path}").status_code == 401
            wrong = httpx.get(f"{api.url}{path}", headers={"Authorization": "Bearer s3cret"})
            assert wrong.status_code == 401
            assert wrong.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": b"Bearer s3cret-\xe9"}
        assert httpx.get(f"{api.url}/metrics", headers=right).status_code == 200
        assert httpx.get(f"{api.url}/ready", headers=right).status_code in (200, 503)
        assert httpx.get(f"{api.url}/health").status_code == 200


def test_metrics_and_readiness_can_have_a_port_of_their_own(serve: Serve) -> None:
    port = free_port()
    with serve(runners=1, operations_port=port) as api:
        assert [httpx.get(f"{api.url}{p}").status_code for p in ("/metrics", "/ready", "/health")] == [
            404, 404, 200
        ]  # fmt: skip
        own = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{own}/ready").json()["status"] == "ready"
        assert "recon3d_runs" in httpx.get(f"{own}/metrics").text
        assert httpx.get(f"{own}/health").status_code == 200
        assert httpx.get(f"{own}/api/v1/auth/me").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{own}/health")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = {"RECON3D_API_OPERATIONS_PORT": str(port), "RECON3D_API_DATA_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "recon3d_api", "--port", "0"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"Port {port} of 127.0.0.1: Address already in use. Choose another RECON3D_API_OPERATIONS_PORT."
    )


@pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium: apt-get install chromium")
def test_the_documentation_needs_no_network(idle: Api) -> None:
    outside: list[str] = []
    faults: list[str] = []
    with launch() as browser:
        page = browser.new_page()

        def route(request_route: object, request: object) -> None:
            if request.url.startswith((idle.url, "data:", "blob:")):  # type: ignore[attr-defined]
                request_route.continue_()  # type: ignore[attr-defined]
            else:
                outside.append(request.url)  # type: ignore[attr-defined]
                request_route.abort()  # type: ignore[attr-defined]

        page.route("**/*", route)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{idle.url}/docs")
        page.wait_for_selector("text=/start-reconstruction/", timeout=20_000)
        page.goto(f"{idle.url}/redoc")
        page.wait_for_selector("h2 >> text=Start Reconstruction", timeout=20_000, state="attached")
    assert not faults
    # ReDoc shows its maker's logo; nothing else is asked for, and nothing depends on it.
    assert {url.split("/")[2] for url in outside} <= {"cdn.redoc.ly"}
