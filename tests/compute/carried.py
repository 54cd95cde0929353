"""Workers that do not see the project's folder, without their processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recon3d.compute import InlineContext
from recon3d.compute.carrying import Carrier
from recon3d.compute.sandbox import run_in_sandbox
from recon3d.storage import Storage


class CarriedContext(InlineContext):
    """A context whose tasks get and give files through a storage; they run in this process."""

    def __init__(self, storage: Storage, project: Path, **how: Any) -> None:
        super().__init__(**how)
        self._project = project
        self.stopped = threading.Event()
        self.carrier = Carrier(storage, project)

    def _execute(self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[Any]:
        results = []
        try:
            for index, call in enumerate(calls):
                parcel = self.carrier.pack(fn, call).result()
                with self._away():
                    came = run_in_sandbox(fn, parcel, self.carrier.origin)
                results.append(self.carrier.receive(lambda came=came: (came,), self.stopped).result()[0])
                how["on_done"](index + 1)
        finally:
            self.usage.moved.add(self.carrier.take_moved())
        return results

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        """The project's folder is not there, as on another machine."""
        elsewhere = self._project.with_name("elsewhere")
        self._project.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(self._project)
