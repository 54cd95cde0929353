"""Accounts: registration, tokens, passwords, keys, quotas, mail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    StrictBool,
    StringConstraints,
)

from recon3d_api.schemas.common import (
    EXAMPLE_TIME,
    Moment,
    Name,
    Out,
    Text,
)


class Register(BaseModel):
    """A new account."""

    username: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{3,50}$")] = Field(examples=["ada"])
    email: EmailStr = Field(max_length=320, examples=["ada@example.com"])
    password: Annotated[Text, StringConstraints(min_length=8, max_length=128)] = Field(
        examples=["correct horse battery"]
    )
    full_name: Annotated[Text, StringConstraints(max_length=200)] | None = Field(
        None, examples=["Ada Lovelace"]
    )
    invitation: Annotated[Text, StringConstraints(max_length=100)] | None = Field(
        None, examples=["q3F0sYk1Zr8qLw0Tn4xVb7yKc2mEd9sH"], description="Where registration needs one"
    )


class User(Out):
    """An account."""

    id: int = Field(examples=[1])
    username: str = Field(examples=["ada"])
    email: str = Field(examples=["ada@example.com"])
    full_name: str | None = Field(examples=["Ada Lovelace"])
    is_active: bool = Field(examples=[True])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])


class QuotaUse(BaseModel):
    """How much of something the caller uses; `limit` is null where there is none."""

    used: int = Field(examples=[2])
    limit: int | None = Field(examples=[20])


class Quota(BaseModel):
    """What the caller uses, and may use."""

    disk_bytes: QuotaUse
    projects: QuotaUse
    queued_runs: QuotaUse
    uploads: QuotaUse
    unfinished_upload_bytes: int = Field(
        0,
        examples=[52428800],
        description="Bytes of unfinished uploads (`GET /files/uploads`). They are not part of "
        "`disk_bytes`, but the quota counts them",
    )


class Token(BaseModel):
    """An access token, for the header ``Authorization: Bearer …``."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…"])
    token_type: Literal["bearer"] = "bearer"


_Secret = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
_Password = Annotated[Text, StringConstraints(min_length=8, max_length=128)]


class PasswordChange(BaseModel):
    """A new password, and the old one."""

    old_password: Annotated[Text, StringConstraints(max_length=128)] = Field(
        examples=["correct horse battery"]
    )
    new_password: _Password = Field(examples=["staple wrong donkey"])


class PasswordForgot(BaseModel):
    """Who forgot a password."""

    email: EmailStr = Field(max_length=320, examples=["ada@example.com"])


class PasswordReset(BaseModel):
    """A new password, and the token of a reset link."""

    token: _Secret = Field(examples=["Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"])
    new_password: _Password = Field(examples=["staple wrong donkey"])


class Session(Token):
    """An access token, and the refresh token that gets the next one."""

    expires_in: int = Field(examples=[900], description="Seconds")
    refresh_token: str = Field(examples=["r3r_5f2c…_Zr8q…"])
    refresh_expires_in: int = Field(examples=[2592000], description="Seconds")


class RefreshRequest(BaseModel):
    """A refresh token, to be exchanged."""

    refresh_token: _Secret = Field(examples=["r3r_5f2c…_Zr8q…"])


class ApiKeyCreate(BaseModel):
    """A new API key."""

    name: Annotated[Name, StringConstraints(max_length=100)] = Field(examples=["build server"])
    expires_at: Moment | None = Field(None, examples=["2030-01-01T00:00:00Z"])


class ApiKey(Out):
    """An API key, without the key; `start` are its first characters."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["build server"])
    start: str = Field(examples=["r3d_Zr8qLw0T"])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    expires_at: datetime | None = Field(examples=[None])
    last_used_at: datetime | None = Field(examples=[EXAMPLE_TIME])


class NewApiKey(ApiKey):
    """An API key that was just made; `key` is shown this once."""

    key: str = Field(examples=["r3d_Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3…"])


class NotificationsChange(BaseModel):
    """What mail the caller wants."""

    model_config = ConfigDict(extra="forbid")

    run_ended: StrictBool = Field(examples=[True], description="When a run is completed or has failed")


class Notifications(BaseModel):
    """What mail the caller gets."""

    run_ended: bool = Field(examples=[True], description="When a run is completed or has failed")
    available: bool = Field(examples=[True], description="Whether the service sends mail at all")


class AdminUser(User):
    """An account, as administrators see it."""

    is_admin: bool = Field(examples=[False])


class AuditEntry(Out):
    """What somebody did; `user_id` is null for who is not known, and for the operator's commands."""

    id: int = Field(examples=[1])
    time: datetime = Field(examples=[EXAMPLE_TIME])
    user_id: int | None = Field(examples=[1])
    username: str = Field(examples=["ada"])
    address: str = Field(examples=["192.0.2.1"])
    action: str = Field(examples=["login.failed"])
    target: str = Field(examples=["project 7"])
    request_id: str = Field(examples=["7d1e6b0c2f"])
