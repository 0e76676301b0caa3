"""Thin the counts of a measured NM series: fewer counts, and the rest of them as an independent reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.progress import Progress, silent
from nmsynth.workflows.study_output import REFERENCE_FOLDER, SCHEMA_VERSION, staged_output, write_json

if TYPE_CHECKING:
    from nmsynth.io.dicom_nm_counts import NmCounts

SMOOTHED = 0.9
"""Variance of neighbouring counts over their mean below which a source was likely smoothed, resampled or scaled."""


class ThinSettings(BaseModel):
    """What is thinned; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path
    """An NM series of measured counts, DICOM."""
    series_uid: str | None = None
    """Which series of the source."""
    count_fraction: float = Field(gt=0, lt=1)
    """Share of the counts that is kept."""
    seed: int = Field(default=0, ge=0)
    timestamp: bool = False
    """Write the time of creation; without it the same seed gives the same files."""


def thin_series(
    settings: ThinSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Keep each count of a measured series with one probability, and write both parts.

    Exact for measured counts: the kept ones are Poisson with that share of the expectation, and independent of those
    removed. The complement is thus a reference of one noisy scan (T2); it is scored after scaling by
    ``fraction / (1 - fraction)``. The whole is no independent reference, as it holds the kept counts.

    Parameters
    ----------
    settings
        Source, fraction and seed.
    output
        Folder; its folder ``scan`` gets the thinned object, ``reference/complement`` the removed counts, both in DICOM
        with the header of the source, and ``reference/simulation.json`` what was done.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    import torch

    from nmsynth.io.dicom_reader import checked_path, read_nm_counts
    from nmsynth.physics.noise import thin

    with staged_output(Path(output), overwrite=overwrite, inputs=(settings.source,)) as work:
        source = read_nm_counts(checked_path(settings.source), settings.series_uid)
        progress("reading", 0.3)
        whole = torch.from_numpy(source.counts).to(torch.float32)
        kept = thin(whole, settings.count_fraction, torch.Generator().manual_seed(settings.seed))
        progress("thinning", 0.6)
        (work / REFERENCE_FOLDER).mkdir(parents=True)
        record = _record(settings, source, kept.sum((1, 2)).tolist())
        _write(settings, source, kept.numpy(), work / "scan", settings.count_fraction, "thinned")
        _write(
            settings, source, (whole - kept).numpy(), work / REFERENCE_FOLDER / "complement",
            1.0 - settings.count_fraction, "complement",
        )  # fmt: skip
        write_json(work / REFERENCE_FOLDER / "simulation.json", record)
    progress("writing", 1.0)
    return record


def _write(settings: ThinSettings, source: NmCounts, counts: Any, folder: Path, fraction: float, part: str) -> None:
    """Write one of the two parts."""
    from datetime import datetime

    from nmsynth.core.provenance import Provenance
    from nmsynth.io.dicom_nm_derived import write_derived_counts

    series_uid = str(source.header.SeriesInstanceUID)
    notes = {"image": f"binomial thinning, {part}", "count_fraction": fraction, "seed": settings.seed}
    write_derived_counts(
        source.header,
        counts,
        folder,
        provenance=Provenance(simulated=True, parents=(series_uid,), settings=notes),
        count_fraction=fraction * (source.count_fraction or 1.0),
        seed_uid=f"nmsynth thin {series_uid} {settings.count_fraction:g} {settings.seed} {part}",
        description=f"{part} {fraction:g},",
        created=datetime.now() if settings.timestamp else None,
    )


def _record(settings: ThinSettings, source: NmCounts, kept: list[float]) -> dict[str, Any]:
    """What was done, with totals by frame."""
    from nmsynth.metrics.noise import neighbour_dispersion

    totals = [int(n) for n in source.counts.sum((1, 2))]
    dispersion = neighbour_dispersion(source.counts)
    warnings = list(source.warnings)
    if dispersion is not None and dispersion < SMOOTHED:
        warnings.append(
            f"Neighbouring pixels vary by {dispersion:.2f} of what counts do; the image was probably smoothed, "
            "resampled or scaled, and thinning it is not exact."
        )
    fraction = settings.count_fraction
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"source"}),
        "image": f"{fraction:g} of the counts of a given series, kept one by one",
        "reference": "the complement: one noisy scan (T2), independent of the thinned one",
        "scale_of_complement": fraction / (1.0 - fraction),
        "kind": source.kind,
        "counts_of_source": totals,
        "counts_kept": [int(n) for n in kept],
        "counts_of_complement": [whole - int(part) for whole, part in zip(totals, kept, strict=True)],
        "count_fraction_in_all": fraction * (source.count_fraction or 1.0),
        "variance_over_mean_of_neighbours": dispersion,
        "warnings": warnings,
    }
