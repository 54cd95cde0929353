"""Uploads of the page: cut, paused, left and taken up again."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from recon3d_api.store.tables import Project
from tests.api.conftest import Api, new_project, photo, wait_for
from tests.api.site.conftest import Visitor, noise, open_project, slow_line


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("large"))


def offsets(page: Any) -> list[int]:
    """Where each request that sends bytes begins; fills while they come."""
    found: list[int] = []

    def asked(request: Any) -> None:
        if request.method == "PATCH":
            found.append(int(request.headers["upload-offset"]))

    page.on("request", asked)
    return found


def received(api: Api, number: int) -> int:
    """Bytes that the server has of the upload to a project that is on its way."""
    with api.service.database.read() as session:
        owner = session.get_one(Project, number).owner_id
    files = (api.service.settings.uploads_dir / str(owner)).rglob("*")
    return max((path.stat().st_size for path in files if path.is_file()), default=0)


def stored(api: Api, number: int) -> bytes:
    (path,) = (api.root(number) / "model" / "inputs").rglob("noise*.*")
    return path.read_bytes()


def test_the_files_of_a_dropped_folder_are_added_and_listed_by_name(
    api: Api, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    visitor = open_project(api, visit, expected=("/files/uploads",))[0]
    page, folder = visitor.page, tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("p10.jpg", "p2.jpg", "more/p9.jpg", ".hidden.jpg")):
        (folder / name).write_bytes(photo(number))
    (folder / "cut.jpg").write_bytes(photo(5)[:2000])
    box = page.locator(".drop").bounding_box()
    line = visitor.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        line.send(
            "Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 9, "y": box["y"] + 9, "data": data}
        )
    page.get_by_role("heading", name="Your files (3)").wait_for()
    page.get_by_text("Not added: cut.jpg is damaged").wait_for()
    page.get_by_text("copy the file again, or leave it out").wait_for()
    wait_for(lambda: page.locator(".files .name").all_text_contents() == ["p2.jpg", "p9.jpg", "p10.jpg"])


def test_a_cut_upload_resumes_by_itself(api: Api, visit: Callable[..., Visitor], large: Path) -> None:
    visitor, number = open_project(api, visit, expected=("/api/v1/", "/ws/", "/live.js"))
    page, sent = visitor.page, offsets(visitor.page)
    slow_line(visitor)
    page.get_by_label("Choose files").set_input_files(large)
    wait_for(lambda: received(api, number) > 50_000)
    visitor.context.set_offline(True)
    page.get_by_text("The connection is lost. The upload resumes by itself.").wait_for()
    slow_line(visitor, -1)
    visitor.context.set_offline(False)
    page.get_by_role("heading", name="Your files (1)").wait_for()
    assert stored(api, number) == large.read_bytes()
    assert sent[0] == 0
    assert all(offset >= 50_000 for offset in sent[1:])
    assert len(sent) > 1


@pytest.mark.slow
def test_a_paused_upload_resumes_on_another_visit(
    api: Api, visit: Callable[..., Visitor], large: Path
) -> None:
    visitor, number = open_project(api, visit)
    page, sent = visitor.page, offsets(visitor.page)
    slow_line(visitor)
    page.get_by_label("Choose files").set_input_files(large)
    wait_for(lambda: received(api, number) > 50_000)
    page.get_by_role("button", name="Pause noise.png").click()
    page.get_by_text("Paused at").wait_for()
    kept = received(api, number)
    page.once("dialog", lambda dialog: dialog.accept())  # files are still being uploaded
    page.reload()
    page.get_by_text("is 0 % uploaded").or_(
        page.get_by_text("Choose the same file again to resume")
    ).wait_for()
    slow_line(visitor, -1)
    page.get_by_label("Choose files").set_input_files(large)
    page.get_by_role("heading", name="Your files (1)").wait_for()
    assert stored(api, number) == large.read_bytes()
    assert len(sent) == 2
    assert sent[1] >= kept


def test_a_file_of_the_same_name_and_size_is_not_joined_to_another(
    api: Api, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    one, other = tmp_path / "one" / "noise.tif", tmp_path / "other" / "noise.tif"
    for path, colour in ((one, "red"), (other, "blue")):
        path.parent.mkdir()
        Image.new("RGB", (2000, 1000), colour).save(path)
    os.utime(other, (1_600_000_000, 1_600_000_000))
    assert one.stat().st_size == other.stat().st_size
    visitor, number = open_project(api, visit)
    page, sent = visitor.page, offsets(visitor.page)
    slow_line(visitor)
    page.get_by_label("Choose files").set_input_files(one)
    wait_for(lambda: received(api, number) > 50_000)
    page.get_by_role("button", name="Pause noise.tif").click()
    page.get_by_text("Paused at").wait_for()
    page.once("dialog", lambda dialog: dialog.accept())  # files are still being uploaded
    page.reload()
    page.get_by_text("Choose the same file again to resume").wait_for()
    slow_line(visitor, -1)
    page.get_by_label("Choose files").set_input_files(other)
    page.get_by_role("heading", name="Your files (1)").wait_for()
    assert stored(api, number) == other.read_bytes()
    assert sent == [0, 0]


def test_what_becomes_of_names_that_are_taken_is_said(
    api: Api, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    page = open_project(api, visit, expected=("/files/uploads",))[0].page
    for number, folder in enumerate(("one", "other")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "DSC 1.JPG").write_bytes(photo(number))
    choose = page.get_by_label("Choose files").set_input_files
    told = page.locator(".inputs [role=status]")
    choose(tmp_path / "one" / "DSC 1.JPG")
    page.get_by_role("heading", name="Your files (1)").wait_for()
    assert told.inner_text() == ""
    choose(tmp_path / "other" / "DSC 1.JPG")
    page.get_by_role("heading", name="Your files (2)").wait_for()
    page.get_by_text("There was another “DSC 1.JPG” already. This one is kept as “DSC_1-2.jpg”.").wait_for()
    page.reload()
    page.get_by_role("heading", name="Your files (2)").wait_for()
    choose(tmp_path / "one" / "DSC 1.JPG")
    page.get_by_text("“DSC 1.JPG” is here already. It is not added twice.").wait_for()
    assert page.get_by_text("There was another").count() == 0
    page.get_by_role("heading", name="Your files (2)").wait_for()


def test_signing_out_stops_the_uploads(api: Api, visit: Callable[..., Visitor], large: Path) -> None:
    visitor, _ = open_project(api, visit)
    page = visitor.page
    slow_line(visitor)
    with page.expect_event("requestfailed", lambda asked: asked.method == "PATCH"):
        with page.expect_request(lambda asked: asked.method == "PATCH"):
            page.get_by_label("Choose files").set_input_files(large)
        page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("heading", name="Sign in").wait_for()


def test_an_upload_that_began_elsewhere_is_not_said_to_resume_here(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    token = api.user()[1]
    name = base64.b64encode(b"clip.mp4").decode()
    with api.client(token) as client:
        number = new_project(client)
        told = {"Upload-Metadata": f"filename {name},project_id {base64.b64encode(b'%d' % number).decode()}"}
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000", **told}
        assert client.post("/files/uploads", headers=headers).status_code == 201
    page = visit(api.url, at=f"/#/projects/{number}", token=token, expected=("/check",)).page
    told_of = page.get_by_text("“clip.mp4” is 0 % uploaded from another browser or program.")
    told_of.wait_for()
    assert page.get_by_text("Choose the same file again").count() == 0
    page.get_by_role("button", name="Cancel clip.mp4").click()
    told_of.wait_for(state="detached")
    with api.client(token) as client:
        assert client.get("/files/uploads").json() == []


def test_no_times_are_promised_for_what_cannot_work(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = open_project(api, visit)[0]
    page = visitor.page
    page.get_by_label("Choose files").set_input_files(
        [{"name": "one.jpg", "mimeType": "image/jpeg", "buffer": photo(1)}]
    )
    page.get_by_text("This will probably not work.").wait_for()
    assert page.get_by_text("Times come from").count() == 0
