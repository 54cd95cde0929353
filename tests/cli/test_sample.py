import json
import zipfile
from pathlib import Path

import pytest

from recon3d.cli.sample import sample_video
from recon3d.io.probe import probe_input

ROOT = Path(__file__).parents[2]


def test_the_sample_is_a_small_video_with_its_licence() -> None:
    path = sample_video()
    info = probe_input(path)
    assert (info.kind, info.width, info.height) == ("video", 960, 540)
    assert info.duration == pytest.approx(6.0, abs=0.1)
    licence = (path.parent / "LICENSE.md").read_text(encoding="utf-8")
    assert "Geoffrey Marchal" in licence
    assert "CC BY 4.0" in licence
    assert sum(file.stat().st_size for file in (ROOT / "examples" / "data").iterdir()) < 8_000_000


def test_the_wheel_carries_the_sample_and_the_services_page(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a source tree")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        assert archive.read("recon3d/sample/bust.mp4") == (ROOT / "examples/data/bust.mp4").read_bytes()
        assert b"Geoffrey Marchal" in archive.read("recon3d/sample/LICENSE.md")
        assert "recon3d/options/presets.toml" in archive.namelist()
        # `pip` puts it where JupyterLab reads it; tests/notebook/lab.py does the same in the browser.
        data = "data/etc/jupyter/labconfig/page_config.d/recon3d.json"
        (setting,) = (name for name in archive.namelist() if name.endswith(data))
        assert json.loads(archive.read(setting)) == {"buildCheck": False}
        page = ROOT / "recon3d_api" / "site" / "static"
        for file in page.iterdir():
            assert archive.read(f"recon3d_api/site/static/{file.name}") == file.read_bytes()
