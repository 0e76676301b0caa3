"""Reading of a user's activity and attenuation for a simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.activity_phantom import ActivityPhantom

UNKNOWN_UNIT = "relative"
"""Unit of an activity whose total is stated instead."""


def read_activity_phantom(
    activity: Path,
    mu_map: Path,
    *,
    total_mbq: float | None = None,
    unit: str | None = None,
    mu_unit: str | None = None,
    mu_kev: float | None = None,
    mu_materials: str | None = None,
    slice_unit: Literal["mm", "pixels"] | None = None,
) -> ActivityPhantom:
    """Read activity and attenuation, each NIfTI or Interfile.

    Parameters
    ----------
    activity, mu_map
        Files; an Interfile header may lie inside a zip, as ``phantoms.zip/name.h33``. Interfile images share their
        middle.
    total_mbq
        Activity in the whole image at the start of the scan [MBq]; the image is scaled to it.
    unit, mu_unit
        Where the file does not state them: ``Bq/mL``; ``1/cm`` or ``HU``.
    mu_kev
        Photon energy of a map in 1/cm [keV].
    mu_materials
        ``1=water,2=cortical bone``: the material of each number in the map; others are air.
    slice_unit
        What the slice thickness of an Interfile header is counted in.
    """
    from nmsynth.data.activity_phantom import activity_phantom

    materials = None if mu_materials is None else parse_materials(mu_materials)
    source = _read(activity, unit or (None if total_mbq is None else UNKNOWN_UNIT), "NM", slice_unit, "--unit")
    attenuation = _read(mu_map, mu_unit or (None if materials is None else "1"), "CT", slice_unit, "--mu-unit")
    return activity_phantom(
        source, attenuation, total_activity_bq=None if total_mbq is None else total_mbq * 1e6, mu_energy_kev=mu_kev,
        materials=materials,
    )  # fmt: skip


def _read(
    path: Path, unit: str | None, modality: str, slice_unit: Literal["mm", "pixels"] | None, option: str
) -> Volume:
    """One image; a NIfTI sidecar states unit and modality."""
    from nmsynth.io.interfile import is_interfile, read_interfile
    from nmsynth.io.nifti import is_nifti, read_nifti
    from nmsynth.io.sidecar import sidecar_path

    if is_nifti(path):
        stated = sidecar_path(path).is_file()
        return read_nifti(path, unit=None if stated else unit, modality=None if stated else modality)
    if not is_interfile(path) and path.suffix.lower() != ".zip":
        raise InputError(
            f"Activity and attenuation are read from NIfTI (.nii, .nii.gz) or Interfile (.h33, .hv, .hdr, or a zip of "
            f"them); found {path.suffix!r:.20}. Convert it."
        )
    if unit is None:
        raise InputError(f"An Interfile image states no unit of its values; none was given. Give it ({option}).")
    return read_interfile(path, unit=unit, modality=modality, slice_unit=slice_unit)


def parse_materials(text: str) -> dict[int, str]:
    """Materials by number.

    Examples
    --------
    >>> parse_materials("1=water, 2=cortical bone")
    {1: 'water', 2: 'cortical bone'}
    """
    found: dict[int, str] = {}
    for word in text.split(","):
        number, separator, name = word.partition("=")
        if not separator or not number.strip().isdigit() or not name.strip():
            raise InputError(
                f"Materials must be NUMBER=NAME, separated by commas; found '{word.strip():.40}'. Write, for example, "
                "1=water,2=cortical bone."
            )
        found[int(number)] = name.strip()
    return found
