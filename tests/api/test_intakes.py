"""Decoding uploads: nobody waits for somebody else, and the process can do nothing else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import filelock
import httpx
import psutil
import pytest

from recon3d_api.files import intakes, landlock
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from tests.api.conftest import Api, new_project, photo, upload_photos, wait_for

needs_landlock = pytest.mark.skipif(landlock.version() < 1, reason="the kernel has no Landlock")


@pytest.mark.attack("B2: 45 uploads of one user wait", "another user's requests and uploads go on")
def test_nobody_waits_for_a_busy_user(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    """More uploads wait than there are threads, and all others go on."""
    number, other = new_project(client), new_project(stranger)
    idle.root(number).mkdir()
    many = 45

    def upload(index: int) -> int:
        files = {"files": (f"p{index}.jpg", photo(index))}
        with idle.client() as own:
            own.headers = client.headers
            return own.post("/files/upload/images", data={"project_id": number}, files=files).status_code

    with concurrent.futures.ThreadPoolExecutor(many) as pool:
        with filelock.FileLock(idle.root(number) / ".intake.lock"):
            waiting = [pool.submit(upload, index) for index in range(many)]
            incoming = idle.service.settings.incoming_dir
            wait_for(lambda: len(list(incoming.glob("*/.for"))) == many)
            began = time.monotonic()
            for _ in range(5):
                assert stranger.get("/projects").status_code == 200
            assert upload_photos(stranger, other, 1).status_code == 200
            assert time.monotonic() - began < 50  # those who wait would take five minutes
            assert not any(future.done() for future in waiting)
        assert {future.result() for future in waiting} == {200}
    assert len(client.get(f"/files/list/{number}").json()) == many


def test_the_processes_are_few_and_end_with_the_server(idle: Api, client: httpx.Client) -> None:
    number = new_project(client)
    for _ in range(3):
        assert upload_photos(client, number, 1).status_code == 200
    pool = idle.service.intakes._idle
    assert 1 <= len(pool) <= idle.service.settings.intakes
    decoder = pool[0]._process
    assert psutil.Process(decoder.pid).children() == []
    environment = Path(f"/proc/{decoder.pid}/environ").read_bytes()
    assert b"RECON3D" not in environment
    assert b"HOME" not in environment
    alone = intakes._Decoder()
    assert alone._process.stdin is not None
    alone._process.stdin.close()  # as when the server is killed
    assert alone._process.wait(timeout=30) == 0
    alone.end()


@pytest.mark.attack("A decoding process is killed", "one upload is refused, the next ones work")
def test_a_decoder_that_dies_costs_one_upload(idle: Api, client: httpx.Client) -> None:
    number = new_project(client)
    assert upload_photos(client, number, 1).status_code == 200
    for decoder in idle.service.intakes._idle:
        decoder._process.kill()
        decoder._process.wait()
    answers = [upload_photos(client, number, 2).status_code for _ in range(3)]
    assert answers[-1] == 200
    assert set(answers) <= {200, 400}


def test_a_server_with_a_thousand_open_files_takes_uploads(idle: Api, client: httpx.Client) -> None:
    """`select` knows no descriptor above 1023; a server with that many connections has such."""
    for decoder in idle.service.intakes._idle:
        decoder.end()
    idle.service.intakes._idle.clear()
    number = new_project(client)
    known = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, known[1]), known[1]))
    with open(os.devnull, "rb") as nothing, contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, known)
        while (descriptor := os.dup(nothing.fileno())) < 1100:
            stack.callback(os.close, descriptor)
        stack.callback(os.close, descriptor)
        assert upload_photos(client, number, 1).status_code == 200
        for decoder in idle.service.intakes._idle:
            decoder.end()
        idle.service.intakes._idle.clear()


_PROBE = """
    import json, os, resource, signal, socket, sys
    from pathlib import Path
    from recon3d_api.files import intake

    def attempt(work):
        try:
            work()
        except (OSError, ValueError) as error:
            return type(error).__name__
        return "done"

    def probe(request):
        data, parent = Path(request["data"]), request["parent"]
        (Path(request["upload"]) / "x").write_text("x")
        (Path(request["project"]).parent / "x").write_text("x")
        return {
            "secret": attempt(lambda: (data / "secret.key").read_text()),
            "database": attempt(lambda: (data / "recon3d.db").read_bytes()),
            "list": attempt(lambda: os.listdir(data / "projects")),
            "other project": attempt(lambda: (data / "projects" / "other" / "x").read_text()),
            "other upload": attempt(lambda: (data / "incoming" / "other" / "x").read_text()),
            "home": attempt(lambda: os.listdir(Path.home())),
            "write": attempt(lambda: Path("/tmp/recon3d-probe").write_text("x")),
            "environment of the server": attempt(lambda: Path(f"/proc/{parent}/environ").read_bytes()),
            "network": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
            "signal": attempt(lambda: os.kill(parent, 0)),
            "limits": [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
                       for name in ("AS", "CPU", "FSIZE", "NOFILE", "CORE")],
            "read libraries": attempt(lambda: Path(intake.__file__).read_text()),
        }

    intake.take = probe
    modules = [Path(part).resolve() for part in (*sys.path, sys.prefix, sys.base_prefix) if part]
    print(intake._in_child(json.loads(sys.argv[1]), modules).decode())
"""


@pytest.mark.attack(
    "B4: the decoding process reads the database, the key, and the network", "refused by the kernel"
)
@needs_landlock
def test_what_decodes_can_do_nothing_else(tmp_path: Path) -> None:
    for part in ("projects/mine", "projects/other", "incoming/mine", "incoming/other"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "x").write_text("x")
    for name in ("secret.key", "recon3d.db"):
        (tmp_path / name).write_text("secret")
    request = {
        "data": str(tmp_path),
        "upload": str(tmp_path / "incoming/mine"),
        "project": str(tmp_path / "projects/mine/model"),
        "largest": 1 << 20,
        "parent": os.getpid(),
        "kind": "photo",
    }
    command = [sys.executable, "-c", textwrap.dedent(_PROBE), json.dumps(request)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.read())
    limits = found.pop("limits")
    assert limits[0] <= 8 << 30
    assert limits[1:] == [600, 1 << 20, 256, 0]
    assert found.pop("read libraries") == "done"
    if landlock.version() < 6:
        found.pop("signal")
    if landlock.version() < 4:
        found.pop("network")
    assert set(found.values()) <= {"PermissionError"}, found


def test_the_working_folder_is_not_on_the_module_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) not in intakes._module_path()
    assert any(Path(part, "recon3d_api").exists() for part in intakes._module_path())


@pytest.mark.attack("B4: other accounts of the machine read the data folder", "modes 0600 and 0700")
def test_the_data_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    settings = Settings(data_dir=folder).prepare()
    database = Database(settings.resolved_database_url)
    database.migrate()
    with database.read():
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {modes[name] for name in ("recon3d.db", "secret.key")} == {0o600}
    assert {modes[name] for name in ("projects", "incoming", "trash")} == {0o700}
    database.dispose()
    (folder / "recon3d.db").chmod(0o644)  # of an earlier version
    with database.write():
        assert (folder / "recon3d.db").stat().st_mode & 0o777 == 0o600
    database.dispose()
