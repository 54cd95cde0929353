"""The service under attack: ``python -m tests.benchmarks.reliability [-k WHAT] [--write]``.

Runs the tests of the service that are marked as attacks, the long ones too, and prints a table: what
was done, what must hold, what was seen on each database. ``--write`` adds what was seen to
docs/reliability.json, where earlier results of other attacks stay, and writes docs/reliability.md from
it. ``--report FILE`` takes the results of a run of pytest with ``--junitxml``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
KEPT = PAGE.with_suffix(".json")
_HEAD = (
    "# Reliability of the service\n\n"
    "Each row is a test that attacks a served service. `python -m tests.benchmarks.reliability --write` "
    "runs them, the long ones too, and writes this page. Figures come from two cores of a shared virtual "
    "machine.\n\n"
)
#: In the name of a test; an address of a database is no such part.
_DATABASE = re.compile(r"[\[-](postgresql|sqlite)[\]-]")
#: What was seen in the cases of an attack: attack, case, and its facts.
Results = dict[str, dict[str, dict[str, str]]]


def results(report: Path) -> Results:
    """What a report of pytest tells of attacks."""
    found: Results = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        told = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        kinds = {child.tag for child in case}
        if "attack" not in told or "skipped" in kinds:
            continue
        name = case.get("name", "")
        database = _DATABASE.search(name)
        found.setdefault(told["attack"], {})[name] = {
            "bar": told["bar"],
            "database": database[1] if database else "",
            "seen": told.get("seen", ""),
            "result": "fails" if kinds & {"failure", "error"} else "holds",
        }
    return found


def merge(old: Results, new: Results) -> Results:
    """The newer results of each case; a test that was renamed leaves no case behind."""
    merged = {attack: dict(cases) for attack, cases in old.items()}
    for attack, cases in new.items():
        tests = {name.partition("[")[0] for name in cases}
        kept = {
            name: fact for name, fact in merged.get(attack, {}).items() if name.partition("[")[0] in tests
        }
        merged[attack] = kept | cases
    return merged


def table(found: Results) -> str:
    """One row an attack in Markdown; an attack that uses no database has one result for both."""
    lines = ["| attack | must hold | on SQLite | on PostgreSQL |", "| --- | --- | --- | --- |"]
    for attack in sorted(found, key=str.lower):
        cases = list(found[attack].values())
        row = [attack, cases[0]["bar"]]
        for database in ("sqlite", "postgresql"):
            row.append(_result([fact for fact in cases if fact["database"] in ("", database)]))
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return "\n".join(lines) + "\n"


def _result(cases: list[dict[str, str]]) -> str:
    """Whether it held in all cases, and what was measured."""
    if not cases:
        return "not run"
    failed = sum(fact["result"] == "fails" for fact in cases)
    measured = list(dict.fromkeys(fact["seen"] for fact in cases if fact["seen"]))
    told = "; ".join(measured) or f"{len(cases) - failed} of {len(cases)} cases"
    return f"{'**fails**' if failed else 'holds'}: {told}"


def main() -> int:
    """Run the attacks, or read a report of them, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="run only the attacks whose test's name has this")
    parser.add_argument("--report", type=Path, action="append", help="run nothing, read this report")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        reports: list[Path] = chosen.report or [Path(folder) / "report.xml"]
        if not chosen.report:
            command = [sys.executable, "-m", "pytest", "tests/api", "-q", "-m", "attack", "-k", chosen.k]
            command += [f"--junitxml={reports[0]}"]
            status = subprocess.run(command, cwd=ROOT, check=False).returncode
        new: Results = {}
        for report in reports:
            new = merge(new, results(report))
    print(table(new))
    if chosen.write:
        kept: Any = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        merged = merge(kept, new)
        KEPT.write_text(json.dumps(merged, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        PAGE.write_text(_HEAD + table(merged))
    return status


if __name__ == "__main__":
    sys.exit(main())
