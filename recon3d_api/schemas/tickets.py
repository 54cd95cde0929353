"""One-time tickets for addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    Field,
    StrictInt,
)

from recon3d_api.schemas.common import (
    MAX_ID,
    FileType,
    Text,
)


class TicketRequest(BaseModel):
    """What a ticket shall be good for: a project's events, the page of its model, or one download.

    With `path`, it is for that file alone; `purpose` is then not looked at.
    """

    project_id: StrictInt = Field(ge=1, le=MAX_ID, examples=[1])
    purpose: FileType | Literal["events", "page"] = Field("events", examples=["events"])
    path: Annotated[Text, Field(min_length=1, max_length=1000)] | None = Field(
        None, examples=[None], description="Of one file, as in the list"
    )


class Ticket(BaseModel):
    """A one-time ticket, for `?ticket=…` in an address."""

    ticket: str = Field(examples=["Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"])
    expires_in: int = Field(examples=[30], description="Seconds")
