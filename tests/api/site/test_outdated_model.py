"""A model that the last run did not reach, as the page shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from recon3d.events import RunState
from recon3d.pipeline.report import write_report
from recon3d.project import Project
from tests.api.conftest import Api
from tests.api.site.conftest import PHONE, Visitor, model_frame, open_project, plant_model
from tests.api.site.test_static import fits

OLD = "This model is from an earlier run, before the last changes."


def call_outdated(api: Api, number: int, *names: str) -> None:
    """Leave the report of a run that did not reach these results."""
    project = Project.open(api.root(number) / "model")
    write_report(project, [], RunState(), project.results.folder, outdated=names)


@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark"}], ids=["light", "phone", "dark"])
def test_an_outdated_model_is_called_so_above_it_and_in_the_downloads(
    api: Api, visit: Callable[..., Visitor], options: dict[str, Any]
) -> None:
    visitor, number = open_project(api, visit, inputs=True, **options)
    page, model = visitor.page, visitor.page.locator(".model")
    plant_model(api, number)
    call_outdated(api, number, "textured_mesh")
    page.reload()
    frame = model_frame(page)
    told = page.get_by_text(OLD)
    assert told.bounding_box()["y"] < frame.bounding_box()["y"]
    old = page.get_by_role("list", name="From an earlier run, before the last changes")
    assert "Model with colours" in old.inner_text()
    assert "Points" not in old.inner_text()
    assert model.get_by_role("button").count() == old.get_by_role("button").count() + 3
    visitor.check_accessible()
    if options is PHONE:
        fits(page)

    call_outdated(api, number)
    page.reload()
    page.get_by_role("button", name="Model with colours").wait_for()
    assert told.is_hidden()
    assert old.count() == 0


def test_the_verdict_of_the_last_run_is_not_told_of_a_model_that_it_did_not_make(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = open_project(api, visit, inputs=True)
    page = visitor.page
    plant_model(api, number)
    call_outdated(api, number)
    page.reload()
    page.get_by_role("button", name="Model with colours").wait_for()
    fallbacks = {"feature_matching": ["A guess."]}
    api.behave(number, verdict="good", fallbacks=fallbacks, hold="texturing")
    token = json.loads(page.evaluate("sessionStorage.getItem('recon3d.session')"))["access"]
    with api.client(token) as client:
        client.post(f"/projects/{number}/start-reconstruction?quality=low")
    page.locator("li[aria-current=step]").get_by_text("Colouring the surface").wait_for()
    assert page.get_by_text(OLD).is_hidden()
    call_outdated(api, number, "textured_mesh")
    (api.root(number) / "go").touch()
    # Without another visit.
    page.get_by_role("list", name="From an earlier run, before the last changes").wait_for()
    page.get_by_text(OLD).wait_for()
    page.get_by_text("Notes from the last run (1)").wait_for()
    verdict, made = page.get_by_text("The model is good."), page.get_by_text("Made in")
    assert (verdict.count(), made.count()) == (0, 0)
    call_outdated(api, number)
    page.reload()
    verdict.wait_for()
    made.wait_for()
