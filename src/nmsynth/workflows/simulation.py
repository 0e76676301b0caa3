"""Simulate a PET study: from a procedural patient, a label map, a quality phantom, or a series of the user's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.progress import Progress, part_of, silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.data.scan import ScannedPhantom
    from nmsynth.physics.count_reduction import CountReducer
    from nmsynth.physics.noise_texture import NoiseTexture
    from nmsynth.physics.phantom import Grid, Phantom

SCHEMA_VERSION = 1
"""Version of ``simulation.json``."""
REFERENCE_FOLDER = "reference"
"""Folder beside the scan that holds what is known of it, in NIfTI."""

LOW_NOISE = 0.03
"""Relative standard deviation below which a source was likely denoised."""


class SimulatePetSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path | None = None
    """A PET series of the user's, whose counts are reduced; everything below but lesions is then unused."""
    series_uid: str | None = None
    """Which series of the source."""
    unit: str | None = None
    modality: str | None = None
    """Unit and modality of a NIfTI source without a sidecar."""
    phantom: Literal["whole-body", "nema", "cylinder", "derenzo", "jaszczak"] = "whole-body"
    labels: Path | None = None
    """A NIfTI label map instead of a phantom."""
    label_kind: Literal["organ", "brain"] = "organ"
    """Numbering of the labels: TotalSegmentator v2 or FreeSurfer."""
    ct: Path | None = None
    """NIfTI CT of an organ label map [HU]."""
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the protocol, or of the source."""
    seed: int = Field(default=0, ge=0)
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions to place; drawn for a procedural patient when unset, none elsewhere."""
    lesion_diameter_mm: tuple[float, float] = (8.0, 30.0)
    """Range of diameters of lesions [mm]."""
    lesion_contrast: tuple[float, float] = (2.5, 6.0)
    """Range of lesion over background."""
    voxel_mm: float = Field(default=4.0, ge=1.0, le=8.0)
    """Voxel of the reconstruction [mm]."""
    length_mm: float | None = Field(default=None, gt=0)
    """Length that is scanned, about the middle of the body [mm]; the whole body when unset."""
    file_format: Literal["dicom", "nifti"] = "dicom"
    """Format of the scan."""
    timestamp: bool = False
    """Write the time of creation; without it the same seed gives the same files."""


def simulate_pet(
    settings: SimulatePetSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a PET study and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for the scan: DICOM files, or ``scan.nii.gz``. Its folder ``reference`` gets, in NIfTI, what is known of
        the study: ``full_count``, ``noise_free`` (T1), ``truth`` (T0), ``lesions`` and ``organs`` for a phantom;
        ``noisy_reference`` and ``lesions`` for a series; and ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    inputs = (settings.source, settings.labels, settings.ct)
    with staged_output(Path(output), overwrite=overwrite, inputs=inputs) as work:
        return _reduce_series(settings, work, progress) if settings.source else _scan_phantom(settings, work, progress)


@contextmanager
def staged_output(output: Path, *, overwrite: bool, inputs: Sequence[Path | None] = ()) -> Iterator[Path]:
    """A folder to write a simulation to, which takes the output's place when all is written.

    Parameters
    ----------
    output
        Folder of the simulation.
    overwrite
        Whether one that a simulation wrote is replaced.
    inputs
        Files and folders that must lie apart from the output.

    Raises
    ------
    InputError
        If the output exists without ``overwrite``, is no simulation, or holds or lies in an input.
    """
    _check_output(output, inputs, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        work = staging / "study"
        yield work
        staging.chmod(0o755)
        if output.exists():
            output.rename(staging / "replaced")
        work.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_output(output: Path, inputs: Sequence[Path | None], *, overwrite: bool) -> None:
    """Refuse an output that holds or replaces an input, or a folder that no simulation wrote."""
    if output.exists() and not overwrite:
        raise InputError(f"The output '{output.name}' must not exist; it does. Choose another, or allow overwriting.")
    target = output.resolve()
    for given in inputs:
        found = None if given is None else given.resolve()
        if found is not None and (found == target or found in target.parents or target in found.parents):
            raise InputError("Inputs and output must lie apart, so that no input changes. Choose another output.")
    written = (output / REFERENCE_FOLDER / "simulation.json").is_file()
    if output.exists() and not written and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(
            f"Only a folder that a simulation wrote is replaced; '{output.name}' is another. Choose another output."
        )


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record for programs."""
    import json

    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_mask(array: npt.NDArray[np.uint8], like: Volume, path: Path) -> None:
    """Write labels on the grid of an image."""
    from nmsynth.core.units import Unit
    from nmsynth.io.nifti import write_nifti

    write_nifti(like.with_array(array, unit=Unit.UNITLESS, suv_rule=None, source=None), path)


def _write_scan(scan: Volume, work: Path, settings: SimulatePetSettings) -> None:
    """Write the scan in the format asked for."""
    from nmsynth.io.nifti import write_nifti

    if settings.file_format == "nifti":
        work.mkdir(parents=True, exist_ok=True)
        write_nifti(scan, work / "scan.nii.gz")
        return
    if scan.source is not None and scan.source.format == "dicom":
        from nmsynth.io.writing import write

        write(scan, work, source=scan)
        return
    from datetime import datetime

    from nmsynth.io.dicom_new import write_new_pet_series

    study = f"nmsynth simulate pet {settings.model_dump_json(exclude={'timestamp', 'count_fraction', 'file_format'})}"
    write_new_pet_series(
        scan,
        work,
        seed_uid=f"{study} fraction {settings.count_fraction:g}",
        study_seed=study,
        description=f"simulated, {settings.count_fraction:g} of the counts",
        created=datetime.now() if settings.timestamp else None,
    )


def _scan_phantom(settings: SimulatePetSettings, work: Path, progress: Progress) -> dict[str, Any]:
    """Scan a phantom and write it with its truth."""
    from nmsynth.io.nifti import write_nifti

    study = scan_study(settings, progress=part_of(progress, 0.0, 0.8))
    scan = study.scans[-1]
    _write_scan(scan, work, settings)
    folder = work / REFERENCE_FOLDER
    folder.mkdir()
    for name, volume in (("full_count", study.scans[0]), ("noise_free", study.noise_free), ("truth", study.truth)):
        write_nifti(volume, folder / f"{name}.nii.gz")
    write_mask(study.lesion_labels, scan, folder / "lesions.nii.gz")
    write_mask(study.organ_labels, scan, folder / "organs.nii.gz")
    record = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"source", "labels", "ct"}),
        "reference": "known truth: T0 truth, T1 noise_free, T2 full_count",
        "scan": study.draw.to_json(),
        "lesions": [
            {
                "index": lesion.index,
                "diameter_mm": lesion.diameter_mm,
                "contrast": lesion.contrast,
                "centre_mm_zyx": list(lesion.centre_mm),
                "organ": lesion.organ,
                "shape": lesion.shape,
            }
            for lesion in study.lesions
        ],
    }
    write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def scan_study(settings: SimulatePetSettings, *, progress: Progress = silent) -> ScannedPhantom:
    """Scan the phantom of the settings at full counts and at the fraction asked for, in memory."""
    from nmsynth.data.scan import ReferenceScan, scan_phantom

    reference = ReferenceScan(voxel_mm=settings.voxel_mm, plane_mm=settings.voxel_mm)
    render, facts = _patient(settings)
    fractions = (1.0,) if settings.count_fraction == 1 else (1.0, settings.count_fraction)
    low, high = facts.pop("z_range_mm")
    if settings.length_mm is not None and settings.length_mm < high - low:
        middle = (low + high) / 2
        low, high = middle - settings.length_mm / 2, middle + settings.length_mm / 2
    reference = replace(reference, field_mm=facts.pop("field_mm"))
    return scan_phantom(
        render, reference=reference, z_range_mm=(low, high), fractions=fractions, seed=settings.seed,
        progress=progress, **facts,
    )  # fmt: skip


def _patient(settings: SimulatePetSettings) -> tuple[Any, dict[str, Any]]:
    """What draws the phantom of the settings, and its size, sex and extent."""
    from nmsynth.physics import phantom as phantoms

    plan = phantoms.LesionPlan(
        count=settings.lesions,
        diameter_mm=settings.lesion_diameter_mm,
        contrast=settings.lesion_contrast,
        isolated=settings.lesions is not None,
    )
    if settings.labels is not None:
        return _label_patient(settings, plan)
    if settings.phantom == "whole-body":
        patient = phantoms.whole_body_patient(settings.seed, lesions=plan)
        low, high = patient.extent_mm
        return patient.render, {
            "body_mass_kg": patient.body_mass_kg,
            "height_m": patient.frame.height_m,
            "sex": patient.frame.sex,
            "z_range_mm": (low, high),
            "field_mm": 600.0,
        }
    facts = {"body_mass_kg": 75.0, "height_m": 1.75, "sex": "O", "z_range_mm": (-110.0, 110.0), "field_mm": 400.0}
    return quality_phantom(settings.phantom), facts


def quality_phantom(name: str) -> Callable[[Grid], Phantom]:
    """What draws a quality phantom about the origin: ``nema``, ``cylinder``, ``derenzo`` or ``jaszczak``."""
    from nmsynth.physics import phantom as phantoms

    known: dict[str, Callable[..., Phantom]] = {
        "nema": phantoms.image_quality,
        "cylinder": phantoms.uniform_cylinder,
        "derenzo": phantoms.derenzo,
        "jaszczak": phantoms.jaszczak,
    }
    return lambda grid: known[name](grid, centre_mm=(0.0, 0.0, 0.0))


def _label_patient(settings: SimulatePetSettings, plan: Any) -> tuple[Any, dict[str, Any]]:
    """A patient from a label map of the user's."""
    from nmsynth.data.families import read_upright
    from nmsynth.physics import phantom as phantoms

    if settings.labels is None:
        raise InputError("A label map is needed; none was given. Pass its path.")
    labels, spacing = read_upright(settings.labels, unit="1", modality="CT")
    ct = None if settings.ct is None else read_upright(settings.ct, unit="HU", modality="CT")[0]
    numbers = labels.astype("int32")
    placed = plan if settings.lesions else None
    facts = {
        "body_mass_kg": 75.0,
        "height_m": 1.75,
        "sex": "O",
        "z_range_mm": (0.0, labels.shape[0] * spacing[0]),
        "field_mm": max(n * s for n, s in zip(labels.shape[1:], spacing[1:], strict=True)) * 1.1,
    }
    if settings.label_kind == "brain":
        return (
            lambda grid: phantoms.from_brain_labels(numbers, spacing, seed=settings.seed, grid=grid, lesions=placed)
        ), facts
    return (
        lambda grid: phantoms.from_organ_labels(
            numbers, spacing, seed=settings.seed, ct_hu=ct, grid=grid, lesions=placed
        )
    ), facts


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


def _reduce_series(settings: SimulatePetSettings, work: Path, progress: Progress) -> dict[str, Any]:
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
