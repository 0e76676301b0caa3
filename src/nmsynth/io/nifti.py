"""NIfTI images in and out. RAS and the order ``(x, y, z, frame)`` stay in this file."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.geometry import FloatArray, is_orthogonal, spacing_of
from nmsynth.core.provenance import SourceReference
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.io.atomic import atomic_file, check_finite, check_output
from nmsynth.io.sidecar import MARK, Sidecar, encode_sidecar, read_sidecar, sidecar_path

MAXIMUM_VOXELS = 2**30
"""Largest number of voxels that is read."""
MAXIMUM_HEADER_BYTES = 2**20
"""Largest header with extensions that is read [byte]."""
_MAXIMUM_DEFLATE_RATIO = 1040
"""Above what deflate can reach: a file that claims more is not whole."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"mm": 1.0, "meter": 1e3, "micron": 1e-3, "unknown": 1.0}
_MODALITIES = ("PT", "NM", "CT", "MR")


def is_nifti(path: Path) -> bool:
    """Whether the name of a file is that of a NIfTI image."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def write_nifti(volume: Volume, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write ``.nii`` or ``.nii.gz`` as float32, with sform and qform, and a JSON sidecar beside it.

    The array keeps its order; the sidecar carries unit, acquisition, provenance, warnings and the SUV rule.
    Both appear complete or not at all; of an interrupted overwrite an image without a sidecar can remain,
    which :func:`read_nifti` does not take without a unit.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)`` or ``(frame, z, y, x)``.
    path
        Output; its name ends in ``.nii`` or ``.nii.gz``.
    overwrite
        Whether existing files may be replaced.

    Returns
    -------
        Path of the image.

    Raises
    ------
    NumericalError
        If a value is not finite; nothing is written.
    InputError
        If the output exists, its name does not fit, or the axes have no place in NIfTI.
    """
    path = Path(path)
    if not is_nifti(path):
        raise InputError(f"The name of a NIfTI image must end in .nii or .nii.gz; found {path.suffix!r}.")
    if volume.axes not in (SPATIAL_AXES, ("frame", *SPATIAL_AXES)):
        raise InputError(
            f"A NIfTI image holds axes (z, y, x) or (frame, z, y, x); found {volume.axes}. Name a folder without an "
            "ending, for a DICOM output."
        )
    check_finite(volume.array)
    sidecar = check_output(sidecar_path(path), overwrite=overwrite, is_directory=False)
    payload = _encode(volume)
    if path.name.lower().endswith(".gz"):
        payload = gzip.compress(payload, compresslevel=1, mtime=0)
    with atomic_file(sidecar, overwrite=overwrite) as sidecar_file:
        sidecar_file.write_bytes(encode_sidecar(volume))
        with atomic_file(path, overwrite=overwrite) as image_file:
            image_file.write_bytes(payload)
            # A stale sidecar beside a new image would be believed; none at all is refused.
            sidecar.unlink(missing_ok=True)
    return path


def _encode(volume: Volume) -> bytes:
    """NIfTI-1 file (NIfTI-2 for large grids) of a volume."""
    import nibabel

    array = volume.array.transpose(*range(volume.array.ndim)[::-1])  # (frame, z, y, x) -> (x, y, z, frame)
    affine = _LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]
    large = max(array.shape) > np.iinfo(np.int16).max
    image_class: Any = nibabel.Nifti2Image if large else nibabel.Nifti1Image
    image = image_class(array, affine, dtype=np.float32)
    header = image.header
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1.0, 0.0)
    header.set_sform(affine, code="scanner")
    orthogonal = is_orthogonal(affine, tolerance=1e-6)
    # A quaternion has no shear: a sheared grid is given by the sform alone.
    header.set_qform(affine if orthogonal else None, code="scanner" if orthogonal else "unknown")
    if volume.provenance.synthetic or volume.provenance.simulated:
        header["descrip"] = MARK.encode()
    if len({frame.duration_s for frame in volume.frames}) == 1 and volume.array.ndim == 4:
        header["pixdim"][4] = volume.frames[0].duration_s
    return bytes(image.to_bytes())


def read_nifti(path: Path | str, *, unit: Unit | str | None = None, modality: str | None = None) -> Volume:
    """Read a NIfTI image and, where there is one, its sidecar ``name.json``.

    The axes are permuted, without flips, so that they run nearest to z, y and x. The sform is taken, else the
    qform; an image with neither gets a warning.

    Parameters
    ----------
    path
        File ending in ``.nii`` or ``.nii.gz``.
    unit, modality
        Needed where no sidecar states them; where one does, they must agree with it. Nothing is guessed from values.

    Raises
    ------
    InputError
        If the file is absent, ``unit`` or ``modality`` is unknown, or they contradict the sidecar.
    UnsafeInputError
        If the file is damaged, too large, not finite, or its sidecar belongs to another image.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("The NIfTI image must be a file; found none at that path. Check the path.")
    beside = sidecar_path(path)
    sidecar = read_sidecar(beside) if beside.is_file() else Sidecar()
    resolved_unit, resolved_modality = _resolve(sidecar, unit, modality)
    image = _load(path)
    warnings = [*sidecar.warnings]
    array, affine = _values(image), _affine(image, warnings)
    array, affine, axes = _to_array_order(array, affine, keep=sidecar.axes is not None)
    array = array * np.float32(sidecar.scale) if sidecar.scale != 1.0 else array
    affine = _checked_affine(sidecar, array.shape, affine)
    volume = Volume(
        array=array,
        affine=affine,
        unit=resolved_unit,
        modality=resolved_modality,
        axes=axes,
        acquisition=sidecar.acquisition,
        frames=sidecar.frames if len(axes) == len(SPATIAL_AXES) or len(sidecar.frames) == array.shape[0] else (),
        provenance=sidecar.provenance,
        suv_rule=sidecar.suv_rule if sidecar.modality is not None or resolved_modality == "PT" else None,
        source=SourceReference(path=path, format="nifti"),
    )
    if sidecar.sha256 is not None and sidecar.sha256 != volume.sha256:
        warnings.append("The values or the grid were changed after nmsynth wrote this image; its record may not hold.")
    return volume.with_warnings(warnings)


def _resolve(sidecar: Sidecar, unit: Unit | str | None, modality: str | None) -> tuple[Unit, str]:
    """Unit and modality from the sidecar or the caller, who must not contradict each other."""
    asked = None if unit is None else Unit.parse(unit)
    if modality is not None and modality not in _MODALITIES:
        raise InputError(f"The modality must be one of {', '.join(_MODALITIES)}; found {modality!r:.40}.")
    pairs = {"unit": (asked, sidecar.unit), "modality": (modality, sidecar.modality)}
    missing = [name for name, pair in pairs.items() if pair == (None, None)]
    if missing:
        raise InputError(
            f"A NIfTI image needs unit and modality, from its JSON sidecar or the caller; {' and '.join(missing)} "
            "not given. Pass unit (--unit, such as 'Bq/mL') and modality (--modality, such as 'PT')."
        )
    for name, (given, stated) in pairs.items():
        if given is not None and stated is not None and given != stated:
            raise InputError(f"The {name} must be that of the sidecar, {stated!s:.40}; found {given!s:.40}.")
    return Unit(str(asked or sidecar.unit)), str(modality or sidecar.modality)


def _load(path: Path) -> Any:
    """Image of nibabel whose header was found possible before anything large is allocated."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError, HeaderTypeError

    try:
        image = _parse(path, nibabel)
    except (
        ImageFileError, HeaderDataError, HeaderTypeError, OSError, EOFError, zlib.error, ValueError, KeyError,
        OverflowError,
    ) as error:  # fmt: skip
        raise _damaged(f"its header cannot be read ({type(error).__name__})") from error
    shape = tuple(int(n) for n in image.shape)
    if len(shape) not in (3, 4) or min(shape, default=0) < 1:
        raise UnsafeInputError(f"A NIfTI image must have 3 or 4 dimensions; found shape {shape}. Split or squeeze it.")
    if math.prod(shape) > MAXIMUM_VOXELS:
        raise UnsafeInputError(f"An image must have at most {MAXIMUM_VOXELS} voxels; its header claims {shape}.")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise UnsafeInputError(f"Voxels must be real numbers; found {kind}. Convert the image first.")
    claimed = math.prod(shape) * kind.itemsize
    possible = path.stat().st_size * (_MAXIMUM_DEFLATE_RATIO if path.name.lower().endswith(".gz") else 1)
    if claimed > possible:
        raise _damaged(f"its header claims {claimed} bytes of voxels, more than the file can hold")
    return image


def _parse(path: Path, nibabel: Any) -> Any:
    """Read the header, whose own size is bounded first."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        head = stream.read(544)
    if len(head) < 348:
        raise _damaged(f"it has {len(head)} bytes of header")
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    kind = nibabel.Nifti2Header if 540 in sizes else nibabel.Nifti1Header
    binary = kind(head[: kind.sizeof_hdr], check=False)
    offset = float(binary["vox_offset"])
    if not kind.sizeof_hdr <= offset <= MAXIMUM_HEADER_BYTES:
        raise _damaged("its voxels do not begin where a header ends")
    image_class = nibabel.Nifti2Image if 540 in sizes else nibabel.Nifti1Image
    return image_class.from_filename(path, mmap=False)


def _damaged(found: str) -> UnsafeInputError:
    """Explain that the file is not whole."""
    return UnsafeInputError(f"The NIfTI image must be whole; {found}. Copy or export it again.")


def _values(image: Any) -> npt.NDArray[np.float32]:
    """Scaled values as float32, finite, in the order of the file."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            array = np.asarray(image.get_fdata(caching="unchanged", dtype=np.float32))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(f"its voxels end too early or do not decompress ({type(error).__name__})") from error
    except MemoryError as error:
        raise UnsafeInputError(f"The image must fit the memory; its header claims {image.shape}.") from error
    n_bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if n_bad:
        raise UnsafeInputError(
            f"An image must hold finite values; this one has {n_bad} NaN or infinite ones. Replace them first."
        )
    return array


def _affine(image: Any, warnings: list[str]) -> FloatArray:
    """Affine from ``(i, j, k)`` to LPS mm."""
    header = image.header
    sform, sform_code = header.get_sform(coded=True)
    try:
        qform, qform_code = header.get_qform(coded=True)
    except (ValueError, ArithmeticError):
        qform, qform_code = None, 0
    if not sform_code and not qform_code:
        warnings.append("The NIfTI header states no orientation; left and right are not known.")
    if sform_code and qform_code and not np.allclose(sform, qform, atol=0.1):
        warnings.append("The sform and the qform of the NIfTI header differ; the sform was taken.")
    affine = np.array(sform if sform_code else qform if qform_code else header.get_base_affine(), dtype=np.float64)
    affine[:3] *= _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise _damaged("its affine is not an invertible matrix")
    return np.asarray(_LPS_TO_RAS @ affine, dtype=np.float64)


def _to_array_order(
    array: npt.NDArray[np.float32], affine: FloatArray, *, keep: bool
) -> tuple[npt.NDArray[np.float32], FloatArray, tuple[str, ...]]:
    """Permute ``(i, j, k[, frame])`` to ``([frame,] z, y, x)``; ``keep`` takes ``k, j, i`` as they are."""
    if array.ndim == 4 and array.shape[3] == 1 and not keep:
        array = array[..., 0]
    order = (2, 1, 0) if keep else _nearest_axes(affine)
    spatial = affine[:, [*order, 3]]
    moved = array.transpose((3, *order) if array.ndim == 4 else order)
    axes = ("frame", *SPATIAL_AXES) if array.ndim == 4 else SPATIAL_AXES
    return np.ascontiguousarray(moved), spatial, axes


def _nearest_axes(affine: FloatArray) -> tuple[int, int, int]:
    """Which of ``i, j, k`` runs nearest to z, to y and to x."""
    from scipy.optimize import linear_sum_assignment

    cosines = np.abs(affine[:3, :3] / np.array(spacing_of(affine)))
    _, columns = linear_sum_assignment(-cosines[[2, 1, 0]])
    return int(columns[0]), int(columns[1]), int(columns[2])


def _checked_affine(sidecar: Sidecar, shape: tuple[int, ...], affine: FloatArray) -> FloatArray:
    """Exact affine of the sidecar where it agrees with the header's float32; refuse a sidecar of another grid."""
    if sidecar.shape is not None and sidecar.shape != shape:
        raise UnsafeInputError(
            f"The sidecar must belong to the image; it states shape {sidecar.shape} and the image has {shape}. "
            "Put the right sidecar beside it or remove it."
        )
    if sidecar.affine is None:
        return affine
    corners = np.abs((sidecar.affine - affine) @ np.array([*shape[-3:], 1.0])).max()
    if corners > 0.01 * min(spacing_of(affine)):
        raise UnsafeInputError(
            f"The sidecar must belong to the image; their grids differ by {corners:.3g} mm. "
            "Put the right sidecar beside it or remove it."
        )
    return sidecar.affine
