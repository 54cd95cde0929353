"""Routes that do all that blocks in one thread, and write their answers once.

FastAPI takes a thread for each dependency that blocks, one for the endpoint, and one to validate the
answer, which the endpoint has built from validated values. Most of a small request's time is spent so.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast, get_type_hints

from anyio import to_thread
from fastapi import Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

_T = TypeVar("_T")
_JSON = "application/json"


class Later(Generic[_T]):
    """A dependency's value, which the endpoint's thread finds before the endpoint begins."""

    def __init__(self, find: Callable[[], _T]) -> None:
        self._find: Callable[[], _T] | None = find
        self._value: _T | None = None

    def now(self) -> _T:
        """Find the value; raises what finding it raises.

        Returns
        -------
        Any
        """
        if self._find is not None:
            self._value = self._find()
            self._find = None
        return cast(_T, self._value)

    def __getattr__(self, name: str) -> Any:
        # Another dependency may look at it earlier.
        return getattr(self.now(), name)


#: What the thread of the present request's endpoint has to find; None where the endpoint has none.
_later: ContextVar[list[Later[Any]] | None] = ContextVar("recon3d_later", default=None)


async def in_thread(work: Callable[..., _T], *arguments: Any) -> _T:
    """Do a dependency's blocking work in a thread: in the endpoint's where it has one.

    Parameters
    ----------
    work : callable
        What it raises is raised before the endpoint begins.
    *arguments
        For `work`.

    Returns
    -------
    Any
        What `work` returns, or will have returned when the endpoint begins.
    """
    later = _later.get()
    if later is None:
        return await to_thread.run_sync(work, *arguments)
    found = Later(functools.partial(work, *arguments))
    later.append(found)
    return cast(_T, found)


class Route(APIRoute):
    """A route whose endpoint, if it is no coroutine, runs with its dependencies in one thread."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint) and not hasattr(endpoint, "in_one_thread"):
            endpoint = _in_one_thread(endpoint, options.get("response_model"), options.get("status_code"))
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Let dependencies leave work to the endpoint's thread.

        Returns
        -------
        callable
        """
        handler = super().get_route_handler()
        if not hasattr(self.endpoint, "in_one_thread"):
            return handler

        async def handle(request: Request) -> Response:
            mark = _later.set([])
            try:
                return await handler(request)
            finally:
                _later.reset(mark)

        return handle


def _in_one_thread(endpoint: Callable[..., Any], model: Any, status: int | None) -> Callable[..., Any]:
    if model is None or isinstance(model, DefaultPlaceholder):
        model = get_type_hints(endpoint).get("return")

    @functools.cache
    def adapter() -> TypeAdapter[Any]:
        return TypeAdapter(model)

    @functools.wraps(endpoint)
    def run(**values: Any) -> Response:
        for later in _later.get() or ():
            later.now()
        found = {name: value.now() if isinstance(value, Later) else value for name, value in values.items()}
        answer = endpoint(**found)
        if isinstance(answer, Response):
            return answer
        made = Response(
            adapter().dump_json(answer, by_alias=True, warnings="error"), status or 200, None, _JSON
        )
        for value in values.values():
            if isinstance(value, Response):  # for the headers that the endpoint adds
                made.raw_headers.extend(value.raw_headers)
        return made

    run.in_one_thread = True  # type: ignore[attr-defined]
    return run
