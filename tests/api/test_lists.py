"""Lists: search, order, the headers about other pages, and the indexes that they are read from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import sqlalchemy as sa

from recon3d_api.settings import Settings
from recon3d_api.store.tables import Project
from tests.api.conftest import Api, new_project, plant, started
from tests.benchmarks.service_process import fill

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def names(client: httpx.Client, query: str) -> list[str]:
    answer = client.get(f"/projects?{query}")
    assert answer.status_code == 200, answer.text
    found = [row["name"] for row in answer.json()]
    assert answer.headers["x-total-count"] == str(len(found))
    return found


def test_search_order_and_status(client: httpx.Client, stranger: httpx.Client) -> None:
    numbers = [new_project(client, name) for name in ("Écu d'or", "bust 100%", "Bust 100x", "a_b", "aXb")]
    new_project(stranger, "Bust of somebody else")
    assert names(client, "search=bust") == ["Bust 100x", "bust 100%"]
    assert names(client, "search=100%25") == ["bust 100%"]
    assert names(client, "search=A_B") == ["a_b"]
    assert names(client, "search=%C3%A9CU") == ["Écu d'or"]
    assert names(client, "search=nothing") == []
    assert names(client, "order=name") == ["a_b", "aXb", "bust 100%", "Bust 100x", "Écu d'or"]
    assert names(client, "order=-name") == names(client, "order=name")[::-1]
    assert names(client, "order=id") == names(client, "")[::-1]
    client.put(f"/projects/{numbers[0]}", json={"description": "changed last"})
    assert names(client, "order=-updated_at")[0] == "Écu d'or"
    assert names(client, "order=updated_at")[-1] == "Écu d'or"
    client.put(f"/projects/{numbers[1]}", json={"status": "archived"})
    assert names(client, "status=archived") == ["bust 100%"]
    assert names(client, "status=draft&search=bust") == ["Bust 100x"]
    started(client, plant(client, numbers[3]))
    jobs = client.get("/jobs?search=A_B&order=id").json()
    assert [job["project_id"] for job in jobs] == [numbers[3]] * 7
    assert [job["id"] for job in jobs] == sorted(job["id"] for job in jobs)
    assert client.get("/jobs?search=aXb").json() == []
    assert stranger.get("/jobs?search=a_b").json() == []
    for query in ("order=size", "status=lost", "search=", f"search={'x' * 201}"):
        assert client.get(f"/projects?{query}").status_code == 422, query


def test_every_page_is_linked(client: httpx.Client) -> None:
    for index in range(7):
        new_project(client, f"Bust {index}")
    url, seen, pages = "/projects?search=bust&limit=3", [], 0
    while url:
        answer = client.get(url)
        assert answer.headers["x-total-count"] == "7"
        seen += [row["name"] for row in answer.json()]
        found = links(answer)
        assert "skip=0" in found["first"]
        assert "skip=6" in found["last"]
        assert ("prev" in found) == (pages > 0)
        assert all("search=bust" in target and "limit=3" in target for target in found.values())
        url = urljoin(str(answer.url), found["next"]) if "next" in found else ""
        pages += 1
    assert (pages, seen) == (3, [f"Bust {index}" for index in reversed(range(7))])
    beyond = client.get("/projects?skip=50&limit=3")
    assert (beyond.json(), beyond.headers["x-total-count"]) == ([], "7")
    assert "skip=6" in links(beyond)["prev"]
    nothing = client.get("/jobs")
    assert (nothing.json(), nothing.headers["x-total-count"]) == ([], "0")
    assert set(links(nothing)) == {"first", "last"}


def links(answer: httpx.Response) -> dict[str, str]:
    return {name: target for target, name in re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers["link"])}


def test_browsers_may_read_the_headers(serve: Serve) -> None:
    with serve(runners=0, cors_origins="https://a.example") as api, api.client(api.user()[1]) as client:
        answer = client.get("/projects", headers={"Origin": "https://a.example"})
        exposed = answer.headers["access-control-expose-headers"]
        assert {"X-Total-Count", "Link"} <= {name.strip() for name in exposed.split(",")}


@pytest.fixture(scope="module")
def full(serve: Serve) -> Any:
    """A service with so many rows that a planner takes them seriously."""
    with serve(runners=0) as api:
        for user, _ in (api.user(), api.user()):
            url = api.service.settings.resolved_database_url
            fill(url, user.username, 400, 400)
        with api.client(api.service.tokens.issue(user.id)) as client:
            yield api, client


@pytest.mark.parametrize(
    "path",
    [
        "/projects",
        "/projects?skip=200&limit=100",
        "/jobs",
        "/jobs?skip=1000&limit=100",
        "/jobs?status=completed",
        "/jobs?status=running",
        "/jobs?job_type=texturing",
        "/jobs?order=id",
        "/jobs?project_id={}",
    ],
)
def test_lists_are_read_in_the_order_of_an_index(full: tuple[Api, httpx.Client], path: str) -> None:
    api, client = full
    engine = api.service.database.engine
    asked: list[tuple[str, Any]] = []

    def keep(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "ORDER BY" in statement:
            asked.append((statement, parameters))

    with api.service.database.read() as session:
        number = session.scalar(sa.select(sa.func.max(Project.id)))
    sa.event.listen(engine, "before_cursor_execute", keep)
    try:
        assert client.get(path.format(number)).status_code == 200
    finally:
        sa.event.remove(engine, "before_cursor_execute", keep)
    ((statement, parameters),) = asked
    with engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN " if api.service.database.is_sqlite else "EXPLAIN "
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
    plan = "\n".join(str(row[-1]) for row in rows)
    assert "INDEX" in plan.upper(), plan
    assert "TEMP B-TREE" not in plan, plan
    assert "Sort" not in plan, plan


def test_rows_of_an_earlier_version_get_their_owners(new_database: Callable[[], str], tmp_path: Any) -> None:
    from alembic import command
    from alembic.config import Config

    from recon3d_api.store import database as module

    url = Settings(data_dir=tmp_path, database_url=new_database()).resolved_database_url
    database = module.Database(url)
    config = Config()
    config.set_main_option("script_location", str(module.Path(module.__file__).parent / "migrations"))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.commit()
    with database.write() as session:
        for name in ("one", "two"):
            session.execute(
                sa.text(
                    "INSERT INTO users (username, username_key, email, email_key, password_hash, is_active,"
                    f" created_at) VALUES ('{name}', '{name}', '{name}', '{name}', '', true, '2026-01-01')"
                )
            )
    for name in ("one", "two"):
        fill(url, name, 2, 2)
    with database.read() as session:
        count = session.execute(sa.text("SELECT count(*) FROM jobs")).scalar()
    database.migrate()
    with database.read() as session:
        for table in ("runs", "jobs"):
            wrong = f"FROM {table} JOIN projects ON projects.id = {table}.project_id"
            wrong += f" WHERE {table}.owner_id <> projects.owner_id"
            assert session.execute(sa.text(f"SELECT count(*) {wrong}")).scalar() == 0
            assert session.execute(sa.text(f"SELECT count(DISTINCT owner_id) FROM {table}")).scalar() == 2
        assert session.execute(sa.text("SELECT count(*) FROM jobs")).scalar() == count == 28
    database.dispose()
