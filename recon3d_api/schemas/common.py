"""What several subjects share: kinds of values, errors, plain answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from recon3d import StageName

JobType = StageName
ProjectStatus = Literal["draft", "processing", "completed", "failed", "archived"]
JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
#: Orders of lists.
ProjectOrder = Literal["id", "-id", "name", "-name", "updated_at", "-updated_at"]
JobOrder = Literal["id", "-id"]
#: What the service lists.
FileKind = Literal[
    "video",
    "image",
    "frames",
    "point_cloud",
    "mesh",
    "textured_mesh",
    "normal_map",
    "sparse",
    "report",
]
#: What the service lets download.
FileType = FileKind

MAX_ID = 2**31 - 1
EXAMPLE_TIME = "2023-01-01T00:00:00Z"


def read_id(text: str) -> int | None:
    """Read the number of a row from text that no model checks.

    Parameters
    ----------
    text : str

    Returns
    -------
    int or None
        None when it cannot be one.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_ID else None


def _storable(text: str) -> str:
    """Refuse what a database or a log cannot take."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


def _written(value: object) -> object:
    """Refuse numbers: the document says that a time is a string."""
    if isinstance(value, (int, float)):
        raise ValueError("must be a string as in 2030-01-01T00:00:00Z")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)
]
Description = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]


OptionValue = (
    bool
    | Annotated[int, Field(ge=-(2**53), le=2**53)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[Text, Field(max_length=100)]
    | None
)


class Out(BaseModel):
    """Base of answers made from rows."""

    model_config = ConfigDict(from_attributes=True)


class Error(BaseModel):
    """Any error."""

    detail: str = Field(examples=["Project not found"])


class FieldError(BaseModel):
    """What is wrong with one field."""

    loc: list[str]
    msg: str
    type: str


class ValidationErrors(Error):
    """An invalid request; `errors` lists the fields."""

    detail: str = Field(examples=["quality: Input should be 'low', 'medium', 'high' or 'extreme'"])
    errors: list[FieldError] = []


class Message(BaseModel):
    """A plain answer."""

    message: str
