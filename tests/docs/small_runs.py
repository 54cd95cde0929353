"""Real reconstructions that take seconds.

``python -m tests.docs.small_runs serve PORT`` is the service, whose runs are `recon3d run` with small
sizes; ``python -m tests.docs.small_runs SCRIPT …`` runs a script whose presets are small.
"""

from __future__ import annotations

import importlib
import runpy
import sys

SMALL = {
    "frame_extraction": {"max_frames": 24, "min_frames": 24, "max_image_size": 480},
    "feature_extraction": {"max_image_size": 480, "first_octave": -1},
    "dense_reconstruction": {"max_image_size": 120, "num_sources": 2},
    "mesh_generation": {"max_faces": 3000},
    "texturing": {"texture_size": 256},
}


def serve(port: int) -> None:
    """Serve with the settings of the environment."""
    import uvicorn

    from recon3d_api import logs
    from recon3d_api.app import create_app
    from recon3d_api.settings import Settings
    from recon3d_api.work.rows import Claim

    settings = Settings().prepare()
    logs.configure("INFO", "json")

    def command(claim: Claim) -> list[str]:
        model = settings.projects_dir / claim.folder / "model"
        given = [
            sys.executable,
            "-m",
            "recon3d",
            "run",
            "-o",
            str(model),
            "--quality",
            claim.quality,
            "--events",
        ]
        sizes = [f"--set={s}.{o}={v}" for s, options in SMALL.items() for o, v in options.items()]
        return [*given, *sizes]

    app = create_app(settings, command=command)
    uvicorn.run(app, port=port, log_config=None, ws="websockets-sansio")


def main() -> None:
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        # The module: `recon3d.options.presets` is its function.
        module = importlib.import_module("recon3d.options.presets")
        presets = dict.fromkeys(module.presets(), SMALL)
        module.__dict__["presets"] = lambda: presets
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
