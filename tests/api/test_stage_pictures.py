"""Pictures of frames and depth maps while a run works, and what tells that there are new ones."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import cv2
import httpx
import numpy as np
from PIL import Image

from tests.api.conftest import Api, new_project, plant, started
from tests.api.test_events import listen, until

_DENSE = "work/dense_reconstruction-00000000000000aa/.work/200"


def write_map(
    model: Path, name: str, when: float, folder: str = f"{_DENSE}/planes_0", far: float = 3
) -> Path:
    """A depth map that gets farther from the left to the right."""
    path = model / folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    depth = np.tile(np.linspace(1, far, 80, dtype=np.float32), (60, 1))
    np.savez(temporary, depth=depth)
    os.utime(temporary, (when, when))
    os.replace(temporary, path)
    return path


def write_frame(model: Path, name: str) -> Path:
    """A frame of a stage that works."""
    path = model / "work/frame_extraction-00000000000000bb/images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80, 3), (10, 200, 30), np.uint8))
    return path


def opened(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


def test_frames_and_depth_maps_of_a_stage_that_works(
    client: httpx.Client, stranger: httpx.Client, idle: Api
) -> None:
    number = new_project(client)
    base = f"/projects/{number}/pictures"
    assert client.get(f"{base}/depth_maps").json() == []  # nothing was uploaded yet
    plant(client, number)
    assert client.get(f"{base}/frames").json() == []
    model = idle.root(number) / "model"
    for name in ("a 1.jpg", "left/b.jpg"):
        write_frame(model, name)
    for when, name in enumerate(("c.jpg", "left/b.jpg", "a 1.jpg")):
        write_map(model, name, 1000 + when)

    answer = client.get(f"{base}/depth_maps")
    assert answer.headers["x-total-count"] == "3"
    assert answer.json()[0] == {"name": "a 1.jpg", "modified": "1970-01-01T00:16:42Z", "finished": False}
    assert [row["name"] for row in answer.json()] == ["a 1.jpg", "c.jpg", "left/b.jpg"]
    newest = client.get(f"{base}/depth_maps?order=-modified&limit=2")
    assert [row["name"] for row in newest.json()] == ["a 1.jpg", "left/b.jpg"]
    assert 'skip=2&limit=2>; rel="next"' in newest.headers["link"]
    assert [row["name"] for row in client.get(f"{base}/frames").json()] == ["a 1.jpg", "left/b.jpg"]

    picture = opened(client.get(f"{base}/depth_maps/left/b.jpg"))
    assert picture.shape == (60, 80, 3)
    assert picture[30, 4, 0] > picture[30, 4, 2] + 20  # near is red
    assert picture[30, 75, 2] > picture[30, 75, 0] + 20
    assert opened(client.get(f"{base}/depth_maps/left/b.jpg?width=50")).shape == (48, 64, 3)
    assert abs(opened(client.get(f"{base}/frames/a%201.jpg"))[30, 40] - (30, 200, 10)).max() < 8

    for path in ("depth_maps", "depth_maps/c.jpg", "frames", "frames/a%201.jpg"):
        assert stranger.get(f"{base}/{path}").status_code == 404, path
        assert httpx.get(f"{client.base_url}{base[1:]}/{path}").status_code == 401, path
    for path in ("depth_maps/d.jpg", "frames/c.jpg", "depth_maps/..%2Fplanes_0%2Fc.jpg"):
        assert client.get(f"{base}/{path}").json() == {"detail": "Picture not found"}, path
    assert client.get(f"{base}/videos").status_code == 422
    assert client.head(f"{base}/depth_maps/c.jpg").status_code == 200


def test_a_picture_is_drawn_once_and_anew_when_the_map_is_better(client: httpx.Client, idle: Api) -> None:
    number = plant(client, new_project(client))
    root = idle.root(number)
    write_map(root / "model", "a.jpg", 1000)
    url = f"/projects/{number}/pictures/depth_maps/a.jpg"
    first = client.get(url)
    (kept,) = (root / "pictures").iterdir()
    drawn = kept.stat().st_mtime_ns
    same = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, kept.stat().st_mtime_ns) == (304, drawn)
    write_map(root / "model", "a.jpg", 1001, f"{_DENSE}/raw_maps", far=30)
    assert client.get(url).content != first.content
    assert len(list((root / "pictures").iterdir())) == 2

    broken = write_map(root / "model", "a.jpg", 1002, f"{_DENSE}/depth_maps", far=5)
    broken.write_bytes(broken.read_bytes()[:100])
    answer = client.get(url)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "a.jpg.npz cannot be read as a depth map. Run dense_reconstruction again.",
    )
    shutil.rmtree(root / "model/work")
    assert client.get(url).status_code == 404


def test_a_damaged_manifest_hides_the_pictures_and_fails_nothing(client: httpx.Client, idle: Api) -> None:
    number = plant(client, new_project(client))
    model = idle.root(number) / "model"
    write_map(model, "a.jpg", 1000)
    base = f"/projects/{number}/pictures/depth_maps"
    assert len(client.get(base).json()) == 1
    manifest = model / f"artifacts/frame_extraction-{'0' * 16}/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{")
    answer = client.get(base)
    assert (answer.status_code, answer.json()) == (200, [])
    assert client.get(f"{base}/a.jpg").json() == {"detail": "Picture not found"}
    manifest.unlink()
    manifest.parent.rmdir()
    assert client.get(f"{base}/a.jpg").status_code == 200


def test_progress_tells_when_the_newest_picture_was_written(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, hold="dense_reconstruction")
    write_map(working.root(number) / "model", "a.jpg", 1000)
    root = working.root(number)
    with listen(working, worker, number) as socket:
        started(worker, number)
        messages = until(socket, ("job_progress", "dense_reconstruction"))
        write_map(root / "model", "b.jpg", 2000)  # a long step says nothing of it
        while messages[-1].get("pictures") != "1970-01-01T00:33:20.000Z":
            messages.append(json.loads(socket.recv(timeout=30)))
        (root / "go").touch()
        messages += until(socket, ("job_completed", "texturing"))
    told = [m for m in messages if "pictures" in m]
    assert {(m["event"], m["job_type"]) for m in told} == {("job_progress", "dense_reconstruction")}
    times = [m["pictures"] for m in told]
    assert times == sorted(times)
    assert times[0] == "1970-01-01T00:16:40.000Z"
    # Who comes later is told the same.
    with listen(working, worker, number, "?after=3") as socket:
        assert [m for m in until(socket, ("job_completed", "texturing")) if "pictures" in m] == told
