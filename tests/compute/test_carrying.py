"""Stages whose tasks do not see the project's folder make what they make with it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d import stages
from recon3d.compute import InlineContext, reads
from recon3d.compute.sandbox import run_in_sandbox
from recon3d.errors import Cancelled, InputError, StageError
from recon3d.layout import ARTIFACTS, INPUTS, WORK
from recon3d.options import resolve_options
from recon3d.pipeline.plan import load_stage
from recon3d.project import Project
from recon3d.stage_table import STAGE_NAMES, STAGES
from recon3d.storage import Storage, default_cache
from tests.compute.carried import CarriedContext
from tests.synthetic.scenes import Plane, Sphere, arc, render

SMALL: dict[str, dict[str, Any]] = {
    "feature_extraction": {"first_octave": -1, "max_features": 2000},
    "dense_reconstruction": {"max_image_size": 100, "num_sources": 2, "iterations": 1},
    "mesh_generation": {"max_faces": 1000},
    "texturing": {"texture_size": 144, "texture_pages": 4},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECON3D_CACHE", str(tmp_path / "cache"))
    default_cache.cache_clear()
    yield tmp_path / "cache"
    default_cache.cache_clear()


def with_photos(folder: Path, count: int) -> Project:
    """Photos of a ball before a wall; one has a transparent corner, which makes a mask."""
    photos = folder.parent / f"photos-{folder.name}"
    photos.mkdir()
    shapes = [Sphere(np.zeros(3), 0.55), Plane(np.array([0.0, 0.0, -1.0]), -0.6)]
    for index, view in enumerate(arc(count, size=(240, 180))):
        rgb = render(shapes, view, detail=6.0).rgb
        alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
        if index == 0:
            alpha[:40, :40] = 0
        Image.fromarray(np.concatenate([rgb, alpha] if index == 0 else [rgb], axis=2)).save(
            photos / f"{index}.png"
        )
    project = Project.create(folder)
    project.add_photos(photos)
    return project


def made_by(project: Project, context: InlineContext, until: str, parts: int = 1) -> dict[str, str]:
    """Digests of what the stages make."""
    faces = SMALL["mesh_generation"]["max_faces"]
    mesh = {"max_faces": parts * faces, "part_faces": faces}
    options = resolve_options("low", {**SMALL, "mesh_generation": mesh})
    folders = {"inputs": project.path / INPUTS}
    for stage in STAGES[: STAGE_NAMES.index(until) + 1]:
        out = project.path / ARTIFACTS / f"{stage.name}-0"
        out.mkdir(parents=True)
        needs = {need: folders[need] for need in stage.needs}
        load_stage(stage.name).run(needs, options[stage.name], out, context)
        folders[stage.name] = out
    made = project.path / ARTIFACTS
    return {
        str(path.relative_to(made)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(made.rglob("*"))
        if path.is_file() and ".tmp-work" not in path.parts
    }


@pytest.mark.parametrize(
    ("count", "until", "product", "parts"),
    [
        (3, "feature_matching", "feature_matching-0/database.db", 1),
        pytest.param(6, "texturing", "texturing-0/textured_mesh.glb", 1, marks=pytest.mark.slow),
        pytest.param(6, "mesh_generation", "mesh_generation-0/mesh.ply", 3, marks=pytest.mark.slow),
    ],
)
def test_stages_make_the_same_without_the_folder(
    tmp_path: Path, count: int, until: str, product: str, parts: int
) -> None:
    storage = Storage(f"file://{tmp_path}/store")
    context = CarriedContext(storage, tmp_path / "away")
    made = made_by(with_photos(tmp_path / "away", count), context, until, parts)
    assert made == made_by(with_photos(tmp_path / "here", count), InlineContext(), until, parts)
    assert product in made
    if until == "texturing":
        assert b'"photos_page2"' in (tmp_path / "here" / ARTIFACTS / product).read_bytes()
    assert "frame_extraction-0/masks/0.png.png" in made


def test_declarations_take_what_their_tasks_take() -> None:
    declared = {}
    for module in pkgutil.walk_packages(stages.__path__, "recon3d.stages."):
        for name, task in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(task) and hasattr(task, "recon3d_reads"):
                declared[f"{task.__module__}.{name}"] = task
    assert len(declared) > 25
    for task in declared.values():
        inspect.signature(task.recon3d_reads).bind(*inspect.signature(task).parameters)


class Task:
    """A context for tasks of one project, and the project's folder."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.work = self.project / WORK / "stage-0"
        self.work.mkdir(parents=True)
        self.context = CarriedContext(Storage((folder / "store").as_uri()), self.project)
        self.moved = self.context.usage.moved

    def write(self, name: str, text: str) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


def work_on(folder: Path) -> Path:
    assert sorted(path.name for path in folder.rglob("*")) == ["changed", "empty", "gone", "same", "touched"]
    (folder / "gone").unlink()
    (folder / "touched").write_text((folder / "touched").read_text())
    (folder / "changed").write_text("new words")
    (folder / "new" / "nothing").mkdir(parents=True)
    (folder / "new" / "made").write_text("made")
    (folder / ".tmp-part").write_text("half")
    return folder / "new" / "made"


def test_what_a_task_made_comes_back_and_nothing_else_moves(task: Task) -> None:
    for name in ("same", "changed", "gone", "touched"):
        task.write(name, "words")
    (task.work / "empty").mkdir()
    assert task.context.call(work_on, task.work) == task.work / "new" / "made"
    found = {
        str(path.relative_to(task.work)): path.read_text() if path.is_file() else None
        for path in task.work.rglob("*")
    }
    assert found == {
        "same": "words",
        "changed": "new words",
        "touched": "words",
        "empty": None,
        "new": None,
        "new/made": "made",
        "new/nothing": None,
    }
    # Four files of one content are sent once and fetched once.
    assert asdict(task.moved) == {
        "uploaded": 5,
        "fetched": 5,
        "cached": 15,
        "sent": len("new words") + len("made"),
        "downloaded": len("new words") + len("made"),
    }


@reads(lambda folder, name: [folder / name, folder / "missing"])
def list_files(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_task_gets_what_it_declares(task: Task) -> None:
    task.write("wanted", "words")
    task.write("other", "many other words")
    assert task.context.call(list_files, task.work, "wanted") == ["wanted"]
    assert asdict(task.moved) == dict.fromkeys(asdict(task.moved), 0) | {"uploaded": 5, "fetched": 5}


def fail(path: Path, kind: str) -> None:
    if kind == "ours":
        raise InputError(f"{path} cannot be read.", f"Look at {path}.")
    path.read_text()


def test_errors_name_the_files_of_the_project(task: Task) -> None:
    path = task.work / "missing"
    with pytest.raises(InputError) as ours:
        task.context.call(fail, path, "ours")
    assert (ours.value.message, ours.value.hint) == (f"{path} cannot be read.", f"Look at {path}.")
    with pytest.raises(FileNotFoundError) as other:
        task.context.call(fail, path, "other")
    assert other.value.filename == str(path)


def tell_of(path: Path) -> list[str]:
    return [f"See {path}, and {path.parent}.", str(path)]


def test_messages_name_the_files_of_the_project(task: Task) -> None:
    path = task.write("photo", "words")
    assert task.context.call(tell_of, path) == [f"See {path}, and {path.parent}.", str(path)]


def test_a_long_path_of_a_project_is_no_name_of_a_file(tmp_path: Path) -> None:
    task = Task(tmp_path / ("a" * 150) / ("b" * 150))
    task.context.call(make_two, task.work)
    assert (task.work / "second").read_text() == "second"


def make_two(folder: Path) -> None:
    (folder / "first").write_text("first")
    (folder / "second").write_text("second")


def test_tasks_of_one_process_have_folders_of_their_own(task: Task) -> None:
    inner = task.context.carrier.pack(make_two, (task.work,)).result()

    def run_another(folder: Path) -> str:
        (folder / "mine").write_text("mine")
        run_in_sandbox(make_two, inner, task.context.carrier.origin)
        return ", ".join(path.name for path in folder.iterdir())

    assert task.context.call(run_another, task.work) == "mine"


def test_what_a_task_made_arrives_whole_or_not_at_all(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = Storage.fetch

    def lost(self: Storage, digest: str, target: Path) -> None:
        fetch(self, digest, target)
        if target.read_text() == "second":
            raise StageError("The storage failed.", "Try again.")

    with monkeypatch.context() as broken:
        broken.setattr(Storage, "fetch", lost)
        with pytest.raises(StageError, match=r"The storage failed\."):
            task.context.call(make_two, task.work)
    assert list(task.work.iterdir()) == []
    task.context.call(make_two, task.work)
    assert sorted(path.name for path in task.work.iterdir()) == ["first", "second"]


def test_nothing_arrives_after_a_run_has_let_go(task: Task) -> None:
    task.context.carrier.stop(task.context.stopped)
    with pytest.raises(Cancelled):
        task.context.call(make_two, task.work)
    task.context.carrier.close()
    assert list(task.work.iterdir()) == []
    assert list((task.project / WORK).iterdir()) == [task.work]


def test_what_killed_processes_left_is_removed(task: Task, cache: Path) -> None:
    left = cache / "tasks" / "123-abc"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    (cache / "tasks" / "123-abc.lock").touch()
    task.context.call(make_two, task.work)
    assert not left.exists()
    assert len(list((cache / "tasks").glob("*.lock"))) == 1
