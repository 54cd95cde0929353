"""Downloads: every file that a list shows, pictures, archives, and what happens to them meanwhile."""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import io
import os
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import Request
from PIL import Image

from recon3d_api.http import pictures
from recon3d_api.http.downloads import OpenedFile, zip_answer
from recon3d_api.http.lanes import Lane
from tests.api.conftest import Api, new_project, photo, plant, started, wait_for
from tests.synthetic import media
from tests.synthetic.made_project import made_project

RESULTS = ("point_cloud.ply", "mesh.ply", "textured_mesh.glb", "normal_map.png", "report.html")


@functools.cache
def model_template() -> Path:
    """A project of recon3d as a run leaves it: two videos, two photos, frames and all results."""
    folder = Path(tempfile.mkdtemp(prefix="recon3d-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = made_project(folder / "model")
    for number in range(2):
        (folder / f"p{number}.jpg").write_bytes(photo(number))
        frames = media.slide(media.texture(600, 300), range(number, 40 + number, 2), (160, 120))
        project.add_video(media.write_video(folder / f"clip{number}.mp4", frames))
    project.add_photos([folder / "p0.jpg", folder / "p1.jpg"])
    for name in RESULTS:
        (project.results.folder / name).write_bytes(f"{name} {'x' * 1000}".encode())
    (project.results.folder / "sparse").mkdir()
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        (project.results.folder / "sparse" / name).write_bytes(name.encode())
    preview = project.artifacts["texturing"].path / "preview.png"
    Image.new("RGB", (640, 480), (200, 10, 10)).save(preview)
    return project.path


def modelled(client: httpx.Client, api: Api) -> int:
    """A project with a finished model."""
    number = new_project(client, "Büste")
    shutil.copytree(model_template(), api.root(number) / "model")
    return number


def test_every_file_of_the_list_comes_down(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    listed = client.get(f"/files/list/{number}").json()
    kinds = [row["type"] for row in listed]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "video": 2,
        "image": 2,
        "frames": 8,
        "point_cloud": 1,
        "mesh": 1,
        "textured_mesh": 1,
        "normal_map": 1,
        "report": 1,
        "sparse": 3,
    }
    model = idle.root(number) / "model"
    for row in listed:
        url = f"/files/{number}/{row['path']}"
        answer = client.get(url)
        assert answer.status_code == 200, (row, answer.text)
        assert len(answer.content) == row["size"]
        name = Path(row["path"]).name
        assert f'filename="{name}"' in answer.headers["content-disposition"]
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        if not row["path"].startswith("frames/"):
            assert answer.content == (model / row["path"]).read_bytes()
        head = client.head(url)
        assert (head.status_code, head.headers["content-length"]) == (200, str(row["size"]))
        assert client.get(url, headers={"Range": "bytes=2-5"}).content == answer.content[2:6]
        assert stranger.get(url).status_code == 404
        assert httpx.get(f"{idle.url}/api/v1{url}").status_code == 401
    for missing in ("results/other.ply", "inputs/inputs.json", "../../recon3d.db", "frames/", "recon3d.json"):
        assert client.get(f"/files/{number}/{missing}").status_code == 404, missing
    assert client.get(f"/files/{number}/..%2F..%2Frecon3d.db").status_code == 404


@pytest.mark.parametrize(
    ("kind", "name", "members"),
    [
        ("frames", "-frames.zip", [f"photo_{i}.jpg" for i in range(8)]),
        ("image", "-photos.zip", ["p0.jpg", "p1.jpg"]),
        ("sparse", "-sparse.zip", ["cameras.bin", "images.bin", "points3D.bin"]),
        ("report", "-report.html", None),
        ("mesh", "-mesh.ply", None),
        ("textured_mesh", "-textured_mesh.glb", None),
        ("normal_map", "-normal_map.png", None),
        ("point_cloud", "-point_cloud.ply", None),
        ("video", "clip1.mp4", None),
    ],
)
def test_every_type_comes_down(
    client: httpx.Client, idle: Api, kind: str, name: str, members: list[str] | None
) -> None:
    number = modelled(client, idle)
    url = f"/files/download/{number}/{kind}"
    head, whole = client.head(url), client.get(url)
    assert (head.status_code, whole.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]
    assert f'{name}"' in whole.headers["content-disposition"]
    if members is not None:
        with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == members
    # An interrupted download is resumed; a version that is known is not sent again.
    tag = whole.headers["etag"]
    rest = client.get(url, headers={"Range": "bytes=100-", "If-Range": tag})
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert client.get(url, headers={"Range": "bytes=100-", "If-Range": '"old"'}).content == whole.content
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
    outside = client.get(url, headers={"Range": f"bytes={len(whole.content)}-"})
    assert outside.status_code == 416
    assert outside.headers["content-range"] == f"bytes */{len(whole.content)}"
    assert set(outside.json()) == {"detail"}


def test_several_ranges_of_a_file(client: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    url = f"/files/download/{number}/mesh"
    data = client.get(url).content
    several = client.get(url, headers={"Range": "bytes=1-2,5-6"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert data[1:3] in several.content
    for text in ("bytes=9-3", "lines=1-2", "bytes=-", "x"):
        answer = client.get(url, headers={"Range": text})
        assert (answer.status_code, set(answer.json())) == (400, {"detail"})


def test_a_file_that_is_replaced_meanwhile_is_sent_whole(client: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    path = idle.root(number) / "model" / "results" / "mesh.ply"
    old = os.urandom(30 << 20)
    path.write_bytes(old)
    with client.stream("GET", f"/files/download/{number}/mesh") as answer:
        pieces = answer.iter_bytes(1 << 16)
        got = next(pieces)
        path.with_suffix(".new").write_bytes(os.urandom(1000))
        path.with_suffix(".new").replace(path)
        assert got + b"".join(pieces) == old
        assert answer.headers["content-length"] == str(len(old))


def test_headers_and_content_are_of_one_file(tmp_path: Path) -> None:
    """It may be replaced between the look at its size and the first byte."""
    path = tmp_path / "mesh.ply"
    path.write_bytes(b"old" * 100)
    answer = OpenedFile(path, "mesh.ply")
    path.unlink()
    path.write_bytes(b"new")
    sent = played(answer)
    assert sent == b"old" * 100
    assert answer.headers["content-length"] == "300"
    assert answer._file.closed


def played(answer: OpenedFile) -> bytes:
    """The body that an answer sends."""
    import asyncio

    sent = bytearray()

    async def send(message: dict) -> None:  # type: ignore[type-arg]
        sent.extend(message.get("body", b""))

    async def receive() -> dict:  # type: ignore[type-arg]
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.4"}}
    asyncio.run(answer(scope, receive, send))  # type: ignore[arg-type]
    return bytes(sent)


@pytest.mark.attack("Clients that read downloads slowly", "others are served")
def test_slow_downloads_keep_nobody_waiting(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    (idle.root(number) / "model" / "results" / "mesh.ply").write_bytes(b"x" * (20 << 20))
    host, port = idle.url.removeprefix("http://").split(":")
    slow = []
    try:
        for _ in range(60):
            slow.append(socket.create_connection((host, int(port))))
            head = f"GET /api/v1/files/download/{number}/mesh HTTP/1.1\r\nHost: x\r\n"
            slow[-1].sendall(f"{head}Authorization: {client.headers['authorization']}\r\n\r\n".encode())
        assert slow[-1].recv(12) == b"HTTP/1.1 200"
        began = time.monotonic()
        for _ in range(10):
            assert stranger.get("/projects").status_code == 200
        assert time.monotonic() - began < 20
    finally:
        for connection in slow:
            connection.close()


# --- pictures ---------------------------------------------------------------------------------------


def test_pictures_of_any_width(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    url = f"/files/{number}/frames/photo_3.jpg"
    for asked, made in ((1, 64), (64, 64), (65, 128), (200, 256), (640, 640), (2048, 640)):
        answer = client.get(url, params={"width": asked})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (made, made * 3 // 4)
            assert abs(picture.convert("RGB").getpixel((2, 2))[2] - 90) < 12  # type: ignore[index]
    tag = client.get(url, params={"width": 64}).headers["etag"]
    known = client.get(url, params={"width": 50}, headers={"If-None-Match": tag})
    assert known.status_code == 304
    assert len(list((idle.root(number) / "pictures").iterdir())) == 5
    assert client.get(f"/files/{number}/inputs/photos/p0.jpg?width=64").status_code == 200
    assert client.get(f"/files/{number}/results/mesh.ply?width=64").status_code == 400
    for wrong in ("0", "2049", "x"):
        assert client.get(url, params={"width": wrong}).status_code == 422
    assert stranger.get(url, params={"width": 64}).status_code == 404


def test_pictures_are_made_outside_the_server(
    client: httpx.Client, idle: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also odd ones: what the server never decodes cannot take it over."""
    number = modelled(client, idle)
    frames = next((idle.root(number) / "model" / "artifacts").glob("frame_extraction-*")) / "images"
    deep = Image.fromarray(__import__("numpy").full((60, 80), 30_000, "uint16"))
    deep.save(frames / "photo_0.jpg", "PNG")
    turned = Image.new("RGB", (80, 60), (250, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(frames / "photo_1.jpg", "JPEG", exif=exif)
    (frames / "photo_2.jpg").write_bytes(photo()[:900])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the server decodes a picture")

    monkeypatch.setattr(Image, "open", refuse)
    answers = [client.get(f"/files/{number}/frames/photo_{i}.jpg?width=64") for i in range(3)]
    monkeypatch.undo()
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert "photo_2.jpg cannot be shown" in answers[2].json()["detail"]
    grey = Image.open(io.BytesIO(answers[0].content))
    assert abs(grey.convert("L").getpixel((30, 30)) - 117) <= 2  # type: ignore[operator]
    assert Image.open(io.BytesIO(answers[1].content)).size == (60, 80)


def test_pictures_that_are_kept_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MOST", 8)
    for number in range(9):
        (tmp_path / f"{number}.jpg").touch()
        os.utime(tmp_path / f"{number}.jpg", (number, number))
    pictures._prune(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == list("2345678")


def test_preview(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    empty = new_project(client)
    assert client.get(f"/projects/{empty}/preview").status_code == 404
    photos = client.get(f"/projects/{plant(client, empty)}/preview")
    assert (photos.status_code, photos.content) == (200, photo(0))
    number = modelled(client, idle)
    whole, small = (client.get(f"/projects/{number}/preview{q}") for q in ("", "?width=128"))
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["content-disposition"].startswith("inline")
    assert Image.open(io.BytesIO(whole.content)).size == (640, 480)
    assert Image.open(io.BytesIO(small.content)).size == (128, 96)
    assert client.head(f"/projects/{number}/preview").status_code == 200
    assert stranger.get(f"/projects/{number}/preview").status_code == 404


# --- removing one file ------------------------------------------------------------------------------


def test_one_file_is_removed_before_a_run(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number = modelled(client, idle)
    url = f"/files/{number}/inputs/photos/p0.jpg"
    assert stranger.delete(url).status_code == 404
    gone = client.delete(url)
    assert gone.status_code == 200, gone.text
    assert gone.json() == {
        "message": "File removed. The results were made with it and stay until the next run",
        "project_id": number,
        "path": "inputs/photos/p0.jpg",
    }
    assert client.delete(url).status_code == 404
    listed = client.get(f"/files/list/{number}").json()
    assert [row["path"] for row in listed if row["type"] == "image"] == ["inputs/photos/p1.jpg"]
    assert len([row for row in listed if row["path"].startswith("results/")]) == 8
    assert not (idle.root(number) / "model" / "inputs" / "photos" / "p0.jpg").exists()
    for made in ("results/mesh.ply", "frames/photo_1.jpg"):
        answer = client.delete(f"/files/{number}/{made}")
        assert (answer.status_code, "a run replaces" in answer.json()["detail"]) == (400, True)
    started(client, number)
    busy = client.delete(f"/files/{number}/inputs/photos/p1.jpg")
    assert busy.status_code == 409
    assert len([r for r in client.get(f"/files/list/{number}").json() if r["type"] == "image"]) == 1


def test_the_last_file_can_go_too(client: httpx.Client) -> None:
    number = plant(client, new_project(client))
    for row in client.get(f"/files/list/{number}").json():
        answer = client.delete(f"/files/{number}/{row['path']}")
        assert answer.json()["message"] == "File removed. There are no results yet"
    assert client.get(f"/files/list/{number}").json() == []
    assert client.post(f"/projects/{number}/start-reconstruction").status_code == 400


def test_no_run_starts_while_a_file_is_removed(client: httpx.Client, idle: Api) -> None:
    """Either the run is first and the removal is refused, or the run does without the file."""
    for _ in range(6):
        number = plant(client, new_project(client))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            gone = pool.submit(client.delete, f"/files/{number}/inputs/photos/p0.jpg")
            run = pool.submit(client.post, f"/projects/{number}/start-reconstruction")
        assert run.result().status_code == 200
        left = (idle.root(number) / "model" / "inputs" / "photos" / "p0.jpg").exists()
        assert (gone.result().status_code, left) in ((200, False), (409, True))


def test_allow_names_the_methods_of_a_path(client: httpx.Client) -> None:
    for method, path, allowed in (
        ("PATCH", "/projects", "GET, POST"),
        ("POST", "/projects/1", "DELETE, GET, PUT"),
        ("GET", "/files/upload/video", "POST"),
        ("POST", "/files/1/inputs/photos/a.jpg", "DELETE, GET, HEAD"),
        ("POST", "/files/download/1/mesh", "GET, HEAD"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path


# --- archives ---------------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = []
    for name, size in (("ä.jpg", 300_000), ("b.jpg", 0), ("c d.png", 1)):
        made.append(tmp_path / name)
        made[-1].write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    return made


def zipped(paths: list[Path], **headers: str) -> tuple[int, Iterator[bytes]]:
    """What an archive's answer says of its size, and its bytes."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "GET", "headers": lines})
    held: list[Iterator[bytes]] = []

    class Direct(Lane):
        def iterate(self, pieces: Iterator[bytes]):  # type: ignore[no-untyped-def, override]
            held.append(pieces)
            return super().iterate(pieces)

    answer = zip_answer(request, [(path.name, path) for path in paths], "x.zip", Direct(1))
    return int(answer.headers["content-length"]), held[0]


def test_a_zip_opens_and_has_the_size_it_says(paths: list[Path]) -> None:
    size, pieces = zipped(paths)
    data = b"".join(pieces)
    assert len(data) == size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.filename: info.file_size for info in archive.infolist()} == {
            path.name: path.stat().st_size for path in paths
        }
        assert archive.read("ä.jpg") == paths[0].read_bytes()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("start", [0, 1, 10, 299_990, 300_300])
def test_a_zip_resumes_at_any_byte(paths: list[Path], start: int) -> None:
    data = b"".join(zipped(paths)[1])
    size, pieces = zipped(paths, range=f"bytes={start}-")
    assert (size, b"".join(pieces)) == (len(data) - start, data[start:])


def test_a_zip_whose_files_change_is_not_whole(paths: list[Path]) -> None:
    """Its size is promised already: a client must see that this is not the archive."""
    _, pieces = zipped(paths)
    paths[0].write_bytes(b"other")
    with pytest.raises(RuntimeError, match="size"):
        b"".join(pieces)


@pytest.mark.attack("A zip archive of 5 GB", "announced size, every member intact, sent without keeping it")
@pytest.mark.slow
def test_zip_beyond_4_gb(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.jpg")
        with open(paths[-1], "wb") as file:
            file.truncate(1_000_000_000)
    size, pieces = zipped(paths)
    target, process, began = tmp_path / "big.zip", psutil.Process(), time.monotonic()
    before = highest = process.memory_info().rss
    with open(target, "wb") as file:
        for number, piece in enumerate(pieces):
            file.write(piece)
            if number % 64 == 0:
                highest = max(highest, process.memory_info().rss)
    seconds = time.monotonic() - began
    assert target.stat().st_size == size
    assert highest - before < 50 << 20
    told = f"{size} bytes, as announced, in {seconds:.0f} s; {(highest - before) / 2**20:.1f} MB more memory"
    record_property("seen", told)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 5
    if Path("/usr/bin/unzip").exists():
        assert subprocess.run(["unzip", "-tq", target], check=False).returncode == 0


def test_a_page_inside_a_video_is_not_run(client: httpx.Client, idle: Api, video: Path) -> None:
    """What is a video to a decoder may look like a page: browsers are told not to guess."""
    number = new_project(client)
    data = video.read_bytes() + b"\0\0\0\x30free<html><script>alert(1)</script></html>\0\0"
    files = {"file": ("page.mp4", data)}
    assert client.post("/files/upload/video", data={"project_id": number}, files=files).status_code == 200
    answer = client.get(f"/files/download/{number}/video")
    assert answer.content == data
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert wait_for(lambda: not list(idle.service.settings.incoming_dir.iterdir()))
