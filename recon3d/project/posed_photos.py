"""Photos with known cameras, checked against the cameras before they are added."""

from __future__ import annotations

from pathlib import Path

from recon3d.errors import InputError
from recon3d.project.gathering import Gathered, digest_of


def gather_posed(images: Path, model: Path) -> list[Gathered]:
    """Find the photos that a COLMAP model names.

    Parameters
    ----------
    images : Path
        Folder that the model's image names are relative to.
    model : Path
        Folder of the model.

    Returns
    -------
    list of Gathered
        In the order of their names.

    Raises
    ------
    InputError
        The model is incomplete, or names a photo that is missing, unreadable, or of another size
        than its camera.
    """
    from recon3d.io.colmap_model import model_images
    from recon3d.io.images import probe_photo

    cameras = {image.name: image.size for image in model_images(model).values()}
    names = sorted(cameras)
    missing = [name for name in names if not (images / name).is_file()]
    if missing:
        raise InputError(
            f"{images / missing[0]} is missing: {len(missing)} of the model's {len(names)} images are.",
            "Give the folder that the model's image names are relative to.",
        )
    files = []
    for name in names:
        path = images / name
        info = probe_photo(path)
        # The cameras are those of the stored pixels, before EXIF turns them.
        size = (info.height, info.width) if info.exif.orientation >= 5 else (info.width, info.height)
        wanted = cameras[name]
        if wanted is not None and size != wanted:
            raise InputError(
                f"{path} has {size[0]} x {size[1]} pixels, but its camera in the model has "
                f"{wanted[0]} x {wanted[1]}.",
                "Give the photos that the model was made from, at their original size.",
            )
        files.append(Gathered(path, "", name, "posed_photo", digest_of(path)))
    return files
