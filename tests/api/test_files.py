"""Uploads, lists and downloads, as the contract has them, and what attackers send."""

from __future__ import annotations

import concurrent.futures
import io
import itertools
import os
import shutil
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from recon3d_api.files import intake
from recon3d_api.http.routes import files as files_routes
from recon3d_api.work.startup import Sweeper
from tests.api.conftest import Api, jobs_of, new_project, photo, plant, wait_for


def upload(client: httpx.Client, number: int, data: bytes, name: str = "clip.mp4") -> httpx.Response:
    return client.post("/files/upload/video", data={"project_id": number}, files={"file": (name, data)})


def leftovers(api: Api) -> list[Path]:
    return list(api.service.settings.incoming_dir.iterdir())


def test_video_goes_up_and_comes_down(client: httpx.Client, video: Path, idle: Api) -> None:
    number = new_project(client, "Büste / 1")
    data = video.read_bytes()
    assert client.get(f"/files/download/{number}/video").status_code == 404
    answer = upload(client, number, data, "My cliß.MP4")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "message": "Video uploaded successfully",
        "file_path": "inputs/videos/My_cliß.mp4",
        "file_size": len(data),
        "project_id": number,
    }
    assert leftovers(idle) == []
    down = client.get(f"/files/download/{number}/video")
    assert down.status_code == 200
    assert down.content == data
    assert down.headers["content-type"] == "video/mp4"
    assert down.headers["content-disposition"].startswith("attachment; filename=")
    listed = client.get(f"/files/list/{number}")
    assert listed.status_code == 200
    (row,) = listed.json()
    assert set(row) == {"type", "path", "size", "modified", "outdated"}
    assert (row["type"], row["path"], row["size"]) == ("video", "inputs/videos/My_cliß.mp4", len(data))
    for missing in ("frames", "mesh", "textured_mesh", "point_cloud"):
        answer = client.get(f"/files/download/{number}/{missing}")
        assert answer.status_code == 404
        assert "yet" in answer.json()["detail"]
    assert client.get(f"/files/download/{number}/secret").status_code == 422


def test_ranges_and_tags(client: httpx.Client, video: Path) -> None:
    number = new_project(client)
    data = video.read_bytes()
    upload(client, number, data)
    url = f"/files/download/{number}/video"
    whole = client.get(url)
    tag = whole.headers["etag"]
    size = len(data)

    def get(**headers: str) -> httpx.Response:
        return client.get(url, headers={key.replace("_", "-"): value for key, value in headers.items()})

    for text, expected in (
        ("bytes=0-9", data[:10]),
        ("bytes=100-", data[100:]),
        ("bytes=-7", data[-7:]),
        (f"bytes=5-{size * 2}", data[5:]),
    ):
        part = get(range=text)
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["content-range"].endswith(f"/{size}")
        assert part.headers["etag"] == tag
    outside = get(range=f"bytes={size}-")
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
    assert set(outside.json()) == {"detail"}
    assert get(range="bytes=0-9", if_range=tag).status_code == 206
    assert get(range="bytes=0-9", if_range='"other"').status_code == 200
    assert get(if_none_match=tag).status_code == 304
    assert get(if_none_match='"other"').status_code == 200
    head = client.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


def test_images(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    files = [
        ("files", ("a.jpg", photo(1))),
        ("files", ("b.JPEG", photo(2))),
        ("files", ("c.png", photo(3, "PNG"))),
        ("files", ("d.tiff", photo(4, "TIFF"))),
        ("files", ("a.jpg", photo(5))),
    ]
    answer = client.post("/files/upload/images", data={"project_id": number}, files=files)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["message"], len(body["files"])) == ("5 images uploaded successfully", 5)
    assert body["file_size"] == sum(row["file_size"] for row in body["files"])
    # Two files of one name are two files.
    assert len({row["file_path"] for row in body["files"]}) == 5
    # All or none.
    bad = client.post(
        "/files/upload/images",
        data={"project_id": number},
        files=[("files", ("ok.jpg", photo(6))), ("files", ("bad.jpg", photo(7)[:2000]))],
    )
    assert bad.status_code == 400
    assert "bad.jpg" in bad.json()["detail"]
    assert len(client.get(f"/files/list/{number}").json()) == 5
    assert leftovers(idle) == []
    assert client.post("/files/extract-frames", data={"project_id": number}).status_code == 400


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    head = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def archive(size: int = 10) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", b"\0" * size)
    return buffer.getvalue()


def bad_videos(video: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"hello " * 100,
        "zip bomb": archive(200_000_000),
        "photo": photo(),
        "head only": video[:64],
        "no index": video[: len(video) // 2].replace(b"moov", b"free"),
        "noise": video[:100] + bytes(range(256)) * 40,
        "polyglot": video + archive(),
    }


@pytest.mark.attack("Hostile videos", "400, nothing is left")
@pytest.mark.parametrize("kind", list(bad_videos(b"x" * 100)))
def test_bad_videos(client: httpx.Client, idle: Api, video: Path, kind: str) -> None:
    number = new_project(client)
    answer = upload(client, number, bad_videos(video.read_bytes())[kind])
    assert answer.status_code == 400, answer.text
    assert "clip.mp4" in answer.json()["detail"]
    assert str(idle.service.settings.data_dir) not in answer.text
    assert leftovers(idle) == []
    assert client.get(f"/files/list/{number}").json() == []


@pytest.mark.attack("Hostile images", "400, nothing is left")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("huge.png", png(60_000, 60_000, zlib.compress(b"\0" * 1_000_000))),
        ("bomb.png", png(12_000, 12_000, zlib.compress(b"\0" * 100))),
        ("cut.jpg", photo()[:3000]),
        ("jar.jpg", photo() + archive()),
        ("renamed.png", photo()),
        ("clip.jpg", b"\0\0\0\x20ftypisom" + b"\0" * 100),
        ("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ],
)
def test_bad_images(client: httpx.Client, idle: Api, name: str, data: bytes) -> None:
    number = new_project(client)
    answer = client.post("/files/upload/images", data={"project_id": number}, files={"files": (name, data)})
    assert answer.status_code == 400, answer.text
    assert name in answer.json()["detail"]
    assert client.get(f"/files/list/{number}").json() == []


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode("latin-1"), body)
        for head, body in parts
    )


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.attack("Hostile file names that cannot be kept", "400, nothing is left")
@pytest.mark.parametrize(
    "name",
    [
        "../..",
        "x.mp4/",
        "a\0.mp4",
        "a\nb.mp4",
        "..",
        "",
        ".mp4",
        "x.exe",
        "x",
        "x.mp4.sh",
    ],
)
def test_bad_names(client: httpx.Client, idle: Api, video: Path, name: str) -> None:
    number = new_project(client)
    body = form(("name=project_id", b"%d" % number), (f'name="file"; filename="{name}"', video.read_bytes()))
    answer = client.post("/files/upload/video", content=body + b"--b--\r\n", headers=MULTIPART)
    assert answer.status_code == 400, answer.text
    assert leftovers(idle) == []
    assert client.get(f"/files/list/{number}").json() == []


@pytest.mark.parametrize(("name", "phone"), [("a.HEIC", True), ("a.gif", False)])
def test_photos_of_other_formats_are_refused_with_a_way_out(
    client: httpx.Client, name: str, phone: bool
) -> None:
    number = new_project(client)
    answer = client.post(
        "/files/upload/images", data={"project_id": number}, files={"files": (name, b"some bytes")}
    )
    assert answer.status_code == 400, answer.text
    assert "is not supported; use JPG, JPEG, PNG, TIF, TIFF. Save it as JPEG" in answer.text
    assert ("iPhones take JPEG with Settings" in answer.text) == phone


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_a_photo_of_an_iphone_under_another_name_is_refused_with_a_way_out(
    client: httpx.Client, brand: bytes
) -> None:
    number = new_project(client)
    content = b"\0\0\0\x18ftyp" + brand + bytes(100)
    answer = client.post(
        "/files/upload/images", data={"project_id": number}, files={"files": ("a.jpg", content)}
    )
    assert answer.status_code == 400, answer.text
    assert "the content is HEIC. Save it as JPEG; iPhones take JPEG with Settings" in answer.text


@pytest.mark.attack(
    "B6: names that are too long, with folders, or with joined emoji", "kept under a safe base name"
)
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("写" * 80 + ".mp4", "写" * 40 + ".mp4"),
        ("x" * 2000 + ".mp4", "x" * 120 + ".mp4"),
        ("👩\u200d🔬 at work.mp4", "at_work.mp4"),
        ("👩\u200d🔬.mp4", "file.mp4"),
        ("../../x.mp4", "x.mp4"),
        ("../../../etc/evil.mp4", "evil.mp4"),
        ("C:\\fakepath\\x.mp4", "x.mp4"),
        ("a\\b.mp4", "b.mp4"),
        ("photo\u202egnp.mp4", "photo_gnp.mp4"),
    ],
)
def test_names_are_made_harmless(client: httpx.Client, idle: Api, video: Path, name: str, kept: str) -> None:
    number = new_project(client)
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"'.encode()
    body = form(("name=project_id", b"%d" % number))
    body += b"--b\r\n" + head + b"\r\n\r\n" + video.read_bytes() + b"\r\n--b--\r\n"
    answer = client.post("/files/upload/video", content=body, headers=MULTIPART)
    assert answer.status_code == 200, answer.text
    assert answer.json()["file_path"] == f"inputs/videos/{kept}"
    inputs = idle.root(number) / "model" / "inputs" / "videos"
    assert [path.name for path in inputs.iterdir()] == [kept]


def test_each_error_of_storing_has_its_own_status(tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    path = tmp_path / "up" / "0.jpg"
    path.write_bytes(photo())

    def take(root: Path) -> tuple[int, str]:
        row = {"path": str(path), "name": "a.jpg"}
        answer = intake.take({"project": str(root / "model"), "kind": "photo", "files": [row]})
        return answer["status"], answer["error"]

    status, error = take(Path("/proc/nowhere"))
    assert status == 500
    assert "cannot store" in error
    assert "full" not in error
    assert intake._not_stored(OSError(28, "No space left on device"))["status"] == 507
    assert intake._not_stored(OSError(36, "File name too long"))["status"] == 500


def test_malformed_forms(client: httpx.Client, video: Path) -> None:
    number = new_project(client)
    project = ("name=project_id", b"%d" % number)
    file = ('name="file"; filename="v.mp4"', video.read_bytes())
    url = "/files/upload/video"
    end = b"--b--\r\n"
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (b"{}", {"Content-Type": "application/json"}, 422),
        (b"", {}, 422),
        (form(project) + end, MULTIPART, 422),
        (form(file) + end, MULTIPART, 422),
        (form(("name=project_id", b"x"), file) + end, MULTIPART, 422),
        (form(("name=project_id", b"9" * 30), file) + end, MULTIPART, 422),
        (form(("name=project_id", b"1" * 20_000), file) + end, MULTIPART, 400),
        (form(project, file), MULTIPART, 400),
        (form(project, ("nothing", b"x")) + end, MULTIPART, 400),
        (form(project, file, file) + end, MULTIPART, 400),
        (form(("name=f", b"")) + end, MULTIPART, 422),
        (form(project, ("name=interval", b"1"), file) + end, MULTIPART, 422),
        (form(project, project, file) + end, MULTIPART, 422),
        (form(project, ('name="files"; filename="v.mp4"', b"x")) + end, MULTIPART, 422),
        (form(project, ("name=file", b"x")) + end, MULTIPART, 422),
        (form(project, file) + end + b"x" * 70_000, MULTIPART, 413),
        (b"--wrong\r\n\r\n", MULTIPART, 400),
        (form((f"name=x; y={'z' * 100_000}", b"")) + end, MULTIPART, 400),
    ]
    for body, headers, status in cases:
        answer = client.post(url, content=body, headers=headers)
        assert answer.status_code == status, (body[:200], answer.text)
        assert isinstance(answer.json()["detail"], str)
    # The order of the fields does not matter.
    assert client.post(url, content=form(file, project) + end, headers=MULTIPART).status_code == 200


def sent_until_refused(client: httpx.Client, pieces: Iterator[bytes]) -> tuple[int, int]:
    """Status of an upload, and how many bytes were sent of it."""
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for piece in pieces:
            sent += len(piece)
            yield piece

    try:
        status = client.post("/files/upload/video", content=body(), headers=MULTIPART).status_code
    except httpx.TransportError:
        status = 0  # the server has hung up while we were sending
    return status, sent


@pytest.mark.attack("B10: repeated fields and a large epilogue in a form", "refused at the limits")
def test_what_is_not_file_is_limited(
    client: httpx.Client, idle: Api, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = new_project(client)
    project = form(("name=project_id", b"%d" % number))
    whole = project + form(('name="file"; filename="v.mp4"', video.read_bytes())) + b"--b--\r\n"
    epilogue = itertools.chain([whole], itertools.repeat(b"x" * 65_536, 4800))
    status, sent = sent_until_refused(client, epilogue)
    assert status in (413, 0)
    assert sent < 60 << 20, "300 MB after the form were read"
    looked = 0
    genuine = files_routes.own_project

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal looked
        looked += 1
        return genuine(*arguments, **named)

    monkeypatch.setattr(files_routes, "own_project", counted)
    assert sent_until_refused(client, iter([project * 12_000]))[0] in (422, 0)
    assert looked <= 1
    assert leftovers(idle) == []
    assert client.get(f"/files/list/{number}").json() == []


def test_unknown_fields_are_refused(client: httpx.Client) -> None:
    number = plant(client, new_project(client))
    answer = client.post("/files/extract-frames", data={"project_id": number, "intervall": 0.5})
    assert answer.status_code == 422
    assert "intervall" in answer.json()["detail"]
    assert jobs_of(client, number) == []


def test_too_large(client: httpx.Client, idle: Api, video: Path) -> None:
    number = new_project(client)
    limit = idle.service.settings.max_upload_bytes
    data = video.read_bytes()
    exact = data + b"\0\0\0\x08free" * ((limit - len(data)) // 8)
    exact += b"\0" * (limit - len(exact))
    assert upload(client, number, exact).status_code == 200
    answer = upload(client, number, exact + b"\0")
    assert answer.status_code == 413
    assert answer.json()["detail"] == "The file is larger than 2 MB"
    assert leftovers(idle) == []
    assert client.post("/projects", json={"name": "x" * 2_000_000}).status_code == 413


def send_part(api: Api, token: str, body: bytes, claimed: int) -> socket.socket:
    host, port = api.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        "POST /api/v1/files/upload/video HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {claimed}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.attack("A form upload is cut off", "nothing is left")
def test_a_cut_off_upload_leaves_nothing(idle: Api, video: Path) -> None:
    _, token = idle.user()
    with idle.client(token) as client:
        number = new_project(client)
        body = form(("name=project_id", b"%d" % number), ('name="file"; filename="v.mp4"', b"\0" * 1_500_000))
        connection = send_part(idle, token, body, 2_000_000)
        wait_for(lambda: leftovers(idle))
        connection.close()
        wait_for(lambda: not leftovers(idle))
        assert client.get(f"/files/list/{number}").json() == []


def test_strangers_are_refused_before_the_body(idle: Api) -> None:
    connection = send_part(idle, "nonsense", b"", 400_000_000)
    with connection:
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    # A project that is named first, and is not the caller's, costs nobody the upload.
    _, token = idle.user()
    body = form(("name=project_id", b"999999"), ('name="file"; filename="v.mp4"', b""))
    connection = send_part(idle, token, body, 400_000_000)
    with connection:
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 404")


def test_uploads_at_once_are_whole(client: httpx.Client, video: Path) -> None:
    number = new_project(client)
    clips = [video.read_bytes() + b"\0\0\0\x09free%c" % i for i in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda item: upload(client, number, item[1], f"{item[0]}.mp4"), enumerate(clips))
        )
    assert [answer.status_code for answer in answers] == [200] * 4
    rows = client.get(f"/files/list/{number}").json()
    assert sorted(row["size"] for row in rows) == [len(clip) for clip in clips]
    assert len({row["path"] for row in rows}) == 4


def test_deleted_while_uploading(client: httpx.Client, idle: Api, video: Path) -> None:
    number = new_project(client)
    root = idle.root(number)

    def body() -> Iterator[bytes]:
        yield form(("name=project_id", b"%d" % number))
        time.sleep(0.2)
        assert client.delete(f"/projects/{number}").status_code == 200
        yield form(('name="file"; filename="v.mp4"', video.read_bytes())) + b"--b--\r\n"

    with idle.client() as other:
        other.headers = client.headers
        answer = other.post("/files/upload/video", content=body(), headers=MULTIPART)
    assert answer.status_code == 404
    assert not root.exists()


def test_extract_frames(client: httpx.Client, video: Path) -> None:
    number = new_project(client)
    assert client.post("/files/extract-frames", data={"project_id": number}).status_code == 400
    upload(client, number, video.read_bytes())
    for interval in ("0", "-1", "x", "nan", "inf"):
        data = {"project_id": number, "interval": interval}
        assert client.post("/files/extract-frames", data=data).status_code == 422
    answer = client.post("/files/extract-frames", data={"project_id": number, "interval": 0.5})
    assert answer.status_code == 200
    assert (answer.json()["project_id"], answer.json()["interval"]) == (number, 0.5)
    (job,) = jobs_of(client, number)
    assert (job["id"], job["job_type"]) == (answer.json()["job_id"], "frame_extraction")
    assert job["parameters"]["interval"] == 0.5
    assert client.get(f"/projects/{number}").json()["status"] == "draft"
    assert client.post("/files/extract-frames", data={"project_id": number}).status_code == 409
    # A later reconstruction keeps the interval.
    client.post(f"/jobs/{job['id']}/cancel")
    jobs = client.post(f"/projects/{number}/start-reconstruction").json()["jobs"]
    assert jobs[0]["parameters"] == {"quality": "medium", "interval": 0.5}


def test_disk_full(serve: object, video: Path) -> None:
    with serve(runners=0, min_free_mb=10**9) as api, api.client(api.user()[1]) as client:  # type: ignore[operator]
        answer = upload(client, new_project(client), video.read_bytes())
        assert answer.status_code == 507
        assert leftovers(api) == []
        assert httpx.get(f"{api.url}/ready").status_code == 503


def test_only_abandoned_uploads_are_removed(idle: Api) -> None:
    storage = idle.service.storage
    incoming = storage.settings.incoming_dir
    abandoned, foreign, unnamed = incoming / ("a" * 32), incoming / "backup of mine", incoming / ".new-1"
    for folder in (abandoned, foreign):
        folder.mkdir()
        (folder / "x").write_text("x")
    unnamed.mkdir()
    with storage.incoming() as mine:
        storage.remove_abandoned_uploads()
        assert mine.exists()
    assert not abandoned.exists()
    assert (foreign / "x").exists()
    assert unnamed.exists()  # it may be locked any moment now
    os.utime(unnamed, (0, 0))
    storage.remove_abandoned_uploads()
    assert not unnamed.exists()
    shutil.rmtree(foreign)


def test_sweeping_is_periodic(idle: Api) -> None:
    abandoned = idle.service.settings.incoming_dir / ("b" * 32)
    sweeper = Sweeper(idle.service.database, idle.service.storage, every=0.05)
    sweeper.start()
    abandoned.mkdir()
    wait_for(lambda: not abandoned.exists())
    sweeper.stop()
