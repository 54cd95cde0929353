"""An upload through a network that cuts connections, to a server that is killed: real processes."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from recon3d_api.client import Client
from tests.api.conftest import photo
from tests.api.test_chaos import mostly_on, register, servers


class Network(threading.Thread):
    """Forwards connections to a server, and cuts them when enough has been sent."""

    def __init__(self, port: int, cut_at: list[int], on_cut: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._cut_at = cut_at
        self._on_cut = on_cut
        self._lock = threading.Lock()
        self.sent = 0
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    near.close()
                    continue
                for source, target in ((near, far), (far, near)):
                    arguments = (source, target, source is near)
                    threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
                if up and self._due(len(piece)):
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other direction's thread, too
        source.close()

    def _due(self, size: int) -> bool:
        with self._lock:
            self.sent += size
            if self.cuts == len(self._cut_at) or self.sent < self._cut_at[self.cuts]:
                return False
            self.cuts += 1
            self._on_cut(self.cuts)
            return True

    def close(self) -> None:
        self._listening.close()


@pytest.mark.slow
def test_cut_ten_times_and_the_server_killed_twice(
    new_database: Callable[[], str], tmp_path: Path, video: Path
) -> None:
    big = tmp_path / "big.mp4"
    big.write_bytes(video.read_bytes() + (12 << 20).to_bytes(4, "big") + b"free" + b"x" * ((12 << 20) - 8))
    size, data = big.stat().st_size, tmp_path / "data"
    data.mkdir()
    with servers(1, data, new_database(), runners=0) as (server,):

        def on_cut(number: int) -> None:
            if number in (3, 7):
                server.kill()
                server.start()

        network = Network(server.port, [size * (cut + 1) // 11 for cut in range(10)], on_cut)
        seen: list[int] = []
        with Client(network.url, retries=8) as client:
            register(client)
            number = client.create_project("Cut").id
            uploaded = client.upload_video(number, big, lambda done, total: seen.append(done))
            assert uploaded.file_path == "inputs/videos/big.mp4"
            assert network.cuts == 10
            # It went on where it was: what was sent again is what was on its way.
            assert network.sent < 2 * size
            assert (seen[-1], seen) == (size, sorted(seen))
            down = client.download(number, "video", tmp_path / "down.mp4")
        network.close()
        assert digest(down) == digest(big)
        (kept,) = (data / "projects").glob("*/model/inputs/videos/*")
        assert digest(kept) == digest(big)
        assert not list((data / "incoming").iterdir())


@mostly_on("sqlite")
def test_a_cut_at_70_percent_goes_on_at_70_percent(
    new_database: Callable[[], str], tmp_path: Path, video: Path
) -> None:
    big = tmp_path / "big.mp4"
    big.write_bytes(video.read_bytes() + (12 << 20).to_bytes(4, "big") + b"free" + b"x" * ((12 << 20) - 8))
    size, data = big.stat().st_size, tmp_path / "data"
    data.mkdir()
    with servers(1, data, new_database(), runners=0) as (server,):
        network = Network(server.port, [size * 7 // 10], lambda number: None)
        with Client(network.url) as client:
            register(client)
            number = client.create_project("Cut").id
            client.upload_video(number, big)
            names = []
            for index in range(3):
                names.append(tmp_path / f"{index}.jpg")
                names[-1].write_bytes(photo(index))
            assert len(client.upload_images(number, names).files) == 3
        network.close()
        assert network.cuts == 1
        assert network.sent < 1.2 * size


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
