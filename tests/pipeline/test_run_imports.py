"""What a run's own thread must leave to others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.synthetic.media import slide, texture, write_video

_SCRIPT = """
import sys, threading

late = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if threading.current_thread().name.startswith("recon3d-") and top in ("scipy", "cv2", "distributed"):
            late.append(name)

sys.meta_path.insert(0, Watch())
import recon3d

project = recon3d.Project.create("p")
project.add(sys.argv[1])
recon3d.Pipeline("low", workers=1).run(project, until="frame_extraction")
assert "scipy" in sys.modules and "distributed" in sys.modules
print(late)
"""


def test_a_run_s_thread_imports_nothing_that_a_cell_may_import_meanwhile(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", slide(texture(), [0.2 * i for i in range(30)]))
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "v.mp4")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
