"""``nmsynth benchmark``: every family beside the classical baselines, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import Terminal, terminal_of
from nmsynth.core.errors import InputError


def benchmark(
    context: typer.Context,
    suite: Annotated[
        str, typer.Option(help="smoke (does everything run), league, sts (the ones to quote), or a TOML file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the benchmark; an interrupted one goes on.")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME=PATH", help="Dataset of a task that does not simulate its own."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results", metavar="<path>", help="Folder of results from other sittings or machines; repeatable."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, one thread each.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    background: Annotated[
        bool, typer.Option("--background", help="Go on without the terminal; OUT has a log.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Tell what is done and left, and stop.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Write the table of what is done, and stop.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run the methods of a suite on its tasks, and write table.json, CSV and index.html.

    Runs that are done are kept; an interrupted one goes on. Only converged trainings are ranked.
    """
    from nmsynth.workflows.benchmark import benchmark_status, run_benchmark, start_in_background, write_tables
    from nmsynth.workflows.benchmark_suite import load_suite

    terminal = terminal_of(context)
    if background + status + table > 1:
        raise InputError("--background, --status and --table exclude each other. Give one.")
    loaded = load_suite(suite)
    known = results or []
    if status:
        _print_status(terminal, benchmark_status(loaded, out, known), as_json=as_json)
        return
    if background:
        words = ["benchmark", "--suite", suite, "--out", str(out), "--jobs", str(jobs), "--device", device]
        words += [word for entry in data or () for word in ("--data", entry)]
        words += [word for entry in known for word in ("--results", str(entry))]
        pid = start_in_background(words, out)
        terminal.print_line(
            f"Working in the background as process {pid}; the same command with --status tells how far."
        )
        return
    if table:
        made = write_tables(loaded, out, known)
    else:
        made = run_benchmark(
            loaded,
            out,
            data=options.named_paths(data, option="--data"),
            results=known,
            jobs=jobs,
            device=device,
            progress=terminal.progress_lines(),
        )
    if as_json:
        terminal.print_json(made)
        return
    _print_table(terminal, made)
    terminal.print_line(f"Wrote {out / 'index.html'}, table.json, table.csv, runs.csv, patients.csv")


def _print_status(terminal: Terminal, status: dict[str, Any], *, as_json: bool) -> None:
    """Counts, and the runs that are not done."""
    if as_json:
        terminal.print_json(status)
        return
    counts = ", ".join(f"{n} {state}" for state, n in sorted(status["counts"].items()))
    at_work = "a process works on it" if status["working"] else "no process works on it"
    terminal.print_line(f"{status['suite']}: {counts}; {at_work}")
    open_runs = [r for r in status["runs"] if r["state"] not in ("done", "left")]
    if open_runs:
        shown = ("task", "method", "fold", "seed", "state")
        terminal.print_table(
            (*shown, "share", "CPU min", "reason"),
            [
                (*(r[name] for name in shown), f"{r['share']:.0%}", r["cpu_minutes"], r["reason"]) for r in open_runs
            ],
        )  # fmt: skip


def _print_table(terminal: Terminal, table: dict[str, Any]) -> None:
    """The main columns of each task; nothing that looks like a ranking where there is none."""
    from nmsynth.report.league import ordered

    for task in table["tasks"]:
        rows = [r for r in table["rows"] if r["task"] == task["name"]]
        if not rows:
            terminal.print_line(f"{task['name']}: no run is done")
            continue
        if not table["ranked"]:
            done = ", ".join(r["method"] for r in rows)
            terminal.print_line(f"{task['name']}: ran {done} (plumbing only: no ranking)")
            continue
        lines = []
        for row in ordered(rows):
            score, difference = row["metrics"].get(task["score"]), row["to_baseline"]
            lines.append((
                row["method"],
                row["rank"] if row["rank"] else f"not ranked: {row['not_ranked']}",
                _interval(score),
                score["median"] if score else None,
                _interval(difference),
                {True: "yes", False: "no", None: "-"}[row["converged"]],
                round(row["cpu_minutes"], 1),
            ))  # fmt: skip
        unit = task["unit"].partition(" [")[0]
        title = f"{task['name']}: {task['score']} in {unit}, {task['n_patients']} patients"
        terminal.print_table(
            ("method", "rank", "mean (95 %)", "median", "to the best baseline", "converged", "CPU min"),
            lines,
            title=title,
        )
        if task["region_verdict"]:
            terminal.print_line(task["region_verdict"])
    for run in table["failed"]:
        terminal.print_line(f"failed: {run['method']} on {run['task']}, fold {run['fold']}: {run['reason']}")


def _interval(found: dict[str, Any] | None) -> str | None:
    """A value with its interval."""
    return None if found is None else f"{found['value']:.4g} ({found['lower']:.4g} to {found['upper']:.4g})"
