"""`recon3d cluster`: which devices workers get, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recon3d.cli import cluster_commands
from recon3d.cli.commands import app
from recon3d.compute.processes import set_cache
from recon3d.errors import EngineUnavailable, OptionError


def test_gpus_are_all_or_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_commands, "gpu_engines", lambda: ("recon3d",))
    monkeypatch.setattr(cluster_commands, "visible_devices", lambda: ["3", "GPU-8932f937"])
    assert cluster_commands._devices("auto") == ["3", "GPU-8932f937"]
    assert cluster_commands._devices("1") == ["3"]
    assert cluster_commands._devices("0") == []
    with pytest.raises(EngineUnavailable, match="asks for 3: there are 2"):
        cluster_commands._devices("3")
    with pytest.raises(OptionError, match="'all'"):
        cluster_commands._devices("all")
    monkeypatch.setattr(cluster_commands, "gpu_engines", lambda: ())
    monkeypatch.setattr(cluster_commands, "no_gpu_engine", lambda: "the driver counts no device")
    assert cluster_commands._devices("auto") == []
    with pytest.raises(EngineUnavailable, match="driver counts no device"):
        cluster_commands._devices("1")


def test_a_missing_scheduler_file_and_a_wrong_option_end_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recon3d", "cluster", "worker", "--gpus", "0"]
    done = subprocess.run([*command, tmp_path / "none.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "There is no scheduler file" in done.stderr
    assert "recon3d cluster scheduler --scheduler-file" in done.stderr
    # Dask's own command refuses it; it is not tried again.
    wrong = [*command, "tcp://127.0.0.1:9", "--memory-limits", "3"]
    done = subprocess.run(wrong, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Trying again" not in done.stderr
    assert "No scheduler answers at tcp://127.0.0.1:9: Connection refused. Start it there" in done.stderr


def test_what_is_no_address_ends_the_command() -> None:
    done = CliRunner().invoke(app, ["cluster", "worker", "nonsense", "--gpus", "0"])
    assert isinstance(done.exception, OptionError)
    assert "tcp://HOST:PORT" in done.exception.hint


def test_where_workers_keep_what_they_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECON3D_CACHE", "before")
    monkeypatch.setenv("RECON3D_CACHE_SIZE", "1")
    set_cache(None, None)
    assert (os.environ["RECON3D_CACHE"], os.environ["RECON3D_CACHE_SIZE"]) == ("before", "1")
    set_cache(tmp_path / "cache", "20GB")
    assert os.environ["RECON3D_CACHE"] == str(tmp_path / "cache")
    assert os.environ["RECON3D_CACHE_SIZE"] == str(20 * 10**9)
    done = CliRunner().invoke(app, ["cluster", "worker", "tcp://127.0.0.1:9", "--cache-size", "much"])
    assert isinstance(done.exception, OptionError)
    assert (done.exception.message, done.exception.hint) == (
        "--cache-size is 'much'.",
        "Give a size such as 20GB.",
    )


def test_a_scheduler_that_cannot_listen_says_so_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "recon3d", "cluster", "scheduler", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith(f"Port {port} is in use on this machine.")
    assert "Traceback" not in done.stderr
    wrong = CliRunner().invoke(app, ["cluster", "scheduler", "--host", "192.0.2.1", "--port", "0"])
    assert isinstance(wrong.exception, OptionError)
    assert wrong.exception.message.startswith("'192.0.2.1' is not an address of this machine: ")


def test_a_port_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(app, ["cluster", "scheduler", "--port", "99999"])
    assert done.exit_code == 2
    assert "65535" in done.output
