"""The service's page in a real browser, on a real server with the limits that are set by default."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.layout import COUNTS, MANIFEST
from recon3d_api.settings import Settings
from tests.api.conftest import Api, new_project, plant, served, wait_for
from tests.notebook.browser import launch_or_skip
from tests.synthetic.made_project import CAMERAS, made_project

PASSWORD = "correct horse battery"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
#: Nothing moves by itself: what changes was turned by hand.
DESKTOP = {"viewport": {"width": 1000, "height": 760}, "reduced_motion": "reduce"}
_numbers = itertools.count(1)


@dataclass
class Visitor:
    """A browser of its own, and what it should not have done."""

    context: Any
    page: Any
    troubles: list[str] = field(default_factory=list)
    #: Parts of addresses whose failures a test means.
    expected: list[str] = field(default_factory=list)
    #: To the browser's developer tools; the speed of the network ends with it.
    line: Any = None

    def watch(self, page: Any, home: str) -> None:
        """Keep what goes wrong in a page, and every request that leaves the service."""

        def said(message: Any) -> None:
            url = message.location.get("url", "")
            # 429: a page that is loaded again meets the limit of the one before, and waits.
            known = "429" in message.text or any(part in url for part in self.expected)
            if message.type == "error" and not known:
                self.troubles.append(f"{message.text} {url}")

        def asked(request: Any) -> None:
            if not request.url.startswith((home, "blob:", "data:", f"ws{home.removeprefix('http')}")):
                self.troubles.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", asked)
        page.on("websocket", asked)

    def check_accessible(self) -> None:
        """Let axe look at the page as it is."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
        found = axe.Axe().run(self.page).response["violations"]
        assert [(row["id"], row["impact"], row["nodes"][0]["html"]) for row in found] == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium with software WebGL; skips where it or playwright is absent."""
    with launch_or_skip() as started:
        yield started


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service with stand-ins of runs."""
    with served(Settings(data_dir=tmp_path_factory.mktemp("data"), min_free_mb=1)) as started:
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visitor]]:
    """Opens the page in a new browser context; nothing may go wrong in it."""
    visitors: list[Visitor] = []

    def make(
        home: str, *, expected: tuple[str, ...] = (), at: str = "/", token: str = "", **options: Any
    ) -> Visitor:
        context = browser.new_context(**(DESKTOP | options))
        if token:  # signed in already
            kept = json.dumps(json.dumps({"access": token}))
            context.add_init_script(f"if (window === top) sessionStorage.setItem('recon3d.session', {kept})")
        visitor = Visitor(context, context.new_page(), expected=list(expected))
        visitor.page.set_default_timeout(30_000)
        visitor.watch(visitor.page, home)
        visitor.page.goto(f"{home}{at}")
        visitors.append(visitor)
        return visitor

    yield make
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.troubles for visitor in visitors if visitor.troubles] == []


def register(visitor: Visitor, *, keep: bool = False) -> str:
    """Create an account as a person does; gives its name."""
    page, name = visitor.page, f"visitor{next(_numbers)}"
    page.get_by_role("link", name="Create an account").click()
    page.get_by_role("heading", name="Create an account").wait_for()
    page.get_by_label("Username").fill(name)
    page.get_by_label("E-mail address").fill(f"{name}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    if keep:
        page.get_by_label("Keep me signed in").check()
    page.get_by_role("button", name="Create an account").click()
    page.get_by_role("heading", name="Projects", exact=True).wait_for()
    return name


def open_project(
    api: Api, visit: Callable[..., Visitor], name: str = "Bust", *, inputs: bool = False, **options: Any
) -> tuple[Visitor, int]:
    """A new project of a new user, opened in the browser; without the time that forms take."""
    token = api.user()[1]
    with api.client(token) as client:
        number = new_project(client, name)
        if inputs:
            plant(client, number)
    # What has no picture, or no files, answers so.
    expected = ("/preview", "/check", *options.pop("expected", ()))
    visitor = visit(api.url, at=f"/#/projects/{number}", token=token, expected=expected, **options)
    visitor.page.get_by_role("heading", name=name).wait_for()
    return visitor, number


def sign_in(visitor: Visitor, name: str) -> None:
    """Fill in the form."""
    visitor.page.get_by_role("heading", name="Sign in").wait_for()
    visitor.page.get_by_label("Username").fill(name)
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.page.get_by_role("button", name="Sign in").click()


def noise(folder: Path) -> Path:
    """A picture of 6 MB: more than the buffers on the way hold, so that it takes seconds on a slow line."""
    path = folder / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 255, (1000, 2000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


def slow_line(visitor: Visitor, rate: int = 400_000) -> None:
    """A line that sends so many bytes a second."""
    visitor.line = visitor.line or visitor.context.new_cdp_session(visitor.page)
    visitor.line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate},
    )


def begin_project(visitor: Visitor, name: str) -> int:
    """Create a project as a person does; gives its number."""
    visitor.page.get_by_label("Name", exact=True).fill(name)
    visitor.page.get_by_role("button", name="Create").click()
    visitor.page.get_by_text("Drop files or a folder here").wait_for()
    return int(visitor.page.url.rpartition("/")[2])


@functools.cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="recon3d-site-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = made_project(folder / "model")
    for artifact in project.artifacts.values():
        # The end of a run reads the counts.
        path = artifact.path / MANIFEST
        counts = {field.name: CAMERAS for field in fields(COUNTS[artifact.stage])}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": counts}))
    return project.path


def plant_model(api: Api, project_id: int) -> None:
    """Leave in a project what a run makes: frames, cameras, cloud and model."""
    target = api.root(project_id) / "model"
    if not target.exists():
        shutil.copytree(_made(), target)
        return
    for name in ("artifacts", "results"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target / name)
        shutil.copytree(_made() / name, target / name)


def turned(visitor: Visitor, element: Any) -> bool:
    """Drag across the model, and tell whether its picture changed."""
    box = element.bounding_box()

    def picture() -> np.ndarray:
        # Of the page: a picture of an element waits until nothing is drawn any more.
        taken = visitor.page.screenshot(clip=box)
        return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB"), np.int16)

    wait_for(lambda: picture().std() > 5)  # something is shown
    before = picture()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = visitor.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 150, y + 20, steps=4)
    mouse.up()
    return bool(wait_for(lambda: np.abs(picture() - before).mean() > 1))


def model_frame(page: Any) -> Any:
    """The frame with the model, once it shows it."""
    page.locator("iframe").wait_for()
    page.get_by_text("Preparing the 3D view").wait_for(state="detached", timeout=60_000)
    frame = page.locator("iframe")
    frame.scroll_into_view_if_needed()
    return frame
