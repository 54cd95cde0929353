"""Facts about a file, each with its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recon3d.rendering.formatting import Described, card, grid


@dataclass(frozen=True)
class Fact:
    """One thing that is known of a file.

    Attributes
    ----------
    name : str
        As in `docs/how-to/check-before-you-run.md`.
    value : str, int, float or list
        As JSON has it.
    text : str
        The value for people, with its unit.
    source : str
        Where in the file, or beside it, the value was found.
    """

    name: str
    value: Any
    text: str
    source: str


@dataclass(frozen=True, repr=False)
class FileFacts(Described):
    """What `recon3d.probe` found out about a file.

    Attributes
    ----------
    path : str
    kind : {"video", "photo"}
    facts : tuple of Fact
    """

    path: str
    kind: str
    facts: tuple[Fact, ...]

    def __getitem__(self, name: str) -> Any:
        """The value of a fact."""
        for fact in self.facts:
            if fact.name == name:
                return fact.value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(fact.name == name for fact in self.facts)

    def to_json(self) -> dict[str, Any]:
        """Convert to what JSON can hold.

        Returns
        -------
        dict
        """
        facts = {fact.name: {"value": fact.value, "source": fact.source} for fact in self.facts}
        return {"path": self.path, "kind": self.kind, "facts": facts}

    def _facts(self) -> Iterable[str]:
        return [self.path, self.kind, *(f"{fact.name} {fact.text}" for fact in self.facts[:6])]

    def _repr_html_(self) -> str:
        rows = [(fact.name, fact.text, fact.source) for fact in self.facts]
        return card("File", [self.path], table=grid(["fact", "value", "source"], rows))
