"""The page with a run of recon3d itself, on the video that the package carries.

It leaves pictures of the page in pytest's temporary folder, for people to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recon3d_api.settings import Settings
from tests.api.conftest import served, wait_for
from tests.api.site.conftest import Visitor, begin_project, model_frame, register, turned

SAMPLE = Path(__file__).parents[3] / "examples" / "data" / "bust.mp4"
MINUTES = 60_000


@pytest.mark.slow
def test_the_bust(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    with served(Settings(data_dir=tmp_path, min_free_mb=1), fake=False) as api:
        visitor = visit(api.url, expected=("/preview",))
        page = visitor.page
        page.set_default_timeout(8 * MINUTES)
        register(visitor)
        begin_project(visitor, "Bust")
        page.get_by_label("Choose files").set_input_files(SAMPLE)
        page.get_by_text("Your files look good.").wait_for()
        page.get_by_label("Quick").check()
        page.get_by_role("button", name="Make the model").click()
        page.get_by_role("img", name="Chosen picture 1", exact=True).wait_for()
        page.locator("li[aria-current=step]").get_by_text("Finding the cameras").wait_for()
        page.get_by_role("img", name="Depth map of ").first.wait_for()
        visitor.check_accessible()
        page.screenshot(path=tmp_path / "watched.png", full_page=True)
        page.get_by_role("img", name="Picture of what has been made so far").wait_for()
        page.locator(".model .level").wait_for()  # the verdict
        assert turned(visitor, model_frame(page))
        page.screenshot(path=tmp_path / "turned.png")
        page.get_by_role("button", name="Create a link").click()
        link = page.get_by_label("Link", exact=True).input_value()
        visitor.check_accessible()
        page.screenshot(path=tmp_path / "shared.png")
        stranger = visit(link, at="")
        stranger.page.locator("canvas").first.wait_for()
        assert turned(stranger, stranger.page.locator("body"))
        stranger.check_accessible()
        stranger.page.screenshot(path=tmp_path / "stranger.png")
        page.get_by_role("link", name="Projects", exact=True).click()
        page.get_by_role("img", name="Preview of Bust").wait_for()
        visitor.check_accessible()
        page.screenshot(path=tmp_path / "projects.png")
        page.get_by_role("link", name="Bust").click()
        page.get_by_role("button", name="Delete project").click()
        page.get_by_text("“Bust” is deleted.").wait_for()
        wait_for(lambda: not list(tmp_path.glob("projects/*/model/artifacts")))
        stranger.expected.append("/share/")
        stranger.page.reload()
        stranger.page.get_by_role("heading", name="This link shows nothing").wait_for()
        # Before the service ends: a page that it leaves behind tells of lost connections.
        for seen in (visitor, stranger):
            seen.context.close()
