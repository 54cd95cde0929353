"""What the check foretells of whole runs, against what they took; and the prices of the cost model.

``python -m tests.benchmarks.preflight_times KEPT [SET/QUALITY ...]`` runs the sets that KEPT, a folder,
does not hold yet (none by default), and prints for every run in it the CPU-seconds of each stage, the
seconds, memory and disk: foretold, measured and the ratio. Its prices for a set are fitted without the
runs of that set. ``--fit`` then writes the prices fitted on all runs to recon3d/preflight/cost_model.toml.
Run it again after the cost of a stage has changed, with ``--rerun-from STAGE`` to measure the kept runs
from that stage on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

import recon3d
from recon3d.options import resolve_options
from recon3d.preflight import work
from recon3d.preflight.cost import BESIDE_STAGES, Job, Speed, estimate, expected_counts, stage_work
from recon3d.preflight.examine import look
from recon3d.preflight.history import busy_cores, calibrate, kept_run
from recon3d.preflight.work import Parts, cpu_parts, disk_parts, memory_parts
from recon3d.stage_table import STAGE_NAMES
from tests.benchmarks.sets import DATA

#: Sets by name; `weak_sets` has parts of them.
INPUTS = {
    "berlin": "opensfm_berlin_1600/images",
    "cyprus": "dim_cyprus/images",
    "fountain": "strecha_fountain-P11_1600/images",
    "sceaux": "sceaux_1600/images",
    "coeur": "hloc_sacre_coeur/images",
    "girl": "gt_dancinggirl_photos/images",
    "monstree": "monstree_1600/images",
    "saharov": "saharov32_small/images",
    "temple": "temple47/images",
    "rock": "nlesc_rock_1600/images",
    "bust": "gt_bust_video/video.mp4",
    "karma": "video_gopro/karma.mp4",
    "bic": "video_bic/bic.mov",
}
_PRICES = Path(work.__file__).parent / "cost_model.toml"
_HEAD = """\
# What each part of a stage's work costs; recon3d/preflight/work.py says what the parts are.
# Written by `python -m tests.benchmarks.preflight_times KEPT --fit` from {runs} runs of {sets} sets.

"""
#: A ratio within these bounds is right.
_RIGHT = 1.5
#: Fewer busy cores do not count.
_QUIET = 0.5

Prices = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Run:
    """A kept run, with what the check knew before it."""

    set: str
    quality: str
    job: Job
    counts: Mapping[str, float]
    cpu: Mapping[str, float]
    wall: Mapping[str, float]
    memory: Mapping[str, float]
    disk: Mapping[str, float]
    #: Seconds of the whole run, of a piece of fixed work before it, and cores that were busy then.
    seconds: float
    calibration: float
    busy: float
    workers: int


# --- running and reading ----------------------------------------------------------------------------


def run_set(folder: Path, name: str, quality: str, rerun_from: str | None = None) -> None:
    """Run a set to its end, and keep the project and what the machine was like."""
    machine = {"busy": busy_cores(), "calibration": calibrate()}
    project = recon3d.Project.open(folder) if folder.exists() else recon3d.Project.create(folder)
    if not project.inputs:
        project.add(DATA / INPUTS[name])
    started = time.monotonic()
    recon3d.Pipeline(quality, force=True, accept_partial=True).run(project, rerun_from=rerun_from)
    seconds = time.monotonic() - started
    kept = folder / "machine.json"
    if rerun_from is None or not kept.exists():
        manifests, _ = kept_run(folder / "artifacts")
        machine["between"] = seconds - sum(m.seconds for m in manifests.values())
    else:
        machine["between"] = json.loads(kept.read_text())["between"]
    kept.write_text(json.dumps(machine))


def read_run(folder: Path) -> Run | None:
    """Read a kept run; None where it did not end."""
    name, quality = folder.name.rsplit("-", 1)
    if name not in INPUTS or not (folder / "machine.json").exists():
        return None
    manifests, counts = kept_run(folder / "artifacts")
    machine = json.loads((folder / "machine.json").read_text())
    cache = folder / "job.json"
    if not cache.exists():
        given = DATA / INPUTS[name]
        files = sorted(p for p in given.iterdir() if p.is_file()) if given.is_dir() else []
        seen = look(files, [] if files else [given])
        cache.write_text(json.dumps(asdict(seen.job(resolve_options(quality)))))
    job = Job(**json.loads(cache.read_text()))
    # Earlier versions leave their artifacts.
    disk = {
        stage: float(_size(folder / "artifacts" / f"{stage}-{manifest.fingerprint}"))
        for stage, manifest in manifests.items()
    }
    return Run(
        name,
        quality,
        job,
        {**counts, "input_bytes": job.input_bytes, "photo_bytes": job.photo_bytes},
        {stage: m.cpu_seconds for stage, m in manifests.items()},
        {stage: m.seconds for stage, m in manifests.items()},
        {stage: float(m.peak_memory) for stage, m in manifests.items()},
        {**disk, **{part: float(_size(folder / part)) for part in BESIDE_STAGES}},
        sum(m.seconds for m in manifests.values()) + machine["between"],
        machine["calibration"],
        machine["busy"],
        max(m.workers for m in manifests.values()),
    )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


# --- fitting ----------------------------------------------------------------------------------------


def fit(runs: Sequence[Run]) -> Prices:
    """Prices that make the relative errors of the runs least; none is negative."""
    known = work.cost_model()
    prices: Prices = {"cpu": {}, "memory": {}, "disk": {}}
    for s in STAGE_NAMES:
        rows = [(cpu_parts(s, r.counts), r.cpu[s]) for r in runs]
        prices["cpu"][s] = _fit(rows, known["cpu"].get(s, {}), 0.5)
        rows = [(memory_parts(s, r.counts, r.workers), r.memory[s]) for r in runs]
        prices["memory"][s] = _fit([r for r in rows if r[0]], known["memory"].get(s, {}))
    for kept in (*BESIDE_STAGES, *STAGE_NAMES):
        rows = [(disk_parts(kept, r.counts), r.disk[kept]) for r in runs]
        prices["disk"][kept] = _fit(rows, known["disk"].get(kept, {}), 1e5)
    quiet = [r for r in runs if r.busy < _QUIET] or runs
    share = {}
    for stage in STAGE_NAMES:
        # wall = cpu (1 - share + share / workers)
        gains = [(1 - r.wall[stage] / r.cpu[stage]) / (1 - 1 / r.workers) for r in quiet if r.cpu[stage] > 1]
        share[stage] = float(np.clip(np.median(gains), 0, 1)) if gains else 0.0
    between = [r.seconds - sum(r.wall.values()) for r in quiet]
    idle = [r.wall["frame_extraction"] - r.cpu["frame_extraction"] for r in quiet]
    prices["parallel"] = {
        "share": share,
        "start": {
            "seconds": float(np.median(between)) + max(0.0, float(np.median(idle))),
            "calibration": float(np.median([r.calibration for r in runs])),
        },
    }
    depth = [r.counts["points"] / (r.counts["images"] * r.counts["depth_pixels"]) for r in runs]
    found, most = [], []
    for r in runs:
        limit = resolve_options(r.quality)["feature_extraction"].model_dump()["max_features"]
        possible = (
            r.job.features
            / recon3d.preflight.cost.scaled_size(r.job.width, r.job.height, 640)
            * r.counts["feature_pixels"]
        )
        (found if r.counts["features"] < limit else most).append(
            r.counts["features"] / (possible if r.counts["features"] < limit else limit)
        )
    prices["typical"] = {
        "counts": {
            "points": float(np.median(depth)),
            "features": float(np.median(found or [0.75])),
            "most_features": float(np.median(most or [1.1])),
        }
    }
    return prices


def _fit(
    rows: Iterable[tuple[Parts, float]], known: Mapping[str, float], blur: float = 0.0
) -> dict[str, float]:
    """Non-negative least squares of the relative errors; `blur` is an amount that does not matter.

    A part that no run has keeps its known price.
    """
    rows = [(parts, value) for parts, value in rows if value > 0]
    if not rows:
        return dict(known)
    names = [name for name in rows[0][0] if any(parts[name] for parts, _ in rows)]
    weights = np.array([1 / (value + blur) for _, value in rows])
    units = np.array([[parts[name] for name in names] for parts, _ in rows])
    measured = np.array([value for _, value in rows])
    solution, _ = nnls(units * weights[:, None], measured * weights)
    # Least squares of relative errors foretell too little on the whole.
    if (foretold := units @ solution).all():
        solution *= np.median((measured + blur) / (foretold + blur))
    prices = {name: known.get(name, 0.0) for name in rows[0][0]}
    return {**prices, **dict(zip(names, solution.tolist(), strict=True))}


def write_prices(prices: Prices, runs: Sequence[Run]) -> None:
    """Write the table of prices."""
    lines = [_HEAD.format(runs=len(runs), sets=len({r.set for r in runs}))]
    for kind, tables in prices.items():
        for name, values in tables.items():
            if values:
                lines.append(f"[{kind}.{name}]\n")
                lines += [f"{key} = {value:.4g}\n" for key, value in values.items()]
                lines.append("\n")
    _PRICES.write_text("".join(lines).rstrip() + "\n")


# --- showing ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What was foretold of a run by prices that do not know its set, and what it took."""

    run: Run
    cpu: Mapping[str, tuple[float, float]]
    total: tuple[float, float]
    seconds: tuple[float, float]
    memory: tuple[float, float]
    disk: tuple[float, float]


@contextlib.contextmanager
def in_use(prices: Prices) -> Iterator[None]:
    """Foretell by other prices than the installed ones, until the block ends."""
    known = work.cost_model
    work.cost_model = recon3d.preflight.cost.cost_model = lambda: prices  # type: ignore[assignment]
    try:
        yield
    finally:
        work.cost_model = recon3d.preflight.cost.cost_model = known


def speed_of(run: Run, prices: Prices) -> Speed:
    """How fast a run's machine was, by its piece of fixed work."""
    slow = run.calibration / prices["parallel"]["start"]["calibration"]
    busy = run.busy if run.busy > _QUIET else 0
    return Speed(dict.fromkeys(STAGE_NAMES, slow), 1.0, "", slow, busy, os.cpu_count())


def foretell(run: Run, prices: Prices) -> Row:
    """Foretell a run from its inputs alone."""
    with in_use(prices):
        options = resolve_options(run.quality)
        counts = expected_counts(run.job, options)
        made = estimate(run.quality, run.job, options, speed_of(run, prices), run.workers)
        cpu = {stage: (stage_work(stage, counts), run.cpu[stage]) for stage in STAGE_NAMES}
    total = sum(f for f, _ in cpu.values()), sum(m for _, m in cpu.values())
    return Row(
        run,
        cpu,
        total,
        (made.seconds, run.seconds),
        (float(made.memory), max(run.memory.values())),
        (float(made.disk), sum(run.disk.values())),
    )


def _show(rows: Sequence[Row]) -> None:
    print(f"{'run':<18}{'what':<24}{'foretold':>10}{'measured':>10}{'ratio':>7}")
    for row in rows:
        label = f"{row.run.set} {row.run.quality}"
        for stage, pair in row.cpu.items():
            _line(label, f"{stage}, CPU-s", pair)
        _line(label, "all stages, CPU-s", row.total)
        _line(label, f"run, s ({row.run.busy:.1f} cores busy)", row.seconds)
        _line(label, "memory, MB", (row.memory[0] / 1e6, row.memory[1] / 1e6))
        _line(label, "disk, MB", (row.disk[0] / 1e6, row.disk[1] / 1e6))
    print()
    for what, pairs in (
        *((f"{stage}, CPU-s", [row.cpu[stage] for row in rows]) for stage in STAGE_NAMES),
        ("all stages, CPU-s", [row.total for row in rows]),
        ("run, s", [row.seconds for row in rows]),
        ("memory", [row.memory for row in rows]),
        ("disk", [row.disk for row in rows]),
    ):
        ratios = [foretold / measured for foretold, measured in pairs]
        right = sum(1 / _RIGHT <= ratio <= _RIGHT for ratio in ratios)
        print(f"{what:<30}{right} of {len(ratios)} within {_RIGHT}; {min(ratios):.2f} to {max(ratios):.2f}")


def _line(label: str, what: str, pair: tuple[float, float]) -> None:
    print(f"{label:<18}{what:<30}{pair[0]:>8.1f}{pair[1]:>10.1f}{pair[0] / pair[1]:>7.2f}")


def main() -> None:
    """Run, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET/QUALITY")
    parser.add_argument("--rerun-from", choices=STAGE_NAMES)
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    for wanted in given.sets:
        name, quality = wanted.split("/")
        folder = given.kept / f"{name}-{quality}"
        if given.rerun_from or not (folder / "machine.json").exists():
            run_set(folder, name, quality, given.rerun_from)
            print(f"{wanted} ran", file=sys.stderr, flush=True)
    runs = [run for path in sorted(given.kept.iterdir()) if (run := read_run(path)) is not None]
    if len({run.set for run in runs}) < 3:
        raise SystemExit("Three sets are needed to fit prices.")
    rows = [foretell(run, fit([other for other in runs if other.set != run.set])) for run in runs]
    _show(rows)
    if given.fit:
        prices = fit(runs)
        logs = sorted(abs(np.log(row.seconds[0] / row.seconds[1])) for row in rows)
        two_of_three = float(np.exp(logs[min(len(logs) - 1, int(np.ceil(2 * len(logs) / 3)))]))
        prices["typical"]["errors"] = {
            # On other machines and inputs than the reference sets, more is to be expected.
            "calibrated": max(2.0, round(1.25 * two_of_three, 2)),
            "kept_runs": max(1.25, round(two_of_three, 2)),
            "few_stages": max(1.5, round(1.15 * two_of_three, 2)),
        }
        write_prices(prices, runs)
        print(f"Wrote {_PRICES}.")


if __name__ == "__main__":
    main()
