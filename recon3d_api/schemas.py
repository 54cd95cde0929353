"""Requests and answers, as docs/reference/rest-api.md and the contract have them.

The service and its client share them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, EmailStr, Field, StringConstraints

from recon3d import Quality as Quality
from recon3d import StageName

JobType = StageName
ProjectStatus = Literal["draft", "processing", "completed", "failed", "archived"]
JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
#: Orders of lists.
ProjectOrder = Literal["id", "-id", "name", "-name", "updated_at", "-updated_at"]
JobOrder = Literal["id", "-id"]
#: What the service lists.
FileKind = Literal["video", "image", "frames", "point_cloud", "mesh", "textured_mesh", "sparse", "report"]
#: What the service lets download.
FileType = FileKind

MAX_ID = 2**31 - 1
_TIME = "2023-01-01T00:00:00Z"


def _storable(text: str) -> str:
    """Refuse what a database or a log cannot take."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)
]
Description = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]


OptionValue = (
    bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[Text, Field(max_length=100)] | None
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
    created_at: datetime = Field(examples=[_TIME])


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
    expires_at: AwareDatetime | None = Field(None, examples=["2030-01-01T00:00:00Z"])


class ApiKey(Out):
    """An API key, without the key; `start` are its first characters."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["build server"])
    start: str = Field(examples=["r3d_Zr8qLw0T"])
    created_at: datetime = Field(examples=[_TIME])
    expires_at: datetime | None = Field(examples=[None])
    last_used_at: datetime | None = Field(examples=[_TIME])


class NewApiKey(ApiKey):
    """An API key that was just made; `key` is shown this once."""

    key: str = Field(examples=["r3d_Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3…"])


class AdminUser(User):
    """An account, as administrators see it."""

    is_admin: bool = Field(examples=[False])


class AuditEntry(Out):
    """What somebody did; `user_id` is null for who is not known, and for the operator's commands."""

    id: int = Field(examples=[1])
    time: datetime = Field(examples=[_TIME])
    user_id: int | None = Field(examples=[1])
    username: str = Field(examples=["ada"])
    address: str = Field(examples=["192.0.2.1"])
    action: str = Field(examples=["login.failed"])
    target: str = Field(examples=["project 7"])
    request_id: str = Field(examples=["7d1e6b0c2f"])


class TicketRequest(BaseModel):
    """What a ticket shall be good for: a project's events, or one download of a file."""

    project_id: int = Field(ge=1, le=MAX_ID, examples=[1])
    purpose: FileType | Literal["events"] = Field(examples=["events"])


class Ticket(BaseModel):
    """A one-time ticket, for `?ticket=…` in an address."""

    ticket: str = Field(examples=["Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"])
    expires_in: int = Field(examples=[30], description="Seconds")


class ProjectCreate(BaseModel):
    """A new project."""

    name: Name = Field(examples=["Bust of a philosopher"])
    description: Description | None = Field(None, examples=["From a phone's video"])


class ProjectUpdate(BaseModel):
    """Changes of a project; what is left out stays.

    `status` takes ``archived`` and, for an archived project, the status that it had before.
    """

    name: Name | None = Field(None, examples=["Bust, second try"])
    description: Description | None = None
    status: ProjectStatus | None = Field(None, examples=["archived"])


class Project(Out):
    """A project.

    `total_frames` are the frames that the model is made from, `processed_frames` those whose
    features have been found, `processing_time` the seconds of the newest reconstruction, and
    `reconstruction_quality` a score from 0 to 1 (docs/reference/rest-api.md).
    """

    id: int = Field(examples=[1])
    name: str = Field(examples=["Bust of a philosopher"])
    description: str | None = Field(examples=["From a phone's video"])
    status: ProjectStatus
    total_frames: int = Field(examples=[40])
    processed_frames: int = Field(examples=[40])
    reconstruction_quality: float = Field(examples=[0.82])
    processing_time: float = Field(examples=[95.4])
    created_at: datetime = Field(examples=[_TIME])
    updated_at: datetime = Field(examples=[_TIME])


class Job(Out):
    """A stage of a run.

    `progress` goes from 0 to 100, `duration` is in seconds, `cpu_usage` in percent of one core and
    `memory_usage` in MiB.
    """

    id: int = Field(examples=[3])
    project_id: int = Field(examples=[1])
    job_type: JobType = Field(examples=["dense_reconstruction"])
    status: JobStatus = Field(examples=["running"])
    progress: float = Field(ge=0, le=100, examples=[37.5])
    message: str | None = Field(examples=["15 of 40 views"])
    error_message: str | None = Field(examples=[None])
    parameters: dict[str, Any] = Field(examples=[{"quality": "medium"}])
    started_at: datetime | None = Field(examples=[_TIME])
    completed_at: datetime | None = Field(examples=[None])
    duration: float | None = Field(examples=[12.8])
    cpu_usage: float | None = Field(examples=[186.0])
    memory_usage: float | None = Field(examples=[731.2])
    created_at: datetime = Field(examples=[_TIME])
    updated_at: datetime = Field(examples=[_TIME])


class StartReconstruction(BaseModel):
    """Options of one run; all may be left out.

    `options` takes those of the command line's ``--set``, by stage. A value of null leaves an option
    to the stage.
    """

    model_config = ConfigDict(extra="forbid")

    options: dict[StageName, Annotated[dict[str, OptionValue], Field(max_length=50)]] = Field(
        default={}, examples=[{"mesh_generation": {"max_faces": 50000}}], description="Option values by stage"
    )
    until: StageName | None = Field(
        default=None, examples=[None], description="Last stage; without one the run makes a model"
    )
    component: int | None = Field(
        default=None, ge=0, le=MAX_ID, examples=[None], description="Part of the set to make the model from"
    )
    force: bool = Field(default=False, description="Continue with inputs that the check calls hopeless")
    accept_partial: bool = Field(
        default=False, description="Continue with a model of a small part of the images"
    )


class Started(BaseModel):
    """A reconstruction that was put in the queue."""

    message: str = Field(examples=["Reconstruction started"])
    project_id: int = Field(examples=[1])
    quality: Quality
    status: ProjectStatus = Field(examples=["processing"])
    jobs: list[Job]


class ExtractFrames(BaseModel):
    """The form of an extraction; a field that is misspelled must not be lost silently."""

    model_config = ConfigDict(extra="forbid")

    project_id: int = Field(ge=1, le=MAX_ID, description="Project ID", examples=[1])
    interval: float = Field(
        1.0, gt=0, le=86_400, allow_inf_nan=False, description="Seconds between frames", examples=[0.5]
    )
    quality: Quality = Field("medium", description="Of the reconstruction that shall use the frames")


class Extraction(BaseModel):
    """An extraction of frames that was put in the queue."""

    message: str = Field(examples=["Frame extraction started"])
    project_id: int = Field(examples=[1])
    interval: float = Field(examples=[0.5])
    job_id: int = Field(examples=[3])
    job: Job


class CheckEstimate(BaseModel):
    """What a run at one quality would take: `seconds` is right within the factor `error`."""

    quality: Quality
    frames: int = Field(examples=[40])
    seconds: float = Field(examples=[95.4])
    error: float = Field(examples=[1.3])
    memory: int = Field(description="Bytes", examples=[1500000000])
    disk: int = Field(description="Bytes", examples=[110000000])


class InputCheck(BaseModel):
    """Whether a project's inputs can make a model, and what a run would take."""

    project_id: int = Field(examples=[1])
    level: Literal["good", "doubtful", "hopeless"] = Field(examples=["good"])
    sentences: list[str] = Field(examples=[["24 images looked at: 764 features each."]])
    notes: list[str] = Field(examples=[[]])
    advice: list[str] = Field(examples=[[]])
    estimates: list[CheckEstimate]
    speed_from: str = Field(examples=["14 earlier runs on this machine"])
    looked_at: int = Field(examples=[24])
    blank: bool = Field(description="Fewer than two images show anything", examples=[False])
    seconds: float = Field(examples=[2.4])


class Progress(BaseModel):
    """How far a run is; `percentage` weighs all stages of the run."""

    total_frames: int = Field(examples=[40])
    processed_frames: int = Field(examples=[40])
    percentage: float = Field(ge=0, le=100, examples=[61.3])


class ProjectRunStatus(BaseModel):
    """How far a project is."""

    project_id: int = Field(examples=[1])
    status: ProjectStatus
    progress: Progress
    current_job: Job | None
    eta_seconds: float | None = Field(examples=[48.0])
    reconstruction_quality: float = Field(examples=[0.0])
    processing_time: float = Field(examples=[62.1])
    error_message: str | None = Field(examples=[None])
    queue_position: int | None = Field(
        None, examples=[2], description="While the run waits: runs until it is taken, itself included"
    )
    created_at: datetime = Field(examples=[_TIME])
    updated_at: datetime = Field(examples=[_TIME])


class JobsStatus(BaseModel):
    """The jobs of a project, newest run first, and how many are in each state."""

    project_id: int = Field(examples=[1])
    status: ProjectStatus
    total: int = Field(examples=[7])
    pending: int = Field(examples=[2])
    running: int = Field(examples=[1])
    completed: int = Field(examples=[4])
    failed: int = Field(examples=[0])
    cancelled: int = Field(examples=[0])
    jobs: list[Job]


class Logs(BaseModel):
    """Log lines of a job from line `offset` on; ask again with `next_offset` until `complete`."""

    job_id: int = Field(examples=[3])
    logs: list[str] = Field(examples=[["2023-01-01T00:00:00Z started"]])
    offset: int = Field(examples=[0])
    next_offset: int = Field(examples=[1])
    complete: bool = Field(examples=[False])


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
    modified: datetime = Field(examples=[_TIME])


class ShareCreate(BaseModel):
    """A link to a project's model, for who has no account."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(default=None, examples=["For the museum"])
    download: bool = Field(default=False, description="Whether the files may be downloaded")
    expires_at: AwareDatetime | None = Field(
        default=None, examples=["2033-01-01T00:00:00Z"], description="By default it never expires"
    )


class Share(Out):
    """A link, without its token."""

    id: int = Field(examples=[1])
    name: str | None = Field(examples=["For the museum"])
    download: bool = Field(examples=[False])
    expires_at: datetime | None = Field(examples=["2033-01-01T00:00:00Z"])
    views: int = Field(examples=[12])
    viewed_at: datetime | None = Field(examples=[_TIME])
    created_at: datetime = Field(examples=[_TIME])


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
    modified: datetime | None = Field(examples=[_TIME])
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
    created_at: datetime = Field(examples=[_TIME])


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
    created_at: datetime = Field(examples=[_TIME])
    attempted_at: datetime | None = Field(examples=[_TIME])
    next_attempt: datetime | None = Field(examples=[None])


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
    expires: datetime = Field(examples=[_TIME], description="Unless more of it comes")


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


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str = Field(examples=["0.1.0"])


class Ready(BaseModel):
    """Whether the service can do its work."""

    status: Literal["ready", "not ready"]
    detail: str = Field(examples=["ready"])
    checks: dict[str, str] = Field(examples=[{"database": "ok", "disk": "ok", "runner": "ok"}])
