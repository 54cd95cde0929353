"""The only place that knows the stages' order, caching, skipping and resuming."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from recon3d.compute import check_scheduler, describe_scheduler, load_dask
from recon3d.errors import OptionError
from recon3d.events import Event
from recon3d.options import resolve_options
from recon3d.options.value_types import DaskClient, Engine, PipelineSettings, Quality, StageValues
from recon3d.pipeline.execution import RunSettings
from recon3d.pipeline.plan import Step, check_stage, load_stage, plan_steps
from recon3d.pipeline.run import Run
from recon3d.project.opening import project_for_inputs
from recon3d.project.project import Project
from recon3d.project.results import Results
from recon3d.rendering.formatting import card, grid
from recon3d.stage_table import STAGE_NAMES, StageName
from recon3d.storage import check_storage

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack


class Pipeline:
    """Turns a project's inputs into a textured model.

    Parameters
    ----------
    quality : {"low", "medium", "high", "extreme"}
        Preset of options.
    engine : {"auto", "cpu", "cuda", "colmap-cuda"}
        ``auto`` uses a GPU when the workers have one, ``cuda`` fails without. Depth maps on a GPU are
        recon3d's own, or COLMAP's where those cannot be had; ``colmap-cuda`` takes COLMAP's.
    scheduler : str, path-like or distributed.Client, optional
        A Dask scheduler whose workers see the project's folder: its address, its scheduler file, or a
        client of it.
    storage : str, optional
        Address of a storage, such as ``s3://bucket/prefix``, through which workers of a scheduler get
        and give files. They need not see the project's folder then.
    workers : int, optional
        Worker processes on this machine; by default one a core.
    seed : int
        Seed of everything random.
    accept_partial : bool
        Continue although the verdict on the cameras is that they make no model worth looking at.
    force : bool
        Continue although the check of the inputs says that they cannot make a model.
    performance_report : path-like, optional
        HTML file that receives Dask's performance report of each run.
    **stage_options : mapping
        Options by stage, as in ``mesh_generation={"max_faces": 50_000}``.

    Raises
    ------
    OptionError
        A preset, stage or option does not exist.

    Examples
    --------
    >>> project = Project.create("statue")  # doctest: +SKIP
    >>> project.add_video("statue.mp4")  # doctest: +SKIP
    >>> Pipeline("low").run(project).textured_mesh  # doctest: +SKIP
    """

    def __init__(
        self,
        quality: Quality = "medium",
        *,
        engine: Engine = "auto",
        scheduler: str | os.PathLike[str] | DaskClient | None = None,
        storage: str | None = None,
        workers: int | None = None,
        seed: int = 0,
        accept_partial: bool = False,
        force: bool = False,
        performance_report: str | os.PathLike[str] | None = None,
        **stage_options: Unpack[StageValues],
    ) -> None:
        if engine not in get_args(Engine):
            raise OptionError(f"Unknown engine {engine!r}.", "Choose auto, cpu, cuda or colmap-cuda.")
        if workers is not None and workers < 1:
            raise OptionError(
                f"workers must be at least 1, not {workers}.", "Leave it out to use one per core."
            )
        check_scheduler(scheduler)
        check_storage(storage, scheduler=scheduler is not None)
        overrides: Mapping[str, Any] = stage_options
        self.quality = quality
        self.options = resolve_options(quality, overrides)
        self.engine = engine
        self.scheduler = scheduler
        self.storage = storage
        self.workers = workers
        self.seed = seed
        self.accept_partial = accept_partial
        self.force = force
        self.performance_report = performance_report

    def plan(self, project: Project, *, until: StageName | None = None) -> tuple[Step, ...]:
        """Plan a run of a project.

        Parameters
        ----------
        project : Project
        until : str, optional
            Last stage.

        Returns
        -------
        tuple of Step
            The steps in order.
        """
        return plan_steps(project, self.options, self.seed, until)

    def start(
        self,
        project: Project,
        *,
        until: StageName | None = None,
        rerun_from: StageName | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Run:
        """Begin to run in the background.

        Parameters
        ----------
        project : Project
        until : str, optional
            Last stage to run.
        rerun_from : str, optional
            This stage and all later ones run again although nothing changed.
        on_event : callable, optional
            Receives every event, in the run's thread.

        Returns
        -------
        Run
        """
        check_stage(until)
        check_stage(rerun_from)
        # Not in the run's thread: SciPy and others import themselves in circles, which fails in one
        # thread when another (the next cell, showing this run's panel) imports them at that moment.
        load_dask()
        for name in STAGE_NAMES:
            load_stage(name)
        settings = RunSettings(
            quality=self.quality,
            options=self.options,
            engine=self.engine,
            scheduler=self.scheduler,
            storage=self.storage,
            workers=self.workers,
            seed=self.seed,
            accept_partial=self.accept_partial,
            force=self.force,
            performance_report=None if self.performance_report is None else Path(self.performance_report),
        )
        return Run(settings, project, until, rerun_from, on_event)

    def run(
        self,
        project: Project,
        *,
        until: StageName | None = None,
        rerun_from: StageName | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Results:
        """Run and wait for the end.

        An interrupt (Ctrl-C, or a notebook's stop button) cancels the run; a second one stops
        waiting for its end.

        Parameters
        ----------
        project : Project
        until : str, optional
            Last stage to run.
        rerun_from : str, optional
            This stage and all later ones run again although nothing changed.
        on_event : callable, optional
            Receives every event, in the run's thread.

        Returns
        -------
        Results
            Paths of the files made.

        Raises
        ------
        InputError
            There is nothing to reconstruct.
        StageError
            A stage failed; what was finished before it is kept.
        Cancelled
            The run was interrupted.
        KeyboardInterrupt
            It was interrupted twice; the run ends soon, in the background.
        """
        return self.start(project, until=until, rerun_from=rerun_from, on_event=on_event)._wait_or_cancel()

    def __repr__(self) -> str:
        return f"<Pipeline quality={self.quality!r} engine={self.engine!r} seed={self.seed}>"

    def _repr_html_(self) -> str:
        rows = [(stage, *row) for stage, options in self.options.items() for row in options.rows()]
        where = describe_scheduler(self.scheduler) + (f" through {self.storage}" if self.storage else "")
        facts = [f"quality {self.quality}, engine {self.engine}, seed {self.seed}, runs on {where}"]
        return card("Pipeline", facts, table=grid(["stage", "option", "value", "medium"], rows))


def reconstruct(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    project: str | os.PathLike[str],
    quality: Quality = "medium",
    **settings: Unpack[PipelineSettings],
) -> Results:
    """Make a textured model from a video or photos, in one call.

    Parameters
    ----------
    inputs : path-like or sequence of path-like
        Videos, photos, or folders of photos.
    project : path-like
        The project's folder; an existing project reuses its finished stages.
    quality : {"low", "medium", "high", "extreme"}
    **settings
        Further parameters of `Pipeline`.

    Returns
    -------
    Results
        Paths of the files made; ``textured_mesh`` is the model.

    Examples
    --------
    >>> import recon3d
    >>> recon3d.reconstruct("statue.mp4", "statue").textured_mesh  # doctest: +SKIP
    """
    pipeline = Pipeline(quality, **settings)
    with project_for_inputs(project) as opened:
        opened.add(inputs)
    return pipeline.run(opened)
