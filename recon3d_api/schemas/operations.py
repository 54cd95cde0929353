"""Whether the service works, and what clients have to know of it."""

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


class About(BaseModel):
    """What a client has to know before anybody logs in."""

    version: str = Field(examples=["0.1.0"])
    registration: Literal["open", "invitation", "closed"] = Field(description="Who may register")
    mail: bool = Field(examples=[True], description="Whether passwords can be reset by mail")
    max_upload_bytes: int = Field(examples=[524288000], description="Of one file")
    video_formats: list[str] = Field(examples=[["MP4", "AVI", "MOV", "MKV"]])
    image_formats: list[str] = Field(examples=[["JPG", "JPEG", "PNG", "TIF", "TIFF"]])
