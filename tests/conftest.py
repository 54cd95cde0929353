"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

# Shells start background jobs with SIGINT ignored, and processes that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: With RECON3D_NO_SKIPS=1, as .ci/run sets it, only these words in a skip's reason excuse it.
_EXCUSED = ("GPU", "CUDA")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("RECON3D_NO_SKIPS") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(word in reason for word in _EXCUSED):
        report.outcome = "failed"
        report.longrepr = f"RECON3D_NO_SKIPS=1 refuses this skip. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip for a missing tool or missing data a failure, where nothing may be missing."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make the same of a module that is skipped as a whole."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``-n 2 --dist loadgroup``, the service's tests, which mostly wait, run beside all others."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    service = Path(__file__).parent / "api"
    for item in items:
        group = "service" if service in item.path.parents else "pipeline"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real image sets and videos; skips where it is absent."""
    folder = Path(os.environ.get("RECON3D_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set RECON3D_TEST_DATA")
    return folder
