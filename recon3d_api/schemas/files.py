"""Files and uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from recon3d_api.schemas.common import (
    EXAMPLE_TIME,
    FileKind,
)


class VideoUploaded(BaseModel):
    """A video that was stored; `file_path` is relative to the project."""

    message: str = Field("Video uploaded successfully", examples=["Video uploaded successfully"])
    file_path: str = Field(examples=["inputs/videos/statue.mp4"])
    file_size: int = Field(examples=[4007885])
    project_id: int = Field(examples=[1])


class ImagesUploaded(BaseModel):
    """Images that were stored."""

    message: str = Field(examples=["12 images uploaded successfully"])
    files: list[VideoUploaded]
    file_size: int = Field(examples=[31457280])
    project_id: int = Field(examples=[1])


class FileInfo(BaseModel):
    """A file of a project; `path` is relative to the project."""

    type: FileKind
    path: str = Field(examples=["results/mesh.ply"])
    size: int = Field(examples=[2097152])
    modified: datetime = Field(examples=[EXAMPLE_TIME])
    outdated: bool = Field(
        False,
        examples=[False],
        description="Whether it is a result of earlier inputs or options that the last run did not reach; "
        "false where no report tells it",
    )


PictureOrder = Literal["name", "-name", "modified", "-modified"]


class StagePicture(BaseModel):
    """A frame, or the depth map of a frame, by the frame's name."""

    name: str = Field(examples=["frame_000012.jpg"])
    modified: datetime = Field(examples=[EXAMPLE_TIME])
    finished: bool = Field(
        examples=[False], description="Whether the stage has ended; until then it may become better"
    )


UploadId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ResumableUpload(BaseModel):
    """An upload that resumes.

    `status` is `receiving` until the file is `stored` in the project, or `refused` with an `error`. With
    `hold`, it waits to be taken together with others.
    """

    id: UploadId = Field(examples=["0123456789abcdef0123456789abcdef"])
    project_id: int = Field(examples=[1])
    name: str = Field(examples=["statue.mp4"])
    length: int = Field(examples=[4007885])
    offset: int = Field(examples=[2097152], description="Bytes that need not be sent again")
    hold: bool = Field(examples=[False])
    status: Literal["receiving", "stored", "refused"] = Field(examples=["receiving"])
    file_path: str | None = Field(examples=[None], description="Relative to the project, once it is stored")
    error: str | None = Field(examples=[None])
    expires: datetime = Field(examples=[EXAMPLE_TIME], description="Unless more of it comes")


class TakeUploads(BaseModel):
    """Complete uploads that become files of their project together."""

    model_config = ConfigDict(extra="forbid")

    uploads: list[UploadId] = Field(
        min_length=1, max_length=1000, examples=[["0123456789abcdef0123456789abcdef"]]
    )


class FileRemoved(BaseModel):
    """A file that was removed, and what that means for the results."""

    message: str = Field(examples=["File removed. There are no results yet"])
    project_id: int = Field(examples=[1])
    path: str = Field(examples=["inputs/videos/statue.mp4"])
