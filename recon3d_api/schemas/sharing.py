"""Links that share a model, and webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
)

from recon3d_api.schemas.common import (
    EXAMPLE_TIME,
    Moment,
    Name,
    Out,
    ProjectStatus,
    Text,
)


class ShareCreate(BaseModel):
    """A link to a project's model, for who has no account."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(default=None, examples=["For the museum"])
    download: StrictBool = Field(default=False, description="Whether the files may be downloaded")
    expires_at: Moment | None = Field(
        default=None, examples=["2033-01-01T00:00:00Z"], description="By default it never expires"
    )


class Share(Out):
    """A link, without its token."""

    id: int = Field(examples=[1])
    name: str | None = Field(examples=["For the museum"])
    download: bool = Field(examples=[False])
    expires_at: datetime | None = Field(examples=["2033-01-01T00:00:00Z"])
    views: int = Field(examples=[12])
    viewed_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])


class ShareCreated(Share):
    """A new link; the token is not shown again."""

    token: str = Field(examples=["Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"])
    path: str = Field(examples=["/share/Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"], description="Of the page")


SharedType = Literal["mesh", "textured_mesh", "point_cloud"]


class SharedFile(BaseModel):
    """A file that a link lets download."""

    type: SharedType
    size: int = Field(examples=[2097152])


class SharedModel(BaseModel):
    """What a link shows; `files` is empty where it lets nothing be downloaded."""

    name: str = Field(examples=["Bust of a philosopher"])
    status: ProjectStatus = Field(examples=["completed"])
    ready: bool = Field(examples=[True], description="Whether there is a model")
    size: int | None = Field(examples=[2097152], description="Of the model, in bytes")
    modified: datetime | None = Field(examples=[EXAMPLE_TIME])
    expires_at: datetime | None = Field(examples=[None])
    download: bool = Field(examples=[False])
    files: list[SharedFile]


WebhookEvent = Literal["run.completed", "run.failed", "run.cancelled"]
DeliveryStatus = Literal["pending", "delivered", "failed"]
_EVENTS: list[WebhookEvent] = ["run.completed", "run.failed", "run.cancelled"]


class WebhookCreate(BaseModel):
    """An address that shall be told how a project's runs end."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[Text, StringConstraints(min_length=1, max_length=2000)] = Field(
        examples=["https://example.com/recon3d"]
    )
    events: Annotated[list[WebhookEvent], Field(min_length=1, max_length=10)] = Field(default=_EVENTS)


class Webhook(Out):
    """An address that is told how a project's runs end, without its secret."""

    id: int = Field(examples=[1])
    url: str = Field(examples=["https://example.com/recon3d"])
    events: list[WebhookEvent]
    created_at: datetime = Field(examples=[EXAMPLE_TIME])


class WebhookCreated(Webhook):
    """A new webhook; the secret is not shown again."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class WebhookDelivery(Out):
    """A message to a webhook, and how its newest attempt went."""

    id: int = Field(examples=[1])
    event: str = Field(examples=["run.completed"])
    status: DeliveryStatus
    attempts: int = Field(examples=[1])
    response_status: int | None = Field(examples=[200])
    error: str | None = Field(examples=[None])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    attempted_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    next_attempt: datetime | None = Field(examples=[None])
