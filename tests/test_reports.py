"""A failure is reported, also where its source cannot be parsed just then."""

from __future__ import annotations

import pytest

from tests.conftest import pytest_runtest_makereport


def test_a_report_that_could_not_be_made_is_made_again(request: pytest.FixtureRequest) -> None:
    call = pytest.CallInfo.from_call(lambda: int("no number"), "call")
    making = pytest_runtest_makereport(request.node, call)
    next(making)
    with pytest.raises(StopIteration) as made:
        making.throw(SystemError("AST constructor recursion depth mismatch (before=150, after=201)"))
    report = made.value.value
    assert report.failed
    assert "no number" in str(report.longrepr)
