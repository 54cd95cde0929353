"""What a run can reach: real processes, under the rules that the runner gives them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import recon3d
from recon3d_api.files import landlock
from recon3d_api.files.storage import Storage
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from recon3d_api.work import confinement
from recon3d_api.work.claims import Claim
from recon3d_api.work.processes import child_environment
from recon3d_api.work.runner import JobRunner
from tests.api.conftest import Api, new_project, plant, started, template, wait_for

needs_landlock = pytest.mark.skipif(landlock.version() < 1, reason="the kernel has no Landlock")

#: A run, and a process that it starts, as Dask's workers are: both try what they must not.
_PROBE = """
    import json, os, socket, subprocess, sys, tempfile
    from pathlib import Path

    def attempt(work):
        try:
            work()
        except OSError as error:
            return type(error).__name__
        return "done"

    data, own, server, home = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])

    def listen():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 2).close()

    def library():
        import recon3d
        recon3d.Project.open(own / "model")

    denied = {
        "secret": lambda: (data / "secret.key").read_text(),
        "database": lambda: (data / "recon3d.db").read_bytes(),
        "write the database": lambda: open(data / "recon3d.db", "ab"),
        "list the projects": lambda: os.listdir(data / "projects"),
        "another project": lambda: (data / "projects" / "other" / "x").read_text(),
        "change another project": lambda: (data / "projects" / "other" / "x").unlink(),
        "write to the data folder": lambda: (data / "x").write_text("x"),
        "home": lambda: os.listdir(home),
        "shared temporary files": lambda: (home.parent / "x").write_text("x"),
        "environment of the server": lambda: Path(f"/proc/{server}/environ").read_bytes(),
        "memory of the server": lambda: open(f"/proc/{server}/mem", "rb"),
        "files of the server": lambda: os.listdir(f"/proc/{server}/root/root"),
        "shadow": lambda: Path("/etc/shadow").read_text(),
        "signal": lambda: os.kill(server, 0),
    }
    allowed = {
        "own": lambda: (own / "x").write_text("x"),
        "temporary": lambda: tempfile.mkdtemp(),
        "cache": lambda: (Path(os.environ["NUMBA_CACHE_DIR"]) / "x").write_text("x"),
        "shared memory": lambda: tempfile.NamedTemporaryFile(dir="/dev/shm").close(),
        "null": lambda: open(os.devnull, "r+b").close(),
        "processes": lambda: Path("/proc/stat").read_text(),
        "tool": lambda: subprocess.run(["ls", "/usr"], check=True, stdout=subprocess.DEVNULL),
        "network": listen,
        "library": library,
    }
    found = {kind: {name: attempt(work) for name, work in rows.items()}
             for kind, rows in (("denied", denied), ("allowed", allowed))}
    (own / f"found-{'child' if len(sys.argv) > 5 else 'run'}").write_text(json.dumps(found))
    if len(sys.argv) == 5:
        code = Path("/proc/self/cmdline").read_bytes().split(b"\\0")[2]
        subprocess.run([sys.executable, "-c", code, *sys.argv[1:], "child"], start_new_session=True)
        (own / "ended").touch()
"""


@needs_landlock
@pytest.mark.attack("A run that a photo has taken over", "no secret, no database, no other project")
def test_a_run_reaches_its_own_project_only(
    serve: Callable[..., contextlib.AbstractContextManager[Api]], tmp_path: Path
) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        number = plant(client, new_project(client))
        started(client, number)
        data, own = api.service.settings.data_dir, api.root(number)
        (data / "secret.key").write_text("secret")
        (data / "recon3d.db").touch()  # also where the database is PostgreSQL's
        (data / "projects" / "other").mkdir()
        (data / "projects" / "other" / "x").write_text("x")
        home = tmp_path / "home"
        home.mkdir()

        def probe(claim: Claim) -> list[str]:
            arguments = (str(data), str(own), str(os.getpid()), str(home))
            return [sys.executable, "-c", textwrap.dedent(_PROBE), *arguments]

        service = api.service
        runner = JobRunner(service.settings, service.database, service.storage, slots=1, command=probe)
        runner.start()
        try:
            wait_for((own / "ended").exists)
        finally:
            runner.stop()
        for process in ("run", "child"):
            found = json.loads((own / f"found-{process}").read_text())
            if landlock.version() < 6:
                found["denied"].pop("signal")
            reached = {name for name, value in found["denied"].items() if value != "PermissionError"}
            missed = {name for name, value in found["allowed"].items() if value != "done"}
            assert (process, reached, missed) == (process, set(), set())
        assert (data / "projects" / "other" / "x").read_text() == "x"
        assert not list(Path(tempfile.gettempdir()).glob(f"recon3d-run-{runner._service}-*"))


@needs_landlock
@pytest.mark.parametrize("given", [True, False])
def test_compiled_code_is_kept_where_it_is_asked_for(
    given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a wish: in the data folder, beside which a run can write nothing that lasts."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if given:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
    storage = _storage(tmp_path / "data")
    script = (
        "from recon3d.kernels import cache_folder\n"
        "from recon3d.surface.point_kernels import quadratic\n"
        "print(quadratic(1.0), cache_folder(quadratic))"
    )
    with confinement.confined(storage, "mine", "test") as launcher:
        command = [*launcher, sys.executable, "-c", script]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment())
    value, folder = found.stdout.split()
    assert value == "0.125"
    assert Path(folder).parent == (tmp_path / "compiled" if given else tmp_path / "data" / "cache" / "numba")
    assert list(Path(folder).glob("*quadratic*.nbc"))


def _storage(folder: Path, **settings: str) -> Storage:
    storage = Storage(Settings(data_dir=folder, **settings).prepare())  # type: ignore[arg-type]
    storage.root("mine").mkdir()
    return storage


@needs_landlock
def test_data_inside_of_what_is_readable_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a data folder and a database beside the virtual environment."""
    app = tmp_path / "app"
    app.mkdir()
    storage = _storage(app / "data", database_url=f"sqlite:///{app}/db.sqlite")
    for path in (app / "db.sqlite", app / "db.sqlite-wal", app / "library"):
        path.write_text("text")
    (app / "link").symlink_to(app / "data")
    monkeypatch.setenv("PYTHONPATH", f"{app}:{os.environ.get('PYTHONPATH', '')}")
    tries = (
        "import sys\nfor path in sys.argv[1:]:\n"
        "    try: print(open(path).read())\n    except OSError: print('-')"
    )
    paths = [app / "data/secret.key", app / "link/secret.key", app / "db.sqlite", app / "db.sqlite-wal"]
    with confinement.confined(storage, "mine", "test") as launcher:
        command = [*launcher, sys.executable, "-c", tries, *map(str, paths), str(app / "library")]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment())
    assert found.stdout.split() == ["-", "-", "-", "-", "text"], found.stderr


@needs_landlock
def test_what_cannot_be_confined_is_not_started(tmp_path: Path) -> None:
    """Rules are nested up to a depth: the kernel refuses more."""
    storage = _storage(tmp_path)
    with confinement.confined(storage, "mine", "test") as launcher:
        # Each launcher's child is the next one: the last would have 17 layers.
        inner = "import os, subprocess, sys\n"
        inner += "depth = int(sys.argv[1])\n"
        inner += "if depth == 0: print('started'); sys.exit()\n"
        inner += "launcher = sys.argv[2:]\n"
        inner += "launcher[launcher.index('PARENT')] = str(os.getpid())\n"
        inner += "code = sys.orig_argv[sys.orig_argv.index('-c') + 1]\n"
        inner += "rest = [sys.executable, '-c', code, str(depth - 1), *sys.argv[2:]]\n"
        inner += "sys.exit(subprocess.run([*launcher, *rest]).returncode)\n"
        given = ["PARENT" if part == str(os.getpid()) else part for part in launcher]
        ends = {}
        for depth in (2, 17):
            command = [sys.executable, "-c", inner, str(depth), *given]
            ends[depth] = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ends[2].returncode, ends[2].stdout) == (0, "started\n"), ends[2].stderr
    assert ends[17].returncode == 1
    assert ends[17].stdout == ""
    assert "The run was not started, because it cannot be confined." in ends[17].stderr


def test_without_landlock_a_run_starts_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from recon3d_api.files.installation import Installation
    from recon3d_api.work.startup import begin

    monkeypatch.setattr(landlock, "version", lambda: 0)
    storage = _storage(tmp_path)
    with confinement.confined(storage, "mine", "test") as launcher:
        command = [*launcher, sys.executable, "-c", "print(open('/etc/hostname').read() != '')"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
    storage.root("mine").rmdir()
    database = Database(storage.settings.resolved_database_url)
    database.migrate()
    with caplog.at_level("WARNING"):
        begin(Installation(database, storage), database, storage)
    database.dispose()
    assert "The kernel has no Landlock: a run can read all that the service can read" in caplog.text


@needs_landlock
def test_workers_elsewhere_are_told(tmp_path: Path) -> None:
    assert confinement.confinement_problem(Settings(data_dir=tmp_path)) == ""
    told = confinement.confinement_problem(Settings(data_dir=tmp_path, scheduler="tcp://host:8786"))
    assert told.startswith("Runs send their work to tcp://host:8786")


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at the next start, of whichever service: the lock proves that nobody uses a folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import sys, tempfile\n"
        "from recon3d_api.work import confinement\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "folder, lock = confinement._locked_folder('service-7')\n"
        "(folder / 'x').write_text('x')\n"
        "print(folder, flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "recon3d-run-file").write_text("mine")
    (tmp_path / "recon3d-run-link").symlink_to(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().strip())
        confinement.remove_leftovers()
        assert (folder / "x").exists()
        server.kill()
    confinement.remove_leftovers()
    assert not folder.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"recon3d-run-file", "recon3d-run-link"}
    with confinement.confined(Storage(Settings(data_dir=tmp_path / "data").prepare()), "mine", "test"):
        (used,) = tmp_path.glob("recon3d-run-test-*")
        confinement.remove_leftovers()
        assert used.exists()
    assert not used.exists()


def test_the_check_of_inputs_goes_through_its_launcher() -> None:
    with pytest.raises(recon3d.StageError, match="exit status 1"):
        recon3d.check(template(), launcher=["false"])
