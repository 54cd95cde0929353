"""Commands that make something to give away."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from recon3d.cli.commands import app
from recon3d.errors import OptionError
from recon3d.io.ply import write_mesh
from recon3d.layout import MESH
from recon3d.types import Mesh
from tests.synthetic.made_project import box, made_project


def test_a_turntable_is_written_with_its_size_told(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    given = ["turntable", str(project.path), "-o", str(tmp_path / "turn.gif")]
    done = CliRunner().invoke(app, [*given, "--size", "64x48", "--seconds", "0.4", "--fps", "10"])
    assert done.exit_code == 0, done.output
    assert f"Wrote {tmp_path / 'turn.gif'} (" in done.stderr
    with Image.open(tmp_path / "turn.gif") as gif:
        assert (gif.size, gif.n_frames) == ((64, 48), 4)
    refused = CliRunner().invoke(app, [*given, "--size", "large"])
    assert isinstance(refused.exception, OptionError)
    assert "1280x720" in refused.exception.hint


@pytest.mark.parametrize("scaled", [False, True])
def test_a_print_of_unknown_size_is_told(tmp_path: Path, scaled: bool) -> None:
    project = made_project(tmp_path / "box")
    write_mesh(project.results.folder / MESH, Mesh(box().vertices, box().faces))
    if scaled:
        project.set_scale(measured=1.0, known=0.2)
    done = CliRunner().invoke(app, ["export", str(project.path), "-f", "stl"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "box" / "export" / "box.stl").is_file()
    assert ("one unit of the model counts as a millimetre" in done.stderr) is not scaled


def test_brackets_in_paths_are_told_as_they_are(tmp_path: Path) -> None:
    project = made_project(tmp_path / "a[red]")
    write_mesh(project.results.folder / MESH, Mesh(box().vertices, box().faces))
    told = CliRunner().invoke(app, ["info", str(project.path)])
    assert f"Project {project.path} (" in told.stdout
    assert f"mesh: {project.results.folder / MESH}" in told.stdout
    done = CliRunner().invoke(
        app, ["export", str(project.path), "-f", "stl", "-o", str(tmp_path / "s[b].stl")]
    )
    assert f"Wrote {tmp_path / 's[b].stl'}" in done.stderr
    page = tmp_path / "v[b].html"
    done = CliRunner().invoke(app, ["view", str(project.path), "--no-open", "-o", str(page)])
    assert f"Wrote {page} (" in done.stderr


@pytest.mark.parametrize(
    ("format", "name"), [("stl", "x.glb"), ("glb", "x.stl"), ("usdz", "x.obj"), ("html", "v.txt")]
)
def test_a_name_of_another_format_is_refused(tmp_path: Path, format: str, name: str) -> None:
    project = made_project(tmp_path / "box")
    command = ["view", "--no-open"] if format == "html" else ["export", "-f", format]
    done = CliRunner().invoke(app, [*command, str(project.path), "-o", str(tmp_path / name)])
    assert isinstance(done.exception, OptionError)
    assert f"{tmp_path / name} is no name for the format {format}" in done.exception.message
    assert f".{format}" in done.exception.hint
    assert not (tmp_path / name).exists()
