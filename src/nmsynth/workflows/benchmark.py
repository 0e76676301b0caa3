"""``nmsynth benchmark``: methods x tasks x folds x seeds beside the baselines, resumable, and the table of it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth import __version__
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.core.replacement import replace_text
from nmsynth.workflows.benchmark_meter import read_status
from nmsynth.workflows.benchmark_run import RESULT, RunJob, measure_speed, method_plan, run_one
from nmsynth.workflows.benchmark_suite import RunSpec, Suite, runs_of, settings_digest
from nmsynth.workflows.jobs import run_jobs

if TYPE_CHECKING:
    from nmsynth.evaluation.league import RunResult
    from nmsynth.workflows.benchmark_data import TaskFolder

RECORD = "benchmark.json"
"""The suite as it was resolved."""
LOG, PID = "benchmark.log", "benchmark.pid"
"""Of a benchmark in the background."""
MERGED = "results"
"""Folder of the results alone, one small file a run: what is kept, committed and given to ``--results``."""

Key = tuple[str, str, int, int]


def run_benchmark(
    suite: Suite,
    output: Path,
    *,
    data: Mapping[str, Path] | None = None,
    results: Sequence[Path] = (),
    jobs: int = 1,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run what is left of a suite, and write the table; interrupted, the same call goes on where it stopped.

    Parameters
    ----------
    suite
        Which methods, tasks, folds, seeds, and how long.
    output
        Gets ``data``, ``tasks``, ``runs``, ``results`` and the table.
    data
        Datasets that the suite asks for, by name; tasks without theirs are left out.
    results
        Folders of results from other sittings or machines; their runs are not repeated.
    jobs
        Runs at once, one thread each.
    device
        ``cpu``, ``cuda`` or ``auto``.

    Returns
    -------
        What ``table.json`` holds.

    Raises
    ------
    InputError
        If the output holds another suite, another process works on it, or no task has data.
    """
    from nmsynth.inference.backend import resolve_device

    output = Path(output)
    _claim(suite, output)
    with _alone(output):
        done = known_results(suite, output, results)
        left = [run for run in runs_of(suite) if run.key not in done]
        inputs = _inputs(suite, output, data or {}, left, jobs, part_of(progress, 0.0, 0.1), any_done=bool(done))
        todo = [
            RunJob(suite, run, inputs[run.task.name], output, resolve_device(device).partition(":")[0])
            for run in left
            if run.task.name in inputs
        ]
        _prepare(todo, part_of(progress, 0.1, 0.2))
        run_jobs(run_one, todo, workers=jobs, stage="running", done=len(done), progress=part_of(progress, 0.2, 1.0))
        return write_tables(suite, output, results)


def known_results(suite: Suite, output: Path, others: Sequence[Path] = ()) -> dict[Key, RunResult]:
    """Results of the runs of a suite that are done, here or elsewhere.

    Parameters
    ----------
    suite
        Results of other settings than the suite's are not taken.
    output
        Of the benchmark.
    others
        Folders with results of other sittings or machines, at any depth.

    Raises
    ------
    InputError
        If a folder is not there.
    """
    wanted = {run.key: settings_digest(suite, run) for run in runs_of(suite)}
    found: dict[Key, RunResult] = {}
    for folder in others:
        if not folder.is_dir():
            raise InputError(f"--results takes a folder of results; '{folder.name}' is none. Give another.")
        for path in sorted(folder.rglob("*.json")):
            result = _read_result(path)
            if result is not None and wanted.get(result.key) == result.settings_sha256:
                found[result.key] = result
    for run in runs_of(suite):
        result = _read_result(output / run.folder / RESULT)
        if result is not None and wanted[run.key] == result.settings_sha256:
            found[run.key] = result
    return found


def benchmark_status(suite: Suite, output: Path, results: Sequence[Path] = ()) -> dict[str, Any]:
    """What is done and what is left of a benchmark, without touching it; JSON values."""
    done = known_results(suite, output, results)
    runs: list[dict[str, Any]] = []
    for run in runs_of(suite):
        status = read_status(output / run.folder)
        state = "done" if run.key in done else status.get("state", "left")
        if state == "done" and run.key not in done:
            state = "left"
        task, method, fold, seed = run.key
        share = 1.0 if state == "done" else float(status.get("share", 0.0))
        runs.append({
            "task": task, "method": method, "fold": fold, "seed": seed, "state": state, "share": share,
            "cpu_minutes": round(float(status.get("cpu_s", 0.0)) / 60, 2), "reason": status.get("reason"),
        })  # fmt: skip
    alive = _alive(output)
    if not alive:
        for entry in runs:
            entry["state"] = "interrupted" if entry["state"] == "running" else entry["state"]
    counts: dict[str, int] = {}
    for entry in runs:
        counts[entry["state"]] = counts.get(entry["state"], 0) + 1
    return {"schema_version": 1, "suite": suite.name, "working": alive, "counts": counts, "runs": runs}


def start_in_background(words: Sequence[str], output: Path) -> int:
    """Start ``nmsynth benchmark`` as a process that outlives the terminal, and return its number.

    Parameters
    ----------
    words
        Of the command, without ``--background``.
    output
        Gets ``benchmark.log``.

    Raises
    ------
    InputError
        If a process works on the output already.
    """
    output.mkdir(parents=True, exist_ok=True)
    _refuse_second(output)
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    with (output / LOG).open("a", encoding="utf-8") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "nmsynth", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **apart
        )
    (output / PID).write_text(f"{started.pid}\n", encoding="utf-8")
    started.returncode = 0  # it outlives this process, which shall not warn that nobody waits for it
    return started.pid


def write_tables(suite: Suite, output: Path, results: Sequence[Path] = ()) -> dict[str, Any]:
    """Write ``table.json``, ``table.csv``, ``runs.csv``, ``patients.csv``, ``index.html`` and the results alone."""
    from nmsynth.evaluation.league_table import league_table
    from nmsynth.report.league import write_league_page

    output.mkdir(parents=True, exist_ok=True)
    done = known_results(suite, output, results)
    tasks = [
        {"name": t.name, "title": t.title, "score": t.score, "aims": t.aims, "data": t.data.simulate or "given"}
        for t in suite.tasks
    ]
    planned: dict[tuple[str, str], int] = {}
    for run in runs_of(suite):
        planned[run.task.name, run.method.name] = planned.get((run.task.name, run.method.name), 0) + 1
    facts = suite.model_dump(mode="json", exclude={"tasks", "methods", "schema_version"})
    status = benchmark_status(suite, output, results)
    table = league_table(
        list(done.values()),
        tasks=tasks,
        planned=planned,
        suite={**facts, "version": __version__},
        failed=[r for r in status["runs"] if r["state"] == "failed"],
        rank=suite.purpose == "quoted",
        n_bootstrap=suite.bootstrap,
    )
    _keep_results(output, done)
    replace_text(output / "table.json", json.dumps(table, indent=1, allow_nan=False) + "\n")
    _write_csvs(output, table, done.values())
    examples = {
        run.key[:2]: output / run.folder / "example.npz"
        for run in reversed(runs_of(suite))
        if (output / run.folder / "example.npz").is_file()
    }
    write_league_page(output / "index.html", table, examples)
    return table


def _inputs(
    suite: Suite,
    output: Path,
    data: Mapping[str, Path],
    left: Sequence[RunSpec],
    jobs: int,
    progress: Progress,
    *,
    any_done: bool,
) -> dict[str, TaskFolder]:
    """The data of the tasks that have runs left; refused where there is none at all, and nothing done."""
    from nmsynth.workflows.benchmark_data import task_folders

    tasks = list(dict.fromkeys(run.task.name for run in left))
    found = task_folders(suite, output, data, tasks=tasks, workers=jobs, progress=progress)
    if tasks and not found and not any_done:
        wanted = ", ".join(dict.fromkeys(t.data.given for t in suite.tasks))
        raise InputError(f"The suite '{suite.name}' needs data; none is given. Pass --data NAME=PATH of: {wanted}.")
    return found


def _prepare(todo: Sequence[RunJob], progress: Progress) -> None:
    """Read every recipe before the first run, prepare what its plan wants, and time each method where that is asked."""
    first = {job.run.key[:2]: job for job in reversed(todo) if job.run.kind == "model"}
    for number, job in enumerate(first.values()):
        _, plan = method_plan(job)
        job.inputs.prepared(plan, workers=None, renew=True)
        told = "preparing" if job.suite.steps is not None else "timing"
        progress(f"{told} {job.run.method.name} on {job.run.task.name}", number / len(first))
        measure_speed(job)


def _claim(suite: Suite, output: Path) -> None:
    """Write the suite, or refuse a folder that holds runs of other settings."""
    if output.exists() and not output.is_dir():
        raise InputError(f"The output of a benchmark is a folder; '{output.name}' is a file. Choose another.")
    path = output / RECORD
    record = {"schema_version": 1, "suite": suite.model_dump(mode="json")}
    if path.is_file():
        before = Suite.model_validate(json.loads(path.read_text(encoding="utf-8"))["suite"])
        if not _same_settings(before, suite):
            raise InputError(
                f"A benchmark's folder belongs to one suite; '{output.name}' holds runs of other settings. Choose "
                "another output, or give the suite as it was."
            )
    elif output.is_dir() and any(p.name not in (LOG, PID) for p in output.iterdir()):
        raise InputError(f"Only a benchmark is gone on with; '{output.name}' holds other files. Choose another output.")
    output.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(record, indent=1) + "\n")


def _same_settings(before: Suite, now: Suite) -> bool:
    """Whether runs of one suite may stand beside runs of the other; methods, tasks, folds and seeds may be added."""
    ignored = {"title", "aims", "score", "baselines"}
    known = {t.name: t.model_dump(exclude=ignored) for t in before.tasks}
    spent = {"name", "folds", "steps", "cpu_minutes", "gpu_minutes", "validations", "samples"}
    same = before.model_dump(include=spent) == now.model_dump(include=spent)
    return same and all(
        known.get(t.name, t.model_dump(exclude=ignored)) == t.model_dump(exclude=ignored) for t in now.tasks
    )


class _alone:
    """While it lasts no other process works on an output."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def __enter__(self) -> None:
        """Refuse a second process, and say that this one works."""
        _refuse_second(self._output)
        (self._output / PID).write_text(f"{os.getpid()}\n", encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        """Say that none works."""
        (self._output / PID).unlink(missing_ok=True)


def _refuse_second(output: Path) -> None:
    """Refuse to work where another process does."""
    if _alive(output):
        raise InputError(
            f"One process works on a benchmark; '{output.name}' has one. Wait for it, or stop it; --status tells "
            "how far it is."
        )


def _alive(output: Path) -> bool:
    """Whether another process works on an output."""
    path = output / PID
    try:
        pid = int(path.read_text(encoding="utf-8"))
        if pid == os.getpid():
            return False
        if sys.platform == "win32":
            return (
                str(pid)
                in subprocess.run(
                    ["tasklist", "/FI", f"PID eq {pid}"], capture_output=True, text=True, check=False
                ).stdout
            )
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True


def _read_result(path: Path) -> RunResult | None:
    """A result, or ``None`` where the file is none."""
    from pydantic import ValidationError

    from nmsynth.evaluation.league import RunResult

    if not path.is_file():
        return None
    try:
        return RunResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        return None


def _keep_results(output: Path, done: Mapping[Key, RunResult]) -> None:
    """The results alone, a file each."""
    folder = output / MERGED
    folder.mkdir(parents=True, exist_ok=True)
    for (task, method, fold, seed), result in done.items():
        path = folder / f"{task}--{method}--fold-{fold}-seed-{seed}.json"
        if not path.is_file():
            replace_text(path, json.dumps(result.model_dump(mode="json"), allow_nan=False) + "\n")


def _write_csvs(output: Path, table: Mapping[str, Any], results: Iterable[RunResult]) -> None:
    """Rows, runs and patients as tables."""
    from nmsynth.evaluation.league_table import flat_patients, flat_row, flat_run

    results = list(results)
    for name, rows in (
        ("table.csv", [flat_row(row) for row in table["rows"]]),
        ("runs.csv", [flat_run(result) for result in results]),
        ("patients.csv", [line for result in results for line in flat_patients(result)]),
    ):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        temporary = output / f".{name}"
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        temporary.replace(output / name)
