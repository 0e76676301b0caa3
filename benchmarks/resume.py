"""Whether every family, trained by one command and killed, goes on to the losses and weights of one left alone.

    python -m benchmarks.resume --dataset sts=FOLDER --dataset lowcount=FOLDER --out benchmarks/results/resume

Each family trains some steps on each dataset (``nmsynth train FAMILY --data FOLDER``), once to its end and once killed
by SIGKILL after its first checkpoint, twice, at random moments, and started again by the same command. Compared are all
columns of ``train.csv`` and ``validation.csv`` but times, as written (nine digits), and the weights of the package, bit
by bit. Trainings are far too short to be of use. What the folder holds already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.models.methods import METHODS

SETTINGS = {
    "patch": "[16,32,32]",
    "channels": "[8,16,32]",
    "schedule.steps": "60",
    "schedule.validate_every": "15",
    "schedule.validation_cases": "1",
    "schedule.batch": "1",
}
TIMES = ("seconds", "waiting")
"""Columns that no two trainings share."""
KILLS = 2
ATTEMPTS = 4
"""Further tries where a training ended before it was killed."""
LONGEST_S = 1800.0


def command(family: str, dataset: Path, out: Path) -> list[str]:
    """The one command."""
    words = [sys.executable, "-m", "nmsynth", "-q", "train", family, "--data", str(dataset), "--output", str(out)]
    words += ["--device", "cpu", "--threads", "1"]
    for key, value in SETTINGS.items():
        words += ["--set", f"{key}={value}"]
    return words


def trained(words: list[str]) -> float:
    """Seconds that a training took that was left alone."""
    began = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=LONGEST_S)
    return time.monotonic() - began


def killed(words: list[str], out: Path, wait_s: float) -> bool:
    """Start a training, kill it some time after it has a checkpoint; whether it was still alive then."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + LONGEST_S
    while child.poll() is None and not list(out.rglob("last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        child.wait(wait_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return True
    return False


def curves(out: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of every stage's logs without times."""
    found = {}
    for path in sorted([*out.rglob("train.csv"), *out.rglob("validation.csv")]):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]
        found[f"{path.parent.name}/{path.name}"] = rows
    return found


def weights_hash(out: Path) -> str:
    """Of the package's weights."""
    (path,) = out.rglob("weights.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compare(family: str, dataset: Path, folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    """One family on one dataset."""
    alone, broken = folder / "alone", folder / "broken"
    seconds = took = trained(command(family, dataset, alone))
    words = command(family, dataset, broken)
    kills = [killed(words, broken, float(rng.uniform(0.02, 0.4)) * took) for _ in range(KILLS)]
    for _ in range(ATTEMPTS):
        if any(kills):
            break
        # it had ended before it was killed, on a machine that had become faster
        shutil.rmtree(broken)
        took /= 2
        kills = [killed(words, broken, float(rng.uniform(0.02, 0.4)) * took) for _ in range(KILLS)]
    done = [max((int(r["step"]) for r in rows), default=0) for name, rows in curves(broken).items() if "train" in name]
    trained(words)
    one, other = curves(alone), curves(broken)
    return {
        "family": family,
        "kills": sum(kills),
        "logged_when_killed": sum(done),
        "rows": sum(len(rows) for rows in one.values()),
        "same_curves": one == other,
        "same_weights": weights_hash(alone) == weights_hash(broken),
        "seconds_alone": round(seconds, 1),
    }


def main() -> None:
    """Compare every family on every dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--families", nargs="+", default=tuple(METHODS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rng = np.random.default_rng()
    path = given.out / "results.json"
    given.out.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = [row for row in found["rows"] if row["kills"]] if found.get("settings") == SETTINGS else []
    done = {(row["dataset"], row["family"]) for row in rows}
    for text in given.dataset:
        name, _, folder = text.partition("=")
        for family in given.families:
            if (name, family) in done:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                row = {"dataset": name, **compare(family, Path(folder).resolve(), Path(scratch), rng)}
            rows.append(row)
            print(json.dumps(row), flush=True)
            results = {"schema_version": 1, "settings": SETTINGS, "rows": rows}
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not all(row["same_curves"] and row["same_weights"] and row["kills"] for row in rows):
        sys.exit("Some trainings did not go on as they would have.")


if __name__ == "__main__":
    main()
