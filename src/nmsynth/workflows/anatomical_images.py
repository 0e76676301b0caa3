"""CT, attenuation map and MR beside a simulated scan: asked for by name, written with what is known of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmsynth.core.volume import Volume
    from nmsynth.data.anatomical_images import AnatomicalImages, AnatomicalSubject
    from nmsynth.physics.phantom import Grid, Phantom

Companion = Literal["ct", "mr", "mr-randomised", "couch", "misregistration"]
"""What a scan is simulated with."""
SERIES_NUMBER = {"ct": 2, "mr": 3}
"""SeriesNumber of an image beside the scan, which is 1."""


def check_companions(companions: tuple[Companion, ...]) -> tuple[Companion, ...]:
    """The names, each once, in their order.

    Raises
    ------
    InputError
        If a misregistration is asked for without CT or MR, or MR twice.
    """
    chosen = tuple(sorted(set(companions), key=("ct", "mr", "mr-randomised", "couch", "misregistration").index))
    if "mr" in chosen and "mr-randomised" in chosen:
        raise InputError("A scan is simulated with one MR; found mr and mr-randomised. Leave one out.")
    if "misregistration" in chosen and not {"ct", "mr", "mr-randomised"} & set(chosen):
        raise InputError("A misregistration is one of CT or MR; neither was asked for. Add ct or mr.")
    return chosen


def companion_subject(
    render: Callable[[Grid], Phantom],
    companions: tuple[Companion, ...],
    *,
    seed: int,
    z_range_mm: tuple[float, float],
    field_mm: float,
    tissues: bool,
) -> AnatomicalSubject | None:
    """The subject as the scanner sees it, where anything was asked for beside the scan; else None.

    Parameters
    ----------
    render
        Draws the phantom as painted.
    companions
        From :func:`check_companions`.
    seed
        Of the study.
    z_range_mm, field_mm
        Planes and width of the scan [mm].
    tissues
        Whether organs get their subject's attenuation; not where a CT or an object gives it.
    """
    if not companions:
        return None
    from nmsynth.data.anatomical_images import AnatomicalSettings, anatomical_subject
    from nmsynth.physics.couch import Couch
    from nmsynth.physics.ct_image import CtSettings
    from nmsynth.physics.mr_image import MrSettings

    mr = MrSettings() if "mr" in companions else None
    settings = AnatomicalSettings(
        ct=CtSettings() if "ct" in companions else None,
        mr=MrSettings.randomised(seed) if "mr-randomised" in companions else mr,
        couch=Couch() if "couch" in companions else None,
        misregistered="misregistration" in companions,
        tissues=tissues,
    )
    return anatomical_subject(render, settings, seed=seed, z_range_mm=z_range_mm, field_mm=field_mm)


def write_companions(
    subject: AnatomicalSubject, scan: Volume, folder: Path, *, progress: Progress = silent
) -> AnatomicalImages:
    """Make the images beside a scan and write ``ct.nii.gz`` and ``mr.nii.gz``, those that were asked for.

    Parameters
    ----------
    subject
        Of the scan.
    scan
        Whose planes and field of view are taken.
    folder
        Existing folder.
    """
    from nmsynth.data.anatomical_images import anatomical_images
    from nmsynth.io.nifti import write_nifti

    images = anatomical_images(subject, scan, progress=progress)
    for name, volume in (("ct", images.ct), ("mr", images.mr)):
        if volume is not None:
            write_nifti(volume, folder / f"{name}.nii.gz")
    return images


def write_companion_series(images: AnatomicalImages, work: Path, *, study_seed: str, created: datetime | None) -> None:
    """Write the images beside a scan as DICOM series of its study, a folder each: ``ct``, ``mr``.

    Parameters
    ----------
    images
        From :func:`write_companions`.
    work
        Folder of the study.
    study_seed
        Text from which the study's UIDs follow; that of the scan.
    created
        Time of creation, None for the time of the series.
    """
    from nmsynth.io.dicom_new_anatomical import write_new_anatomical_series

    for name, volume in (("ct", images.ct), ("mr", images.mr)):
        if volume is not None:
            write_new_anatomical_series(
                volume,
                work / name,
                seed_uid=f"{study_seed} {name}",
                study_seed=study_seed,
                series_number=SERIES_NUMBER[name],
                description=f"simulated {name.upper()}",
                created=created,
            )
