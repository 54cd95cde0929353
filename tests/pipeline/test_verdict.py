"""How far a model can be trusted: each reason alone, and what a run does with the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from recon3d import events as ev
from recon3d.cli.terminal import event_printer
from recon3d.compute import StageContext
from recon3d.errors import ReconstructionError
from recon3d.io.atomic import read_json
from recon3d.layout import (
    DenseCounts,
    RegisteredImage,
    Registration,
    SeenMirror,
    SparseCounts,
    WorldFrame,
    write_registration,
)
from recon3d.pipeline import Pipeline
from recon3d.pipeline.coverage import Coverage, measure_coverage
from recon3d.pipeline.plan_picture import plan_svg
from recon3d.pipeline.verdict import Evidence, judge
from recon3d.project import Project
from recon3d.stage_table import STAGES
from recon3d.types import Camera, Scene, SparsePoints
from tests.synthetic.shapes import looking

UP = np.array([0.0, 1.0, 0.0])
#: Registered, images, points, mean error, feature scale, share seen by three: `low`, 2026-11-27.
REFERENCE = {
    "berlin": (3, 3, 369, 0.713, 1.6, 0.95),
    "bic": (32, 32, 1373, 0.867, 1.28, 0.98),
    "bust": (50, 50, 11824, 0.326, 1.0, 1.0),
    "cyprus": (10, 10, 2372, 0.645, 1.5, 0.99),
    "fountain": (11, 11, 2206, 0.506, 1.6, 0.97),
    "girl": (24, 24, 1018, 0.62, 1.28, 0.94),
    "karma": (32, 32, 4435, 0.392, 1.0, 0.99),
    "monstree": (23, 23, 4437, 0.842, 1.6, 0.98),
    "rock": (53, 53, 7454, 0.665, 1.6, 0.98),
    "sacre": (9, 10, 580, 0.316, 1.0, 0.20),
    "saharov": (32, 32, 3278, 0.4, 1.0, 0.90),
    "sceaux": (11, 11, 2332, 0.581, 1.6, 0.95),
    "temple": (47, 47, 7509, 0.293, 1.0, 0.99),
}


def registration(lost: Mapping[int, str], total: int, unit: str = "") -> Registration:
    images = tuple(
        RegisteredImage(f"{i:02d}.jpg", i not in lost, None if i in lost else 0, 50, 0.4, lost.get(i))
        for i in range(total)
    )
    return Registration(images, WorldFrame("", unit, "GPS" if unit else "arbitrary"))


def evidence(registered: int = 10, images: int = 10, **changes: Any) -> Evidence:
    lost = dict.fromkeys(range(registered, images), "too few matches: 7 with its best partner")
    counts = SparseCounts(registered, images, 1, 100 * registered, 0.4)
    made = Evidence(registration(lost, images), counts, Coverage(0.95, 4.0))
    counts = replace(counts, **{k: v for k, v in changes.items() if hasattr(counts, k)})
    return replace(made, counts=counts, **{k: v for k, v in changes.items() if not hasattr(counts, k)})


@pytest.mark.parametrize("name", REFERENCE)
def test_every_good_set_of_the_data_folder_stays_good(name: str) -> None:
    registered, images, points, error, scale, seen = REFERENCE[name]
    found = judge(
        evidence(
            registered, images, points=points, reprojection_error=error,
            feature_scale=scale, coverage=Coverage(seen, 3.0),
        )
    )  # fmt: skip
    assert found.level == "good", found
    assert found.sentences[0] == f"{registered} of {images} images are part of the model."


def test_three_of_29_is_no_model_and_says_what_to_film() -> None:
    found = judge(evidence(3, 29))
    assert found.level == "unusable"
    assert found.doubts == ("Only 3 of 29 images could be placed: that is no model of what you filmed.",)
    assert "Film again what these images show, with smaller steps: 03.jpg to 28.jpg." in found.advice
    assert "Images that could not be placed: too few matches (26)." in found.advice


@pytest.mark.parametrize(("registered", "images", "level"), [
    (26, 46, "doubtful"), (14, 29, "doubtful"), (59, 100, "doubtful"), (60, 100, "good"),
    (40, 400, "doubtful"), (20, 400, "unusable"),
])  # fmt: skip
def test_the_share_of_the_images_decides(registered: int, images: int, level: str) -> None:
    assert judge(evidence(registered, images)).level == level


def test_cameras_without_points_are_no_model() -> None:
    # Pure rotation: 7 of 10 "registered", no point.
    found = judge(evidence(7, 10, points=0, reprojection_error=None, coverage=Coverage(0.0, 0.0)))
    assert found.level == "unusable"
    assert "turning it on the spot gives no depth" in found.advice[0]


def test_residuals_count_in_pixels_of_the_features_image() -> None:
    # Two zooms that share one camera: 0.995 px at 800 px; a large photo's 1.2 px are half as many there.
    found = judge(evidence(reprojection_error=0.995))
    assert found.level == "doubtful"
    assert "several zooms" in found.advice[0]
    assert judge(evidence(reprojection_error=1.2, feature_scale=2.0)).level == "good"
    given = judge(evidence(reprojection_error=5.0, known_cameras=True))
    assert given.advice[0].startswith("Check that the given cameras")


def test_cameras_that_no_second_model_confirms_are_doubtful() -> None:
    made = evidence()
    found = judge(replace(made, registration=replace(made.registration, cameras_confirmed=False)))
    assert found.level == "doubtful"
    assert "do not agree about the camera" in found.doubts[0]
    assert "zoom fixed" in found.advice[0]


@pytest.mark.parametrize(("level", "what", "advice"), [
    (False, "A mirror is in view: 41% of the points lie behind it.", "Cover the mirror"),
    (True, "Still water is in view: 41% of the points lie behind it.", "water line"),
])  # fmt: skip
def test_reflections_are_doubtful_in_the_part_that_is_used(level: bool, what: str, advice: str) -> None:
    made = evidence()
    mirror = SeenMirror(component=0, level=level, share=0.41, pairs=30)
    found = judge(replace(made, registration=replace(made.registration, mirrors=(mirror,))))
    assert found.level == "doubtful"
    assert found.doubts[0].startswith(what)
    assert advice in found.advice[0]
    elsewhere = replace(mirror, component=1)
    assert judge(replace(made, registration=replace(made.registration, mirrors=(elsewhere,)))).level == "good"


def test_thin_coverage_is_doubtful() -> None:
    assert "three or more images" in judge(evidence(coverage=Coverage(0.1, 2.1))).doubts[0]
    dense = DenseCounts(10, 0, 400, 10, 1000, 0.04)
    assert "Only 4% of the pixels have a depth" in judge(evidence(dense=dense)).doubts[0]
    assert judge(evidence(2, 2)).level == "doubtful"


def test_the_scale_is_said() -> None:
    metric = replace(evidence(), registration=registration({}, 10, "m"))
    assert judge(metric).facts[-1] == "Lengths are metres, from GPS."
    assert judge(evidence()).facts[-1] == "The scale is not known: set it before you measure."


def test_lost_stretches_and_other_parts_are_named() -> None:
    rows = list(registration({3: "it is blurred", 6: "it is blurred", 7: "x"}, 10).images)
    rows[7] = replace(rows[7], component=1)
    found = judge(replace(evidence(), registration=Registration(tuple(rows), WorldFrame("", "", ""))))
    assert found.advice == (
        "1 image belongs to another part of the scene: "
        "film the way from one part to the other, with an overlap of 80 %.",
        "Images that could not be placed: it is blurred (2).",
        "Film again what these images show, with smaller steps: 06.jpg to 07.jpg, 03.jpg.",
    )  # fmt: skip


def scene(azimuths: list[float], inward: bool = True, views_per_point: int = 3) -> Scene:
    """Cameras at these azimuths, in degrees, around a cloud."""
    camera = Camera("PINHOLE", 640, 480, (600.0, 600.0, 320.0, 240.0))
    views = []
    for degrees in azimuths:
        center = 5 * np.array([np.cos(np.radians(degrees)), 0.1, np.sin(np.radians(degrees))])
        target = np.zeros(3) if inward else 2 * center
        views.append(looking(center, target, UP, f"{degrees:.0f}.jpg", camera))
    half = np.random.default_rng(0).uniform(-1, 1, (450, 3))
    points = np.concatenate([half, -half])
    seen = np.tile(np.arange(views_per_point, dtype=np.int32), 900)
    starts = np.arange(901, dtype=np.int64) * views_per_point
    return Scene(
        tuple(views), SparsePoints(points, np.full((900, 3), 99, np.uint8), np.ones(900), starts, seen), up=UP
    )


def test_a_gap_in_an_orbit_is_found_named_and_drawn() -> None:
    orbit = scene([0, 30, 60, 90, 120, 240, 270, 300, 330])
    found = measure_coverage(orbit)
    assert [(round(gap.degrees), {gap.before, gap.after}) for gap in found.gaps] == [
        (120, {"120.jpg", "240.jpg"})
    ]
    assert round(found.around) == 240
    judged = judge(evidence(coverage=found))
    assert judged.level == "doubtful"
    assert "120° of the circle have none" in judged.advice[0]
    picture = plan_svg(orbit, found)
    assert picture.count('class="weak"') == 1
    assert picture.count('class="camera"') == 9
    assert 'class="weak"' not in plan_svg(orbit, measure_coverage(scene(list(range(0, 360, 30)))))


def test_the_drawn_wedge_lies_where_no_camera_is() -> None:
    orbit = scene([0, 30, 60, 90, 120, 240, 270, 300, 330])
    picture = plan_svg(orbit, measure_coverage(orbit))

    def outline(kind: str) -> list[np.ndarray]:
        pieces = picture.split('<polygon points="')[1:]
        return [
            np.array([[float(v) for v in xy.split(",")] for xy in piece.split('"')[0].split()])
            for piece in pieces
            if f'class="{kind}"' in piece.split(">")[0]
        ]

    (wedge,) = outline("weak")
    middle, rim = wedge[0], wedge[1:].mean(axis=0)
    towards = (rim - middle) / np.linalg.norm(rim - middle)
    for camera in outline("camera"):
        away = (camera[0] - middle) / np.linalg.norm(camera[0] - middle)
        assert away @ towards < np.cos(np.radians(59))


def test_a_facade_or_a_room_has_no_gap() -> None:
    assert measure_coverage(scene([0, 20, 40, 60])).gaps == ()
    assert measure_coverage(scene([0, 90, 180, 270], inward=False)).around == 0.0


def test_parts_that_few_views_see_are_marked() -> None:
    found = measure_coverage(scene(list(range(0, 360, 30)), views_per_point=2))
    assert len(found.weak) == 12
    assert found.seen_by_three == 0.0


# --- what a run does with it ------------------------------------------------------------------------


class Counted:
    """Stages that only leave counts, and cameras of which some are placed."""

    def __init__(self, registered: int, images: int) -> None:
        self.counts = SparseCounts(registered, images, 1, 100 * registered, 0.4)
        self.ran: list[str] = []

    def load(self, name: str) -> Any:
        def run(inputs: Mapping[str, Path], options: Any, out: Path, context: StageContext) -> None:
            self.ran.append(name)
            if name == "sparse_reconstruction":
                lost = dict.fromkeys(range(self.counts.registered, self.counts.images), "it is blurred")
                write_registration(out, registration(lost, self.counts.images))
                scene(list(range(0, 360, 30))).save(out)
                context.counts.update(asdict(self.counts))
            for source, _ in next(s for s in STAGES if s.name == name).publishes.values():
                (out / source).parent.mkdir(parents=True, exist_ok=True)
                if source.startswith("models"):
                    (out / source).mkdir()
                else:
                    (out / source).write_text(name)

        return SimpleNamespace(VERSION=1, run=run)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    made = Project.create(tmp_path / "p")
    made.add_photos([tmp_path / "a.png", tmp_path / "b.png"])
    return made


def counted(monkeypatch: pytest.MonkeyPatch, registered: int, images: int) -> Counted:
    stages = Counted(registered, images)
    for user in ("plan", "pipeline", "execution"):
        monkeypatch.setattr(f"recon3d.pipeline.{user}.load_stage", stages.load)
    return stages


def shown(project: Project) -> str:
    """What the terminal shows of the newest run."""
    text = StringIO()
    with event_printer(Console(file=text, force_terminal=False, width=300)) as printer:
        for event in project.runs[-1].events:
            printer(event)
    return text.getvalue()


def test_an_unusable_model_stops_the_run_and_can_be_accepted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = counted(monkeypatch, 3, 29)
    with pytest.raises(ReconstructionError) as caught:
        Pipeline("low", force=True).run(project)
    assert caught.value.message == "Only 3 of 29 images could be placed: that is no model of what you filmed."
    assert "Film again what these images show, with smaller steps: 03.jpg to 28.jpg." in caught.value.hint
    assert "--accept-partial" in caught.value.hint
    assert "dense_reconstruction" not in stages.ran
    assert "sparse_reconstruction" in project.artifacts  # what was made stays
    assert "✓ sparse_reconstruction" not in shown(project)
    assert project.results.report is not None
    assert 'class="told unusable"' in project.results.report.read_text()

    with pytest.raises(ReconstructionError, match="3 of 29"):  # up to date, and as bad as before
        Pipeline("low", force=True).run(project)
    stages.ran.clear()
    Pipeline("low", force=True, accept_partial=True).run(project)
    assert stages.ran == ["dense_reconstruction", "mesh_generation", "texturing"]
    assert shown(project).count("Verdict: unusable. Only 3 of 29 images") == 1


def test_a_doubtful_model_is_told_at_once_and_at_the_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(monkeypatch, 26, 46)
    Pipeline("low", force=True).run(project)
    lines = [line for line in shown(project).splitlines() if line.startswith("Verdict: doubtful.")]
    assert len(lines) == 2  # after the cameras, and at the end
    state = project.runs[-1].state
    assert isinstance(state.verdict, ev.VerdictReached)
    report = read_json(project.results.folder / "report.json")
    assert report["verdict"]["level"] == "doubtful"
    page = (project.results.folder / "report.html").read_text()
    assert page.index('class="told doubtful"') < page.index("<h2>Inputs</h2>")
    assert "26 of 46 images could be placed" in page


def test_a_good_model_is_told_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, 29, 29)
    Pipeline("low", force=True).run(project)
    assert shown(project).count("Verdict: good.") == 1


def test_colours_are_shown_on_a_terminal() -> None:
    text = StringIO()
    verdict = ev.VerdictReached(
        seq=1, stage="sparse_reconstruction", level="doubtful", sentences=("Only [x].",), advice=()
    )
    console = Console(file=text, force_terminal=True, width=200, highlight=False)
    with event_printer(console) as printer:
        printer(verdict)
    assert "\x1b[1;33mVerdict: doubtful.\x1b[0m\x1b[33m Only [x].\x1b[0m\n" in text.getvalue()
