"""Projects, runs and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
)

from recon3d import Quality, StageName
from recon3d_api.schemas.common import (
    EXAMPLE_TIME,
    MAX_ID,
    Description,
    JobStatus,
    JobType,
    Name,
    OptionValue,
    Out,
    ProjectStatus,
)


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
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


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
    started_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    completed_at: datetime | None = Field(examples=[None])
    duration: float | None = Field(examples=[12.8])
    cpu_usage: float | None = Field(examples=[186.0])
    memory_usage: float | None = Field(examples=[731.2])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


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
    component: StrictInt | None = Field(
        default=None, ge=0, le=MAX_ID, examples=[None], description="Part of the set to make the model from"
    )
    force: StrictBool = Field(default=False, description="Continue with inputs that the check calls hopeless")
    accept_partial: StrictBool = Field(
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
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


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
