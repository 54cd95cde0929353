"""Presets and options."""

from __future__ import annotations

import pytest

from recon3d.errors import OptionError
from recon3d.options import parse_assignment, presets, resolve_options
from recon3d.stage_table import STAGE_NAMES


@pytest.mark.parametrize("quality", ["low", "medium", "high", "extreme"])
def test_presets_name_real_options(quality: str) -> None:
    options = resolve_options(quality)
    assert tuple(options) == STAGE_NAMES
    for stage, values in presets()[quality].items():
        assert values.items() <= options[stage].model_dump().items()


def test_presets_grow() -> None:
    sizes = [resolve_options(q)["dense_reconstruction"].max_image_size for q in presets()]  # type: ignore[attr-defined]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_an_override_wins_and_text_is_converted() -> None:
    options = resolve_options("low", {"mesh_generation": {"max_faces": "1234"}})
    assert options["mesh_generation"].model_dump()["max_faces"] == 1234


@pytest.mark.parametrize(
    ("quality", "overrides", "words"),
    [
        ("best", {}, ["best", "low, medium, high or extreme"]),
        ("low", {"meshing": {}}, ["meshing", "mesh_generation"]),
        ("low", {"texturing": {"size": 3}}, ["size", "texture_size"]),
        ("low", {"texturing": {"texture_size": -3}}, ["texturing.texture_size", "-3"]),
        ("low", {"feature_extraction": {"first_octave": "x"}}, ["'auto' or a valid integer"]),
    ],
)
def test_mistakes_are_named(quality: str, overrides: dict[str, dict[str, int]], words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        resolve_options(quality, overrides)
    assert all(word in str(caught.value) for word in words)
    assert caught.value.hint


def test_assignments_are_parsed() -> None:
    assert parse_assignment("texturing.texture_size = 512") == ("texturing", "texture_size", "512")
    for wrong in ("texturing", "texturing=3", "texture_size=3"):
        with pytest.raises(OptionError):
            parse_assignment(wrong)
