"""The page with a run of recon3d itself, on the video that the package carries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recon3d_api.settings import Settings
from tests.api.conftest import served
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
        page.get_by_role("img", name="Picture of what has been made so far").wait_for()
        visitor.check_accessible()
        page.locator(".model .level").wait_for()  # the verdict
        assert turned(visitor, model_frame(page))
        page.get_by_role("button", name="Create a link").click()
        stranger = visit(page.get_by_label("Link", exact=True).input_value(), at="")
        stranger.page.locator("canvas").first.wait_for()
        assert turned(stranger, stranger.page.locator("body"))
        page.get_by_role("link", name="Projects", exact=True).click()
        page.get_by_role("img", name="Preview of Bust").wait_for()
