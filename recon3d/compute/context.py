"""What a stage may use of the run that it is part of."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from recon3d.compute.cluster import Cluster
from recon3d.compute.usage import Usage
from recon3d.errors import Cancelled, StageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class StageContext:
    """What a stage may use of the run that it is part of.

    Attributes
    ----------
    cluster : callable
        Gives the cluster, started when first asked for.
    emit : callable
        Receives (done, total, unit, message).
    cancelled : threading.Event
        Every progress point checks it.
    seed : int
    engine : {"cpu", "cuda", "colmap-cuda"}
        What computes; ``cuda`` lets COLMAP find and match features on GPUs. A stage that has other
        engines writes here which it took.
    gpu_engines : tuple of str
        Whose code may use GPUs, best first; see `recon3d.compute.cuda.gpu_engines`.
    gpu_required : bool
        Whether the CPU may not take a GPU's place.
    """

    cluster: Callable[[], Cluster]
    emit: Callable[[float, float, str, str], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    seed: int = 0
    engine: str = "cpu"
    gpu_engines: tuple[str, ...] = ()
    gpu_required: bool = False
    usage: Usage = field(default_factory=Usage)
    counts: dict[str, Any] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def workers(self) -> int:
        """Worker processes that run at once."""
        return self.cluster().workers

    @property
    def threads(self) -> int:
        """Cores that a task may use while the stage runs no other."""
        return self.cluster().threads

    @property
    def gpus(self) -> int:
        """Worker processes that have a GPU."""
        return self.cluster().gpus

    def map(
        self,
        fn: Callable[[T], R],
        items: Sequence[T],
        *,
        names: Sequence[str] | None = None,
        unit: str = "views",
        done: int = 0,
        memory: int = 0,
        gpu: bool = False,
    ) -> list[R]:
        """Run ``fn(item)`` for each item in worker processes.

        Parameters
        ----------
        fn : callable
            A function that workers can import.
        items : sequence
            One argument a task; small and picklable.
        names : sequence of str, optional
            What each item is called in errors and in the log.
        unit : str
            What is counted.
        done : int
            Items that an earlier, interrupted run had finished; they count as progress.
        memory : int
            Bytes that a task needs at its peak; limits how many run at once.
        gpu : bool
            Whether a task needs a GPU.

        Returns
        -------
        list
            Results in the order of the items.
        """
        calls = [(item,) for item in items]
        return self.starmap(fn, calls, names=names, unit=unit, done=done, memory=memory, gpu=gpu)

    def starmap(
        self,
        fn: Callable[..., R],
        calls: Sequence[tuple[Any, ...]],
        *,
        names: Sequence[str] | None = None,
        unit: str = "steps",
        done: int = 0,
        memory: int = 0,
        gpu: bool = False,
    ) -> list[R]:
        """Run ``fn(*arguments)`` for several sets of arguments in worker processes.

        Parameters
        ----------
        fn : callable
            A function that workers can import.
        calls : sequence of tuple
            Arguments of each task; small and picklable.
        names : sequence of str, optional
            What each task is called in errors and in the log.
        unit : str
            What is counted.
        done : int
            Tasks that an earlier, interrupted run had finished; they count as progress.
        memory : int
            Bytes that a task needs at its peak; limits how many run at once.
        gpu : bool
            Whether a task needs a GPU.

        Returns
        -------
        list
            Results in the order of the calls.
        """
        total = done + len(calls)
        self.progress(done, total, unit)
        if not calls:
            return []
        return self._execute(
            fn,
            calls,
            names=list(names) if names is not None else [f"{unit} {i}" for i in range(len(calls))],
            memory=memory,
            gpu=gpu,
            on_done=lambda count: self.progress(done + count, total, unit),
        )

    def call(
        self, fn: Callable[..., R], *args: Any, memory: int = 0, gpu: bool = False, unit: str = "steps"
    ) -> R:
        """Run ``fn(*args)`` in a worker process.

        Parameters
        ----------
        fn : callable
            A function that workers can import; it may report with `task_progress`.
        *args : Any
            Its arguments, picklable.
        memory : int
            Bytes that it needs at its peak.
        gpu : bool
            Whether it needs a GPU.
        unit : str
            What its progress counts.

        Returns
        -------
        object
            What `fn` returns.
        """
        return self._execute(
            fn,
            [args],
            names=[getattr(fn, "__name__", "task").strip("_")],
            memory=memory,
            gpu=gpu,
            on_done=lambda count: None,
            on_progress=lambda done, total: self.progress(done, total, unit),
        )[0]

    def _execute(self, fn: Callable[..., R], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[R]:
        cluster = self.cluster()
        for note in cluster.take_notes():
            self.fallback(note)
        return cluster.execute(fn, calls, cancelled=self.cancelled, usage=self.usage, on_note=self.log, **how)

    def progress(self, done: float, total: float, unit: str = "", message: str = "") -> None:
        """Report progress.

        Parameters
        ----------
        done : float
        total : float
            In the same unit as `done`.
        unit : str
            What is counted.
        message : str
            What is being done.

        Raises
        ------
        Cancelled
            The run was cancelled.
        """
        self.emit(done, total, unit, message)
        if self.cancelled.is_set():
            raise Cancelled()

    def phase(self, start: float, end: float) -> StageContext:
        """Make a context for one part of the stage.

        Parameters
        ----------
        start, end : float
            Progress of the stage at the part's start and end, from 0 to 1.

        Returns
        -------
        StageContext
        """

        def emit(done: float, total: float, unit: str, message: str) -> None:
            if total < 0:  # a message only
                self.emit(done, total, unit, message)
            elif end > start:
                part = done / total if total else 0.0
                self.emit(round(100 * (start + (end - start) * part), 1), 100, "%", message)

        part = copy.copy(self)
        part.emit = emit
        return part

    def phases(self, *shares: float) -> list[StageContext]:
        """Make one context for each part of the stage.

        Parameters
        ----------
        *shares : float
            Work of each part, in any unit.

        Returns
        -------
        list of StageContext
        """
        ends = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]
        return [self.phase(start, end) for start, end in zip([0.0, *ends], ends, strict=False)]

    def count(self, counts: DataclassInstance) -> None:
        """Add a stage's counts to the manifest and the report.

        Parameters
        ----------
        counts : dataclass
        """
        self.counts.update(asdict(counts))

    def fallback(self, message: str) -> None:
        """Record that the stage deviated from its options.

        Parameters
        ----------
        message : str
            What it did instead, and why.
        """
        self.fallbacks.append(message)
        self.emit(-1, -1, "", message)

    def log(self, message: str) -> None:
        """Log a message.

        Parameters
        ----------
        message : str
        """
        self.emit(-1, -1, "", message)


class InlineContext(StageContext):
    """A context that runs every task in this process: for debugging and testing one stage."""

    def __init__(
        self,
        seed: int = 0,
        engine: str = "cpu",
        gpu_engines: tuple[str, ...] = (),
        *,
        gpu_required: bool = False,
    ) -> None:
        super().__init__(
            cluster=self._no_cluster,
            emit=lambda *_: None,
            seed=seed,
            engine=engine,
            gpu_engines=gpu_engines,
            gpu_required=gpu_required,
        )

    @staticmethod
    def _no_cluster() -> Cluster:
        raise StageError("This context has no workers.", "Use StageContext with a Cluster.")

    @property
    def workers(self) -> int:
        """One: this process."""
        return 1

    @property
    def threads(self) -> int:
        """One: this thread."""
        return 1

    @property
    def gpus(self) -> int:
        """One, should a task ask for it."""
        return 1

    def _execute(self, fn: Callable[..., R], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[R]:
        results = []
        for index, call in enumerate(calls):
            results.append(fn(*call))
            how["on_done"](index + 1)
        return results
