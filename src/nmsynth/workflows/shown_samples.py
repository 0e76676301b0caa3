"""Samples of a model and the bounds of its intervals in a folder, as a report takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume

SAMPLE, LOWER, UPPER = "sample ", "lower bound", "upper bound"
"""Names of the images: each sample by its number, and the bounds of each voxel."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of one synthesis on the grid of a report."""

    volumes: tuple[Volume, ...] = ()
    interval: tuple[Volume, Volume] | None = None
    """Lower and upper bound of each voxel."""

    def shown(self) -> dict[str, Volume]:
        """The first of them, and half of the interval, by the names that a report gives them."""
        from nmsynth.workflows.region_intervals import shown_images

        return shown_images(self.volumes, self.interval)

    def measurements(self, masks: Mapping[str, Volume], card: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """Mean of each masked region with its interval, as rows of an evaluation; none of a model without intervals.

        Parameters
        ----------
        masks
            On the grid of the samples, by name.
        card
            Of the model that drew them, JSON values.
        """
        from nmsynth.models.card import IntervalCard
        from nmsynth.workflows.region_intervals import interval_rows, region_intervals

        calibrated = (card or {}).get("interval")
        if not calibrated:
            return []
        known = IntervalCard.model_validate(calibrated)
        found = region_intervals(self.volumes, None, {name: mask.array for name, mask in masks.items()}, known)
        unit = self.volumes[0].unit.value if self.volumes else ""
        return [row.to_row() for row in interval_rows(found, coverage=known.coverage, unit=unit)]


def sample_paths(folder: Path) -> dict[str, Path]:
    """Images of a folder that ``nmsynth synthesize --write-samples`` wrote, by name.

    Raises
    ------
    InputError
        If it holds no sample.
    """
    folder = Path(folder)
    paths = {f"{SAMPLE}{k}": path for k, path in enumerate(sorted(folder.glob("sample-*.nii.gz")), 1)}
    if not paths:
        raise InputError(
            f"A folder of samples must hold files such as sample-001.nii.gz; '{folder.name}' holds none. Write them "
            "with nmsynth synthesize --write-samples FOLDER."
        )
    bounds = {LOWER: folder / "lower.nii.gz", UPPER: folder / "upper.nii.gz"}
    return paths | ({name: path for name, path in bounds.items() if all(p.is_file() for p in bounds.values())})


def apart(images: Mapping[str, Volume]) -> tuple[dict[str, Volume], Samples]:
    """Images of a report, and the samples among them."""
    volumes = tuple(volume for name, volume in images.items() if name.startswith(SAMPLE))
    interval = (images[LOWER], images[UPPER]) if LOWER in images else None
    others = {n: v for n, v in images.items() if not n.startswith(SAMPLE) and n not in (LOWER, UPPER)}
    return others, Samples(volumes, interval)
