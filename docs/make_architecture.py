"""Draw docs/images/architecture.svg: ``python -m docs.make_architecture``.

Rows are the layers of ``.importlinter``, top to bottom. Arrows are the imports that grimp finds in the
code. An import that a chain of drawn arrows implies is left out.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

#: The package itself: the names that `recon3d/__init__.py` lists in its ``__all__``.
PUBLIC = "recon3d (public names)"

ABOUT = {
    "recon3d_api.__main__": "the command recon3d-api",
    "recon3d_api.commands": "commands that maintain: accounts, the audit log",
    "recon3d_api.app": "the ASGI application",
    "recon3d_api.http": "routes, limits, WebSocket",
    "recon3d_api.site": "the page for people",
    "recon3d_api.mail": "mail over SMTP",
    "recon3d_api.threads": "threads that work in the background",
    "recon3d_api.schemas": "requests and answers",
    "recon3d_api.work": "queue, leases, runners",
    "recon3d_api.files": "uploads and data folder",
    "recon3d_api.store": "tables and migrations",
    "recon3d_api.client": "Python client of the service",
    "recon3d_api.errors": "HTTP errors",
    "recon3d_api.logs": "structured logs",
    "recon3d_api.reserve": "room for deletions on a full disk",
    "recon3d_api.settings": "environment variables",
    PUBLIC: "loaded when first used",
    "recon3d.__main__": "python -m recon3d",
    "recon3d.cli": "the command recon3d",
    "recon3d.notebook": "widgets: viewer, panel, plots, app",
    "recon3d.viewer": "what is seen of a model; its page",
    "recon3d.pipeline": "order, caching, resuming",
    "recon3d.preflight": "a look at inputs before a run",
    "recon3d.project": "a project folder and its artifacts",
    "recon3d.export": "files for other programs",
    "recon3d.stages": "the seven stages",
    "recon3d.colmap": "everything that uses pycolmap",
    "recon3d.compute": "worker processes, Dask, GPU probe",
    "recon3d.events": "events of a run and their state",
    "recon3d.stage_table": "the list of stages",
    "recon3d.layout": "file names and typed rows",
    "recon3d.storage": "files through a bucket; a cache",
    "recon3d.io": "file formats",
    "recon3d.matching": "image pairs, camera motion, upright orientation",
    "recon3d.mvs": "dense stereo",
    "recon3d.surface": "meshing",
    "recon3d.texture": "texturing",
    "recon3d.selection": "choice of video frames",
    "recon3d.evaluation": "accuracy against ground truth",
    "recon3d.kernels": "settings of compiled kernels",
    "recon3d.similarity": "similarity transforms",
    "recon3d.types": "Camera, View, Scene, Mesh, …",
    "recon3d.conversion": "meshes and clouds for trimesh and Open3D",
    "recon3d.options": "options and presets",
    "recon3d.rendering": "pictures and text of objects",
    "recon3d.errors": "exceptions",
    "recon3d.latch": "an event that Ctrl-C may interrupt",
    "recon3d.threads": "threads of one task",
}

_ROW, _TOP, _NAME, _ABOUT, _LANE = 26, 54, 20, 200, 15
_BOX_RIGHT, _GAP = 470, 14
_COLOURS = ("#1f6feb", "#b35900", "#1a7f37", "#8250df", "#bf3989", "#0a7ea4", "#9a6700", "#57606a")


@dataclass(frozen=True)
class Row:
    """A room, and the number of its layer."""

    room: str
    layer: int


def rows() -> list[Row]:
    """Rooms in the order of the layers: the service's, then the library's."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    found: list[Row] = []
    for contract in ("service-layers", "library-layers"):
        section = config[f"importlinter:contract:{contract}"]
        package = section["containers"].strip()
        if package == "recon3d":
            found.append(Row(PUBLIC, 1 + max(row.layer for row in found)))
        start = 1 + max((row.layer for row in found), default=-1)
        for layer, line in enumerate(section["layers"].strip().splitlines(), start):
            found += [Row(f"{package}.{name.strip()}", layer) for name in re.split("[:|]", line)]
    return found


def imports() -> dict[str, set[str]]:
    """Rooms that each room imports, without those that it reaches through another."""
    graph = grimp.build_graph("recon3d", "recon3d_api")
    room = {}
    for module in graph.modules:
        name = ".".join(module.split(".")[:2])
        room[module] = PUBLIC if name == "recon3d" else name
    direct: dict[str, set[str]] = {row.room: set() for row in rows()}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            a, b = room[module], room[imported]
            # recon3d/__init__.py imports its names lazily; Project.view is the one permitted exception.
            if a in direct and b in direct and a not in (b, PUBLIC) and (a, b) not in EXCEPTIONS:
                direct[a].add(b)
    reach: dict[str, set[str]] = {}
    for row in reversed(rows()):
        targets = direct[row.room]
        reach[row.room] = targets.union(*(reach.get(target, set()) for target in targets))
    return {
        a: {b for b in targets if not any(b in reach[c] for c in targets - {b})}
        for a, targets in direct.items()
    }


#: Imports against the direction, which ``.importlinter`` lists under ``ignore_imports``.
EXCEPTIONS = {("recon3d.project", "recon3d.notebook")}


def draw() -> str:
    """The picture, as SVG."""
    listed, edges = rows(), imports()
    gap = {row.room: 0 if row.room.startswith("recon3d_api") else _GAP for row in listed}
    y = {row.room: _TOP + _ROW * number + gap[row.room] for number, row in enumerate(listed)}
    lanes = _lanes([(row.room, edges[row.room]) for row in listed if edges[row.room]], y)
    width = _BOX_RIGHT + _LANE * (2 + max(lanes.values(), default=0)) + 10
    height = max(y.values()) + _ROW + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        "<title>Rooms of recon3d and their imports</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="12" y="22" font-weight="bold">Rooms and imports</text>',
        '<text x="12" y="40" fill="#57606a">An arrow points from a room to a room that it imports. '
        "Arrows point down, or stay in a box.</text>",
    ]
    for layer in sorted({row.layer for row in listed}):
        inside = [y[row.room] for row in listed if row.layer == layer]
        parts.append(
            f'<rect x="8" y="{inside[0] + 1}" width="{_BOX_RIGHT - 8}" '
            f'height="{inside[-1] - inside[0] + _ROW - 3}" rx="5" fill="{_fill(listed, layer)}" '
            'stroke="#d0d7de"/>'
        )
    for row in listed:
        middle = y[row.room] + _ROW // 2 + 4
        parts.append(f'<text x="{_NAME}" y="{middle}" font-family="monospace">{escape(row.room)}</text>')
        parts.append(f'<text x="{_ABOUT + 12}" y="{middle}" fill="#57606a">{escape(ABOUT[row.room])}</text>')
    for number, (room, lane) in enumerate(lanes.items()):
        parts += _arrows(room, edges[room], lane, y, _COLOURS[number % len(_COLOURS)])
    notes = (
        "recon3d.pipeline loads the stages by name, so no arrow points to them.",
        "Only exception to the direction: Project.view imports recon3d.notebook when it is called.",
    )
    for number, note in enumerate(notes):
        parts.append(f'<text x="12" y="{height - 32 + 18 * number}" fill="#57606a">{note}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _fill(listed: Iterable[Row], layer: int) -> str:
    service = any(row.room.startswith("recon3d_api") for row in listed if row.layer == layer)
    return "#fff8e6" if service else "#f0f6ff"


def _lanes(edges: list[tuple[str, set[str]]], y: dict[str, int]) -> dict[str, int]:
    """A lane for each importing room; rooms whose vertical lines do not overlap share one."""
    ends: list[int] = []
    lanes = {}
    for room, targets in edges:
        top, bottom = y[room], max(y[target] for target in targets)
        lane = next((i for i, end in enumerate(ends) if end < top), len(ends))
        ends[lane : lane + 1] = [bottom]
        lanes[room] = lane
    return lanes


def _arrows(room: str, targets: set[str], lane: int, y: dict[str, int], colour: str) -> list[str]:
    x = _BOX_RIGHT + _LANE * (lane + 1)
    start = y[room] + _ROW // 2 + 4
    ends = sorted(y[target] + _ROW // 2 - 4 for target in targets)
    parts = [f'<path d="M{_BOX_RIGHT} {start} H{x} V{ends[-1]}" fill="none" stroke="{colour}"/>']
    for end in ends:
        parts.append(f'<path d="M{x} {end} H{_BOX_RIGHT + 6}" fill="none" stroke="{colour}"/>')
        parts.append(f'<path d="M{_BOX_RIGHT} {end} l7 -3.5 v7 z" fill="{colour}"/>')
    return parts


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
