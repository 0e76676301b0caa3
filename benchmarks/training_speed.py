"""Steps a second of nmsynth's training against a bare PyTorch loop of the same network, and the time spent waiting.

    python -m benchmarks.training_speed --out benchmarks/results/training_speed

Both take turns in one process: some steps of the training, which reads cases from the disk, draws and turns patches,
logs, averages weights and saves; then as many of a bare loop over batches that were drawn before: losses, backward,
clipping, AdamW, nothing else. So what else the machine does meets both; on a busy one the wall clock says little, and
the processor time of the training's thread, in which waiting for data is not contained, says more (with one thread
only). Validation is not counted. The first steps of
each turn are left out, as batches were drawn ahead meanwhile. The interval is a bootstrap over turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import AugmentationPlan, ImagePlan, Plan, SchedulePlan
from nmsynth.core.units import Unit
from nmsynth.data.feed import AHEAD
from nmsynth.data.method_patches import MethodBatches
from nmsynth.data.prepared import PreparedCase
from nmsynth.metrics.agreement import cluster_bootstrap
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.training.method_trainer import TrainingOptions, train_method

BAR = 0.95
"""Steps a second of the training over those of the bare loop that the project asks of itself."""
SPEC = MethodSpec(name="unet")
SIZES = {
    "small": {"patch": (16, 32, 32), "channels": (8, 16, 32), "batch": 2, "steps": 14, "turns": 20},
    "as planned for a CPU": {
        "dimensions": "2.5d", "context": 5, "patch": (1, 64, 64), "channels": (16, 32, 64, 128), "batch": 8,
        "steps": 14, "turns": 20,
    },
    "3D patches": {"patch": (32, 64, 64), "channels": (16, 32, 64, 128), "batch": 2, "steps": 7, "turns": 8},
}  # fmt: skip


Times = tuple[float, float]
"""Wall clock, and processor time of this thread, which other programs do not slow [s]."""


def clocks() -> Times:
    """Now."""
    return time.perf_counter(), time.thread_time()


def since(started: Times) -> Times:
    """Times since then."""
    wall, processor = clocks()
    return wall - started[0], processor - started[1]


@dataclass
class Turns:
    """Times of the training's steps and of the bare loop's, turn by turn."""

    plan: Plan
    cases: list[PreparedCase]
    steps: int
    """Of a turn."""
    trained: list[list[Times]] = field(default_factory=lambda: [[]])
    bare: list[list[Times]] = field(default_factory=list)
    last: Times | None = None

    def __post_init__(self) -> None:
        torch.manual_seed(1)
        self.method = build_method(SPEC, self.plan)
        if self.plan.spatial_dims == 3:
            self.method.to(memory_format=torch.channels_last_3d)
        self.optimiser = torch.optim.AdamW(self.method.parameters(), lr=1e-3)
        batches = MethodBatches(self.cases, self.plan)
        self.batches = [batches.draw(k) for k in range(4)]

    def told(self, stage: str, share: float) -> None:
        """After a step of the training: its time, and at the end of its turn the bare loop's."""
        del stage, share
        if self.last is not None:
            self.trained[-1].append(since(self.last))
        if len(self.trained[-1]) == self.steps:
            self.bare.append([self.bare_step(k) for k in range(self.steps)])
            self.trained.append([])
        self.last = clocks()

    def bare_step(self, number: int) -> Times:
        """A step of the bare loop [s]."""
        started = clocks()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.method.losses(self.batches[number % len(self.batches)], "network", "main")["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.method.parameters(), 1.0)
        self.optimiser.step()
        return since(started)


def plan_of(size: dict[str, Any]) -> Plan:
    """A plan of low-count PET without validation."""
    pet = Normalisation(kind="linear", scale=10.0)
    images = [ImagePlan(name=n, modality="PT", unit=Unit.SUV_BODY_WEIGHT, normalisation=pet) for n in ("pet", "target")]
    n_steps = size["turns"] * size["steps"] + 1
    return Plan(
        task="pet-to-pet",
        sources=(images[0],),
        target=images[1],
        residual=True,
        spacing_mm=(3.27, 4.0, 4.0),
        dimensions=size.get("dimensions", "3d"),
        context=size.get("context", 1),
        patch=size["patch"],
        channels=size["channels"],
        augmentation=AugmentationPlan(rotation_degrees=10.0, zoom=0.05),
        schedule=SchedulePlan(
            steps=n_steps, batch=size["batch"], validate_every=n_steps + 1, warmup=1, validation_cases=1
        ),
    )


def make_cases(folder: Path, n_cases: int = 4) -> list[PreparedCase]:
    """Whole-body cases on the disk, memory-mapped as prepared ones are."""
    cases = []
    for k in range(n_cases):
        rng = np.random.default_rng(k)
        shape = (40, 48, 48) if k == n_cases - 1 else (200, 128, 128)  # the last one is for the validation at the end
        layers = rng.random((4, *shape), dtype=np.float32)
        layers[2], layers[3] = 1.0, 0.0
        layers[3, 10:14, 10:14, 10:14] = 1.0
        np.save(folder / f"{k}.npy", layers)
        record = {
            "spacing_mm": [3.27, 4.0, 4.0],
            "target_normalisation": {"kind": "linear", "offset": 0.0, "scale": 10.0},
        }
        opened = np.load(folder / f"{k}.npy", mmap_mode="r")
        cases.append(PreparedCase(f"c{k}", f"s{k}", "train", opened, (((0,), ()),), record))
    return cases


def _speed(turns: np.ndarray) -> float:
    """Speed of the training over the bare loop's by the wall clock; shape ``(turn, trained or bare, clock)``."""
    trained, bare = turns[:, :, 0].sum(axis=0).tolist()
    return float(bare / trained)


def measure(name: str, workers: int, threads: int) -> dict[str, Any]:
    """One training and its bare loop, by turns; fewer with processes that draw."""
    size = SIZES[name] | ({"turns": 8} if workers else {})
    plan = plan_of(size)
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        torch.set_num_threads(threads)
        turns = Turns(plan, cases, size["steps"])
        options = TrainingOptions(workers=workers, threads=threads, device="cpu", progress=turns.told)
        began = os.times()
        train_method(SPEC, plan, cases[:-1], cases[-1:], Path(folder) / "run", options=options)
        ended = os.times()
        log = (Path(folder) / "run" / "0-main" / "train.csv").read_text().splitlines()
    kept = slice(AHEAD + 1, None)
    pairs = [
        tuple(np.sum(times[kept], axis=0) for times in turn) for turn in zip(turns.trained, turns.bare, strict=False)
    ]
    n_kept = size["steps"] - AHEAD - 1
    (trained, trained_cpu), (bare, bare_cpu) = (sum(p[k] for p in pairs).tolist() for k in (0, 1))
    interval = cluster_bootstrap([np.array([pair]) for pair in pairs], statistic=_speed)
    waiting = float(dict(zip(log[0].split(","), log[-1].split(","), strict=True))["waiting"])
    return {
        "network": name,
        "patch": list(plan.patch),
        "channels": list(plan.channels),
        "workers": workers,
        "threads": threads,
        "turns": len(pairs),
        "steps_per_second": round(n_kept * len(pairs) / trained, 3),
        "bare_steps_per_second": round(n_kept * len(pairs) / bare, 3),
        "ratio": round(bare / trained, 3),
        "ratio_interval": [round(bound, 3) for bound in (interval.lower, interval.upper)] if interval else None,
        "ratio_of_each_turn": [round(b[0] / a[0], 3) for a, b in pairs],
        "median_ratio": round(statistics.median(b[0] / a[0] for a, b in pairs), 3),
        "processor_ratio": round(bare_cpu / trained_cpu, 3),
        "processor_ratio_of_each_turn": [round(b[1] / a[1], 3) for a, b in pairs],
        "share_waiting_for_data": round(waiting, 4),
        "cpu_seconds": round(ended.user + ended.system - began.user - began.system, 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training_speed"))
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--quick", action="store_true", help="The small network only.")
    arguments = parser.parse_args()
    rows = []
    loads = [os.getloadavg()[0]]
    runs = [("small", 0), ("small", 1), ("small", 2)]
    runs += [] if arguments.quick else [("as planned for a CPU", 0), ("3D patches", 0)]
    for name, workers in runs:
        rows.append(measure(name, workers, arguments.threads))
        print(json.dumps(rows[-1]), flush=True)
        loads.append(os.getloadavg()[0])
    result = {
        "schema_version": 1,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "torch": torch.__version__,
        "load_average": [round(load, 1) for load in loads],
        "bar": BAR,
        "runs": rows,
        "met_by_wall_clock": all(row["ratio"] >= BAR for row in rows if row["workers"] == 0),
        "met_by_processor_time": all(row["processor_ratio"] >= BAR for row in rows if row["workers"] == 0),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
