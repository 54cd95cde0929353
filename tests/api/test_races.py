"""Pairs of requests at once, on the same thing: each answer is one that the document names, never 5xx."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from recon3d_api.errors import ApiError
from recon3d_api.http import resets, sessions
from recon3d_api.http.security import Passwords
from recon3d_api.store import webhooks
from recon3d_api.store.expiry import forget_expired
from recon3d_api.store.tables import Deletion, Job, LoginSession, Project, Run, User
from recon3d_api.work import queue
from tests.api.accounts import OTHER, PASSWORD
from tests.api.conftest import Api, new_project, photo, plant, wait_for
from tests.api.test_uploads import BODY, TUS, begin, metadata

Serve = Callable[..., contextlib.AbstractContextManager[Api]]
#: Seconds between the statements of a transaction, so that transactions do meet.
_PAUSE = 0.003
#: In pauses, what the second request of a round waits for, and the third twice, and so on.
_LATER = (0, 2, 5, 9, 14, 20)


@pytest.fixture(scope="module")
def meeting(serve: Serve, backend: str) -> Iterator[Api]:
    """A service whose transactions take their time."""
    with serve(runners=0) as api:

        def pause(*_: object) -> None:
            time.sleep(_PAUSE)

        if backend == "postgresql":  # SQLite has one writer at a time
            sa.event.listen(api.service.database.engine, "after_cursor_execute", pause)
        yield api


@pytest.fixture(scope="module")
def http(meeting: Api) -> Iterator[httpx.Client]:
    """A client for all users."""
    with httpx.Client(base_url=f"{meeting.url}/api/v1", timeout=240) as http:
        yield http


@pytest.fixture(scope="module")
def documented(meeting: Api, http: httpx.Client) -> dict[str, Any]:
    """What the OpenAPI document says of each path and method."""
    paths: dict[str, Any] = http.get(f"{meeting.url}/openapi.json").json()["paths"]
    return paths


@dataclass
class Call:
    """A request: its path is that of the OpenAPI document."""

    method: str
    path: str
    fields: dict[str, object] = field(default_factory=dict)
    token: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Scene:
    """What a race begins with: a user with a project."""

    def __init__(self, api: Api, http: httpx.Client) -> None:
        self.api, self.http = api, http
        self.user, self.token = api.user()
        http.headers["Authorization"] = f"Bearer {self.token}"
        self.number = new_project(http)
        self.together = threading.Barrier(1)

    def call(self, method: str, path: str, /, token: str = "", **parts: Any) -> Call:
        """A request about the project; other parts of the path are given by their names."""
        fields = {name: parts.pop(name) for name in list(parts) if f"{{{name}}}" in path}
        return Call(method, path, {"project_id": self.number, **fields}, token or self.token, parts)

    def ask(self, call: Call) -> httpx.Response:
        headers = {"Authorization": f"Bearer {call.token}", **call.more.get("headers", {})}
        path = call.path.format(**call.fields)
        return self.http.request(call.method, path, **{**call.more, "headers": headers})

    def wrong(self, root: Path) -> list[object]:
        """What is left of the project if it was deleted."""
        token = self.api.service.tokens.issue(self.user.id)
        if self.ask(self.call("GET", "/projects/{project_id}", token)).status_code != 404:
            return []
        wait_for(lambda: not root.exists())
        uploads = self.ask(self.call("GET", "/files/uploads", token)).json()
        return [row for row in uploads if row["status"] == "receiving"]

    def made(self, path: str, **body: object) -> int:
        """The id of what a POST makes."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def session(self) -> tuple[str, str]:
        """A login of the user: access token and refresh token."""
        begun = sessions.begin(self.api.service.database, self.user.id, 1)
        return self.api.service.tokens.issue(self.user.id, number=begun.id), begun.refresh_token

    def delete_project(self) -> Call:
        return self.call("DELETE", "/projects/{project_id}")

    def share(self) -> int:
        return self.made(f"/projects/{self.number}/shares")

    def webhook(self) -> int:
        url, events = "https://example.com/", ["run.cancelled", "run.completed"]
        return self.made(f"/projects/{self.number}/webhooks", url=url, events=events)

    def job(self) -> int:
        """The only job of a run that waits."""
        plant(self.http, self.number)
        answer = self.http.post(
            "/files/extract-frames", data={"project_id": str(self.number), "interval": "1"}
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["job_id"])


# --- the races: what is asked at once ---------------------------------------------------------------


def project_twice(scene: Scene) -> list[Call]:
    return [scene.delete_project()] * 3


def project_and_its_name(scene: Scene) -> list[Call]:
    return [scene.delete_project(), scene.call("PUT", "/projects/{project_id}", json={"name": "new"})]


def project_and_new_things(scene: Scene) -> list[Call]:
    hook = {"url": "https://example.com/"}
    return [
        scene.delete_project(),
        scene.call("POST", "/projects/{project_id}/shares", json={}),
        scene.call("POST", "/projects/{project_id}/webhooks", json=hook),
        scene.call("POST", "/auth/ticket", json={"project_id": scene.number, "purpose": "events"}),
    ]


def project_and_its_things(scene: Scene) -> list[Call]:
    share, hook = scene.share(), scene.webhook()
    return [
        scene.delete_project(),
        scene.call("DELETE", "/projects/{project_id}/shares/{share_id}", share_id=share),
        scene.call("DELETE", "/projects/{project_id}/webhooks/{webhook_id}", webhook_id=hook),
        scene.call("POST", "/projects/{project_id}/webhooks/{webhook_id}/test", webhook_id=hook),
    ]


def project_and_a_start(scene: Scene) -> list[Call]:
    plant(scene.http, scene.number)
    return [
        scene.delete_project(),
        scene.call("POST", "/projects/{project_id}/start-reconstruction", params={"quality": "low"}),
    ]


def project_and_a_job_that_is_over(scene: Scene) -> list[Call]:
    job = scene.job()
    assert scene.http.post(f"/jobs/{job}/cancel").status_code == 200
    return [scene.delete_project(), scene.call("POST", "/jobs/{job_id}/cancel", job_id=job)]


def project_and_its_last_job(scene: Scene) -> list[Call]:
    cancel = scene.call("POST", "/jobs/{job_id}/cancel", job_id=scene.job())
    return [cancel, scene.delete_project(), cancel]


def project_and_its_photo(scene: Scene) -> list[Call]:
    plant(scene.http, scene.number)
    remove = scene.call("DELETE", "/files/{project_id}/{path}", path="inputs/photos/p0.jpg")
    return [scene.delete_project(), remove, remove]


def project_and_a_form(scene: Scene) -> list[Call]:
    return [_form(scene), scene.delete_project()]


def photo_and_a_form(scene: Scene) -> list[Call]:
    """A photo goes while others of the same name come, and a run begins."""
    plant(scene.http, scene.number)
    remove = scene.call("DELETE", "/files/{project_id}/{path}", path="inputs/photos/p0.jpg")
    start = scene.call("POST", "/projects/{project_id}/start-reconstruction", params={"quality": "low"})
    return [_form(scene), remove, _form(scene), start]


def project_and_a_new_upload(scene: Scene) -> list[Call]:
    name = metadata(filename="p.jpg", project_id=scene.number)
    told = {**TUS, "Upload-Length": "10", "Upload-Metadata": name}
    return [scene.call("POST", "/files/uploads", headers=told), scene.delete_project()]


def upload_twice(scene: Scene) -> list[Call]:
    return [_give_up(scene, upload := _upload(scene)), _give_up(scene, upload)]


def upload_and_its_last_byte(scene: Scene) -> list[Call]:
    upload = _upload(scene)
    return [_send(scene, upload), _give_up(scene, upload), _send(scene, upload)]


def upload_and_its_project(scene: Scene) -> list[Call]:
    upload = _upload(scene)
    return [_send(scene, upload), scene.delete_project(), _give_up(scene, upload)]


def upload_taken_and_given_up(scene: Scene) -> list[Call]:
    upload = _upload(scene, hold="1")
    assert scene.http.patch(f"/files/uploads/{upload}", **_bytes()).status_code == 204
    take = scene.call("POST", "/files/take-uploads", json={"uploads": [upload]})
    return [take, _give_up(scene, upload), take]


def share_twice(scene: Scene) -> list[Call]:
    return [scene.call("DELETE", "/projects/{project_id}/shares/{share_id}", share_id=scene.share())] * 2


def webhook_twice(scene: Scene) -> list[Call]:
    path = "/projects/{project_id}/webhooks/{webhook_id}"
    return [scene.call("DELETE", path, webhook_id=scene.webhook())] * 2


def webhook_and_its_test(scene: Scene) -> list[Call]:
    hook, path = scene.webhook(), "/projects/{project_id}/webhooks/{webhook_id}"
    return [
        scene.call("POST", f"{path}/test", webhook_id=hook),
        scene.call("DELETE", path, webhook_id=hook),
        scene.call("POST", f"{path}/test", webhook_id=hook),
    ]


def webhook_and_the_end_of_a_run(scene: Scene) -> list[Call]:
    hook, path = scene.webhook(), "/projects/{project_id}/webhooks/{webhook_id}"
    return [
        scene.call("POST", "/jobs/{job_id}/cancel", job_id=scene.job()),
        scene.call("DELETE", path, webhook_id=hook),
    ]


def start_and_archive(scene: Scene) -> list[Call]:
    plant(scene.http, scene.number)
    start = scene.call("POST", "/projects/{project_id}/start-reconstruction", params={"quality": "low"})
    archive = scene.call("PUT", "/projects/{project_id}", json={"status": "archived"})
    form = {"project_id": str(scene.number), "interval": "1"}
    return [start, archive, scene.call("POST", "/files/extract-frames", data=form)]


def key_twice(scene: Scene) -> list[Call]:
    return [scene.call("DELETE", "/auth/keys/{key_id}", key_id=scene.made("/auth/keys", name="k"))] * 2


def logout_twice(scene: Scene) -> list[Call]:
    return [scene.call("POST", "/auth/logout")] * 2


def logout_everywhere_of_two_sessions(scene: Scene) -> list[Call]:
    tokens, everywhere = [scene.session()[0] for _ in range(2)], {"everywhere": "true"}
    return [scene.call("POST", "/auth/logout", token=token, params=everywhere) for token in tokens]


def copied_refresh_token(scene: Scene) -> list[Call]:
    token, refresh_token = scene.session()
    refresh = scene.call("POST", "/auth/refresh", json={"refresh_token": refresh_token})
    return [refresh, refresh, refresh, scene.call("POST", "/auth/logout", token=token)]


def password_reset_and_changed(scene: Scene) -> list[Call]:
    with scene.api.service.database.write() as session:
        user = session.get_one(User, scene.user.id)
        user.password_hash = _hash()
        links = [resets.issue(session, user, 60) for _ in range(2)]
    reset = [{"token": link, "new_password": OTHER} for link in links]
    return [
        *(scene.call("POST", "/auth/password/reset", json=body) for body in reset),
        scene.call("POST", "/auth/password", json={"old_password": PASSWORD, "new_password": OTHER}),
    ]


def user_disabled_and_logged_out(scene: Scene) -> list[Call]:
    boss, everywhere = scene.api.user(is_admin=True)[1], {"everywhere": "true"}
    path = "/admin/users/{user_id}"
    return [
        scene.call("POST", f"{path}/disable", token=boss, user_id=scene.user.id),
        scene.call("POST", "/auth/logout", params=everywhere),
        scene.call("POST", f"{path}/enable", token=boss, user_id=scene.user.id),
    ]


def name_registered_twice(scene: Scene) -> list[Call]:
    body = {"username": f"twice{scene.number}", "password": PASSWORD}
    mails = [f"twice{scene.number}@example.com", f"other{scene.number}@example.com"]
    return [scene.call("POST", "/auth/register", json={**body, "email": mail}) for mail in mails]


@functools.cache
def _hash() -> str:
    return Passwords().hash(PASSWORD)


def _upload(scene: Scene, **more: object) -> str:
    return begin(scene.http, scene.number, len(photo()), "p.jpg", **more).rpartition("/")[2]


def _bytes() -> dict[str, Any]:
    return {"content": photo(), "headers": {**BODY, "Upload-Offset": "0"}}


def _form(scene: Scene) -> Call:
    data, files = {"project_id": str(scene.number)}, [("files", ("p0.jpg", photo(), "image/jpeg"))]
    return scene.call("POST", "/files/upload/images", data=data, files=files)


def _send(scene: Scene, upload: str) -> Call:
    return scene.call("PATCH", "/files/uploads/{upload_id}", upload_id=upload, **_bytes())


def _give_up(scene: Scene, upload: str) -> Call:
    return scene.call("DELETE", "/files/uploads/{upload_id}", upload_id=upload, headers=TUS)


#: Races of which exactly one request succeeds.
ONE_WINS = [project_twice, share_twice, webhook_twice, key_twice, name_registered_twice]
RACES = [
    *ONE_WINS,
    project_and_its_name,
    project_and_new_things,
    project_and_its_things,
    project_and_a_start,
    project_and_a_job_that_is_over,
    project_and_its_last_job,
    project_and_its_photo,
    project_and_a_form,
    photo_and_a_form,
    project_and_a_new_upload,
    upload_twice,
    upload_and_its_last_byte,
    upload_and_its_project,
    upload_taken_and_given_up,
    webhook_and_its_test,
    webhook_and_the_end_of_a_run,
    start_and_archive,
    logout_twice,
    logout_everywhere_of_two_sessions,
    copied_refresh_token,
    password_reset_and_changed,
    user_disabled_and_logged_out,
]


@pytest.mark.attack("Requests about the same thing at once, of 27 kinds", "documented answers, never 5xx")
@pytest.mark.parametrize("rounds", [1, pytest.param(len(_LATER), marks=pytest.mark.slow)])
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_at_once(
    meeting: Api,
    http: httpx.Client,
    documented: dict[str, Any],
    race: Callable[[Scene], list[Call]],
    rounds: int,
) -> None:
    wrong: list[object] = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for later in _LATER[:rounds]:
            scene = Scene(meeting, http)
            root, calls = meeting.root(scene.number), race(scene)
            scene.together = threading.Barrier(len(calls))

            def ask(order: int, call: Call, scene: Scene = scene, later: int = later) -> int:
                scene.together.wait()
                time.sleep(later * order * _PAUSE)
                answer = scene.ask(call)
                known = documented[f"/api/v1{call.path}"][call.method.lower()]["responses"]
                if answer.status_code >= 500 or f"{answer.status_code}" not in known:
                    wrong.append((call.method, call.path, answer.status_code, answer.text))
                return answer.status_code

            codes = list(pool.map(ask, range(len(calls)), calls))
            if race in ONE_WINS and sum(code < 300 for code in codes) != 1:
                wrong.append(codes)
            wrong.extend(scene.wrong(root))
    assert not wrong

    def carried_out() -> bool:
        with meeting.service.database.read() as session:
            return session.scalars(sa.select(Deletion.folder)).first() is None

    wait_for(carried_out)


def test_a_webhook_is_deleted_while_a_run_ends(meeting: Api, http: httpx.Client) -> None:
    """The message waits for a webhook that is being deleted, and the deletion for the message."""
    scene = Scene(meeting, http)
    hook, job = scene.webhook(), scene.job()
    delete = scene.call("DELETE", "/projects/{project_id}/webhooks/{webhook_id}", webhook_id=hook)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with meeting.service.database.write() as session:
            run = session.get_one(Run, session.get_one(Job, job).run_id)
            run.status = "completed"
            webhooks.run_ended(session, session.get_one(Project, scene.number), run)
            sent = pool.submit(scene.ask, delete)
            concurrent.futures.wait([sent], timeout=0.3)
        assert sent.result().status_code == 200


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True, scope="session")  # SQLite locks no rows
def test_the_sweeper_waits_for_nobody(serve: Serve) -> None:
    """It removes rows in another order than a user who logs out everywhere."""
    with serve(runners=0) as api:
        user = api.user()[0]
        old, held = (sessions.begin(api.service.database, user.id, -1) for _ in range(2))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with api.service.database.write() as session:
                session.get_one(LoginSession, held.id, with_for_update=True)
                pool.submit(forget_expired, api.service.database).result(timeout=20)
            with api.service.database.read() as session:
                assert session.get(LoginSession, old.id) is None
                assert session.get(LoginSession, held.id) is not None


def test_a_project_is_deleted_while_a_job_that_is_over_is_cancelled(meeting: Api, http: httpx.Client) -> None:
    """The two locked the run and its jobs in another order each, and the database ended one of them.

    A restored dump of PostgreSQL removes a project's jobs before its runs.
    """
    if not meeting.service.database.is_sqlite:
        name = "fk_runs_project_id_projects"
        with meeting.service.database.write() as session:
            session.execute(sa.text(f"ALTER TABLE runs DROP CONSTRAINT {name}"))
            session.execute(
                sa.text(
                    f"ALTER TABLE runs ADD CONSTRAINT {name} FOREIGN KEY (project_id) "
                    "REFERENCES projects (id) ON DELETE CASCADE"
                )
            )
    scene = Scene(meeting, http)
    job = scene.job()
    assert http.post(f"/jobs/{job}/cancel").status_code == 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with meeting.service.database.write() as session:
            queue.locked_run(session, session.get_one(Job, job).run_id)
            sent = pool.submit(scene.ask, scene.delete_project())
            concurrent.futures.wait([sent], timeout=0.3)
            with pytest.raises(ApiError, match="The job is over"):
                queue.cancel_job(session, job)
        assert sent.result().status_code == 200
