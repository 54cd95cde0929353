"""How soon large models are seen and turn: ``python -m tests.benchmarks.viewer [CASE ...]``.

Opens a real JupyterLab in headless Chromium with WebGL in software, and the HTML export from disk,
and times every frame to its last pixel: reading one pixel back waits for it. Times count from the
start of the cell that makes the viewer (the page's navigation for the export), so they hold the
sending, too. The browser, JupyterLab and the kernel are at rest before. The first row is a red box by
pythreejs alone: what JupyterLab and pythreejs cost, whatever is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from recon3d.io.gltf import read_textured_mesh, write_glb
from recon3d.io.ply import read_point_cloud, write_point_cloud
from recon3d.preflight.history import calibrate
from recon3d.types import Bytes, Camera, PointCloud, Scene, SparsePoints, TexturedMesh
from recon3d.viewer.html_export import export_html
from tests.notebook.browser import launch
from tests.notebook.lab import Notebook, jupyter_lab
from tests.synthetic.shapes import looking

#: Seconds to the first picture that are allowed.
BAR = 5.0

#: Notes each frame: when its first drawing command was given, when its last pixel was there, and
#: how many vertices it drew; and each large picture that became a texture.
_WATCH = """
window.seen = {frames: [], textures: []};
const now = () => performance.timeOrigin + performance.now();
for (const kind of [WebGLRenderingContext, WebGL2RenderingContext]) {
  const texture = kind.prototype.texImage2D;
  kind.prototype.texImage2D = function (...a) {
    texture.apply(this, a);
    const source = a[a.length - 1];
    if (source && source.width >= 1024) window.seen.textures.push(now());
  };
  for (const name of ["drawArrays", "drawElements"]) {
    const draw = kind.prototype[name];
    kind.prototype[name] = function (...a) {
      draw.apply(this, a);
      const count = name === "drawArrays" ? a[2] : a[1];
      if (this.frame) { this.frame.count += count; return; }
      this.frame = {start: now(), count};
      queueMicrotask(() => {
        this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4));
        window.seen.frames.push([this.frame.start, now(), this.frame.count]);
        this.frame = null;
      });
    };
  }
}
"""


@dataclass(frozen=True)
class Case:
    """A model, and what a full picture of it draws at least.

    Parameters
    ----------
    name : str
    load : str
        Python that makes `shown`.
    vertices : int
        As the drawing commands count them.
    textured : bool
    """

    name: str
    load: str
    vertices: int
    textured: bool = False


CASES = {
    "points": Case(
        "1 000 000 points",
        "from recon3d.io.ply import read_point_cloud\nshown = read_point_cloud(Path('points.ply'))",
        1_000_000,
    ),
    "mesh": Case(
        "500 000 triangles, 4K texture",
        "from recon3d.io.gltf import read_textured_mesh\nshown = read_textured_mesh(Path('mesh.glb'))",
        3 * 498_000,
        textured=True,
    ),
    "cameras": Case(
        "2 000 cameras, 100 000 points",
        "from recon3d.types import Scene\nshown = Scene.load(Path('scene'))",
        2_000 * 16,
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    given = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, WebGL in software; {calibrate():.3f} s for the check's piece of fixed work")
    print("| | where | MB | first picture | its CPU | full picture | a frame while dragging | longest |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_models(folder)
        with jupyter_lab(folder) as address:
            with launch() as browser:
                first, cpu = _box(browser, address, folder)
            print(f"| a box by pythreejs | notebook | | {first:.1f} s | {cpu:.1f} s | | | |", flush=True)
            for name in given.cases or CASES:
                case = CASES[name]
                for where, measure in (("notebook", _in_notebook), ("HTML export", _in_page)):
                    # JupyterLab, in another tab, would work on beside the page.
                    with launch() as browser:
                        row = measure(browser, address, folder, name, case, given.pictures)
                    late = "" if row.first <= BAR else f" (over {BAR:.0f})"
                    print(
                        f"| {case.name} | {where} | {row.megabytes:.1f} | {row.first:.1f} s{late} |"
                        f" {row.cpu:.1f} s | {row.full:.1f} s | {row.frame:.2f} s | {row.pause:.2f} s |",
                        flush=True,
                    )


@dataclass(frozen=True)
class Row:
    """What was measured.

    Parameters
    ----------
    megabytes : float
        Of arrays and texture, or of the page.
    first, full : float
        Seconds to the first picture and to the one with everything.
    cpu : float
        CPU-seconds of kernel and browser to the first picture: what does not depend on who else is
        working.
    frame, pause : float
        Seconds between frames while dragging: the median and the longest.
    """

    megabytes: float
    first: float
    full: float
    cpu: float
    frame: float
    pause: float


#: A picture of pythreejs with nothing of ours.
_BOX = """began = time.time()
camera = pythreejs.PerspectiveCamera(position=[0, 0, 3], aspect=1.6)
box = pythreejs.Mesh(pythreejs.BoxBufferGeometry(), pythreejs.MeshBasicMaterial(color="red"))
scene = pythreejs.Scene(children=[box, camera])
pythreejs.Renderer(camera=camera, scene=scene, controls=[], width=800, height=500)"""


def _box(browser: Any, address: str, folder: Path) -> tuple[float, float]:
    """Seconds and CPU-seconds to the first picture of a box."""
    notebook = Notebook(
        browser, address, folder, "bench-box", ["import time\nimport pythreejs\ndone = True", _BOX], _WATCH
    )
    notebook.run()
    notebook.wait_for("globals().get('done', False)", timeout=120)
    _settle(notebook.page)
    with CpuClock() as clock:
        notebook.run()
        first = _first(notebook.page)
        cpu = clock.until(first)
    began = notebook.ask("began", timeout=60)
    notebook.page.close()
    return first - began, cpu


def _in_notebook(
    browser: Any, address: str, folder: Path, name: str, case: Case, pictures: Path | None
) -> Row:
    cells = [
        f"import time\nfrom pathlib import Path\n{case.load}\n"
        "from recon3d.viewer.view_content import content_of\ncontent = content_of(shown)\n"
        "from recon3d.notebook.viewer import Viewer\ndone = True",
        "began = time.time()\nviewer = Viewer(shown, content=content)\nviewer",
    ]
    notebook = Notebook(browser, address, folder, f"bench-{name}", cells, _WATCH)
    notebook.run()
    notebook.wait_for("globals().get('done', False)", timeout=120)
    page = notebook.page
    _settle(page)
    with CpuClock() as clock:
        notebook.run()
        cpu = clock.until(_first(page))
    full = _full(page, case, adding=False)
    began = notebook.ask("began", timeout=60)
    megabytes = notebook.ask("viewer.bytes_sent") / 1e6
    first = page.evaluate("window.seen.frames[0][1]")
    box = notebook.cell(1).locator("canvas").bounding_box()
    frame, pause = _drag(page, box)
    if pictures:
        page.screenshot(path=str(pictures / f"bench-{name}.png"))
    assert notebook.troubles == [], notebook.troubles
    page.close()
    return Row(megabytes, first / 1000 - began, full / 1000 - began, cpu, frame, pause)


def _in_page(browser: Any, address: str, folder: Path, name: str, case: Case, pictures: Path | None) -> Row:
    shown = {
        "points": lambda: read_point_cloud(folder / "points.ply"),
        "mesh": lambda: read_textured_mesh(folder / "mesh.glb"),
        "cameras": lambda: Scene.load(folder / "scene"),
    }[name]()
    path = folder / f"{name}.html"
    export_html(shown, path)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.add_init_script(_WATCH)
    _settle(page)
    with CpuClock() as clock:
        began = time.time()
        page.goto(path.as_uri(), wait_until="commit")
        cpu = clock.until(_first(page))
    full = _full(page, case, adding=True)
    first = page.evaluate("window.seen.frames[0][1]")
    frame, pause = _drag(page, page.locator("canvas").bounding_box())
    if pictures:
        page.screenshot(path=str(pictures / f"bench-{name}-html.png"))
    page.close()
    return Row(path.stat().st_size / 1e6, first / 1000 - began, full / 1000 - began, cpu, frame, pause)


def _first(page: Any) -> float:
    """Wait for the first picture; gives when its last pixel was there."""
    end = time.monotonic() + 120
    # Not with wait_for_function: the export's page forbids the eval that this uses.
    while not page.evaluate("window.seen.frames.length"):
        if time.monotonic() > end:
            raise TimeoutError("Nothing was drawn.")
        page.wait_for_timeout(50)
    return float(page.evaluate("window.seen.frames[0][1]")) / 1000


def _full(page: Any, case: Case, *, adding: bool) -> float:
    """When everything was drawn, in milliseconds: in one frame, or in several that add to each other."""
    found = """([vertices, textured, adding]) => {
        const {frames, textures} = window.seen;
        const after = textured ? Math.min(...textures) : 0;
        let sum = 0;
        for (const [start, end, count] of frames) {
            if (start < after) continue;
            sum = adding ? sum + count : count;
            if (sum >= vertices) return end;
        }
        return 0;
    }"""
    given = [case.vertices, case.textured, adding]
    end = time.monotonic() + 120
    while time.monotonic() < end:
        when = page.evaluate(found, given)
        if when:
            return float(when)
        page.wait_for_timeout(100)
    raise TimeoutError(json.dumps(page.evaluate("window.seen"))[:3000])


def _drag(page: Any, box: dict[str, float]) -> tuple[float, float]:
    """Seconds between frames while the mouse drags: the median and the longest."""
    page.wait_for_timeout(2500)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    began = page.evaluate("performance.timeOrigin + performance.now()")
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(x + 5 * step, y + step)
        page.wait_for_timeout(50)
    ended = page.evaluate("performance.timeOrigin + performance.now()")
    page.mouse.up()
    ends = [end for _, end, _ in page.evaluate("window.seen.frames") if began <= end <= ended]
    pauses = np.diff([began, *ends, ended]) / 1000
    page.wait_for_timeout(1500)
    return float(np.median(pauses)), float(pauses.max())


class CpuClock:
    """CPU-seconds of kernel and browser over time, so that what a browser does later does not count."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> CpuClock:
        self._samples.append((time.time(), _cpu()))
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._ended.set()
        self._thread.join()

    def until(self, moment: float) -> float:
        """CPU-seconds from the beginning to a moment that is over."""
        times, values = np.array([*self._samples, (time.time(), _cpu())]).T
        return float(np.interp(moment, times, values) - values[0])

    def _sample(self) -> None:
        while not self._ended.wait(0.05):
            self._samples.append((time.time(), _cpu()))


def _settle(page: Any) -> None:
    """Wait until the browser has started and JupyterLab has loaded: nobody opens a model earlier."""
    for _ in range(30):
        before = _cpu()
        page.wait_for_timeout(1000)
        if _cpu() - before < 0.1:
            return
    raise TimeoutError("The browser does not come to rest.")


def _cpu() -> float:
    """CPU-seconds of the processes that this one has started, without the one that drives the browser."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if not process.name().startswith("node"):  # "node-MainThread" of newer ones
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _write_models(folder: Path) -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(1_000_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    bumps = 1 + 0.05 * np.sin(9 * directions[:, :1]) * np.cos(7 * directions[:, 1:2])
    colors = np.clip(127 * (directions + 1) + rng.normal(0, 12, directions.shape), 0, 255).astype(np.uint8)
    cloud = PointCloud(directions * bumps, colors=colors)
    write_point_cloud(folder / "points.ply", cloud)
    write_glb(folder / "mesh.glb", _bumpy_sphere(), texture_format="jpeg")
    camera = Camera("PINHOLE", 1600, 1200, (1400.0, 1400.0, 800.0, 600.0))
    views = []
    for i in range(2_000):
        angle = 2 * np.pi * i / 250
        center = np.array([3 * np.cos(angle), -1 + i / 800, 3 * np.sin(angle)])
        views.append(looking(center, np.zeros(3), np.array([0.0, 1.0, 0.0]), f"{i:04d}.jpg", camera))
    count = 100_000
    points = SparsePoints(
        cloud.points[:count],
        np.asarray(cloud.colors)[:count],
        np.zeros(count),
        np.zeros(count + 1, np.int64),
        np.zeros(0, np.int32),
    )
    Scene(tuple(views), points, up=np.array([0.0, 1.0, 0.0])).save(folder / "scene")


def _bumpy_sphere() -> TexturedMesh:
    """Just below 500 000 triangles with a texture of 4096 pixels a side that is as busy as a photo."""
    rows, columns = 354, 707
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    polar, around = np.pi * v, 2 * np.pi * u
    radius = 1 + 0.05 * np.sin(9 * polar) * np.cos(8 * around)
    vertices = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1
    )
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + 1, corner + columns + 1, corner + columns
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    uv = np.stack([u, 1 - v], axis=-1).reshape(-1, 2).astype(np.float32)
    return TexturedMesh((vertices * radius[..., None]).reshape(-1, 3), faces, uv, faces, _photo_like())


def _photo_like() -> Bytes:
    """Noise of every size, as in a photo."""
    rng = np.random.default_rng(1)
    picture = np.full((4096, 4096, 3), 120.0, np.float32)
    for side in (4, 16, 64, 256, 1024, 4096):
        noise = rng.normal(0, 22 if side < 1024 else 9, (side, side, 3)).astype(np.float32)
        picture += cv2.resize(noise, (4096, 4096), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
