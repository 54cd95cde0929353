"""From a video to a textured mesh.

Without arguments it uses the bundled sample. With arguments, give a video and an output folder:

    python examples/01_video_to_mesh.py
    python examples/01_video_to_mesh.py statue.mp4 statue
"""

import sys
from pathlib import Path

import recon3d

SAMPLE = Path(__file__).parent / "data" / "bust.mp4"

if __name__ == "__main__":
    video, folder = sys.argv[1:3] if len(sys.argv) > 2 else (SAMPLE, "recon3d-demo")
    # The folder keeps every stage. A second run with other options reuses unchanged stages.
    results = recon3d.reconstruct(video, folder, quality="low")
    print(f"Textured mesh: {results.textured_mesh}")
