"""In a real kernel: what a cell shows, and a restart in the middle of a run."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("ipykernel", reason="needs recon3d[test]")
pytest.importorskip("ipywidgets", reason="needs recon3d[notebook]")

from recon3d.cli.sample import sample_video
from recon3d.project import Project
from tests.notebook.kernel import kernel

WIDGET = "application/vnd.jupyter.widget-view+json"

#: Frames from small pictures, and only the stages that are quick.
_START = """
pipeline = recon3d.Pipeline(
    "low",
    frame_extraction={"min_frames": 12, "max_frames": 12, "max_image_size": 480},
    feature_extraction={"max_features": 1000},
)
run = pipeline.start(project, until="sparse_reconstruction")
"""


def test_models_show_the_viewer_and_other_things_html_and_text(tmp_path: Path) -> None:
    with kernel(tmp_path) as notebook:
        notebook.run("import numpy as np, recon3d")
        # Showing is what loads the widgets, not the import.
        loaded, _ = notebook.run("import sys; print('pythreejs' in sys.modules)")
        assert loaded == "False\n"
        notebook.run("recon3d.PointCloud(np.random.default_rng(0).normal(size=(50, 3)))")
        marker, picture, viewer = notebook.displayed
        assert "recon3d-marker" in marker["text/html"]
        assert WIDGET in viewer
        assert Image.open(io.BytesIO(base64.b64decode(picture["image/png"]))).size == (640, 400)
        notebook.run("recon3d.PointCloud(np.zeros((0, 3)))")
        (words,) = notebook.displayed
        assert set(words) == {"text/html", "text/plain"}
        assert words["text/plain"] == "<PointCloud: 0 points>"
        _, shown = notebook.run("recon3d.Pipeline('low')")
        assert set(shown) == {"text/html", "text/plain"}
        notebook.run("options = recon3d.Pipeline('low').options['texturing']")
        names = [
            "max_faces",
            "max_image_size",
            "normal_map",
            "seam_levelling",
            "texture_pages",
            "texture_size",
        ]
        assert notebook.completions("options.") == names
        assert notebook.completions("recon3d.p") == ["probe", "projects"]


def _replies(client: Any, requests: list[str]) -> dict[str, dict[str, Any]]:
    """The kernel's replies to requests, in the order in which they come."""
    replies: dict[str, dict[str, Any]] = {}
    while len(replies) < len(requests):
        message = client.get_shell_msg(timeout=20)
        if message["parent_header"]["msg_id"] in requests:
            replies[message["parent_header"]["msg_id"]] = message["content"]
    return replies


def test_a_waiting_cell_answers_pages_and_leaves_cells_in_their_order(tmp_path: Path) -> None:
    with kernel(tmp_path) as notebook:
        notebook.run(
            "import recon3d, threading\nfrom recon3d.pipeline.background import Background\n"
            "end = threading.Event(); work = Background(lambda: end.wait(30), 'x'); work.start(); said = []"
        )
        client = notebook.client
        cells = [
            client.execute(code, stop_on_error=True)
            for code in ("work.wait(); said.append(1)", "said.append(2)", "said.append(3)")
        ]
        # A page that is loaded again asks this; the questions stand behind the cells.
        asked = [client.kernel_info(), client.comm_info()]
        assert list(_replies(client, asked)) == asked
        # An interrupt gets through, and ends the cells behind the waiting one.
        notebook.manager.interrupt_kernel()
        replies = _replies(client, cells)
        assert list(replies) == cells
        assert [reply.get("ename", reply["status"]) for reply in replies.values()] == [
            *("KeyboardInterrupt", "aborted", "aborted")
        ]

        cells = [client.execute(code) for code in ("work.wait(0.3); said.append(4)", "said.append(5)")]
        assert list(_replies(client, cells)) == cells
        assert notebook.run("end.set(); print(said)")[0] == "[4, 5]\n"


def test_a_run_outlives_a_restart_of_the_kernel(tmp_path: Path) -> None:
    create = f"import recon3d; project = recon3d.Project.create('p'); project.add({str(sample_video())!r})"
    with kernel(tmp_path) as notebook:
        notebook.run(create)
        notebook.run(_START + "run")
        assert WIDGET in notebook.displayed[2]  # the panel
        assert notebook.displayed[1]["text/plain"].startswith("<Run ")
        # The kernel is free while the run goes on, and the run is cut off within the second stage.
        busy = "s = run.state.stages.get('feature_extraction'); print(s is not None and s.done >= 2)"
        end = time.monotonic() + 90
        while notebook.run(busy)[0] != "True\n":
            assert time.monotonic() < end
            time.sleep(0.1)
        notebook.restart()

        notebook.run("import recon3d; project = recon3d.Project.open('p')")
        status, _ = notebook.run("print(project.status)")
        assert status == "interrupted\n"
        record, _ = notebook.run("print(project.runs[-1].state)")
        assert "feature extraction, running" in record
        made, _ = notebook.run("print(*project.artifacts)")
        assert made == "frame_extraction\n"
        _, shown = notebook.run("project")
        assert "interrupted" in shown["text/html"]
        assert "frame extraction" in shown["text/html"]
        notebook.run("project.runs[-1]")
        assert WIDGET in notebook.displayed[2]  # the panel again, of the run that was cut off

        notebook.run(_START)
        notebook.run("results = run.wait()", timeout=120)
        summary, _ = notebook.run(
            "import json; print(json.dumps({s.name: s.status for s in run.state.stages.values()}))"
        )
        assert json.loads(summary) == {
            "frame_extraction": "skipped",
            "feature_extraction": "completed",
            "feature_matching": "completed",
            "sparse_reconstruction": "completed",
        }
        # The features that were found before were not looked for again.
        first, _ = notebook.run("print(next(e.done for e in run.events if e.type == 'stage_progress'))")
        assert float(first) >= 2
        views, _ = notebook.run("print(len(run.scene))")
        assert int(views) >= 3
    project = Project.open(tmp_path / "p")
    assert project.status == "completed"
    assert len(project.runs) == 2
