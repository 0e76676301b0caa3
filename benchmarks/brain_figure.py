"""Pictures of one brain with every tracer, healthy and diseased, as truth and blurred to 6 mm.

python -m benchmarks.brain_figure --labels ../shared/data/brain_labels/training_seg_07.nii.gz --out brain.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy import ndimage

from nmsynth.data.families import read_upright
from nmsynth.physics.phantom.brain import HEALTHY, brain_patient
from nmsynth.physics.phantom.brain_disease import BrainSubject
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion
from nmsynth.physics.phantom.brain_tracers import BRAIN_TRACERS
from nmsynth.physics.psf import FWHM_PER_SIGMA

SEVERITY = 0.8


def disease_of(tracer: str) -> str:
    """The disease that the tracer shows."""
    return "parkinson" if tracer in ("FDOPA", "ioflupane") else "alzheimer"


def main() -> None:
    """Draw the figure."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    labels, spacing = read_upright(given.labels, unit="1", modality="MR")
    figure, axes = plt.subplots(len(BRAIN_TRACERS), 4, figsize=(8.4, 13.2), facecolor="white")
    for row, name in zip(axes, BRAIN_TRACERS, strict=True):
        subjects = (HEALTHY, BrainSubject(disease_of(name), SEVERITY, SEVERITY, None))
        brains = [brain_patient(labels, spacing, seed=3, tracer=name, subject=s) for s in subjects]
        middle = int(np.argwhere(brains[0].regions % RIGHT == BrainRegion.THALAMUS)[:, 0].mean())
        inside = brains[0].source.activity[brains[0].regions > 0]
        top = float(np.percentile(inside, 99.5) / np.median(inside)) * float(np.median(inside))
        for k, brain in enumerate(brains):
            sigma = 6.0 / FWHM_PER_SIGMA / np.asarray(spacing)
            images = (brain.source.activity, ndimage.gaussian_filter(brain.source.activity, sigma))
            for axis, image in zip(row[2 * k : 2 * k + 2], images, strict=True):
                shown = axis.imshow(image[middle], cmap="gray_r", vmin=0, vmax=top)
                axis.axis("off")
                y, x = np.nonzero(brains[0].source.organs[middle])
                axis.set_xlim(x.min() - 4, x.max() + 4)
                axis.set_ylim(y.max() + 4, y.min() - 4)
                if axis is row[0]:
                    axis.set_title(f"{name}, healthy, SUV 0 to {top:.1f}", fontsize=9, loc="left")
                if axis is row[2]:
                    label = "Alzheimer's-like" if disease_of(name) == "alzheimer" else "Parkinson's-like"
                    axis.set_title(f"{label}, {SEVERITY:g}", fontsize=9, loc="left")
                axis.text(x.min(), y.max(), "R", fontsize=8)
                axis.text(x.max() - 6, y.max(), "L", fontsize=8)
        figure.colorbar(shown, ax=row[3], fraction=0.04, pad=0.02).ax.tick_params(labelsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(given.out, dpi=70)


if __name__ == "__main__":
    main()
