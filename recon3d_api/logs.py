"""Structured logs: a JSON object a line, with the request's id where there is one."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any


@dataclass
class Caller:
    """Who makes the present request; threads that work on it fill in what they find out.

    Attributes
    ----------
    address : str
    user_id : int or None
        Known when the token was checked.
    """

    address: str
    user_id: int | None = None


caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("recon3d_caller", default=None)
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("recon3d_request_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """Message, level, logger, time, and whatever was passed as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line of JSON.

        Parameters
        ----------
        record : logging.LogRecord

        Returns
        -------
        str
        """
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            entry["request_id"] = request_id.get()
        entry.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class _WithoutQueries(logging.Filter):
    """Removes queries from addresses: tickets and other secrets do not belong into logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; none is dropped."""
        record.msg, record.args = _QUERY.sub("?[redacted]", record.getMessage()), None
        return True


_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"']+")
_without_queries = _WithoutQueries()


_SHARE = re.compile(r"(/shared?/)[^/]+")


def without_token(path: str) -> str:
    """Remove the token of a shared model from a path.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
    """
    return _SHARE.sub(r"\1[redacted]", path)


def redact_queries() -> None:
    """Let uvicorn log addresses without their queries, however it is started."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(_without_queries)


def configure(level: str, style: str) -> None:
    """Send the service's and uvicorn's logs to stderr; only the command line calls this.

    Parameters
    ----------
    level : str
        Such as "INFO".
    style : str
        "text" or "json".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    for name in ("recon3d_api", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    # The middleware writes one line for each request, with its id and duration.
    logging.getLogger("uvicorn.access").disabled = True
