"""Pairs chosen by retrieval against all pairs, and what choosing costs for each image.

``python -m tests.benchmarks.retrieval KEPT [mixed] [copies] [--sizes 100 200 400]`` makes sets of photos of
640 pixels in KEPT, a folder: ``mixed`` has photos of nine sets and all frames of a video as photos,
``copies`` repeats 100 photos three times with other crops, exposures and warps. Their names tell nothing. It
matches each size by what looks alike, and the largest exhaustively too. What is done is kept, and an
interrupted run resumes. OPENBLAS_NUM_THREADS=1 measures the choice as workers make it: with one thread.

``--search 1000 10000`` prints what it costs to compare so many images with all others, by made-up components.

Mapping needs each image's ten strongest verified pairs, of those that exhaustive matching finds in one scene,
and the strongest pairs that tie all images together. The same is told for other numbers, and for pairs of
two scenes, too: the girl and the bust were rendered on the same ground.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import string
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from recon3d import Pipeline, Project
from recon3d.compute import InlineContext
from recon3d.layout import MATCHES, read_frames
from recon3d.matching.retrieval import COMPONENTS, Components, most_similar
from recon3d.options import FeatureMatchingOptions
from recon3d.project.artifacts import Artifact
from recon3d.stages.feature_matching.blocks import MIN_INLIERS
from recon3d.stages.feature_matching.descriptions import describe_all, read_vectors
from recon3d.stages.feature_matching.pair_choice import photo_pairs
from recon3d.stages.feature_matching.partners import find_partners
from tests.benchmarks.preflight_times import INPUTS
from tests.benchmarks.sets import DATA

_SIZE = 640
_STRONGEST = 10
_PHOTOS = ("rock", "temple", "saharov", "girl", "monstree", "sceaux", "fountain", "cyprus", "coeur")
_COUNT, _COPIED = 400, 100
FEATURES = {"max_image_size": _SIZE, "max_features": 1500}

Pairs = NDArray[np.int32]


# --- photos ----------------------------------------------------------------------------------------


def _photos() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The photos of all sets, small, with the set of each."""
    for name in _PHOTOS:
        for path in sorted((DATA / INPUTS[name]).iterdir()):
            if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
                yield name, _small(cv2.imread(str(path)))


def video_frames() -> Iterator[NDArray[np.uint8]]:
    """The frames of the video of the bust, small."""
    with av.open(str(DATA / INPUTS["bust"])) as container:
        for frame in container.decode(video=0):
            yield _small(frame.to_ndarray(format="bgr24"))


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _SIZE / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def altered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The photo as another one from nearly the same place: cropped, warped, exposed differently."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.06, 0.06, (4, 2)) * (width, height)
    warp = cv2.getPerspectiveTransform((0.9 * moved + 0.1 * corners.mean(axis=0)).astype(np.float32), corners)
    warped = cv2.warpPerspective(image, warp, (width, height), flags=cv2.INTER_LINEAR)
    gamma = rng.uniform(0.7, 1.4)
    noisy = 255 * (warped / 255.0) ** gamma + rng.normal(0, 2, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def make_photos(kind: str, folder: Path) -> dict[str, str]:
    """Write the photos of a set under names that tell nothing; their names, in order, with the scenes."""
    listed = folder.with_suffix(".json")
    if listed.exists():
        return dict(sorted(json.loads(listed.read_text()).items()))
    rng, letters = np.random.default_rng(0), random.Random(0)
    images = list(_photos())
    if kind == "mixed":
        images += [("bust", frame) for frame in video_frames()]
        images = [images[i] for i in np.linspace(0, len(images) - 1, _COUNT).astype(int)]
    else:
        images = [images[i] for i in np.linspace(0, len(images) - 1, _COPIED).astype(int)]
        copies = range(_COUNT // _COPIED - 1)
        images += [(scene, altered(image, rng)) for _ in copies for scene, image in images]
    folder.mkdir(parents=True)
    scenes: dict[str, str] = {}
    for scene, image in images:
        name = "".join(letters.choices(string.ascii_lowercase, k=10)) + ".jpg"
        cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        scenes[name] = scene
    listed.write_text(json.dumps(scenes))
    return dict(sorted(scenes.items()))


# --- measures --------------------------------------------------------------------------------------


def needed_pairs(
    pairs: Pairs, inliers: NDArray[np.int64], count: int, strongest: int
) -> set[tuple[int, int]]:
    """Each image's strongest verified pairs, and those of the strongest tree over all images."""
    verified = inliers >= MIN_INLIERS
    pairs, inliers = pairs[verified], inliers[verified]
    needed: set[tuple[int, int]] = set()
    for image in range(count):
        own = np.flatnonzero((pairs == image).any(axis=1))
        best = own[np.argsort(-inliers[own], kind="stable")[:strongest]]
        needed.update(map(tuple, pairs[best].tolist()))
    tree = minimum_spanning_tree(coo_array((-inliers.astype(float), pairs.T), shape=(count, count)))
    needed.update((int(min(i, j)), int(max(i, j))) for i, j in zip(*tree.nonzero(), strict=True))
    return needed


def recall(needed: set[tuple[int, int]], chosen: Sequence[tuple[int, int]] | Pairs) -> float:
    """Share of the needed pairs that were chosen."""
    return len(needed & set(map(tuple, np.asarray(chosen).tolist()))) / max(1, len(needed))


def matched(project: Project, matcher: str) -> Artifact:
    """Match a project's photos."""
    options = {"matcher": matcher}
    Pipeline("low", feature_extraction=FEATURES, feature_matching=options).run(
        project, until="feature_matching"
    )
    return project.artifacts["feature_matching"]


def read_matches(artifact: Artifact) -> tuple[Pairs, NDArray[np.int64]]:
    """Pairs and inliers of an artifact."""
    with np.load(artifact.path / MATCHES) as data:
        return data["pairs"], data["inliers"]


def seconds_to_choose(project: Project, folder: Path) -> tuple[float, NDArray[np.float32]]:
    """CPU-seconds of one process that describes all images and chooses the pairs; the descriptions."""
    listed = read_frames(project.artifacts["frame_extraction"].path)
    features = project.artifacts["feature_extraction"].path
    began = time.process_time()
    files = describe_all(features, len(listed), folder, InlineContext(), largest=True)
    options = FeatureMatchingOptions()
    photo_pairs(listed, find_partners(files, options.neighbors, folder, InlineContext()), options)
    return time.process_time() - began, read_vectors(files)


# --- the tables ------------------------------------------------------------------------------------


def measure(kind: str, kept: Path, sizes: Sequence[int]) -> None:
    """Print the tables of a set."""
    scenes = make_photos(kind, kept / f"photos-{kind}")
    photos = [kept / f"photos-{kind}" / name for name in scenes]
    print(f"{kind:<8}{'pairs':>8}{'verified':>9}{'an image':>9}{'choosing':>10}{'matching':>10} ms an image")
    for size in sorted(sizes):
        folder = kept / f"{kind}-{size}"
        project = Project.open(folder) if folder.exists() else Project.create(folder)
        if not project.inputs:
            project.add_photos([photos[i] for i in np.linspace(0, len(photos) - 1, size).astype(int)])
        artifact = matched(project, "retrieval")
        with tempfile.TemporaryDirectory(dir=kept) as work:
            seconds, vectors = seconds_to_choose(project, Path(work))
        pairs, inliers = read_matches(artifact)
        verified = int(np.count_nonzero(inliers >= MIN_INLIERS))
        print(
            f"{size:<8}{len(pairs):>8}{verified:>9}{2 * len(pairs) / size:>9.1f}"
            f"{1000 * seconds / size:>10.1f}{1000 * artifact.manifest.cpu_seconds / size:>10.1f}",
            flush=True,
        )
    whole = matched(project, "exhaustive")
    every, strength = read_matches(whole)
    total = int(np.count_nonzero(strength >= MIN_INLIERS))
    print(f"all{len(every):>13}{total:>9}{2 * len(every) / size:>9.1f}")
    frames = read_frames(project.artifacts["frame_extraction"].path).frames
    scene = np.array([scenes[frame.source] for frame in frames])
    one = scene[every[:, 0]] == scene[every[:, 1]]
    rows = {"as the stage chose them": pairs}
    components = Components.of(vectors).project(vectors)
    for neighbors in (20, 30, 40):
        rows[f"{neighbors} that look most alike"] = np.array(most_similar(vectors, neighbors))
        rows[f"{neighbors} by {components.shape[1]} components"] = np.array(
            most_similar(components, neighbors)
        )
    for title, kept_pairs in (("pairs of one scene", one), ("any pairs", np.ones(len(one), bool))):
        print(f"{title:<30}{'pairs':>7}" + "".join(f"{f'of {k}':>9}" for k in (5, 10, 20, "all")))
        found = every[kept_pairs], strength[kept_pairs]
        needed = [needed_pairs(*found, size, k) for k in (5, _STRONGEST, 20, size)]
        for name, chosen in rows.items():
            shares = "".join(f"{recall(wanted, chosen):>9.4f}" for wanted in needed)
            print(f"{name:<30}{len(chosen):>7}{shares}", flush=True)


def search(count: int) -> None:
    """Print the cost of comparing all with all, for vectors as large sets have them."""
    vectors = np.random.default_rng(0).normal(size=(count, COMPONENTS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    most_similar(vectors, FeatureMatchingOptions().neighbors)
    seconds = time.process_time() - began
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"{count} images compared: {seconds:.1f} CPU-s, {1000 * seconds / count:.2f} ms an image, "
        f"{more / 1e3:.0f} MB more memory",
        flush=True,
    )


def main() -> None:
    """Measure the sets that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 200, 400])
    parser.add_argument("--search", nargs="+", type=int, default=())
    given = parser.parse_args()
    for count in given.search:
        search(count)
    for kind in given.sets:
        measure(kind, given.kept, given.sizes)


if __name__ == "__main__":
    main()
