"""The service under attack: ``python -m tests.benchmarks.reliability [-k WHAT]``.

Runs the tests of the service that are marked as attacks, the long ones too, and prints a table: what
was done, what must hold, what was seen. ``--write`` keeps it in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
_HEAD = (
    "# Reliability of the service\n\n"
    "Each row is a test that attacks a served service. `python -m tests.benchmarks.reliability --write` "
    "runs them, the long ones too, and writes this page. Figures come from two cores of a shared virtual "
    "machine.\n\n"
)


def rows(report: Path) -> list[tuple[str, str, str, str, str]]:
    """What was done, the bar, what was seen, the result, and the database of each attack."""
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        told = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        if "attack" not in told:
            continue
        kinds = {child.tag for child in case}
        result = "**fails**" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "holds"
        name = case.get("name", "")
        database = next((d for d in ("postgresql", "sqlite") if d in name), "either")
        seconds = f"{float(case.get('time', 0)):.0f} s"
        found.append((told["attack"], told["bar"], told.get("seen", f"done in {seconds}"), result, database))
    return found


def table(found: list[tuple[str, str, str, str, str]]) -> str:
    """The rows in Markdown, both databases of an attack in one where they say the same."""
    lines = ["| attack | must hold | database | seen | result |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {what} | {bar} | {database} | {seen} | {result} |" for what, bar, seen, result, database in found
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="run only the attacks whose test's name has this")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/api", "-q", "-m", "attack", "-k", chosen.k]
        command += ["-o", "junit_family=xunit1", f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        text = table(rows(report))
    print(text)
    if chosen.write:
        PAGE.write_text(_HEAD + text)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
