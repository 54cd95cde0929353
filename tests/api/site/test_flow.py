"""From nothing to a shared model, as a person does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.api.conftest import Api, photo, wait_for
from tests.api.site.conftest import Visitor, begin_project, model_frame, plant_model, register, turned


def test_from_registration_to_deletion(
    api: Api, visit: Callable[..., Visitor], video: Path, tmp_path: Path
) -> None:
    # Refused on purpose: a text file, and pictures of a project that has none.
    visitor = visit(api.url, expected=("/files/uploads", "/preview"))
    page = visitor.page
    visitor.check_accessible()
    register(visitor)
    visitor.check_accessible()
    number = begin_project(visitor, "Bust")
    visitor.check_accessible()

    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "a.jpg").write_bytes(photo(1))
    page.get_by_label("Choose files").set_input_files([video, tmp_path / "notes.txt", tmp_path / "a.jpg"])
    refused = page.get_by_text("Not added: 'notes.txt' is not supported; use MP4, AVI")
    refused.wait_for()
    page.get_by_role("heading", name="Your files (2)").wait_for()
    page.get_by_role("img", name="Thumbnail of a.jpg").wait_for()

    # What the check says of a video of 20 small frames is not this test's matter.
    page.locator(".advice .level").wait_for()
    visitor.check_accessible()
    api.behave(number, hold="sparse_reconstruction", verdict="doubtful")
    page.get_by_label("Quick").check()
    page.get_by_role("button", name="Make the model").or_(
        page.get_by_role("button", name="Try anyway")
    ).click()
    page.locator("li[aria-current=step]").get_by_text("Finding the cameras").wait_for()
    page.get_by_text("3 of 3 pictures").wait_for()
    assert page.get_by_text("sparse_reconstruction").count() == 0
    visitor.check_accessible()
    plant_model(api, number)
    (api.root(number) / "go").touch()

    page.get_by_text("The model has weak spots.").wait_for()
    page.get_by_text("Only 26 of 46 images could be placed. Film again.").wait_for()
    frame = model_frame(page)
    assert turned(visitor, frame)
    visitor.check_accessible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Model with colours").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"glTF"

    page.get_by_label("For whom").fill("Museum")
    page.get_by_role("button", name="Create a link").click()
    link = page.get_by_label("Link", exact=True).input_value()
    visitor.check_accessible()
    stranger = visit(link, at="")
    stranger.page.locator("canvas").first.wait_for()
    assert turned(stranger, stranger.page.locator("body"))
    stranger.check_accessible()
    page.get_by_role("button", name="End Museum").click()
    page.get_by_text("The link is ended.").wait_for()
    stranger.expected.append("/share/")
    stranger.page.reload()
    stranger.page.get_by_role("heading", name="This link shows nothing").wait_for()
    stranger.page.get_by_text("Ask whoever sent it for a new one.").wait_for()
    # Styled, and of a size that can be read on a phone.
    assert stranger.page.locator("main").evaluate("e => getComputedStyle(e).maxWidth") == "432px"
    assert "width=device-width" in str(stranger.page.locator("meta[name=viewport]").get_attribute("content"))
    stranger.check_accessible()

    page.clock.install()  # nobody waits for eight seconds
    page.reload()
    page.get_by_role("button", name="Delete project").click()
    page.get_by_role("button", name="Undo").click()
    page.clock.fast_forward(10_000)
    page.get_by_role("link", name="Bust").click()
    page.get_by_role("heading", name="The model").wait_for()
    page.get_by_role("button", name="Delete project").click()
    page.get_by_text("You have no projects yet").wait_for()
    assert api.root(number).exists()
    page.clock.fast_forward(10_000)
    page.get_by_text("“Bust” is deleted.").wait_for()
    wait_for(lambda: not list(api.service.settings.projects_dir.glob("*/model/artifacts")))
