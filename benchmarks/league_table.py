"""Write the table of a benchmark into a page of the documentation, from ``table.json``.

Run as ``python -m benchmarks.league_table OUT/table.json docs/league.md``: what stands between the marks
``<!-- table NAME -->`` and ``<!-- end of table -->`` is replaced, NAME being that of the suite. Without a page the
table is printed. ``--short`` makes the one table of the README: families by tasks, the score alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmsynth.report.league import columns_of, ordered
from nmsynth.report.text import number

END = "<!-- end of table -->"


def markdown(table: Mapping[str, Any]) -> str:
    """Tables of all tasks that have results."""
    parts = []
    if not table["ranked"]:
        parts.append("This suite proves plumbing only; no number of it may be quoted.")
    for task in table["tasks"]:
        rows = ordered([r for r in table["rows"] if r["task"] == task["name"]])
        if rows:
            parts.append(_task(task, rows, table))
    return "\n\n".join(parts)


def _task(task: Mapping[str, Any], rows: list[Mapping[str, Any]], table: Mapping[str, Any]) -> str:
    """One table with its heading and what it says of regions."""
    names = columns_of(task, rows)
    labels = [table["measures"][n]["label"] for n in names]
    aims = "; ".join(f"aim {table['measures'][n]['label']} {number(v)}" for n, v in task["aims"].items())
    head = ["method", "rank", *labels, "to the best baseline", "converged", "CPU min", "parameters"]
    heading = (
        f"**{task['title'] or task['name']}** ({_unit(task)}, {task['n_patients']} patients, {task['n_runs']} of "
        f"{task['n_runs_planned']} runs{_left_out(task)}{', ' + aims if aims else ''})\n"
    )
    lines = []
    for row in rows:
        converged = {True: "yes", False: "no", None: "–"}[row["converged"]]
        cells = [
            row["method"] + (" (baseline)" if row["kind"] == "baseline" else ""),
            str(row["rank"] or row["not_ranked"]),
            *(_cell(row["metrics"].get(name)) for name in names),
            _cell(row["to_baseline"]),
            converged,
            number(row["cpu_minutes"]),
            number(row["parameters"]) if row["parameters"] else "–",
        ]
        lines.append(cells)
    verdict = "\n\n" + task["region_verdict"] if task["region_verdict"] and table["ranked"] else ""
    return f"{heading}\n{_piped(head, lines)}{verdict}"


def _left_out(task: Mapping[str, Any]) -> str:
    """Runs that are done and not in the table."""
    n = task.get("n_runs_left_out", 0)
    return f", {n} more of folds that not all methods have" if n else ""


def short(table: Mapping[str, Any]) -> str:
    """One table of all families: the score on each task, and the paired difference to its best baseline."""
    tasks = [t for t in table["tasks"] if any(r["task"] == t["name"] and r["to_baseline"] for r in table["rows"])]
    found = {(r["task"], r["method"]): r for r in table["rows"] if r["kind"] == "model" and r["to_baseline"]}
    methods = list(dict.fromkeys(method for _, method in found))
    head, notes = ["family"], []
    for task in tasks:
        label = table["measures"][task["score"]]["label"]
        rival = next(r["to_baseline"]["to"] for (name, _), r in found.items() if name == task["name"])
        head += [f"{task['name']}: {label} [{_unit(task)}]", f"minus {rival}"]
        notes.append(
            f"{task['name']}: {task['n_patients']} patients, {task['n_runs']} of {task['n_runs_planned']} runs"
            f"{_left_out(task)}"
        )
    lines = []
    for method in methods:
        cells = [method]
        for task in tasks:
            row = found.get((task["name"], method))
            mark = "" if row is None or row["converged"] else " †"
            cells += [_cell(row and row["metrics"][task["score"]]) + mark, _cell(row and row["to_baseline"])]
        lines.append(cells)
    return f"{_piped(head, lines)}\n\n{'; '.join(notes)}. † still improving when its time was over."


def _unit(task: Mapping[str, Any]) -> str:
    """Unit of a task without its symbol."""
    return str(task["unit"] or "").partition(" [")[0]


def _piped(head: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    rows = ["| " + " | ".join(cells) + " |" for cells in (head, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(head), *rows[1:]])


def _cell(found: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if found is None:
        return "–"
    return f"{number(found['value'])} ({number(found['lower'])} to {number(found['upper'])})"


def insert(page: str, name: str, text: str) -> str:
    """A page with a table between its marks."""
    start = f"<!-- table {name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"The page needs the marks {start} and {END}.")
    return pattern.sub(lambda _: f"{start}\n{text}\n{END}", page)


def main() -> None:
    """Print the table, or put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--short", action="store_true", help="families by tasks, the score alone")
    given = parser.parse_args()
    table = json.loads(given.table.read_text(encoding="utf-8"))
    text = short(table) if given.short else markdown(table)
    if given.page is None:
        print(text)
        return
    page = insert(given.page.read_text(encoding="utf-8"), table["suite"]["name"], text)
    given.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
