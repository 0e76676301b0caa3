"""Write a volume in the format that its output path or its source says."""

from __future__ import annotations

from pathlib import Path

from nmsynth.core.errors import InputError
from nmsynth.core.volume import PLANAR_AXES, Volume


def write(
    volume: Volume, path: Path | str, *, source: Path | str | Volume | None = None, overwrite: bool = False
) -> Path:
    """Write a volume: NIfTI where the path ends in ``.nii`` or ``.nii.gz``, else a folder with a DICOM series.

    A volume that comes from a DICOM series of single-slice PET images, or from planar views or a tomogram in NM,
    becomes a series derived from it. A CT or MR that was synthesised from a DICOM series, or a PET of a tracer that was
    not injected, becomes a new series in its study. A simulated PET volume without such a source becomes a new series
    of a phantom.

    Parameters
    ----------
    volume
        What is written.
    path
        Output file or folder.
    source
        DICOM series whose headers are taken; ``None`` for the one the volume was read from.
    overwrite
        Whether existing output may be replaced; of folders, only a series that nmsynth wrote.

    Returns
    -------
        The path that was written.

    Raises
    ------
    InputError
        If the output exists without ``overwrite``, or the format does not follow from path and source.
    NumericalError
        If a value is not finite; nothing is written.
    """
    from nmsynth.io.nifti import is_nifti, write_nifti

    path = Path(path)
    if is_nifti(path):
        return write_nifti(volume, path, overwrite=overwrite)
    if path.suffix.lower() in (".dcm", ".zip", ".json", ".gz", ".ima"):
        raise InputError(
            f"An output is a folder for DICOM, or a file ending in .nii or .nii.gz; found {path.suffix!r}. "
            "Name a folder."
        )
    has_headers = source is not None or (volume.source is not None and volume.source.format == "dicom")
    if not has_headers and volume.provenance.simulated and volume.modality == "PT":
        from nmsynth.io.dicom_new import write_new_pet_series

        return write_new_pet_series(volume, path, seed_uid=volume.sha256, overwrite=overwrite)
    if volume.modality == "NM" and volume.axes == PLANAR_AXES:
        from nmsynth.io.dicom_nm_derived import write_derived_planar

        return write_derived_planar(volume, path, source=source, overwrite=overwrite)
    if volume.modality == "NM" and has_headers and _is_nm_object(volume, source):
        from nmsynth.io.dicom_nm_derived import write_derived_tomogram

        return write_derived_tomogram(volume, path, source=source, overwrite=overwrite)
    if has_headers and (volume.modality in ("CT", "MR") or is_imitated(volume)):
        from nmsynth.io.dicom_translated import write_translated_series

        return write_translated_series(volume, path, source=source, overwrite=overwrite)
    from nmsynth.io.dicom_writer import write_dicom

    return write_dicom(volume, path, source=source, overwrite=overwrite)


def is_imitated(volume: Volume) -> bool:
    """Whether a volume is PET of a tracer that was not injected for it."""
    return volume.modality == "PT" and volume.provenance.synthetic and "imitates" in volume.provenance.settings


def _is_nm_object(volume: Volume, source: Path | str | Volume | None) -> bool:
    """Whether the source is a multi-frame NM object, and not SPECT that was stored slice by slice as PET."""
    from nmsynth.io.dicom_nm_module import NM_IMAGE_STORAGE
    from nmsynth.io.dicom_reader import read_headers
    from nmsynth.io.dicom_writer import resolve_source

    reference = resolve_source(volume, source)
    headers = read_headers(reference.path, reference.series_uid)
    return str(headers[0].get("SOPClassUID", "")) == NM_IMAGE_STORAGE
