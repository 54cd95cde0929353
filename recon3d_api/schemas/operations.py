"""Whether the service works."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    BaseModel,
    Field,
)


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str = Field(examples=["0.1.0"])


class Ready(BaseModel):
    """Whether the service can do its work."""

    status: Literal["ready", "not ready"]
    detail: str = Field(examples=["ready"])
    checks: dict[str, str] = Field(examples=[{"database": "ok", "disk": "ok", "runner": "ok"}])
