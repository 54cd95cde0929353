"""The service from Python: register, upload, extract frames, reconstruct, download.

Start the service first, in another terminal:

    recon3d-api

then

    python examples/02_api_client.py [VIDEO] [--url http://localhost:8000] [--quality low]
"""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from recon3d_api.client import Client

SAMPLE = Path(__file__).parent / "data" / "bust.mp4"
FILES = {
    "video": "video.mp4",
    "frames": "frames.zip",
    "point_cloud": "point_cloud.ply",
    "mesh": "mesh.ply",
    "textured_mesh": "textured_mesh.glb",
}


def main() -> None:
    """Use each part of the service once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--quality", default="low", choices=["low", "medium", "high", "extreme"])
    parser.add_argument(
        "--interval", type=float, help="seconds between frames; by default the motion decides"
    )
    parser.add_argument("--output", type=Path, default=Path("api-results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    with Client(arguments.url) as client:
        name = f"guest-{secrets.token_hex(4)}"
        client.register(name, f"{name}@example.com", secrets.token_urlsafe(16))
        project = client.create_project(arguments.video.stem, "made by examples/02_api_client.py")
        print(f"Project {project.id} of {name}")

        uploaded = client.upload_video(
            project.id, arguments.video, lambda done, total: print(f"\r  {done / total:4.0%}", end="")
        )
        print(f"\r{uploaded.message}: {uploaded.file_path}, {uploaded.file_size / 1e6:.1f} MB")

        if arguments.interval:
            client.extract_frames(project.id, arguments.interval)
            client.wait(project.id)

        client.start_reconstruction(project.id, arguments.quality)
        project = client.wait(project.id)
        print(
            f"{project.processed_frames} frames in {project.processing_time:.0f} s, "
            f"quality {project.reconstruction_quality:.2f}"
        )

        for file_type, file_name in FILES.items():
            path = client.download(project.id, file_type, arguments.output / file_name)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
