"""A real S3 server, moto's, in a thread of this process; it can be told to fail."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Fault = Literal["500", "slow", "cut", "cut in the middle"]
_NUMBER = itertools.count()


@dataclass
class S3Server:
    """A server, and what it does with the requests that come next.

    Attributes
    ----------
    url : str
        Of a bucket of its own.
    environment : dict of str to str
        With which s3fs finds the server.
    faults : list of Fault
        One for each of the next requests; a fault that is ``always`` is for all.
    requests : list of str
        Methods of the requests that were answered.
    writes : int, optional
        How many more writes are answered; the next ones are held while it is zero, and cut then.
    """

    url: str
    environment: dict[str, str]
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    slowness: float = 1.0
    requests: list[str] = field(default_factory=list)
    writes: int | None = None
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def wrapped(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            fault = self.always or (self.faults.pop(0) if self.faults else None)
            if fault == "500":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("500 Internal Server Error", [("Content-Type", "application/xml")])
                return [b"<Error><Code>InternalError</Code><Message>We failed.</Message></Error>"]
            if fault == "slow":
                time.sleep(self.slowness)
            if environ["REQUEST_METHOD"] == "PUT" and self._is_held():
                fault = "cut"
            if fault == "cut":
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                return []
            self.requests.append(environ["REQUEST_METHOD"])
            body = app(environ, start)
            return _half(body, environ["werkzeug.socket"]) if fault == "cut in the middle" else body

        return answer

    def _is_held(self) -> bool:
        with self._counting:
            if self.writes is None:
                return False
            if self.writes > 0:
                self.writes -= 1
                return False
        while self.writes == 0:
            time.sleep(0.01)
        return True


def _half(body: Iterable[bytes], connection: socket.socket) -> Iterator[bytes]:
    whole = b"".join(body)
    yield whole[: len(whole) // 2]
    connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Serve at an address of this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    bucket = f"bucket-{next(_NUMBER)}"
    made = S3Server(f"s3://{bucket}/projects", {})
    server = make_server(
        host, 0, made.wrapped(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.environment |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{server.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with bucket_of(made) as opened:
            opened.create()
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def bucket_of(server: S3Server) -> Iterator[Any]:
    """A server's bucket, as boto3 has it."""
    resource = boto3.resource(
        "s3",
        endpoint_url=server.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    try:
        yield resource.Bucket(server.url.removeprefix("s3://").partition("/")[0])
    finally:
        resource.meta.client.close()
