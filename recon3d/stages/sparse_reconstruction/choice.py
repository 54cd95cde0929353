"""Which part of a set the model is made from, where nothing ties all images together.

A component's number is its place by size: 0 has the most images. COLMAP's models are in folders
numbered alike, except that the one that was chosen comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon3d.errors import ReconstructionError
from recon3d.layout import COMPONENTS, Component


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
