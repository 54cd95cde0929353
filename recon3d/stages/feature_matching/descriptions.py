"""What feature_matching does in worker processes to describe each image by one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext, reads
from recon3d.io.atomic import atomic_path
from recon3d.io.feature_files import read_features
from recon3d.layout import features_file
from recon3d.matching.preemptive import largest
from recon3d.matching.retrieval import Components, Floats, describe_image, learn_words

#: Images whose features words are learned from, about, and features of each; features that describe one.
_SAMPLE, _SAMPLE_FEATURES, _FEATURES = 40, 2000, 3000
#: Larger sets keep components, learned from about as many images. Below, the whole vectors of all images
#: fill 32 MB at most.
_WHOLE = 1024
#: Images that a task describes, at least and at most.
_FEWEST, _MOST = 8, 100
_LEARNED = "learned.npz"


@dataclass(frozen=True)
class Describing:
    """Consecutive images to describe.

    Parameters
    ----------
    features : str
        Folder of the feature_extraction artifact.
    folder : str
        Where the learned words are, and the vectors go.
    start, stop : int
    largest : bool
        Whether to write each image's largest features, too.
    """

    features: str
    folder: str
    start: int
    stop: int
    largest: bool

    @property
    def target(self) -> Path:
        """File of the vectors."""
        return Path(self.folder) / f"{self.start:08d}-{self.stop:08d}.npy"


def largest_file(folder: Path, index: int) -> Path:
    """File of an image's largest features.

    Parameters
    ----------
    folder : Path
        Of the descriptions.
    index : int

    Returns
    -------
    Path
    """
    return folder / "largest" / f"{index:08d}.npy"


def describe_all(
    features: Path, count: int, folder: Path, context: StageContext, *, largest: bool = False
) -> list[str]:
    """Describe all images, in parallel; finished blocks of an interrupted run stay.

    Parameters
    ----------
    features : Path
        Folder of the feature_extraction artifact.
    count : int
        Number of images.
    folder : Path
        Where the vectors go.
    context : StageContext
    largest : bool
        Whether to write each image's largest features, too: `largest_file`.

    Returns
    -------
    list of str
        Files of the vectors, in the order of the images.
    """
    if not (folder / _LEARNED).exists():
        context.call(learn, str(features), count, str(folder), context.seed)
    size = min(_MOST, max(_FEWEST, math.ceil(count / (2 * context.workers))))
    tasks = [
        Describing(str(features), str(folder), start, min(start + size, count), largest)
        for start in range(0, count, size)
    ]
    missing = [task for task in tasks if not task.target.exists()]
    names = [f"descriptions of images {task.start} to {task.stop - 1}" for task in missing]
    context.phase(0.0, 0.0).map(describe, missing, names=names, unit="blocks", done=len(tasks) - len(missing))
    return [str(task.target) for task in tasks]


def _learned_from(count: int) -> tuple[list[int], list[int]]:
    """Images that words are learned from, and those for the components of a large set."""
    words = list(range(0, count, max(1, count // _SAMPLE)))
    return words, np.linspace(0, count - 1, _WHOLE).astype(int).tolist() if count > _WHOLE else []


def _learning(features: str, count: int, folder: str, seed: int) -> list[Path]:
    words, components = _learned_from(count)
    return [features_file(Path(features), index) for index in sorted({*words, *components})]


@reads(_learning)
def learn(features: str, count: int, folder: str, seed: int) -> None:
    """Learn words from some images and, for a large set, components from more.

    Parameters
    ----------
    features : str
        Folder of the feature_extraction artifact.
    count : int
        Number of images.
    folder : str
        Where the file goes.
    seed : int
    """
    for_words, for_components = _learned_from(count)
    sample = [_descriptors(features, index)[:_SAMPLE_FEATURES] for index in for_words]
    learned = {"words": learn_words(sample, seed)}
    if for_components:
        components = Components.of(_vectors(features, for_components, learned["words"]))
        learned |= {"mean": components.mean, "axes": components.axes}
    with atomic_path(Path(folder) / _LEARNED) as temporary, open(temporary, "wb") as file:
        np.savez(file, **learned)  # type: ignore[arg-type]


def _described(task: Describing) -> list[Path]:
    images = range(task.start, task.stop)
    return [Path(task.folder) / _LEARNED, *(features_file(Path(task.features), index) for index in images)]


@reads(_described)
def describe(task: Describing) -> None:
    """Describe some images.

    Parameters
    ----------
    task : Describing
    """
    with np.load(Path(task.folder) / _LEARNED) as learned:
        words = learned["words"]
        components = Components(learned["mean"], learned["axes"]) if "axes" in learned else None
    rows = []
    for index in range(task.start, task.stop):
        keypoints, descriptors = read_features(features_file(Path(task.features), index))
        vector = describe_image(descriptors[:_FEATURES], words)
        # One by one: products of several rows are rounded otherwise, and blocks depend on the workers.
        rows.append(vector if components is None else components.project(vector[None])[0])
        if task.largest:
            with (
                atomic_path(largest_file(Path(task.folder), index)) as temporary,
                open(temporary, "wb") as file,
            ):
                np.save(file, largest(keypoints, descriptors))
    vectors = np.array(rows, np.float32)
    with atomic_path(task.target) as temporary, open(temporary, "wb") as file:
        np.save(file, vectors)


def read_vectors(files: Sequence[str]) -> Floats:
    """Read what `describe_all` wrote.

    Parameters
    ----------
    files : sequence of str

    Returns
    -------
    ndarray of float32, shape (N, D)
    """
    return np.concatenate([np.load(file) for file in files])


def _vectors(features: str, images: Sequence[int], words: Floats) -> Floats:
    return np.array(
        [describe_image(_descriptors(features, i)[:_FEATURES], words) for i in images], np.float32
    )


def _descriptors(features: str, index: int) -> NDArray[np.uint8]:
    return read_features(features_file(Path(features), index))[1]
