"""From a video to a textured mesh.

Run it as it is for the bundled sample, or give a video of your own and a folder for the results:

    python examples/01_video_to_mesh.py
    python examples/01_video_to_mesh.py statue.mp4 statue
"""

import sys
from pathlib import Path

import recon3d

SAMPLE = Path(__file__).parent / "data" / "bust.mp4"

if __name__ == "__main__":
    video, folder = sys.argv[1:3] if len(sys.argv) > 2 else (SAMPLE, "recon3d-demo")
    # The folder keeps every step: after a change, only what the change concerns is computed again.
    results = recon3d.reconstruct(video, folder, quality="low")
    print(f"Textured mesh: {results.textured_mesh}")
