"""What simulated perfusion studies show of their truth, by segment.

    python -m benchmarks.heart_perfusion --out benchmarks/results/heart_perfusion --subjects 8

For each subject: a heart without defects with and without attenuation correction, with three times the abdominal
activity, and with a defect in the mid anterior and one in the mid inferior segment. The default protocol, noise-free
reconstruction with imperfect knowledge of resolution, scatter and attenuation; and a scan at full and 1/8 counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.data.spect_scan import ScannedSpect
from nmsynth.workflows.heart_simulation import DefectSettings, HeartStudy
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, scan_spect_study
from nmsynth.workflows.spect_subject import spect_subject

WALLS = {"anterior": (1, 7, 13), "septal": (2, 3, 8, 9, 14), "inferior": (4, 10, 15), "lateral": (5, 6, 11, 12, 16)}
EXTENT_DEG = 80.0
SEVERITY = 0.6


def settings_of(seed: int, *, corrected: bool = True, **heart: Any) -> SimulateSpectSettings:
    """A study of one subject."""
    return SimulateSpectSettings(
        phantom="heart",
        seed=seed,
        attenuation_correction=corrected,
        count_fraction=0.125,
        heart=HeartStudy(**({"n_defects": 0} | heart)),
    )


def study_of(seed: int, **settings: Any) -> ScannedSpect:
    """A scan of one subject."""
    return scan_spect_study(settings_of(seed, **settings))


def true_uptake(settings: SimulateSpectSettings, segment: int) -> float:
    """True uptake of a segment relative to normal."""
    return float(spect_subject(settings).facts["heart"]["segments"][segment - 1]["relative_uptake"])


def segment_means(image: npt.NDArray[np.float32], segments: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean of each of 17 segments."""
    return np.array([image[segments == n].mean() for n in range(1, 18)])


def walls(means: npt.NDArray[np.float64]) -> dict[str, float]:
    """Mean of each wall over the mean of all."""
    return {w: float(np.mean([means[n - 1] for n in numbers]) / means.mean()) for w, numbers in WALLS.items()}


def measured(seed: int) -> dict[str, Any]:
    """All numbers of one subject."""
    healthy = study_of(seed)
    segments = healthy.segment_labels
    if segments is None:
        raise RuntimeError("A heart has segments; the study has none.")
    wall = segments > 0
    plain = segment_means(np.asarray(healthy.noise_free.array), segments)
    found: dict[str, Any] = {
        "seed": seed,
        "sex": healthy.noise_free.acquisition.sex,
        "counts": healthy.facts["counts"][0],
        "recovery": float(plain.mean() / segment_means(np.asarray(healthy.truth.array), segments).mean()),
        "corrected": walls(plain),
        "uncorrected": walls(segment_means(np.asarray(study_of(seed, corrected=False).noise_free.array), segments)),
        "abdominal": walls(
            segment_means(np.asarray(study_of(seed, abdominal_activity=3.0).noise_free.array), segments)
        ),
        "noise": [
            float(
                np.std((np.asarray(s.array) - np.asarray(healthy.noise_free.array))[wall])
                / np.asarray(healthy.noise_free.array)[wall].mean()
            )
            for s in healthy.scans
        ],
    }
    for segment in (7, 10):
        defect = DefectSettings(segment=segment, severity=SEVERITY, extent_deg=EXTENT_DEG)
        ill = settings_of(seed, n_defects=None, defects=(defect,))
        study = scan_spect_study(ill)
        true = [true_uptake(settings, segment) for settings in (ill, settings_of(seed))]
        shown = segment_means(np.asarray(study.noise_free.array), segments)[segment - 1] / plain[segment - 1]
        found[f"defect_{segment}"] = {"true": 1 - true[0] / true[1], "shown": float(1 - shown)}
    return found


def main() -> None:
    """Measure and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=8)
    arguments = parser.parse_args()
    subjects = [measured(seed) for seed in range(arguments.subjects)]
    summary = {
        image: {
            sex: {w: float(np.mean([s[image][w] for s in subjects if s["sex"] == sex])) for w in WALLS}
            for sex in sorted({s["sex"] for s in subjects})
        }
        for image in ("corrected", "uncorrected", "abdominal")
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"summary": summary, "subjects": subjects}, indent=1)
    (arguments.out / "results.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
