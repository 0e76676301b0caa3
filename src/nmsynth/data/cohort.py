"""A folder of simulated cases for training: written once, read by random patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.replacement import replace_text
from nmsynth.data.inserted import image_resolution_mm
from nmsynth.data.simulation import SimulatedCase, focal_mask

FloatArray = npt.NDArray[np.float32]

SCHEMA_VERSION = 2
"""Version of the layout of a cohort folder."""


def write_case(folder: Path, case_id: str, subject: str, split: str, case: SimulatedCase) -> None:
    """Save a simulated case; see :func:`write_arrays`."""
    spacing = (case.draw.osem.plane_mm, case.draw.osem.pixel_mm, case.draw.osem.pixel_mm)
    facts = {
        "measured_cov": case.measured_cov,
        "resolution_mm": image_resolution_mm(case.truth, case.noise_free, spacing),
        "draw": case.draw.to_json(),
    }
    arrays = CaseArrays(case.noise_free, case.truth, case.scans, case.lesion_labels)
    write_arrays(folder, case_id, subject, split, arrays, spacing_mm=spacing, fractions=case.fractions, facts=facts)


@dataclass(frozen=True, slots=True, eq=False)
class CaseArrays:
    """Images of a case in SUV, shape ``(z, y, x)``."""

    target: FloatArray
    """What a model should give: the noise-free reconstruction of a simulated case."""
    truth: FloatArray
    """The true activity; a copy of the target where it is not known."""
    scans: FloatArray
    """Shape ``(level, z, y, x)``."""
    lesion_labels: npt.NDArray[np.uint8]


def write_arrays(
    folder: Path,
    case_id: str,
    subject: str,
    split: str,
    arrays: CaseArrays,
    *,
    spacing_mm: tuple[float, float, float],
    fractions: Sequence[float],
    facts: Mapping[str, Any],
) -> None:
    """Save a case as half-precision images and one JSON; the JSON last, so that its presence means completeness.

    Layout: ``<case_id>.npy`` of shape ``(2 + level, z, y, x)`` float16 [SUV]: target, truth, then the scans; and
    ``<case_id>_labels.npy`` of shape ``(2, z, y, x)`` uint8: lesion number, focal mask.
    """
    folder.mkdir(parents=True, exist_ok=True)
    focal = focal_mask(arrays.target, spacing_mm)
    rows, columns = _body_window(arrays.target)
    window = (slice(None), slice(None), rows, columns)
    images = np.concatenate([arrays.target[None], arrays.truth[None], arrays.scans])[window]
    labels = np.stack([arrays.lesion_labels, focal.astype(np.uint8)])[window]
    np.save(folder / f"{case_id}.npy", np.clip(images, -6e4, 6e4).astype(np.float16))
    np.save(folder / f"{case_id}_labels.npy", labels)
    record = {
        "schema_version": SCHEMA_VERSION,
        "case_id": case_id,
        "subject": subject,
        "split": split,
        "spacing_mm": spacing_mm,
        "fractions": tuple(fractions),
        "shape": images.shape,
        "n_lesions": int(np.unique(arrays.lesion_labels[arrays.lesion_labels > 0]).size),
        **facts,
    }
    replace_text(folder / f"{case_id}.json", json.dumps(record))


def _body_window(image: npt.NDArray[np.float32], multiple: int = 16) -> tuple[slice, slice]:
    """Rows and columns that hold the body with a margin of 8 pixels, in multiples of 16, at least 64."""
    windows = []
    profile = image.max(axis=0)
    for axis in (0, 1):
        n = profile.shape[axis]
        hit = np.flatnonzero(profile.max(axis=1 - axis) > 0.1)
        low, high = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, n)
        size = min(n // multiple * multiple, max(64, -(-(high - low + 16) // multiple) * multiple))
        start = int(np.clip((low + high - size) // 2, 0, n - size))
        windows.append(slice(start, start + size))
    return windows[0], windows[1]


@dataclass(frozen=True, slots=True)
class CohortCase:
    """One case of a cohort folder, opened without reading its voxels."""

    case_id: str
    subject: str
    split: str
    images: npt.NDArray[np.float16]
    """Memory-mapped, shape ``(2 + level, z, y, x)``."""
    labels: npt.NDArray[np.uint8]
    record: dict[str, Any]


def open_cohort(folder: Path, split: str) -> list[CohortCase]:
    """The complete cases of one split, ordered by name.

    Raises
    ------
    InputError
        If there is none, or a subject stands in two splits.
    """
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("[!.]*.json")) if path.stem != "cohort"]
    seen: dict[str, str] = {}
    for record in records:
        if seen.setdefault(record["subject"], record["split"]) != record["split"]:
            raise InputError(
                f"A subject must stand in one split only; '{record['subject']}' is in '{seen[record['subject']]}' and "
                f"'{record['split']}'. Simulate the cohort again."
            )
    chosen = [r for r in records if r["split"] == split]
    if not chosen:
        raise InputError(
            f"The cohort folder must hold cases of the split '{split}'; found {len(records)} cases and none of it. "
            "Run the simulation of the recipe first."
        )
    return [
        CohortCase(
            case_id=r["case_id"],
            subject=r["subject"],
            split=r["split"],
            images=np.load(folder / f"{r['case_id']}.npy", mmap_mode="r"),
            labels=np.load(folder / f"{r['case_id']}_labels.npy", mmap_mode="r"),
            record=r,
        )
        for r in chosen
    ]
