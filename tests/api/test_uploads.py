"""Uploads that resume: the tus protocol, what attackers send, and what becomes of the file."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tusclient import client as tus_client

from recon3d_api.files.resumable import Busy, Upload, Uploads
from recon3d_api.http import receiving
from recon3d_api.http.routes import files as file_routes
from tests.api.conftest import Api, new_project, photo, plant, started, wait_for

Serve = Callable[..., contextlib.AbstractContextManager[Api]]
TUS = {"Tus-Resumable": "1.0.0"}
BODY = {**TUS, "Content-Type": "application/offset+octet-stream"}


def metadata(**values: object) -> str:
    return ",".join(
        f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in values.items()
    )


def begin(client: httpx.Client, number: int, length: int, name: str = "clip.mp4", **more: object) -> str:
    """Create an upload, and give its address."""
    told = metadata(filename=name, project_id=number, **more)
    answer = client.post(
        "/files/uploads", headers={**TUS, "Upload-Length": f"{length}", "Upload-Metadata": told}
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    return str(httpx.URL(f"{client.base_url}").join(answer.headers["location"]))


def send(client: httpx.Client, url: str, data: bytes, offset: int, **headers: str) -> httpx.Response:
    return client.patch(url, content=data, headers={**BODY, "Upload-Offset": f"{offset}", **headers})


def offset(client: httpx.Client, url: str) -> int:
    answer = client.head(url, headers=TUS)
    assert answer.status_code == 200, answer.status_code
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def on_disk(api: Api, url: str) -> Path:
    (found,) = api.service.settings.uploads_dir.glob(f"*/{url.rpartition('/')[2]}")
    return found


def test_a_video_in_pieces(client: httpx.Client, idle: Api, video: Path) -> None:
    number = new_project(client)
    data = video.read_bytes()
    url = begin(client, number, len(data), "../../../etc/My clip.MP4")
    head = client.head(url, headers=TUS)
    assert head.headers["upload-length"] == str(len(data))
    assert head.headers["upload-metadata"] == metadata(filename="My clip.MP4", project_id=number)
    assert "GMT" in head.headers["upload-expires"]
    cut = len(data) // 3
    for start in (0, cut, 2 * cut):
        assert offset(client, url) == start
        assert client.get(f"/files/list/{number}").json() == []
        piece = data[start : start + cut] if start < 2 * cut else data[start:]
        answer = send(client, url, piece, start)
        assert answer.status_code == 204, answer.text
        assert answer.headers["upload-offset"] == str(start + len(piece))
        assert "upload-expires" in answer.headers
    assert offset(client, url) == len(data)
    (row,) = client.get(f"/files/list/{number}").json()
    assert (row["path"], row["size"]) == ("inputs/videos/My_clip.mp4", len(data))
    assert client.get(f"/files/download/{number}/video").content == data
    shown = client.get(url).json()
    assert (shown["status"], shown["file_path"], shown["offset"]) == ("stored", row["path"], len(data))
    assert [path.name for path in on_disk(idle, url).iterdir()] == ["upload.json"]
    # Whoever lost the last answer may ask again.
    assert send(client, url, b"", len(data)).status_code == 204
    assert client.delete(url, headers=TUS).status_code == 204
    assert client.head(url, headers=TUS).status_code == 404
    assert client.get(f"/files/download/{number}/video").content == data
    assert not list(idle.service.settings.incoming_dir.iterdir())


def test_options_tell_what_the_server_speaks(client: httpx.Client, idle: Api) -> None:
    told = client.options("/files/uploads")
    assert told.status_code == 204
    assert told.headers["tus-version"] == "1.0.0"
    assert set(told.headers["tus-extension"].split(",")) == {
        "creation",
        "expiration",
        "termination",
        "checksum",
    }
    assert told.headers["tus-max-size"] == str(2 << 20)
    assert "sha1" in told.headers["tus-checksum-algorithm"].split(",")


def test_what_is_refused_at_the_beginning(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number, theirs = new_project(client), new_project(stranger)
    before = len(list(idle.service.settings.uploads_dir.glob("*/*")))
    good = {**TUS, "Upload-Length": "10", "Upload-Metadata": metadata(filename="a.mp4", project_id=number)}
    cases: list[tuple[dict[str, str | None], int, str]] = [
        ({"Tus-Resumable": None}, 412, "1.0.0"),
        ({"Tus-Resumable": "0.2.2"}, 412, "1.0.0"),
        ({"Upload-Length": None}, 400, "Upload-Length is missing"),
        ({"Upload-Length": None, "Upload-Defer-Length": "1"}, 400, "the length must be known"),
        ({"Upload-Length": "-1"}, 422, "upload-length"),
        ({"Upload-Length": "x"}, 422, "upload-length"),
        ({"Upload-Length": "0"}, 400, "a.mp4 is empty"),
        ({"Upload-Length": str((2 << 20) + 1)}, 413, "larger than 2 MB"),
        ({"Upload-Metadata": ""}, 400, "name is empty"),
        ({"Upload-Metadata": "filename"}, 400, "name is empty"),
        ({"Upload-Metadata": "filename %%%"}, 400, "filename is not UTF-8 in base64"),
        ({"Upload-Metadata": "filename gIA="}, 400, "filename is not UTF-8 in base64"),
        ({"Upload-Metadata": metadata(filename="a.mp4") + "," + metadata(filename="b.mp4")}, 400, "twice"),
        ({"Upload-Metadata": metadata(filename="a.exe", project_id=number)}, 400, "is not supported"),
        (
            {"Upload-Metadata": metadata(filename="a.HEIC", project_id=number)},
            400,
            ". Save it as JPEG; iPhones",
        ),
        ({"Upload-Metadata": metadata(filename="a\nb.mp4", project_id=number)}, 400, "control"),
        ({"Upload-Metadata": metadata(filename="a.mp4")}, 400, "project_id"),
        ({"Upload-Metadata": metadata(filename="a.mp4", project_id="x")}, 400, "project_id"),
        ({"Upload-Metadata": metadata(filename="a.mp4", project_id=theirs)}, 404, "Project not found"),
        ({"Upload-Metadata": metadata(filename="a.mp4", project_id=number, x="y" * 9000)}, 400, "too long"),
    ]
    for changed, status, words in cases:
        headers = {key: value for key, value in {**good, **changed}.items() if value is not None}
        answer = client.post("/files/uploads", headers=headers)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), (
            changed,
            answer.text,
        )
    assert len(list(idle.service.settings.uploads_dir.glob("*/*"))) == before
    assert httpx.post(f"{idle.url}/api/v1/files/uploads", headers=good).status_code == 401


@pytest.mark.attack("tus requests with wrong lengths, offsets and types", "refused, bytes unchanged")
def test_what_is_refused_of_the_bytes(client: httpx.Client, stranger: httpx.Client, video: Path) -> None:
    number = new_project(client)
    data = video.read_bytes()
    url = begin(client, number, len(data))
    assert send(client, url, data[:1000], 0).status_code == 204
    wrong = send(client, url, data, 0)
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "1000")
    assert send(client, url, data[1000:], 1001).status_code == 409
    assert client.patch(url, content=b"x", headers=BODY).status_code == 400
    assert client.patch(url, content=b"x", headers={**TUS, "Upload-Offset": "1000"}).status_code == 415
    no_version = {"Content-Type": BODY["Content-Type"], "Upload-Offset": "1000"}
    assert client.patch(url, content=b"x", headers=no_version).status_code == 412
    too_much = send(client, url, data, 1000)
    assert (too_much.status_code, "More bytes" in too_much.json()["detail"]) == (400, True)

    def chunks() -> Iterator[bytes]:  # without a length
        yield data[1000:]
        yield b"x"

    headers = {**BODY, "Upload-Offset": "1000"}
    assert client.patch(url, content=chunks(), headers=headers).status_code == 400
    assert client.get(f"/files/list/{number}").json() == []
    for other in (stranger,):
        assert other.head(url, headers=TUS).status_code == 404
        assert send(other, url, b"", 1000).status_code == 404
        assert other.delete(url, headers=TUS).status_code == 404
        assert other.get(url).status_code == 404
        assert other.get("/files/uploads").json() == []
    for odd in ("0" * 32, "..%2F..%2Fsecret.key", "x"):
        answer = client.head(f"/files/uploads/{odd}", headers=TUS)
        assert answer.status_code in (404, 422), odd
    # What has come is still there.
    have = offset(client, url)
    assert send(client, url, data[have:], have).status_code == 204
    assert client.get(f"/files/download/{number}/video").content == data


def test_check_sums(client: httpx.Client, idle: Api, video: Path) -> None:
    number = new_project(client)
    data = video.read_bytes()
    url = begin(client, number, len(data))

    def digest(piece: bytes, kind: str = "sha1") -> str:
        return f"{kind} {base64.b64encode(hashlib.new(kind, piece).digest()).decode()}"

    half = len(data) // 2
    assert send(client, url, data[:half], 0, **{"Upload-Checksum": digest(data[:half])}).status_code == 204
    bad = send(client, url, b"x" * (len(data) - half), half, **{"Upload-Checksum": digest(data[half:])})
    assert bad.status_code == 460
    assert offset(client, url) == half
    for odd in ("md5 AAAA", "sha1", "sha1 %%", ""):
        assert send(client, url, data[half:], half, **{"Upload-Checksum": odd}).status_code in (400, 460), odd
    assert offset(client, url) == half
    # A server that is killed while unverified bytes come does not keep them.
    folder = on_disk(idle, url)
    (folder / "unverified").write_text(f"{half}")
    with open(folder / "data", "ab") as file:
        file.write(b"garbage")
    assert offset(client, url) == half
    rest = digest(data[half:], "sha256")
    assert send(client, url, data[half:], half, **{"Upload-Checksum": rest}).status_code == 204
    assert client.get(f"/files/download/{number}/video").content == data


def raw_patch(api: Api, token: str, url: str, start: int, claimed: int, data: bytes) -> socket.socket:
    """A PATCH that stays open until its socket is closed."""
    host, port = api.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        f"PATCH {httpx.URL(url).path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {start}\r\nContent-Length: {claimed}\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def test_a_cut_connection_goes_on_where_it_was(idle: Api, video: Path) -> None:
    _, token = idle.user()
    data = video.read_bytes()
    with idle.client(token) as client:
        number = new_project(client)
        url = begin(client, number, len(data))
        cut = len(data) * 7 // 10
        with raw_patch(idle, token, url, 0, len(data), data[:cut]):
            time.sleep(0.5)  # what a server has not read yet is lost with the connection
        assert wait_for(lambda: offset(client, url) == cut)
        assert send(client, url, data[cut:], cut).status_code == 204
        assert client.get(f"/files/download/{number}/video").content == data


@pytest.mark.attack("Two requests write to one tus upload", "one wins, the file is whole")
def test_of_two_that_send_at_once_one_wins(idle: Api, video: Path) -> None:
    _, token = idle.user()
    data = video.read_bytes()
    with idle.client(token) as client:
        number = new_project(client)
        url = begin(client, number, len(data))
        with raw_patch(idle, token, url, 0, len(data), data[:5000]) as first:
            time.sleep(0.5)
            second = send(client, url, data, 0)
            assert second.status_code == 423
            assert second.headers["retry-after"] == "1"
            assert client.delete(url, headers=TUS).status_code == 423
            first.sendall(data[5000:])
            first.settimeout(30)
            assert first.recv(100).startswith(b"HTTP/1.1 204")
        assert client.get(f"/files/download/{number}/video").content == data

        # Ten at once: the file is one of them, whole.
        url = begin(client, number, len(data))
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            codes = [
                f.result().status_code for f in [pool.submit(send, client, url, data, 0) for _ in range(10)]
            ]
        assert codes.count(204) == 1
        assert set(codes) <= {204, 409, 423}


def test_nobody_writes_to_an_upload_that_is_removed(
    client: httpx.Client, idle: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = begin(client, new_project(client), 10)
    (upload,) = (row for row in idle.service.uploads.all() if row.id == url.rpartition("/")[2])
    remove, seen = shutil.rmtree, []

    def removing(path: Path, **more: Any) -> None:
        with pytest.raises((Busy, FileNotFoundError)), idle.service.uploads.held(upload):
            seen.append("another request writes to it")
        remove(path, **more)

    monkeypatch.setattr("recon3d_api.files.resumable.shutil.rmtree", removing)
    assert client.delete(url, headers=TUS).status_code == 204
    assert seen == []
    assert client.head(url, headers=TUS).status_code == 404


def test_no_upload_begins_for_a_project_that_is_deleted_meanwhile(
    client: httpx.Client, idle: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would count as unfinished for a day."""
    number, create = new_project(client), idle.service.uploads.create

    def late(upload: Upload) -> None:
        with idle.client() as other:
            other.headers = client.headers
            assert other.delete(f"/projects/{number}").status_code == 200
        create(upload)

    monkeypatch.setattr(idle.service.uploads, "create", late)
    told = {"Upload-Length": "10", "Upload-Metadata": metadata(filename="a.mp4", project_id=number)}
    assert client.post("/files/uploads", headers={**TUS, **told}).status_code == 404
    assert client.get("/files/uploads").json() == []


def test_a_silent_connection_gives_way(idle: Api, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_SILENT", 0.2)
    _, token = idle.user()
    data = video.read_bytes()
    with idle.client(token) as client:
        number = new_project(client)
        url = begin(client, number, len(data))
        with raw_patch(idle, token, url, 0, len(data), data[:5000]) as silent:

            def goes_on() -> bool:
                have = offset(client, url)
                return send(client, url, data[have:], have).status_code == 204

            assert wait_for(goes_on)
            silent.settimeout(30)
            assert silent.recv(100).startswith(b"HTTP/1.1 423")
        assert client.get(f"/files/download/{number}/video").content == data


def test_silence_has_one_limit_for_all_uploads(
    serve: Callable[..., contextlib.AbstractContextManager[Api]],
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "_SILENT", 0.2)
    data = video.read_bytes()
    with serve(runners=0, body_seconds=1.0) as api, api.client(token := api.user()[1]) as client:
        url = begin(client, new_project(client), len(data))
        began = time.monotonic()
        with raw_patch(api, token, url, 0, len(data), data[:5000]) as silent:
            silent.settimeout(10)
            assert silent.recv(100).startswith(b"HTTP/1.1 408")
        assert 0.8 < time.monotonic() - began < 6
        assert offset(client, url) == 5000  # what has come is kept


@pytest.mark.parametrize(
    ("name", "data"), [("text.mp4", b"hello " * 100), ("cut.jpg", photo()[:3000]), ("photo.mp4", photo())]
)
def test_a_bad_file_is_refused_when_it_is_whole(
    client: httpx.Client, idle: Api, name: str, data: bytes
) -> None:
    number = new_project(client)
    url = begin(client, number, len(data), name)
    answer = send(client, url, data, 0)
    assert (answer.status_code, name in answer.json()["detail"]) == (400, True)
    assert client.get(f"/files/list/{number}").json() == []
    assert client.head(url, headers=TUS).status_code == 410
    again = send(client, url, b"", len(data))
    assert (again.status_code, again.json()["detail"]) == (410, answer.json()["detail"])
    assert client.get(url).json()["status"] == "refused"
    assert [path.name for path in on_disk(idle, url).iterdir()] == ["upload.json"]


def test_photos_are_taken_together_or_not_at_all(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    photos = {f"{i}.jpg": photo(i) for i in range(3)} | {"bad.jpg": photo(9)[:2500]}
    urls = {}
    for name, data in photos.items():
        urls[name] = begin(client, number, len(data), name, hold=1)
        assert send(client, urls[name], data, 0).status_code == 204
    ids = {name: url.rpartition("/")[2] for name, url in urls.items()}
    assert client.get(f"/files/list/{number}").json() == []
    every = client.post("/files/take-uploads", json={"uploads": list(ids.values())})
    assert (every.status_code, "bad.jpg" in every.json()["detail"]) == (400, True)
    assert client.get(f"/files/list/{number}").json() == []
    good = [ids[f"{i}.jpg"] for i in range(3)]
    for _ in range(2):  # a lost answer may be asked for again
        taken = client.post("/files/take-uploads", json={"uploads": good})
        assert taken.status_code == 200, taken.text
        assert [row["file_path"] for row in taken.json()["files"]] == [
            f"inputs/photos/{i}.jpg" for i in range(3)
        ]
    assert len(client.get(f"/files/list/{number}").json()) == 3
    part = begin(client, number, 100, "part.jpg", hold=1).rpartition("/")[2]
    not_whole = client.post("/files/take-uploads", json={"uploads": [part]})
    assert (not_whole.status_code, not_whole.json()["detail"]) == (400, "part.jpg is not complete")
    other = begin(client, new_project(client), 100, "other.jpg").rpartition("/")[2]
    assert client.post("/files/take-uploads", json={"uploads": [part, other]}).status_code == 400
    assert client.post("/files/take-uploads", json={"uploads": ["0" * 32]}).status_code == 404
    assert len(client.get("/files/uploads").json()) == 6


def test_a_file_that_is_whole_during_a_run_is_taken_after_it(
    serve: Serve, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_FINISH_EVERY", 0.1)
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        number = plant(client, new_project(client))
        data = video.read_bytes() + b"\0\0\0\x08free"
        url = begin(client, number, len(data), "late.mp4")
        assert send(client, url, data[:-1], 0).status_code == 204
        started(client, number)
        answer = send(client, url, data[-1:], len(data) - 1)
        assert (answer.status_code, "run of this project" in answer.json()["detail"]) == (409, True)
        time.sleep(0.5)
        assert client.get(url).json()["status"] == "receiving"
        assert (
            client.post(
                "/files/uploads",
                headers={
                    **TUS,
                    "Upload-Length": "9",
                    "Upload-Metadata": metadata(filename="a.mp4", project_id=number),
                },
            ).status_code
            == 409
        )
        (job, *_) = client.get(f"/jobs/project/{number}/status").json()["jobs"]
        client.post(f"/jobs/{job['id']}/cancel")
        assert wait_for(lambda: client.get(url).json()["status"] == "stored")
        assert "inputs/videos/late.mp4" in [row["path"] for row in client.get(f"/files/list/{number}").json()]


def test_abandoned_uploads_end_after_a_day(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    old, kept = begin(client, number, 100), begin(client, number, 100)
    send(client, old, b"x" * 10, 0)
    uploads, day = idle.service.uploads, 24 * 3600
    folder = on_disk(idle, old)
    for path in folder.iterdir():
        os.utime(path, (time.time() - day + 60,) * 2)
    record = (folder / "upload.json").read_text()
    created = uploads.of_owner(int(folder.parent.name))[0].created
    (folder / "upload.json").write_text(record.replace(f"{created}", "1.0"))
    os.utime(folder / "upload.json", (time.time() - day + 60,) * 2)
    uploads.sweep()
    assert offset(client, old) == 10
    # Another byte, another day.
    assert send(client, old, b"y", 10).status_code == 204
    os.utime(folder / "upload.json", (0, 0))
    os.utime(folder / "data", (time.time() - day - 60,) * 2)
    assert client.head(old, headers=TUS).status_code == 404
    foreign = folder.parent / "backup of mine"
    foreign.mkdir()
    uploads.sweep()
    assert not folder.exists()
    assert foreign.exists()
    assert offset(client, kept) == 0


def test_a_deleted_project_takes_its_uploads_along(client: httpx.Client, idle: Api) -> None:
    number, other = new_project(client), new_project(client)
    url, kept = begin(client, number, 100), begin(client, other, 100)
    folder = on_disk(idle, url)
    assert client.delete(f"/projects/{number}").status_code == 200
    assert not folder.exists()
    assert offset(client, kept) == 0


def test_deleted_while_uploading(idle: Api, video: Path) -> None:
    _, token = idle.user()
    data = video.read_bytes()
    with idle.client(token) as client:
        number = new_project(client)
        root = idle.root(number)
        url = begin(client, number, len(data))
        folder = on_disk(idle, url)
        with raw_patch(idle, token, url, 0, len(data), data[:5000]) as sending:
            time.sleep(0.5)
            assert client.delete(url, headers=TUS).status_code == 423
            assert client.delete(f"/projects/{number}").status_code == 200
            sending.sendall(data[5000:])
            sending.settimeout(30)
            assert sending.recv(100).startswith(b"HTTP/1.1 404")
        assert not root.exists()
        assert not (folder / "data").exists()


def test_limits(serve: Serve, video: Path) -> None:
    with serve(runners=0, max_resumable_uploads=2) as api, api.client(api.user()[1]) as client:
        number = new_project(client)
        first = begin(client, number, 100)
        begin(client, number, 200)
        user = int(on_disk(api, first).parent.name)
        assert api.service.uploads.announced(user) == 300
        told = {**TUS, "Upload-Length": "9", "Upload-Metadata": metadata(filename="a.mp4", project_id=number)}
        assert "too many" in client.post("/files/uploads", headers=told).json()["detail"]
        client.delete(first, headers=TUS)
        assert client.post("/files/uploads", headers=told).status_code == 201
    with serve(runners=0, min_free_mb=10**9) as api, api.client(api.user()[1]) as client:
        told["Upload-Metadata"] = metadata(filename="a.mp4", project_id=new_project(client))
        assert client.post("/files/uploads", headers=told).status_code == 507


def test_a_full_disk_keeps_what_has_come(serve: Serve, tmp_path: Path, video: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    data = video.read_bytes() + b"\0\0\0\x08free" * (1 << 20)
    try:
        with serve(runners=0, data_dir=tmp_path) as api, api.client(api.user()[1]) as client:
            number = new_project(client)
            url = begin(client, number, len(data))
            assert send(client, url, data[: 2 << 20], 0).status_code == 204
            with open(tmp_path / "filling", "wb") as filling, contextlib.suppress(OSError):
                while True:
                    filling.write(b"x" * 65536)
            full = send(client, url, data[2 << 20 :], 2 << 20)
            assert (full.status_code, "disk is full" in full.json()["detail"]) == (507, True)
            (tmp_path / "filling").unlink()
            have = offset(client, url)
            assert have >= 2 << 20
            assert send(client, url, data[have:], have).status_code == 204
            assert client.get(f"/files/download/{number}/video").content == data
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_the_method_may_be_in_a_header(client: httpx.Client, video: Path) -> None:
    number = new_project(client)
    data = video.read_bytes()
    url = begin(client, number, len(data))
    head = {**BODY, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.post(url, content=data, headers=head).status_code == 204
    assert client.get(f"/files/download/{number}/video").content == data
    assert client.post(url, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert client.post(url, headers=TUS).status_code == 422
    assert client.post(url, headers={**TUS, "X-HTTP-Method-Override": "PUT"}).status_code == 422
    assert client.post(url, headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 412


def test_a_client_that_we_did_not_write(idle: Api, video: Path, tmp_path: Path) -> None:
    """tuspy, of the protocol's authors, in small pieces and with check sums; then it resumes."""
    _, token = idle.user()
    with idle.client(token) as client:
        number = new_project(client)
        theirs = tus_client.TusClient(
            f"{idle.url}/api/v1/files/uploads", {"Authorization": f"Bearer {token}"}
        )
        told: dict[str, Any] = {"filename": "theirs.mp4", "project_id": str(number)}
        data = video.read_bytes()
        file = io.BytesIO(data)
        size = len(data) // 5
        uploader = theirs.uploader(file_stream=file, chunk_size=size, metadata=told, upload_checksum=True)
        uploader.upload_chunk()
        uploader.upload_chunk()
        assert offset(client, uploader.url) == 2 * size
        again = theirs.uploader(file_stream=file, url=uploader.url, chunk_size=size, metadata=told)
        assert again.offset == uploader.offset
        again.upload()
        assert client.get(f"/files/download/{number}/video").content == data
        assert client.get(uploader.url).json()["file_path"] == "inputs/videos/theirs.mp4"


def test_folders_of_interrupted_beginnings_are_removed(idle: Api) -> None:
    uploads = Uploads(idle.service.storage)
    owner = idle.service.settings.uploads_dir / "999"
    new = owner / ".new-1"
    new.mkdir(parents=True)
    (new / "data").touch()
    uploads.sweep()
    assert new.exists()
    os.utime(new, (0, 0))
    uploads.sweep()
    assert not new.exists()
    owner.rmdir()


def test_several_photos_of_one_form_wait_to_be_taken_together(
    serve: Callable[..., contextlib.AbstractContextManager[Api]],
) -> None:
    with serve(runners=0, max_resumable_uploads=4) as api, api.client(api.user()[1]) as client:
        number = new_project(client)

        def hold(*contents: bytes, name: str = "a.jpg") -> httpx.Response:
            files = [("files", (name, content, "image/jpeg")) for content in contents]
            return client.post("/files/upload/held-images", data={"project_id": str(number)}, files=files)

        answer = hold(photo(1), photo(2))
        assert answer.status_code == 201, answer.text
        good = [row["id"] for row in answer.json()]
        assert [(row["hold"], row["status"], row["offset"]) for row in answer.json()] == [
            (True, "receiving", len(photo(seed))) for seed in (1, 2)
        ]
        assert client.get(f"/files/list/{number}").json() == []
        (bad,) = [row["id"] for row in hold(b"no photo").json()]
        refused = client.post("/files/take-uploads", json={"uploads": [*good, bad]})
        assert (refused.status_code, client.get(f"/files/list/{number}").json()) == (400, [])
        many = hold(photo(3), photo(4))  # all or none
        assert (many.status_code, "too many" in many.json()["detail"]) == (400, True)
        assert len(client.get("/files/uploads").json()) == 3
        assert hold(photo(3), name="a.mp4").status_code == 400
        taken = client.post("/files/take-uploads", json={"uploads": good}).json()
        assert len(taken["files"]) == 2
        again = client.post("/files/take-uploads", json={"uploads": good})  # the answer was lost
        assert again.json() == taken
        with api.client(api.user()[1]) as stranger:
            assert stranger.post("/files/end-uploads", json={"uploads": good}).status_code == 204
        assert len(client.get("/files/uploads").json()) == 3
        for _ in range(2):
            assert client.post("/files/end-uploads", json={"uploads": [*good, bad]}).status_code == 204
        assert client.get("/files/uploads").json() == []
        assert len(client.get(f"/files/list/{number}").json()) == 2


def test_held_photos_of_a_project_that_is_deleted_meanwhile_leave_nothing(
    idle: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, hold = new_project(client), file_routes._hold
    token = client.headers["Authorization"].removeprefix("Bearer ")

    def late(*given: Any) -> None:
        with idle.client(token) as other:
            assert other.delete(f"/projects/{number}").status_code == 200
        hold(*given)

    monkeypatch.setattr(file_routes, "_hold", late)
    data = {"project_id": str(number)}
    answer = client.post("/files/upload/held-images", data=data, files=[("files", ("a.jpg", photo()))])
    assert (answer.status_code, answer.json()) == (404, {"detail": "Project not found"})
    assert client.get("/files/uploads").json() == []


def test_an_empty_photo_is_not_held(client: httpx.Client) -> None:
    files = [("files", ("a.jpg", photo())), ("files", ("b.jpg", b""))]
    data = {"project_id": str(new_project(client))}
    answer = client.post("/files/upload/held-images", data=data, files=files)
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "b.jpg is empty; copy the file again, or leave it out"},
    )
    assert client.get("/files/uploads").json() == []
