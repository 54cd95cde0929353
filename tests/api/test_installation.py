"""Another database, another data folder, older backups: nothing is lost, nothing is silently wrong."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import recon3d
import recon3d_api
from recon3d_api.app import create_app, start
from recon3d_api.client import Client
from recon3d_api.files.installation import Installation, InstallationMismatch
from recon3d_api.settings import Settings
from recon3d_api.store.tables import Deletion, InstallationId, Project, utcnow
from recon3d_api.work import deletions, orphans
from tests.api import forks
from tests.api.conftest import Api, new_project, photo, plant, served, template, wait_for
from tests.api.parts import opened
from tests.api.test_chaos import Server, project_with_input, servers

Serve = Callable[..., contextlib.AbstractContextManager[Api]]
NewDatabase = Callable[[], str]
PASSWORD = "correct horse battery"


def cli(data: Path, url: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The real command line."""
    environment = {
        **os.environ,
        "RECON3D_API_DATA_DIR": str(data),
        "RECON3D_API_DATABASE_URL": url,
        "RECON3D_API_LOG_FORMAT": "text",
    }
    return forks.run(["-m", "recon3d_api", *arguments], env=environment, input=stdin)


def refused(data: Path, url: str) -> str:
    """What server and worker say when they do not start."""
    said = []
    for arguments in (("--port", "0"), ("worker",)):
        done = cli(data, url, *arguments)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        said.append(done.stderr)
    assert said[0] == said[1]
    return said[0]


def another(new_database: NewDatabase, tmp_path: Path) -> str:
    return new_database() or f"sqlite:///{tmp_path / 'other.db'}"


def age(folder: Path, seconds: float = 3600) -> None:
    """Make everything in a folder old enough to be touched."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (time.time() - seconds,) * 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def add_results(root: Path, text: str) -> None:
    results = root / "model" / "results"
    results.mkdir(exist_ok=True)
    for name in ("point_cloud.ply", "mesh.ply", "textured_mesh.glb"):
        (results / name).write_bytes(f"{name} of {text}".encode())


# --- another database -------------------------------------------------------------------------------


@pytest.mark.attack(
    "B1: start with an empty database or another one", "refused with a sentence; no project is deleted"
)
def test_another_database_is_refused_and_every_project_comes_back(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = new_database()
    with servers(1, data, url, real=True) as (server,), Client(server.url) as client:
        client.register("ada", "ada@example.com", PASSWORD)
        roots = [project_with_input(client, data, url, "{}")[1] for _ in range(3)]
        number = client.projects()[-1].id
        client.extract_frames(number, 0.2)  # real frames, by the real command line
        client.wait(number, progress=False)
        frames = client.project(number).total_frames
        assert frames >= 3
    for root in roots:
        add_results(root, root.name)
        age(root)
    before = contents(data / "projects")

    wrong = another(new_database, tmp_path)
    said = refused(data, wrong)
    assert "holds 3 projects, but the database has none" in said
    assert said.index("RECON3D_API_DATABASE_URL") < said.index("user add") < said.index("gc --apply")
    service = create_app(Settings(data_dir=data, database_url=wrong)).state.service
    with pytest.raises(InstallationMismatch, match="holds 3 projects"):
        start(service)
    service.database.dispose()
    assert contents(data / "projects") == before
    if not new_database():
        assert not (tmp_path / "other.db").exists()

    unknown = cli(data, wrong, "adopt", "grace")
    assert (unknown.returncode, "recon3d-api user add grace EMAIL" in unknown.stderr) == (2, True)
    weak = cli(data, wrong, "user", "add", "grace", "grace@example.com", stdin="password\n")
    assert (weak.returncode, "too easy" in weak.stderr) == (2, True)
    made = cli(data, wrong, "user", "add", "grace", "grace@example.com", stdin=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    assert "has none" in refused(data, wrong)  # an account alone owns no folder
    adopted = cli(data, wrong, "adopt", "grace")
    assert (adopted.returncode, adopted.stdout.count(" of grace: clip (completed)")) == (0, 3)
    assert contents(data / "projects") == before
    settled(data, wrong)

    with servers(1, data, wrong, real=True) as (server,), Client(server.url) as client:
        client.login("grace", PASSWORD)
        projects = client.projects()
        assert [project.status for project in projects] == ["completed"] * 3
        assert sorted(project.total_frames for project in projects) == [0, 0, frames]
        got = set()
        for project in projects:
            target = client.download(project.id, "textured_mesh", tmp_path / "model.glb")
            got.add(target.read_bytes().decode())
            assert len(client.files(project.id)) >= 7
        assert got == {f"textured_mesh.glb of {root.name}" for root in roots}
        # A later run keeps the interval of the lost row.
        assert {p.frame_interval for p in rows(data, wrong)} == {0.2, None}

    # The former database does not own the folders any more, until somebody says so.
    said = refused(data, url)
    assert "different installations" in said
    assert str(data) in said
    assert cli(data, url, "relink").returncode == 0
    with servers(1, data, url) as (server,), Client(server.url) as client:
        client.login("ada", PASSWORD)
        assert len(client.projects()) == 3
    assert contents(data / "projects") == before


def settled(data: Path, url: str) -> None:
    """The database and the data folder have the same id."""
    database, _, _ = opened(data, url)
    with database.read() as session:
        assert (data / "installation.id").read_text().strip() == session.scalar(
            sa.select(InstallationId.uuid)
        )
    database.dispose()


def rows(data: Path, url: str) -> list[Project]:
    database, _, _ = opened(data, url)
    with database.read() as session:
        found = list(session.scalars(sa.select(Project)))
    database.dispose()
    return found


def test_folders_are_set_aside_for_a_new_database(new_database: NewDatabase, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(Settings(data_dir=data, database_url=new_database(), runners=0)) as api:
        with api.client(api.user()[1]) as client:
            root = api.root(plant(client, new_project(client)))
        age(root)
        before = contents(root)
        wrong = another(new_database, tmp_path)
        # Not below the feet of a server that runs.
        busy = cli(data, wrong, "gc", "--apply")
        assert (busy.returncode, "Stop it first" in busy.stderr) == (2, True)
        assert (cli(data, wrong, "relink").returncode, root.exists()) == (2, True)
    listed = cli(data, wrong, "gc")
    assert root.name in listed.stdout
    refused(data, wrong)
    assert cli(data, wrong, "gc", "--apply").returncode == 0
    assert contents(data / "quarantine" / root.name) == before
    settled(data, wrong)
    with served(Settings(data_dir=data, database_url=wrong, runners=0)) as api:
        assert httpx.get(f"{api.url}/health").status_code == 200


def test_a_database_with_projects_of_its_own_is_refused(new_database: NewDatabase, tmp_path: Path) -> None:
    places = [(tmp_path / name, another(new_database, tmp_path / name)) for name in "ab"]
    for data, url in places:
        settings = Settings(data_dir=data, database_url=url, runners=0)
        with served(settings) as api, api.client(api.user()[1]) as client:
            age(api.root(plant(client, new_project(client))))
    before = [contents(data / "projects") for data, _ in places]
    data, wrong = places[0][0], places[1][1]
    assert "different installations" in refused(data, wrong)
    for arguments in (("gc", "--apply"), ("adopt", "user1"), ("user", "add", "eve", "eve@example.com")):
        done = cli(data, wrong, *arguments, stdin=f"{PASSWORD}\n")
        assert (done.returncode, "different installations" in done.stderr) == (2, True)
    assert [contents(data / "projects") for data, _ in places] == before
    assert not (data / "quarantine").exists()


def test_another_data_folder_is_refused(new_database: NewDatabase, tmp_path: Path) -> None:
    data, url = tmp_path / "data", another(new_database, tmp_path)
    settings = Settings(data_dir=data, database_url=url, runners=0, min_free_mb=1)
    with served(settings) as api, api.client(api.user()[1]) as client:
        kept = api.root(plant(client, new_project(client)))
        add_results(kept, "it")
        assert httpx.get(f"{api.url}/ready").json()["checks"]["disk"] == "ok"
        # A disk that is gone while the service runs.
        (data / "installation.id").rename(data / "x")
        assert "installation.id" in httpx.get(f"{api.url}/ready").json()["checks"]["disk"]
        (data / "x").rename(data / "installation.id")
    said = refused(tmp_path / "typo", url)
    assert "may not be mounted" in said
    assert "RECON3D_API_DATA_DIR" in said
    # Projects that were restored without the id are theirs all the same.
    (tmp_path / "moved").mkdir()
    shutil.copytree(data / "projects", tmp_path / "moved" / "projects")
    with served(Settings(data_dir=tmp_path / "moved", database_url=url, runners=0)) as api:
        assert (api.service.storage.root(kept.name) / "model").exists()
    ids = [(tmp_path / name / "installation.id").read_text() for name in ("data", "moved")]
    assert ids[0] == ids[1]


# --- the id -----------------------------------------------------------------------------------------


def test_servers_that_start_at_once_settle_one_id(new_database: NewDatabase, tmp_path: Path) -> None:
    url = new_database()
    parts = [opened(tmp_path, url) for _ in range(6)]
    together = threading.Barrier(len(parts))

    def begin(installation: Installation) -> None:
        together.wait()
        installation.open()

    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(begin, [installation for _, _, installation in parts]))
    with parts[0][0].read() as session:
        (number,) = session.scalars(sa.select(InstallationId.uuid))
    assert (tmp_path / "installation.id").read_text().strip() == number
    assert not list(tmp_path.glob("*.next"))
    assert not list(tmp_path.glob(".tmp-*"))
    for database, _, installation in parts:
        assert installation.problem() == ""
        installation.close()
        database.dispose()


def test_of_two_databases_one_gets_a_new_folder(new_database: NewDatabase, tmp_path: Path) -> None:
    data = tmp_path / "data"
    urls = [new_database() or f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(2)]
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.api.parts import opened\n"
        "installation = opened(Path(sys.argv[1]), sys.argv[2])[2]\n"
        "ready, go = map(Path, sys.argv[3:])\n"
        "ready.touch()\n"
        "while not go.exists(): time.sleep(0.001)\n"
        "installation.open()\n"
    )
    ready, logs = ([tmp_path / f"{name}{n}" for n in range(2)] for name in ("ready", "log"))
    processes = []
    for url, one, log in zip(urls, ready, logs, strict=True):
        with open(log, "w") as err:
            command_line = ["-c", script, data, url, one, tmp_path / "go"]
            processes.append(forks.start(command_line, env=os.environ, stderr=err))
    wait_for(lambda: all(one.exists() for one in ready))
    (tmp_path / "go").touch()
    assert sorted(process.wait(120) for process in processes) == [0, 1]
    assert any("InstallationMismatch" in log.read_text() for log in logs)


def test_a_start_that_was_cut_off_is_completed(new_database: NewDatabase, tmp_path: Path) -> None:
    """Killed after the database has the id, before the data folder has it."""
    url = new_database()
    script = (
        "import os, sys; from pathlib import Path\n"
        "from recon3d_api.files import installation\n"
        "installation.Installation._complete = lambda *_: os.kill(os.getpid(), 9)\n"
        "from tests.api.parts import opened\n"
        "opened(Path(sys.argv[1]), sys.argv[2])[2].open()\n"
    )
    done = forks.run(["-c", script, tmp_path, url], env=os.environ)
    assert done.returncode == -9
    assert not (tmp_path / "installation.id").exists()
    database, _, installation = opened(tmp_path, url)
    installation.open()
    settled(tmp_path, url)
    installation.close()
    database.dispose()


def old_version(data: Path, url: str, folders: list[str]) -> None:
    """Leave what the version without ids would have left."""
    database, _, _ = opened(data, url)
    config = Config()
    config.set_main_option("script_location", str(Path(recon3d_api.__file__).parent / "store" / "migrations"))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    with database.write() as session:
        # The tables' present columns are not all there yet.
        users = sa.Table("users", sa.MetaData(), autoload_with=session.connection())
        names = {"username": "ada", "username_key": "ada", "email": "a@b.c", "email_key": "a@b.c"}
        row = {**names, "password_hash": "none", "is_active": True, "created_at": utcnow()}
        owner = session.execute(users.insert().values(row).returning(users.c.id)).scalar_one()
        projects = sa.Table("projects", sa.MetaData(), autoload_with=session.connection())
        values: dict[str, object] = {"owner_id": owner, "name": "Bust", "status": "completed"}
        values |= {"previous_status": "draft", "created_at": utcnow(), "updated_at": utcnow()}
        values |= dict.fromkeys(("total_frames", "processed_frames", "event_seq"), 0)
        values |= dict.fromkeys(("reconstruction_quality", "processing_time"), 0.0)
        for folder in folders:
            session.execute(projects.insert().values(**values, folder=folder))
    database.dispose()


def version(url: str, data: Path) -> str:
    database, _, _ = opened(data, url)
    with database.read() as session:
        found = str(session.scalar(sa.text("SELECT version_num FROM alembic_version")))
    database.dispose()
    return found


def newest() -> str:
    scripts = Path(recon3d_api.__file__).parent / "store" / "migrations"
    return str(ScriptDirectory(str(scripts)).get_current_head())


def test_the_version_before_is_upgraded(
    new_database: NewDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = another(new_database, tmp_path)
    old_version(tmp_path, url, ["a" * 32, "b" * 32])
    for name in "ab":
        shutil.copytree(template(), tmp_path / "projects" / (name * 32) / "model")
    settings = Settings(data_dir=tmp_path, database_url=url, runners=0)
    with caplog.at_level(logging.WARNING, "recon3d_api"), served(settings) as api:
        assert api.service.installation.problem() == ""
    assert not caplog.records
    assert version(url, tmp_path) == newest()


@pytest.mark.parametrize("way", ["adopt", "gc"])
def test_a_lost_database_of_the_version_before(new_database: NewDatabase, tmp_path: Path, way: str) -> None:
    """No id anywhere: what was seen to delete every project."""
    url = another(new_database, tmp_path)
    for name in "ab":
        shutil.copytree(template(), tmp_path / "projects" / (name * 32) / "model")
    age(tmp_path / "projects")
    before = contents(tmp_path / "projects")
    assert "holds 2 projects, but the database has none" in refused(tmp_path, url)
    assert contents(tmp_path / "projects") == before
    if way == "adopt":
        assert cli(tmp_path, url, "user", "add", "ada", "a@example.com", stdin=PASSWORD).returncode == 0
        assert cli(tmp_path, url, "adopt", "ada").returncode == 0
        assert contents(tmp_path / "projects") == before
    else:
        assert cli(tmp_path, url, "gc", "--apply").returncode == 0
        assert contents(tmp_path / "quarantine") == before
    settled(tmp_path, url)


def test_a_folder_without_a_model_is_adopted_with_a_word(new_database: NewDatabase, tmp_path: Path) -> None:
    url = another(new_database, tmp_path)
    for name in "ab":
        shutil.copytree(template(), tmp_path / "projects" / (name * 32) / "model")
    (tmp_path / "projects" / ("b" * 32) / "model").rename(tmp_path / "projects" / ("b" * 32) / "mdl")
    age(tmp_path / "projects")
    assert cli(tmp_path, url, "create-user", "ada", "a@example.com", stdin=PASSWORD).returncode == 0
    adopted = cli(tmp_path, url, "adopt", "ada")
    assert adopted.returncode == 0
    assert adopted.stdout.count("(draft)") == 2
    assert adopted.stderr.count("It is an empty draft, because nothing could be read") == 1
    assert f"{'b' * 32}/model is not a recon3d project" in adopted.stderr


@pytest.mark.parametrize("case", ["other folders", "no folders", "no rows"])
def test_the_version_before_with_another_folder_is_refused(
    new_database: NewDatabase, tmp_path: Path, case: str
) -> None:
    url = another(new_database, tmp_path)
    old_version(tmp_path, url, [] if case == "no rows" else ["a" * 32])
    if case != "no folders":
        shutil.copytree(template(), tmp_path / "projects" / ("c" * 32) / "model")
    before = contents(tmp_path / "projects")
    said = refused(tmp_path, url)
    assert "RECON3D_API_DATABASE_URL" in said
    assert version(url, tmp_path) == "0001"  # it may be somebody else's
    assert contents(tmp_path / "projects") == before


# --- backups ----------------------------------------------------------------------------------------


def backup(url: str, data: Path, target: Path) -> Callable[[str], str]:
    """Take a backup, and give what restores it to a new database and tells its URL."""
    if not url:
        with (
            contextlib.closing(sqlite3.connect(data / "recon3d.db")) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
        return lambda _: f"sqlite:///{target}"
    plain = url.replace("+psycopg", "")
    dump = subprocess.run(["pg_dump", plain], capture_output=True, check=True).stdout

    def restore(new: str) -> str:
        arguments = ["psql", "-q", "-v", "ON_ERROR_STOP=1", new.replace("+psycopg", "")]
        subprocess.run(arguments, input=dump, check=True, stdout=subprocess.DEVNULL)
        return new

    return restore


@pytest.mark.attack("B1: an older backup is restored", "newer folders stay")
def test_a_restored_older_backup_keeps_newer_folders(
    new_database: NewDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, url = tmp_path / "data", new_database()
    with served(Settings(data_dir=data, database_url=url, runners=0)) as api:
        user, token = api.user()
        with api.client(token) as client:
            plant(client, new_project(client))
            restore = backup(url, data, tmp_path / "backup.db")
            newer = api.root(plant(client, new_project(client)))
            add_results(newer, "the newer one")
    age(data / "projects")
    before = contents(data / "projects")
    restored = restore(new_database())
    settings = Settings(data_dir=data, database_url=restored, runners=0)
    with caplog.at_level(logging.WARNING, "recon3d_api"), served(settings) as api:
        (record,) = [record for record in caplog.records if "without a project" in record.message]
        assert record.levelname == "WARNING"
        assert record.message.startswith("1 folder is")
        assert "recon3d-api gc" in record.message
        assert "recon3d_unowned_folders 1.0" in httpx.get(f"{api.url}/metrics").text
        adopted = cli(data, restored, "adopt", user.username.upper(), newer.name)
        assert adopted.returncode == 0, adopted.stderr
        with api.client(api.service.tokens.issue(user.id)) as client:
            first, second = client.get("/projects").json()
            assert (first["status"], second["status"]) == ("completed", "draft")
            answer = client.get(f"/files/download/{first['id']}/mesh")
            assert answer.content == b"mesh.ply of the newer one"
            assert cli(data, restored, "adopt", user.username).stdout.startswith("There is nothing")
    assert contents(data / "projects") == before


# --- gc and adopt -----------------------------------------------------------------------------------


def lose_row(api: Api, number: int) -> None:
    """What a lost database, or somebody's SQL, does."""
    with api.service.database.write() as session:
        session.delete(session.get_one(Project, number))


def where(api: Api) -> tuple[Path, str]:
    settings = api.service.settings
    return settings.data_dir, settings.database_url


def test_gc_lists_abandoned_uploads(serve: Serve) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        numbers = [new_project(client), new_project(client)]
        urls = []
        for number in numbers:
            given = (("filename", "a.mp4"), ("project_id", f"{number}"))
            told = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in given)
            headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000", "Upload-Metadata": told}
            urls.append(client.post("/files/uploads", headers=headers).headers["location"])
        used, lost = (url.rpartition("/")[2] for url in urls)
        assert "abandoned" not in cli(*where(api), "gc").stdout
        lose_row(api, numbers[1])
        settings = api.service.settings
        (broken,) = settings.uploads_dir.iterdir()
        broken /= "b" * 32
        broken.mkdir()
        killed = settings.incoming_dir / ("c" * 32)
        killed.mkdir()
        (killed / "x").write_bytes(bytes(300_000))
        before = contents(settings.uploads_dir)
        said = cli(*where(api), "gc")
        assert said.returncode == 0, said.stderr
        assert "3 abandoned uploads in" in said.stdout
        assert f"incoming/{killed.name}  0.3 MB  its receiver is gone" in said.stdout
        assert (
            f"{lost}  0.0 MB  its project is not in the database; the service removes it in 24 h"
            in said.stdout
        )
        assert f"{broken.name}  0.0 MB  its record cannot be read" in said.stdout
        assert used not in said.stdout
        assert contents(settings.uploads_dir) == before


def test_gc_lists_moves_and_is_undone(serve: Serve) -> None:
    with serve(runners=0) as api, api.client((owner := api.user())[1]) as client:
        kept, lost = plant(client, new_project(client)), plant(client, new_project(client))
        root, other = api.root(lost), api.root(kept)
        add_results(root, "it")
        half = api.service.settings.trash_dir / ("d" * 32)
        half.mkdir()
        lose_row(api, lost)
        (root / "model" / ".lock").touch()
        before, owned = contents(root), contents(other)
        listed = cli(*where(api), "gc")
        assert listed.returncode == 0
        assert f"projects/{root.name}" in listed.stdout
        assert "1 video, 3 photos; point_cloud.ply, mesh.ply, textured_mesh.glb" in listed.stdout
        assert f"trash/{half.name}" in listed.stdout
        assert other.name not in listed.stdout
        assert contents(root) == before
        young = cli(*where(api), "gc", "--apply")
        assert (young.returncode, root.exists()) == (1, True)
        assert "try again later" in young.stderr
        age(root)
        age(half)
        lock = root / "model" / ".lock"
        with recon3d.Project.open(root / "model").lock():
            os.utime(lock, (0, 0))
            os.utime(lock.parent, (0, 0))
            assert "a run is working on it" in cli(*where(api), "gc", "--apply").stderr
        assert contents(root) == before
        age(root)
        moved = cli(*where(api), "gc", "--apply")
        aside = api.service.settings.quarantine_dir / root.name
        assert (moved.returncode, root.exists(), contents(aside)) == (0, False, before)
        assert f"recon3d-api adopt USER {root.name}" in moved.stdout
        assert cli(*where(api), "gc").stdout.startswith("Every folder")
        # Undone: a project as before.
        assert cli(*where(api), "adopt", "nobody", root.name).returncode == 2
        assert "There is no folder" in cli(*where(api), "adopt", owner[0].username, "../x").stderr
        done = cli(*where(api), "adopt", owner[0].username, str(aside))
        assert done.returncode == 0, done.stderr
        assert (contents(root), aside.exists()) == (before, False)
        back = client.get("/projects").json()[0]
        assert (back["name"], back["status"]) == ("clip", "completed")
        assert len(client.get(f"/files/list/{back['id']}").json()) == 7
        assert contents(other) == owned
        # An owned folder cannot be adopted away.
        assert cli(*where(api), "adopt", owner[0].username, other.name).returncode == 1


def test_a_damaged_folder_is_adopted_too(serve: Serve) -> None:
    with serve(runners=0) as api, api.client((owner := api.user())[1]) as client:
        damaged = api.service.storage.root("e" * 32)
        shutil.copytree(template(), damaged / "model")
        (damaged / "model" / "recon3d.json").write_text('{"format": 99}')
        foreign = api.service.settings.projects_dir / "from a colleague"
        shutil.copytree(template(), foreign / "model")
        (api.service.settings.projects_dir / "lost+found").mkdir()
        listed = cli(*where(api), "gc").stdout
        assert "cannot be read" in listed
        assert "lost+found" not in listed
        assert cli(*where(api), "adopt", owner[0].username).returncode == 0
        found = {row["name"]: row for row in client.get("/projects").json()}
        assert set(found) == {"Project eeeeeeee", "clip"}
        assert len(client.get(f"/files/list/{found['clip']['id']}").json()) == 4
        assert damaged.exists()


def test_gc_leaves_requests_in_progress_alone(serve: Serve) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        service = api.service
        ended = threading.Event()
        moved: list[Path] = []

        def collect() -> None:
            while not ended.is_set():
                for path in orphans.find(service.database, service.storage):
                    with contextlib.suppress(orphans.OrphanError, FileNotFoundError):
                        found = orphans.Orphan.of(path)
                        moved.append(orphans.set_aside(service.database, service.storage, found, 0.0))

        collector = threading.Thread(target=collect)
        collector.start()
        try:
            for _ in range(6):
                number = new_project(client)
                files = [("files", ("p.jpg", photo(number), "image/jpeg"))]
                data = {"project_id": str(number)}
                assert client.post("/files/upload/images", data=data, files=files).status_code == 200
                assert len(client.get(f"/files/list/{number}").json()) == 1
                if number % 2:
                    assert client.delete(f"/projects/{number}").status_code == 200
        finally:
            ended.set()
            collector.join()
        assert moved == []


# --- deletions --------------------------------------------------------------------------------------

_BETWEEN = "storage.Storage.remove = lambda *_: os.kill(os.getpid(), 9)\n"
_MIDDLE = (
    "def some(path):\n"
    "    next(p for p in path.rglob('*') if p.is_file()).unlink()\n"
    "    os.kill(os.getpid(), 9)\n"
    "storage.shutil = types.SimpleNamespace(rmtree=some, disk_usage=shutil.disk_usage)\n"
)


@pytest.mark.attack(
    "A server is killed while it deletes a project", "the deletion is completed, nothing else is deleted"
)
@pytest.mark.parametrize("moment", [_BETWEEN, _MIDDLE], ids=["before the removal", "in the removal"])
def test_a_killed_deletion_is_carried_out(new_database: NewDatabase, tmp_path: Path, moment: str) -> None:
    url = new_database()
    server = Server(tmp_path, url, runners=0)
    whole = server.command
    prefix = f"import os, shutil, types\nfrom recon3d_api.files import storage\n{moment}"
    script = f"{prefix}from tests.api.server import main\nmain()\n"
    server.command = ["-c", script, str(server.port)]
    server.start()
    with Client(server.url, retries=0) as client:
        client.register("ada", "ada@example.com", PASSWORD)
        kept = project_with_input(client, tmp_path, url, "{}")[1]
        number, root = project_with_input(client, tmp_path, url, "{}")
        with pytest.raises(httpx.TransportError):
            client.delete_project(number)
        assert server.process is not None
        assert server.process.wait(timeout=30) == -9
    left = root if moment == _BETWEEN else tmp_path / "trash" / root.name
    assert left.is_dir()
    unrecorded = tmp_path / "trash" / ("d" * 32)
    (unrecorded / "x").mkdir(parents=True)
    before = contents(kept)
    server.command = whole
    server.start()
    try:
        assert not root.exists()
        assert not left.exists()
        assert unrecorded.exists()
        assert contents(kept) == before
        with Client(server.url) as client:
            client.login("ada", PASSWORD)
            assert len(client.projects()) == 1
        assert "recon3d_pending_deletions 0.0" in httpx.get(f"{server.url}/metrics").text
    finally:
        server.kill()
    said = [json.loads(line) for line in (tmp_path / f"log-{server.port}").read_text().splitlines()]
    assert any("1 folder is" in line["message"] for line in said if line["level"] == "WARNING")


def pending(api: Api) -> set[str]:
    with api.service.database.read() as session:
        return set(session.scalars(sa.select(Deletion.folder)))


def test_what_cannot_be_removed_stays_recorded(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        number = plant(client, new_project(client))
        root = api.root(number)
        # Removing through a link is refused, also to root, whom permissions do not stop.
        elsewhere = root.rename(tmp_path / "elsewhere")
        root.symlink_to(elsewhere)
        before = contents(elsewhere)
        with caplog.at_level(logging.WARNING, "recon3d_api"):
            assert client.delete(f"/projects/{number}").status_code == 200
        (record,) = [record for record in caplog.records if "cannot be removed" in record.message]
        assert record.folder == root.name  # type: ignore[attr-defined]
        assert client.get(f"/projects/{number}").status_code == 404
        assert pending(api) == {root.name}
        assert contents(elsewhere) == before
        assert "recon3d_pending_deletions 1.0" in httpx.get(f"{api.url}/metrics").text
        assert root.name not in cli(*where(api), "gc").stdout
        (api.service.settings.trash_dir / root.name).unlink()
        deletions.carry_out_all(api.service.database, api.service.storage)
        assert pending(api) == set()


@pytest.mark.parametrize("name", ["..", ".", "x", "../../etc"])
def test_a_record_never_leads_elsewhere(serve: Serve, name: str) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        root = api.root(plant(client, new_project(client)))
        (api.service.settings.projects_dir / "x").mkdir()
        with api.service.database.write() as session:
            session.add_all([Deletion(folder=name), Deletion(folder=root.name)])
        deletions.carry_out_all(api.service.database, api.service.storage)
        # The folder of a present row is not removed, and the record that says so is dropped.
        assert contents(root)
        assert (api.service.settings.projects_dir / "x").exists()
        assert pending(api) == {name}


def test_a_deletion_waits_for_an_upload(serve: Serve) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        number = plant(client, new_project(client))
        root, storage = api.root(number), api.service.storage
        with storage.incoming() as folder:
            storage.bind(folder, root.name)
            assert client.delete(f"/projects/{number}").status_code == 200
            assert (root.exists(), pending(api)) == (True, {root.name})
        deletions.carry_out(api.service.database, storage, root.name)
        assert (root.exists(), pending(api)) == (False, set())
        # A row that is gone without a record, as in a restored database, costs no file.
        other = plant(client, new_project(client))
        kept = api.root(other)
        lose_row(api, other)
        deletions.carry_out(api.service.database, storage, kept.name)
        assert contents(kept)
