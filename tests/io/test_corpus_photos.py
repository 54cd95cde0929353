"""The corpus of photos, from a file to a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.synthetic.corpus_photos import PAGE, PHOTOS, PhotoFile, mean_error, take
from tests.synthetic.photo_files import hidden


@pytest.mark.parametrize("case", PHOTOS, ids=lambda case: case.what)
def test_right_colours_upright_or_one_clear_sentence(case: PhotoFile, tmp_path: Path) -> None:
    outcome = take(case, tmp_path)
    if not case.usable:
        assert outcome.rgb is None
        message, hint = outcome.said
        assert case.says in message
        assert message.endswith(".")
        assert hint
        return
    assert outcome.rgb is not None, outcome.said
    assert outcome.rgb.shape == case.expected().shape
    assert outcome.same_bytes == case.copied
    if case.masked:
        np.testing.assert_array_equal(outcome.visible, hidden())
        assert np.abs(outcome.rgb[:, :90].astype(int) - 128).max() <= 3
    else:
        assert outcome.visible is None
    error = mean_error(case, outcome)
    print(f"{case.what}: ΔE {error:.2f}; {outcome.said}")
    assert error <= case.error
    if case.says:
        assert any(case.says in text for text in outcome.said), outcome.said
    else:
        assert outcome.said == []


def test_the_table_lists_every_file() -> None:
    page = PAGE.read_text()
    lines = page.split("<!-- measured: photos -->")[1].split("<!-- end -->")[0].strip().splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [case.what for case in PHOTOS]
    for case, line in zip(PHOTOS, lines, strict=True):
        assert ("refused" in line) == (not case.usable)
        assert case.says in line or case.file == "14ad.tif"
