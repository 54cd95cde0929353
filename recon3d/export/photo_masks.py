"""The masks of photos with transparent pixels, beside exported photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.io.atomic import publish_path, read_json, write_json
from recon3d.layout import mask_file


def publish_masks(images: Path, exported: Path) -> bool:
    """Copy the frames' masks; those of an earlier export go where a frame has none now.

    Parameters
    ----------
    images : Path
        Folder of the frames.
    exported : Path
        Folder of their copies; the masks go beside it.

    Returns
    -------
    bool
        Whether any frame has a mask.
    """
    masked = False
    for image in images.rglob("*"):
        if not image.is_file():
            continue
        name = image.relative_to(images).as_posix()
        mask, target = mask_file(images, name), mask_file(exported, name)
        if mask.is_file():
            publish_path(mask, target)
            masked = True
        else:
            target.unlink(missing_ok=True)
    return masked


def add_masks(transforms: Path, images: str) -> None:
    """Name a mask for each image of ``transforms.json``.

    nerfstudio takes all or none: an image without a mask gets one that hides nothing.

    Parameters
    ----------
    transforms : Path
        What `recon3d.io.nerfstudio.write_transforms` wrote.
    images : str
        Folder of the images, relative to the file.
    """
    from recon3d.io.masks import write_mask

    document = read_json(transforms)
    for frame in document["frames"]:
        mask = mask_file(transforms.parent / images, frame["file_path"].removeprefix(f"{images}/"))
        if not mask.exists():
            write_mask(mask, np.ones((frame["h"], frame["w"]), bool))
        frame["mask_path"] = mask.relative_to(transforms.parent).as_posix()
    write_json(transforms, document)
