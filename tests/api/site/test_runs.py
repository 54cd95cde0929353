"""Runs that do not simply end well, as the page shows them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Request
from sqlalchemy import select

from recon3d_api.http import dependencies
from recon3d_api.store.tables import Job
from tests.api.conftest import Api, wait_for
from tests.api.site.conftest import Visitor, open_project, plant_model
from tests.api.test_stage_pictures import write_frame, write_map

BOXES = """names => {
  const pictures = names.map(name => document.querySelector(`img[alt='${name}']`));
  if (!pictures.every(picture => picture?.complete)) return null;
  return pictures.map(picture => picture.getBoundingClientRect().toJSON());
}"""


def started(api: Api, visit: Callable[..., Visitor], **behaviour: Any) -> tuple[Visitor, int]:
    """Start a run that behaves as it is told."""
    visitor, number = open_project(api, visit, inputs=True)
    api.behave(number, **behaviour)
    visitor.page.get_by_label("Quick").check()
    visitor.page.locator(".choice button.primary").click()
    return visitor, number


def test_cancel_and_resume(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor, number = started(api, visit, hold="dense_reconstruction")
    page = visitor.page
    page.locator("li[aria-current=step]").get_by_text("Measuring the depth").wait_for()
    assert page.get_by_role("button", name="Delete project").count() == 0
    page.locator(".run").get_by_role("button", name="Cancel").click()
    page.get_by_text("The run was cancelled. What was finished is kept.").wait_for()
    page.reload()
    page.locator(".head .status").get_by_text("Cancelled").wait_for()
    (api.root(number) / "go").touch()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("Finished").wait_for()
    assert parameters(api, number)["quality"] == "low"


def test_a_lost_connection_is_said_at_once_and_mended_at_once(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = started(api, visit, hold="dense_reconstruction")
    visitor.expected += ["/api/v1/", "/live.js"]
    page, lost = visitor.page, visitor.page.get_by_text("The live connection is lost.")
    page.locator("li[aria-current=step]").get_by_text("Measuring the depth").wait_for()
    assert lost.count() == 0
    visitor.context.set_offline(True)
    lost.wait_for(timeout=3000)
    page.wait_for_timeout(4000)  # it tries again, each time later
    visitor.context.set_offline(False)
    lost.wait_for(state="detached", timeout=3000)
    (api.root(number) / "go").touch()
    page.get_by_text("Finished").wait_for()


def test_a_failure_says_why_and_how_to_go_on(api: Api, visit: Callable[..., Visitor]) -> None:
    hint = "What was made is kept; --accept-partial, or Pipeline(accept_partial=True), continues with it."
    visitor, number = started(api, visit, fail="sparse_reconstruction", hint=hint)
    page = visitor.page
    page.get_by_role("heading", name="It did not work").wait_for()
    page.get_by_text("x.jpg is bad. What was made is kept.", exact=True).wait_for()
    page.locator("li.failed").get_by_text("Finding the cameras").wait_for()
    page.get_by_text("Technical log").click()
    page.locator("pre:not(:empty)").wait_for()
    visitor.check_accessible()
    page.get_by_role("button", name="Continue with what was found").click()
    wait_for(lambda: "accept_partial" in parameters(api, number))


@pytest.mark.parametrize(("at", "drawn"), [(25, 25), (100, 95)])
def test_the_bar_of_a_failed_step_stays_where_it_stopped_and_is_never_full(
    api: Api, visit: Callable[..., Visitor], at: int, drawn: int
) -> None:
    page = started(api, visit, fail="mesh_generation", fail_at=at)[0].page
    page.get_by_role("heading", name="It did not work").wait_for()
    bars = page.locator(".steps progress")
    assert [bar.evaluate("bar => bar.value") for bar in bars.all()] == [100] * 5 + [drawn, 0]
    color = "bar => getComputedStyle(bar).accentColor"
    assert bars.nth(5).evaluate(color) != bars.nth(4).evaluate(color)


def test_steps_that_a_failure_prevents_are_not_called_cancelled(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    page = started(api, visit, fail="mesh_generation")[0].page
    page.locator("li.failed").get_by_text("Building the surface").wait_for()
    page.get_by_role("heading", name="It did not work").wait_for()
    last = page.locator(".steps li.cancelled").last
    assert "Not started" in last.inner_text()


def test_notes_speak_of_nothing_that_the_page_does_not_have(api: Api, visit: Callable[..., Visitor]) -> None:
    notes = ["9 % is not meshed. To mesh it too: --set mesh_generation.region=all", "A guess; look at it."]
    visitor, number = open_project(api, visit, inputs=True)
    plant_model(api, number)
    api.behave(number, fallbacks={"mesh_generation": notes})
    page = visitor.page
    page.reload()
    page.get_by_text("Make the model again").click()
    page.locator(".choice button.primary").click()
    page.get_by_text("Notes from the last run (1)").click()
    page.get_by_text("9 % is not meshed. A guess; look at it.", exact=True).wait_for()
    with api.service.database.read() as session:
        jobs = select(Job).where(Job.project_id == number, Job.job_type == "mesh_generation")
        message = session.scalars(jobs).one().message or ""
    body = '{"options": {"mesh_generation": {"region": "all"}}}'
    assert f"To mesh it too: start-reconstruction with the body {body}. A guess" in message


def test_what_a_step_counts_is_in_plain_words(api: Api, visit: Callable[..., Visitor]) -> None:
    page = started(api, visit, hold="feature_extraction")[0].page
    page.locator("li[aria-current=step]").get_by_text("3 of 3 pictures").wait_for()


def parameters(api: Api, number: int) -> dict[str, Any]:
    """What the newest run was started with."""
    with api.service.database.read() as session:
        newest = select(Job).where(Job.project_id == number).order_by(Job.id.desc()).limit(1)
        return dict(session.scalars(newest).one().parameters)


def test_a_run_is_started_once_and_a_project_that_is_deleted_elsewhere_leaves_the_screen(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = open_project(api, visit, inputs=True, expected=("/start-reconstruction",))
    page = visitor.page
    begin = page.locator(".choice button.primary")
    asked: list[Any] = []
    page.route("**/start-reconstruction*", lambda route: asked.append(route))
    with page.expect_request("**/start-reconstruction*"):
        begin.evaluate("button => { button.click(); button.click(); }")
    assert begin.is_disabled()
    asked[0].fulfill(status=409, json={"detail": "The disk is busy."})
    page.get_by_text("The disk is busy.").wait_for()
    page.locator(".choice button.primary:enabled").wait_for()
    assert len(asked) == 1

    token = json.loads(page.evaluate("sessionStorage.getItem('recon3d.session')"))["access"]
    with api.client(token) as client:
        assert client.delete(f"/projects/{number}").status_code == 200
    page.get_by_role("heading", name="This project was deleted.").wait_for()
    page.get_by_role("link", name="All projects").click()
    page.get_by_text("You have no projects yet").wait_for()


@pytest.mark.slow
def test_the_shown_frames_are_spread_over_all_of_a_long_video(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = open_project(api, visit, inputs=True)
    page, count = visitor.page, 1403  # the service lists 1000 at once
    first = write_frame(api.root(number) / "model", "0000.jpg")
    for index in range(1, count):
        os.link(first, first.with_name(f"{index:04}.jpg"))
    api.behave(number, hold="feature_extraction")
    page.get_by_label("Quick").check()
    page.locator(".choice button.primary").click()
    page.get_by_role("img", name="Chosen picture 1", exact=True).wait_for()
    page.get_by_text("Chosen pictures: 1403").wait_for()
    shown = page.locator(".strip.frames img").evaluate_all("images => images.map(image => image.alt)")
    assert shown == [f"Chosen picture {1 + int(n * (count - 1) / 7)}" for n in range(8)]
    (api.root(number) / "go").touch()


def test_depth_maps_are_shown_beside_their_pictures_as_they_come(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = started(api, visit, hold="dense_reconstruction")
    page, root = visitor.page, api.root(number)
    page.locator("li[aria-current=step]").get_by_text("Measuring the depth").wait_for()
    for name in ("a.jpg", "left/b.jpg"):
        write_frame(root / "model", name)
    write_map(root / "model", "a.jpg", time.time())
    page.get_by_text("Depth maps: 1.").wait_for()  # without a word of progress
    (root / "step").touch()
    page.get_by_text("25 %", exact=True).wait_for()
    depth = page.get_by_role("img", name="Depth map of a.jpg")
    # In one look: each word of progress draws the pictures anew, and what stands above them moves.
    names = ["Picture a.jpg", "Depth map of a.jpg"]
    photo, box = page.wait_for_function(BOXES, arg=names).json_value()
    assert photo["x"] + photo["width"] <= box["x"]
    assert photo["y"] == box["y"]
    assert abs(photo["width"] - box["width"]) < 1
    visitor.check_accessible()
    first = depth.get_attribute("src")

    write_map(root / "model", "a.jpg", time.time(), far=30)  # a better one
    write_map(root / "model", "left/b.jpg", time.time())
    page.get_by_text("Depth maps: 2.").wait_for()
    page.get_by_role("img", name="Depth map of left/b.jpg").wait_for()
    assert depth.get_attribute("src") != first
    (root / "go").touch()
    page.get_by_role("heading", name="Making the model").wait_for(state="hidden")


@pytest.mark.slow
def test_a_run_that_began_elsewhere_is_shown(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor, number = open_project(api, visit, inputs=True)
    api.behave(number, hold="mesh_generation")
    page = visitor.page
    token = json.loads(page.evaluate("sessionStorage.getItem('recon3d.session')"))["access"]
    with api.client(token) as client:
        client.post(f"/projects/{number}/start-reconstruction?quality=high")
    page.locator("li[aria-current=step]").get_by_text("Building the surface").wait_for()
    (api.root(number) / "go").touch()
    page.get_by_text("Finished").wait_for()


def test_no_request_of_the_page_meets_the_limit_however_late_the_service_counts_it(
    api: Api, visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is busy with a run takes a burst of requests late, and the next one at once."""
    known, asked = dependencies.read_token, []

    async def late(request: Request) -> Any:
        if "late" not in request.scope:
            request.scope["late"] = True
            asked.append(request.url.path)
            if len(asked) % 16 < 8:
                await asyncio.sleep(0.9)
        return await known(request)

    visitor, number = open_project(api, visit, inputs=True)
    model = api.root(number) / "model"
    api.behave(number, hold="dense_reconstruction")
    visitor.page.locator(".choice button.primary").click()
    visitor.page.locator("li[aria-current=step]").get_by_text("Measuring the depth").wait_for()
    for i in range(12):
        write_frame(model, f"{i}.jpg")
        write_map(model, f"{i}.jpg", time.time())
    visitor.page.wait_for_timeout(1500)  # the reload is a page of its own, with its own count
    monkeypatch.setattr(dependencies, "read_token", late)
    statuses: list[int] = []
    visitor.page.on("response", lambda answer: statuses.append(answer.status))
    visitor.page.reload()
    visitor.page.locator(".strip.depth_maps img").nth(7).wait_for()
    deadline = time.monotonic() + 30
    while len(asked) <= 24 and time.monotonic() < deadline:  # pictures are there before they are loaded
        visitor.page.wait_for_timeout(100)
    assert len(asked) > 24
    assert 429 not in statuses
    (api.root(number) / "go").touch()
    visitor.page.get_by_text("Finished").wait_for()


#: 200 pictures of a view wait when it is left; then as many requests as are sent at once have no answer.
LEFT_AND_UNANSWERED = """async () => {
  const api = await import(new URL("site/api.js", document.baseURI));
  const real = window.fetch;
  const ask = (options) => api.call("GET", "about", { open: true, ...options });
  const timed = async (options) => {
    const began = performance.now();
    await Promise.race([ask(options), new Promise((resolve) => setTimeout(resolve, 25_000))]);
    return (performance.now() - began) / 1000;
  };
  let asked = 0;
  const never = (url, { signal }) => {
    asked += 1;
    return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  };
  window.fetch = never;
  const view = new AbortController();
  const options = { queue: "later", signal: view.signal };
  const left = Array.from({ length: 200 }, () => ask(options).catch((error) => error.name));
  await new Promise((resolve) => setTimeout(resolve, 100));
  view.abort();
  const names = [...new Set(await Promise.all(left))];
  window.fetch = real;
  const next = await timed({ queue: "later" });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  window.fetch = never;
  for (let n = 0; n < 8; n += 1) ask({});
  await new Promise((resolve) => setTimeout(resolve, 100));
  window.fetch = real;
  return { asked, names, next, unanswered: await timed({}) };
}"""


@pytest.mark.slow
def test_requests_that_are_given_up_or_never_answered_give_their_places_back(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    page = visit(api.url).page
    page.wait_for_timeout(1500)  # the page's own requests
    found = page.evaluate(LEFT_AND_UNANSWERED)
    assert found["asked"] == 6 + 8
    assert found["names"] == ["AbortError"]
    assert found["next"] < 5
    assert found["unanswered"] < 20
