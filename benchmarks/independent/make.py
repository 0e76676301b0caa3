"""Make the independent test set: ``python -m benchmarks.independent.make OUT --patients 12 --realisations 1``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from benchmarks.independent.case import liver_cov, load_case, make_case, save_case

FIRST_SEED = 7100
"""Seed of the first patient; the others follow it."""


def main() -> None:
    """Make the patients that are not there yet, print the liver's noise of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the cases; complete ones are left as they are")
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--lesion-free", type=int, default=2, help="how many of them, the last ones, have no lesions")
    parser.add_argument("--realisations", type=int, default=1)
    parser.add_argument("--slices", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index in range(arguments.patients):
        with_lesions = index < arguments.patients - arguments.lesion_free
        seed = FIRST_SEED + index
        path = arguments.out / f"independent-{seed:04d}{'' if with_lesions else '-free'}.npz"
        start = time.monotonic()
        enough = False
        if path.exists():
            case = load_case(path)
            enough = min(map(len, case.scans.values())) >= arguments.realisations
        if not enough:
            case = make_case(
                seed, n_realisations=arguments.realisations, n_slices=arguments.slices, lesions=with_lesions
            )
            save_case(case, path)
        levels = {1.0: case.full} | {fraction: images[0] for fraction, images in case.scans.items()}
        noise = " ".join(f"{fraction:g}:{100 * liver_cov(case, image):.1f}%" for fraction, image in levels.items())
        print(
            f"[{index + 1}/{arguments.patients}] {case.case_id} lesions {len(case.lesions)} liver COV {noise} "
            f"({time.monotonic() - start:.0f} s{', kept' if enough else ''})",
            flush=True,
        )


if __name__ == "__main__":
    main()
