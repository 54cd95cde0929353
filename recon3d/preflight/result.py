"""What a check found, as Python and JSON have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recon3d.events import CheckLevel
from recon3d.preflight.cost import Estimate
from recon3d.rendering.formatting import Described, byte_text, card, grid


@dataclass(frozen=True, repr=False)
class InputCheck(Described):
    """What `recon3d.check` found.

    Attributes
    ----------
    level : {"good", "doubtful", "hopeless"}
        Whether the inputs can make a model.
    sentences : tuple of str
        What speaks against them, or what was seen.
    notes : tuple of str
        What is worth knowing besides.
    advice : tuple of str
        What to do.
    estimates : tuple of Estimate
        Frames, time, memory and disk at each quality; none for hopeless inputs.
    speed_from : str
        What the times are based on.
    looked_at : int
        Images that were looked at.
    seconds : float
        How long the check took.
    blank : bool
        Whether fewer than two images show anything.
    factors : dict of str to float
        How much longer this machine takes for each stage than that of the prices.
    """

    level: CheckLevel
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    advice: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    speed_from: str
    looked_at: int
    seconds: float
    blank: bool = False
    factors: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> InputCheck:
        """Read what `to_json` made.

        Parameters
        ----------
        document : mapping

        Returns
        -------
        InputCheck
        """
        values = dict(document)
        for name in ("sentences", "notes", "advice"):
            values[name] = tuple(values[name])
        values["estimates"] = tuple(Estimate(**row) for row in values["estimates"])
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Convert to what JSON can hold.

        Returns
        -------
        dict
        """
        return asdict(self)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """List the estimates.

        Returns
        -------
        list of (str, str, str, str, str)
            Quality, frames, time, memory and disk.
        """
        return [
            (
                e.quality,
                str(e.frames),
                f"{_time(e.seconds / e.error)} to {_time(e.seconds * e.error)}",
                byte_text(e.memory),
                byte_text(e.disk),
            )
            for e in self.estimates
        ]

    def _facts(self) -> Iterable[str]:
        return [self.level, *self.sentences, *self.notes]

    def _repr_html_(self) -> str:
        table = grid(["quality", "frames", "time", "memory", "disk"], self.rows())
        return card("Check of the inputs", [*self._facts(), *self.advice], table=table)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
