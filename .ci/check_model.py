"""Check that a textured model is one: ``check_model.py MODEL.glb LEAST_FACES``."""

from __future__ import annotations

import sys

import numpy as np

import recon3d


def main(path: str, least_faces: int) -> None:
    """Open the model with the public reader and print its figures; exit with 1 if they are too low."""
    model = recon3d.load_mesh(path)
    assert isinstance(model, recon3d.TexturedMesh), f"{path} has no texture"
    spread = np.ptp(model.uv[model.face_uv].reshape(-1, 2), axis=0)
    contrast = float(model.texture.std())
    print(
        f"{path}: {len(model.faces)} faces, {len(model.uv)} texture coordinates over {spread.round(2)}, "
        f"texture {model.texture.shape[1]} x {model.texture.shape[0]} of contrast {contrast:.1f}"
    )
    assert len(model.faces) >= least_faces, f"fewer than {least_faces} faces"
    assert model.face_uv.shape == model.faces.shape
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1
    assert (spread > 0.25).all(), "the texture coordinates cover too little of the texture"
    assert contrast > 20, "the texture is nearly of one colour"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
