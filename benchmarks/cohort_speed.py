"""Time a cohort of low-count PET: 128 x 128 x 64, full counts and five fractions, written as a dataset.

python -m benchmarks.cohort_speed --subjects 100 --out benchmarks/results/cohort_speed
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset

OVERRIDES = {"simulation.families": {"whole-body": 1}, "simulation.grids": [128], "simulation.planes": 64}


def main() -> None:
    """Simulate, time, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cohort_speed"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "cohort"
        start = time.perf_counter()
        simulate_dataset(
            SimulateCohortSettings(subjects=arguments.subjects), output, overrides=OVERRIDES, workers=arguments.workers
        )
        seconds = time.perf_counter() - start
        size = sum(p.stat().st_size for p in output.rglob("*") if p.is_file())
    result = {
        "schema_version": 1,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "subjects": arguments.subjects,
        "workers": arguments.workers,
        "matrix": "128 x 128 x 64",
        "count_levels": "full and five fractions",
        "seconds": round(seconds, 1),
        "seconds_per_subject": round(seconds / arguments.subjects, 2),
        "seconds_for_100_subjects": round(100 * seconds / arguments.subjects, 1),
        "megabytes_per_subject": round(size / arguments.subjects / 1e6, 1),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
