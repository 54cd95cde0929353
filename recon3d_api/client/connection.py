"""Requests to the service: token, repetitions, errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from recon3d_api import schemas

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

Answer = TypeVar("Answer", bound=BaseModel)
Parsed = TypeVar("Parsed")

_LONGEST_PAUSE = 60.0


class ApiError(Exception):
    """The service's answer is an error.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        The service's message.
    request_id : str
        Identifies the request in the service's logs.
    """

    def __init__(self, status: int, detail: str, request_id: str = "") -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.request_id = request_id


class Connection:
    """A connection to one service, of which `Client` consists.

    Parameters
    ----------
    url : str
        Root of the service, as in ``http://localhost:8000``.
    token : str, optional
        An access token or an API key, if there is one already.
    timeout : float
        Seconds to wait for an answer.
    retries : int
        How often a request is repeated after 429, a lost connection or 503.
    """

    def __init__(
        self, url: str = "http://localhost:8000", token: str = "", *, timeout: float = 60.0, retries: int = 5
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._retries = retries
        self._login: tuple[str, str] | None = None
        self._http = httpx.Client(base_url=self.url, timeout=timeout)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def login(self, username: str, password: str) -> None:
        """Log in; the client renews the token when it expires.

        Parameters
        ----------
        username, password : str
        """
        form = {"username": username, "password": password}
        self.token = self._get(schemas.Token, "POST", "/auth/token", data=form).access_token
        self._login = (username, password)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _renew(self) -> bool:
        if self._login is None:
            return False
        self.login(*self._login)
        return True

    def _get(self, answer: type[Answer], method: str, path: str, **parts: Any) -> Answer:
        return parsed(answer, self._send(method, f"/api/v1{path}", parts))

    def _list(self, row: type[Answer], path: str, **parts: Any) -> list[Answer]:
        return parsed(list[row], self._send("GET", f"/api/v1{path}", parts))  # type: ignore[valid-type]

    def _send(
        self, method: str, url: str, parts: Mapping[str, Any], *, repeatable: bool = False
    ) -> httpx.Response:
        renewed = url.endswith(("/auth/token", "/auth/register"))
        attempt = -1
        while True:
            attempt += 1
            last = attempt >= self._retries
            try:
                rest = {key: value for key, value in parts.items() if key != "headers"}
                headers = self._headers() | parts.get("headers", {})
                answer = self._http.request(method, url, headers=headers, **rest)
            except httpx.TransportError as error:
                # A request that changes something may have arrived: it is not repeated.
                safe = repeatable or method == "GET" or isinstance(error, httpx.ConnectError)
                if last or not safe:
                    raise
                time.sleep(min(0.5 * 2**attempt, 10))
                continue
            if answer.status_code == 401 and not renewed:
                renewed = True
                if self._renew():
                    continue
            if last or answer.status_code not in (429, 503):
                return answer
            time.sleep(pause_of(answer, 1.0))


def pause_of(answer: httpx.Response, otherwise: float) -> float:
    """Read how long to wait before a request is repeated.

    Parameters
    ----------
    answer : httpx.Response
    otherwise : float
        Seconds, where the answer does not say.

    Returns
    -------
    float
        Seconds, a minute at most.
    """
    told = answer.headers.get("retry-after", "")
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            seconds = otherwise
    return min(max(seconds, 0.0), _LONGEST_PAUSE)


def parsed(kind: type[Parsed], answer: httpx.Response) -> Parsed:
    """Read an answer.

    Parameters
    ----------
    kind : type
    answer : httpx.Response

    Returns
    -------
    Parsed

    Raises
    ------
    ApiError
        It is an error, or of another version.
    """
    text = checked(answer).content
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ApiError(
            answer.status_code,
            f"{answer.url} gave an answer that this client does not understand; use the client of the"
            f" service's version: {error}",
            answer.headers.get("x-request-id", ""),
        ) from error


def checked(answer: httpx.Response) -> httpx.Response:
    """Raise what an answer says went wrong.

    Parameters
    ----------
    answer : httpx.Response

    Returns
    -------
    httpx.Response
        The same.

    Raises
    ------
    ApiError
    """
    if answer.is_error:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = answer.reason_phrase
        raise ApiError(answer.status_code, detail, answer.headers.get("x-request-id", ""))
    return answer
