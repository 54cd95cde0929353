"""``python -m tests.stages.small_model FOLDER``: a still life's surface and texture, from exact inputs.

It prints, as JSON, the kinds of arguments that each kernel of both was compiled for.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from numba.core.dispatcher import Dispatcher

import recon3d.surface
import recon3d.texture
from recon3d.compute import InlineContext
from recon3d.layout import images_folder
from recon3d.options import MeshGenerationOptions, TexturingOptions
from recon3d.stages import mesh_generation, texturing
from tests.synthetic.box import photograph
from tests.synthetic.still_life import still_life


def make(folder: Path) -> None:
    """Run both stages."""
    life = still_life()
    inputs = life.write(folder / "dense")
    for stage in ("frame_extraction", "sparse_reconstruction", "mesh_generation"):
        inputs[stage] = folder / stage
        inputs[stage].mkdir()
    life.scene.save(inputs["sparse_reconstruction"])
    images = images_folder(inputs["frame_extraction"])
    images.mkdir()
    truth = life.truth
    for view in life.scene:
        cv2.imwrite(str(images / view.name), photograph(truth, view)[..., ::-1])
    surface = {name: path for name, path in inputs.items() if name != "mesh_generation"}
    options = MeshGenerationOptions(max_faces=6000)
    mesh_generation.run(surface, options, inputs["mesh_generation"], InlineContext())
    (folder / "texturing").mkdir()
    texturing.run(inputs, TexturingOptions(texture_size=1024), folder / "texturing", InlineContext())


def kernels() -> Iterator[tuple[str, Any]]:
    """The kernels of both packages, by their full names."""
    for package in (recon3d.surface, recon3d.texture):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, value in vars(module).items():
                if isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__:
                    yield f"{module.__name__}.{name}", value


def compiled(kernel: Any) -> list[str]:
    """The kinds of arguments in the kernel's cache: those of kernels that others call are there alone."""
    index = kernel._cache._cache_file._load_index()  # numba has no public way to ask for this
    return sorted({str(key[0]) for key in index})


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    print(json.dumps({name: compiled(kernel) for name, kernel in kernels()}))
