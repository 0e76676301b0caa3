"""Slices of a simulated myocardial perfusion study along the axes of the heart.

    python -m benchmarks.figures_heart --out docs/figures/heart.png

Rows: truth and reconstructions at full counts and an eighth of them, with and without attenuation correction, under
stress and at rest. Columns: short axis from apex to base, vertical and horizontal long axis.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from nmsynth.physics.phantom import Heart
from nmsynth.workflows.heart_simulation import DefectSettings, HeartStudy, perfusion_patient
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, scan_spect_study

mpl.use("Agg")
from matplotlib import pyplot as plt

PIXEL_MM = 2.0
HALF_MM = 64.0
DEFECT = DefectSettings(segment=11, severity=0.8, extent_deg=80.0, reversible=0.6)
TITLES = ("short axis, apical", "short axis, mid", "short axis, basal", "vertical long axis", "horizontal long axis")


def heart_slices(volume: Any, heart: Heart) -> list[npt.NDArray[np.float32]]:
    """Three short-axis, a vertical and a horizontal long-axis slice.

    Short axis: anterior wall up, septum left. Vertical long axis: anterior up, apex right. Horizontal: apex up, septum
    left.
    """
    v, pose = heart.ventricle, heart.ventricle.pose()
    apex, anterior, lateral = v.axes
    middle = np.array(v.middle_mm(pose))
    t = np.arange(-HALF_MM, HALF_MM, PIXEL_MM)
    cavity = pose.inner_length_mm + pose.base_mm
    inverse = np.linalg.inv(volume.affine)

    def plane(down: npt.NDArray[np.float64], right: npt.NDArray[np.float64], shift_mm: float) -> Any:
        """Values on a plane through the middle, moved along the long axis."""
        points = middle + shift_mm * apex + t[:, None, None] * down + t[None, :, None] * right
        lps = points[..., ::-1]  # (z, y, x) -> (x, y, z)
        index = lps @ inverse[:3, :3].T + inverse[:3, 3]
        return ndimage.map_coordinates(np.asarray(volume.array), np.moveaxis(index, -1, 0), order=3)

    shifts = [f * cavity - pose.base_mm for f in (5 / 6, 1 / 2, 1 / 6)]
    return [
        *(plane(-anterior, lateral, s) for s in shifts),
        plane(-anterior, apex, 8.0),
        plane(-apex, lateral, 8.0),
    ]


def rows(seed: int) -> list[tuple[str, list[npt.NDArray[np.float32]]]]:
    """Label and slices of each row."""
    found = []
    for state in ("stress", "rest"):
        study = HeartStudy(state=state, defects=(DEFECT,))
        _, heart = perfusion_patient(seed, study, f"SESTAMIBI-{state.upper()}")
        for corrected in (True, False):
            scanned = scan_spect_study(
                SimulateSpectSettings(
                    phantom="heart", seed=seed, heart=study, count_fraction=0.125, attenuation_correction=corrected
                )
            )
            if corrected:
                found.append((f"{state}\ntruth", heart_slices(scanned.truth, heart)))
                found.append((f"{state}\nfull counts", heart_slices(scanned.scans[0], heart)))
                found.append((f"{state}\n1/8 counts", heart_slices(scanned.scans[1], heart)))
            elif state == "stress":
                found.append((f"{state}\nfull counts\nno AC", heart_slices(scanned.scans[0], heart)))
    return found


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shown = rows(arguments.seed)
    figure, axes = plt.subplots(len(shown), 5, figsize=(7.4, 1.52 * len(shown)), facecolor="white")
    for row, (line, (label, slices)) in enumerate(zip(axes, shown, strict=True)):
        # Each row has its own window, up to the hottest of its mid short axis: activity below the diaphragm may be cut.
        top = float(np.percentile(slices[1][20:44, 20:44], 99.5))
        for k, (axis, image) in enumerate(zip(line, slices, strict=True)):
            axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="bilinear")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(TITLES[k], fontsize=7)
        line[0].set_ylabel(label, fontsize=7)
    figure.tight_layout(pad=0.3)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    grey = np.asarray(Image.open(drawn).convert("L"))
    few = (grey // 4).astype(np.uint16) * 255 // 63  # 64 greys, for a small file
    Image.fromarray(few.astype(np.uint8)).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
