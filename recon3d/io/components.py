"""The parts of a set that nothing ties together: one model each, in a folder each.

A component's number is its place by size: 0 has the most images. COLMAP's models are in folders
numbered alike, except that the one that was chosen comes first.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recon3d.errors import InputError, ReconstructionError
from recon3d.io.atomic import read_json, write_json

#: The folder, in the artifact and among the results.
COMPONENTS = "components"
#: Images that a component needs to be written.
LEAST_IMAGES = 3
#: What a component's folder holds.
MODEL_FOLDER, CLOUD, CAMERAS = "sparse", "sparse.ply", "transforms.json"
_LIST = "components.json"


@dataclass(frozen=True)
class Component:
    """A part of a set.

    Parameters
    ----------
    number : int
        0 has the most images.
    images : int
    points : int
    used : bool
        Whether the model is made from it.
    """

    number: int
    images: int
    points: int
    used: bool


def component_numbers(count: int, chosen: int) -> list[int]:
    """Number the models of a folder.

    Parameters
    ----------
    count : int
        Number of models.
    chosen : int
        Number of the component that comes first.

    Returns
    -------
    list of int
        The component that each model is, in the folder's order.

    Raises
    ------
    ReconstructionError
        There is no such component.
    """
    if chosen >= count:
        has = f"{count} components, 0 to {count - 1}" if count > 1 else "one component only, number 0"
        raise ReconstructionError(
            f"There is no component {chosen}: the set has {has}.", "Choose one of these with --component."
        )
    return [chosen, *(number for number in range(count) if number != chosen)]


def put_first(models: Path, chosen: int) -> None:
    """Renumber the models of a folder, so that the chosen component is 0.

    Parameters
    ----------
    models : Path
        Holds folders 0, 1, …, by size.
    chosen : int

    Raises
    ------
    ReconstructionError
        There is no such component.
    """
    numbers = component_numbers(sum(path.name.isdigit() for path in models.iterdir()), chosen)
    for number in numbers:
        (models / str(number)).rename(models / f"component-{number}")
    for place, number in enumerate(numbers):
        (models / f"component-{number}").rename(models / str(place))


def write_component_list(folder: Path, components: Sequence[Component]) -> None:
    """Write the list of components.

    Parameters
    ----------
    folder : Path
        The folder of the components.
    components : sequence of Component
    """
    write_json(folder / _LIST, {"components": [asdict(component) for component in components]})


def read_component_list(folder: Path) -> tuple[Component, ...]:
    """Read the list of components.

    Parameters
    ----------
    folder : Path
        The folder of the components.

    Returns
    -------
    tuple of Component
        By number; empty where all images are of one part.

    Raises
    ------
    InputError
        The list is damaged.
    """
    path = folder / _LIST
    if not path.is_file():
        return ()
    try:
        return tuple(Component(**row) for row in read_json(path)["components"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged: {error}.", "Run again with --rerun-from sparse_reconstruction."
        ) from error


def remove_components(folder: Path) -> None:
    """Remove what `write_component_list` and its writer made; files of others stay.

    Parameters
    ----------
    folder : Path
        The folder of the components.
    """
    for component in read_component_list(folder):
        part = folder / str(component.number)
        shutil.rmtree(part / MODEL_FOLDER, ignore_errors=True)
        for name in (CLOUD, CAMERAS):
            (part / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            part.rmdir()
    (folder / _LIST).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def components_message(components: Sequence[Component]) -> str:
    """Say what the components are.

    Parameters
    ----------
    components : sequence of Component
        At least two.

    Returns
    -------
    str
    """
    used = next(component.number for component in components if component.used)
    sizes = ", ".join(f"component {c.number} with {c.images}" for c in components)
    other = next(component.number for component in components if not component.used)
    return (
        f"The images are of {len(components)} parts that nothing ties together: {sizes}. The model is made "
        f"from component {used}. The cameras and points of each are in results/{COMPONENTS}; "
        f"--component {other} makes the model of another one. Pictures that show two parts at once join them."
    )
