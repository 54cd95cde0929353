"""Results that the last run did not reach, as the service lists them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from recon3d.events import RunState
from recon3d.layout import REPORT_JSON
from recon3d.pipeline.report import write_report
from recon3d.project import Project
from recon3d_api import schemas
from tests.api.conftest import Api, new_project, photo, wait_status
from tests.api.test_shares import share
from tests.synthetic.made_project import made_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model, and one photo now: too little for another model."""
    folder = tmp_path_factory.mktemp("finished")
    project = made_project(folder / "model")
    (folder / "a.jpg").write_bytes(photo())
    project.add_photos(folder / "a.jpg")
    sparse = project.results.folder / "sparse"
    sparse.mkdir()
    (sparse / "cameras.bin").write_bytes(b"cameras")
    published = {name: made.manifest.fingerprint for name, made in project.artifacts.items()}
    made = [project.artifacts["texturing"]]
    write_report(project, made, RunState(), project.results.folder, published=published)
    return project.path


def planted(client: httpx.Client, api: Api, finished: Path) -> int:
    """The project in the service."""
    number = new_project(client)
    shutil.copytree(finished, api.root(number) / "model")
    return number


def outdated(client: httpx.Client, number: int) -> set[str]:
    """Types that are listed as outdated; all files of a type are, or none is."""
    rows = [schemas.FileInfo(**row) for row in client.get(f"/files/list/{number}").json()]
    old = {row.type for row in rows if row.outdated}
    assert {row.type for row in rows if not row.outdated}.isdisjoint(old)
    return old


def test_what_a_refused_run_did_not_reach_is_listed_as_outdated(
    serve: Callable[..., AbstractContextManager[Api]], finished: Path
) -> None:
    with serve(fake=False) as api, api.client(api.user()[1]) as client:
        number = planted(client, api, finished)
        made = share(client, number, download=True)
        link = f"{api.url}/api/v1/shared/{made['token']}"
        before = httpx.get(link).json()
        assert outdated(client, number) == set()
        client.post(f"/projects/{number}/start-reconstruction?quality=low")
        wait_status(client, number, "failed")
        assert outdated(client, number) == {"sparse", "point_cloud", "textured_mesh"}
        # Who has a link sees the same model as before; what its owner has tried is the owner's.
        assert httpx.get(link).json() == before | {"status": "failed"}


@pytest.mark.parametrize("content", [None, "{", '{"stages": []}', '{"outdated": [[]]}', '{"outdated": 1}'])
def test_nothing_is_claimed_without_a_readable_report(
    client: httpx.Client, idle: Api, finished: Path, content: str | None
) -> None:
    number = planted(client, idle, finished)
    project = Project.open(idle.root(number) / "model")
    write_report(project, [], RunState(), project.results.folder, outdated=["textured_mesh"])
    assert outdated(client, number) == {"textured_mesh"}
    report = project.results.folder / REPORT_JSON
    report.unlink()
    if content is not None:
        report.write_text(content)
    assert outdated(client, number) == set()
