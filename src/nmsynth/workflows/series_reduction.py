"""Reduce the counts of a user's own PET series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.progress import Progress
from nmsynth.workflows.study_output import REFERENCE_FOLDER, SCHEMA_VERSION, write_json, write_mask, write_pet_scan

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.physics.count_reduction import CountReducer
    from nmsynth.physics.noise_texture import NoiseTexture
    from nmsynth.workflows.pet_simulation import SimulatePetSettings

LOW_NOISE = 0.03
"""Relative standard deviation below which a source was likely denoised."""


def _read_source(settings: SimulatePetSettings) -> Volume:
    """The series whose counts are reduced, if that can be done."""
    from nmsynth.core.units import Unit
    from nmsynth.io import read

    if settings.source is None:
        raise InputError("A series is needed; none was given. Pass its path.")
    source = read(settings.source, series_uid=settings.series_uid, unit=settings.unit, modality=settings.modality)
    if source.modality != "PT" or len(source.axes) != 3:
        raise InputError(f"Counts are reduced in a static PET series; found {source.modality} with axes {source.axes}.")
    if not (source.unit.is_suv or source.unit in (Unit.BQML, Unit.COUNTS, Unit.RELATIVE)):
        raise InputError(
            f"Counts are reduced in an image proportional to activity; found unit '{source.unit.value}'. "
            "Give activity concentration, counts or an SUV."
        )
    from_dicom = source.source is not None and source.source.format == "dicom"
    if settings.file_format == "dicom" and not from_dicom and not source.acquisition.frame_durations_s:
        raise InputError(
            "A DICOM scan needs the times of its source; the NIfTI image states none. Ask for NIfTI (--format nifti)."
        )
    if source.provenance.synthetic:
        raise UnsafeInputError(
            "Counts are reduced in a scan, whose noise tells its counts; this series was synthesised by a model. "
            "Give the series it was made from."
        )
    return source


def _noise_region(source: Volume, body: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The region around the most homogeneous sphere of 3 cm, in which the noise of a series is measured."""
    import numpy as np

    from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
    from nmsynth.metrics.regions import sphere_mask

    image = np.asarray(source.array)
    sphere = find_homogeneous_sphere(image, source.spacing_mm, body)
    if sphere is None:
        raise InputError(
            "The noise of a series is measured in a homogeneous sphere of 3 cm inside the body; none was found. "
            "Give a series that shows the liver."
        )
    ball = sphere_mask(
        source.spatial_shape, source.spacing_mm, centre_index=sphere.centre_index, diameter_mm=sphere.diameter_mm
    )
    grown = grow_region(image, source.spacing_mm, sphere, body)
    return grown if grown.sum() > ball.sum() else ball


def _inserted(
    settings: SimulatePetSettings, source: Volume, body: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None, list[dict[str, Any]]]:
    """The image of the series with the lesions asked for, their labels and their description."""
    import numpy as np

    from nmsynth.physics.lesion_insertion import insert_lesions

    image = np.asarray(source.array)
    if not settings.lesions:
        return image, None, []
    rng = np.random.default_rng((settings.seed, 31))
    diameters = np.linspace(*settings.lesion_diameter_mm, settings.lesions)
    contrasts = rng.uniform(*settings.lesion_contrast, settings.lesions)
    image, labels, lesions = insert_lesions(
        image, source.spacing_mm, body, diameters_mm=tuple(diameters), contrasts=tuple(contrasts),
        resolution_fwhm_mm=7.0, rng=rng,
    )  # fmt: skip
    described = [
        {"index": n.index, "diameter_mm": n.diameter_mm, "contrast": n.contrast, "centre_zyx": list(n.centre)}
        for n in lesions
    ]
    return image, labels, described


def _noise_facts(reducer: CountReducer) -> dict[str, Any]:
    """What was measured of the source's noise, and with what it is made."""

    def facts(noise: NoiseTexture) -> dict[str, float]:
        """JSON values."""
        return {
            "relative_standard_deviation": noise.cov,
            "in_plane_correlation": noise.in_plane_correlation,
            "axial_correlation": noise.axial_correlation,
        }

    return {
        "noise_calibrated_on": "fine noise of the region" if reducer.structured else "all noise of the region",
        "source_noise": facts(reducer.noise),
        "made_noise_at_the_counts_of_the_source": facts(reducer.made),
        "post_filter_fwhm_mm": reducer.settings.filter_fwhm_mm,
        "axial_filter_fwhm_mm": reducer.settings.axial_filter_fwhm_mm,
        "plane_mixing": reducer.mixing.fraction,
    }


def _noise_warnings(reducer: CountReducer) -> list[str]:
    """What makes the counts of the source uncertain."""
    found = []
    if reducer.structured:
        found.append(
            f"The region of {reducer.noise.cov:.1%} variation holds structure, as a brain does; its fine noise alone "
            f"was taken, which makes {reducer.made.cov:.1%}."
        )
    if reducer.noise.cov < LOW_NOISE:
        found.append(
            f"The noise of the source, {reducer.noise.cov:.1%}, is lower than scans usually have; if it was smoothed "
            "or denoised, its counts are overrated and too little noise was added."
        )
    return found


def _write_scan(scan: Volume, work: Path, settings: SimulatePetSettings) -> None:
    """Write the reduced series in the format asked for, with the headers of its source where it has some."""
    if settings.file_format == "dicom" and scan.source is not None and scan.source.format == "dicom":
        from nmsynth.io.writing import write

        write(scan, work, source=scan)
        return
    work.mkdir(parents=True, exist_ok=True)
    write_pet_scan(
        scan, work if settings.file_format == "dicom" else work / "scan", file_format=settings.file_format,
        study=settings.study_seed, fraction=settings.count_fraction, created=settings.created(),
    )  # fmt: skip


def reduce_series(settings: SimulatePetSettings, work: Path, progress: Progress) -> dict[str, Any]:
    """Reduce the counts of a user's own series, with lesions inserted if asked for."""
    import numpy as np
    import torch

    from nmsynth.core.provenance import Provenance
    from nmsynth.io.nifti import write_nifti
    from nmsynth.physics.count_reduction import CountReducer, body_contour

    source = _read_source(settings)
    progress("reading", 0.1)
    body = body_contour(np.asarray(source.array), source.spacing_mm)
    reducer = CountReducer(np.asarray(source.array), source.spacing_mm, _noise_region(source, body))
    progress("calibrating the noise", 0.4)
    image, labels, lesions = _inserted(settings, source, body)
    if labels is not None:
        reducer = reducer.with_image(image)
    reduced = reducer.reduce(settings.count_fraction, torch.Generator().manual_seed(settings.seed))
    progress("adding noise", 0.7)
    notes = {
        "image": f"simulated {settings.count_fraction:g} of the counts of a given series",
        "count_fraction": settings.count_fraction,
        "seed": settings.seed,
        "attenuation": "soft tissue inside the body contour; no CT was used",
        "reference": "the source is a noisy reference, not a truth",
        "lesions_inserted": len(lesions),
    }
    provenance = Provenance(simulated=True, parents=(source.acquisition.series_uid or source.sha256,), settings=notes)
    in_all = settings.count_fraction * (source.acquisition.simulated_count_fraction or 1.0)
    acquisition = replace(source.acquisition, simulated_count_fraction=in_all)
    _write_scan(source.with_array(reduced, provenance=provenance, acquisition=acquisition), work, settings)
    folder = work / REFERENCE_FOLDER
    folder.mkdir()
    reference_notes = {**notes, "image": "the source, noisy reference (T2)", "count_fraction": 1.0}
    write_nifti(
        source.with_array(image, provenance=replace(provenance, settings=reference_notes)),
        folder / "noisy_reference.nii.gz",
    )
    if labels is not None:
        write_mask(labels, source, folder / "lesions.nii.gz")
    record = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"source", "labels", "ct"}),
        **notes,
        "count_fraction_in_all": in_all,
        **_noise_facts(reducer),
        "warnings": _noise_warnings(reducer),
        "lesions": lesions,
    }
    write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record
