"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pluggy
import pytest

from tests.notebook.browser import launch_or_skip

# Shells start background jobs with SIGINT ignored, and processes that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# One folder for compiled code: pytest's own process, and the runs and services that tests start, which would
# keep it in their own data folders. Set before numba is imported.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "numba"))

# How long an example takes to make or to run says how busy the machine is.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

#: With RECON3D_NO_SKIPS=1, as .ci/run sets it, only these words in a skip's reason excuse it.
_EXCUSED = ("GPU", "CUDA")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("RECON3D_NO_SKIPS") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(word in reason for word in _EXCUSED):
        report.outcome = "failed"
        report.longrepr = f"RECON3D_NO_SKIPS=1 refuses this skip. {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip for a missing tool or missing data a failure, where nothing may be missing."""
    try:
        report = yield
    except (SystemError, pluggy.PluggyTeardownRaisedWarning):
        # Before Python 3.11.8, parsing fails while another thread parses too (cpython issue 106905):
        # that of a failure's source, for its report. Without a report, xdist loses the worker.
        report = pytest.TestReport.from_item_and_call(item, call)
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make the same of a module that is skipped as a whole."""
    report = yield
    _refuse_skip(report)
    return report


#: Folders whose tests take both cores, or watch the clock. They run one after the other.
_HEAVY = {"compute", "mvs", "notebook", "pipeline", "preflight", "stages", "surface", "texture"}
#: Few tests that take minutes, longest first; no harm comes from others beside them.
_LONG = (
    "tests/notebook/test_notebooks.py",
    "tests/test_accuracy.py",
    "tests/test_end_to_end.py",
    "tests/api/test_chaos.py",
    "tests/docs/test_examples.py",
    "tests/cli/test_commands.py",
    "tests/api/test_schemathesis.py",
)
#: Files with more tests come before the long ones, others after: they fill the end of both workers' time.
_MANY = 12


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2``, one worker runs the heavy tests, the other takes the files left; both share the rest.

    Not by xdist's own groups: since pytest 9, xdist 3.8 deals tests singly in spite of them, so that each
    worker starts the servers and browsers of each file, and two heavy tests share the two cores.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            folder = file.removeprefix("tests/").partition("/")[0]
            return "heavy" if folder in _HEAVY and file not in _LONG else file

        def _rank(self, scope: str) -> tuple[int, int]:
            tests = len(self.workqueue[scope])
            if scope in _LONG:
                return 2, _LONG.index(scope)
            return (0 if scope == "heavy" else 1 if tests >= _MANY else 3), -tests

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(min(self.workqueue, key=self._rank), last=False)
            super()._assign_work_unit(node)

    return Lanes(config, log)


@pytest.fixture(autouse=True)
def _leaves_others_their_time() -> Iterator[None]:
    """A test that gives its process a real-time priority starves all that runs beside it and after it."""
    policy = getattr(os, "sched_getscheduler", lambda _: 0)
    before = policy(0)
    yield
    assert policy(0) == before


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real image sets and videos; skips where it is absent."""
    folder = Path(os.environ.get("RECON3D_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set RECON3D_TEST_DATA")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with software WebGL; skips where it or playwright is absent.

    Not for the whole session: Playwright's event loop runs on in the tests' thread, where no other may start.
    """
    with launch_or_skip() as started:
        yield started


@pytest.fixture
def offline_page(browser: Any) -> Iterator[Any]:
    """A page whose every request to a network fails the test, as does an error in its console."""
    context = browser.new_context(
        viewport={"width": 720, "height": 400}, offline=True, reduced_motion="reduce", color_scheme="light"
    )
    page = context.new_page()
    troubles = watched(page)
    yield page
    context.close()
    assert troubles == []


def watched(page: Any) -> list[str]:
    """What a page should not do: errors in its console, and requests to a network."""
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("request", lambda r: troubles.append(r.url) if r.url.startswith(("http", "ws")) else None)
    return troubles
