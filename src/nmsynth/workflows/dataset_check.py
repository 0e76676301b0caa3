"""Look at a dataset before any time is lost on it: every image is opened, and what would spoil a training is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nmsynth.core.errors import NmsynthError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow

SCHEMA_VERSION = 1
"""Version of the result."""
RANGE_FACTOR = 20.0
"""An image whose 99th percentile lies further than this factor from the median of its like is told."""
SHIFT_MM = 8.0
"""A source that lies further than this from its target is told [mm]."""
_IMAGES = ("source", "target", "truth", "reference", "anatomy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be."""

    level: Literal["error", "warning"]
    """An error stops a training; a warning asks for a look."""
    case: str
    role: str
    name: str
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is kept of an image after it was read."""

    row: ManifestRow
    digest: str
    top: float
    """99th percentile of what is not zero."""


def check_dataset(manifest: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Open every image of a manifest and list what is wrong.

    Errors: a case without a source or a target; an image that cannot be read (NaN and damage included), whose unit or
    modality is not the manifest's, that is empty, that has no SUV though it is PET, that lies on another grid than its
    case's target; the same voxels in two splits. Warnings: the same voxels twice, values a factor of 20 from those of
    other images of the kind, a source that lies 8 mm or more from its target.

    Parameters
    ----------
    manifest
        CSV file, or the folder that holds ``manifest.csv``.

    Returns
    -------
        JSON values: ``cases``, ``subjects``, ``splits``, ``images`` and ``findings``.

    Raises
    ------
    InputError
        If the manifest itself does not fit; see :func:`nmsynth.data.manifest.read_manifest`.
    """
    from nmsynth.data.manifest import by_case, read_manifest

    manifest = Path(manifest)
    rows = read_manifest(manifest)
    root = manifest if manifest.is_dir() else manifest.parent
    cases = by_case(rows)
    findings: list[Finding] = []
    seen: list[_Seen] = []
    for k, (case, members) in enumerate(cases.items()):
        findings += _missing_roles(case, members)
        found, looked_at = _check_case(members, root)
        findings += found
        seen += looked_at
        progress("checking the dataset", (k + 1) / len(cases))
    findings += _duplicates(seen)
    findings += _ranges(seen)
    splits = sorted({row.split for row in rows})
    return {
        "schema_version": SCHEMA_VERSION,
        "cases": len(cases),
        "subjects": len({row.subject for row in rows}),
        "splits": {s: len({row.subject for row in rows if row.split == s}) for s in splits},
        "images": len(rows),
        "findings": [asdict(f) for f in sorted(findings, key=lambda f: (f.level, f.case, f.role, f.name))],
    }


def _missing_roles(case: str, rows: Iterable[ManifestRow]) -> list[Finding]:
    """Roles that a training needs and a case lacks."""
    roles = {row.role for row in rows}
    return [
        Finding("error", case, role, "", f"the case has no {role}")
        for role in ("source", "target")
        if role not in roles
    ]


def _check_case(rows: list[ManifestRow], root: Path) -> tuple[list[Finding], list[_Seen]]:
    """Open the images of a case, the target first, and keep what is compared between cases."""
    import numpy as np

    from nmsynth.io import read

    findings, seen = [], []
    target: Volume | None = None
    for row in sorted(rows, key=lambda r: r.role != "target"):
        if row.role == "data":
            continue
        try:
            volume = read(root / row.path)
        except NmsynthError as error:
            findings.append(Finding("error", row.case, row.role, row.name, str(error)))
            continue
        findings += _check_image(row, volume)
        if row.role == "target":
            target = target or volume
        elif target is not None:
            findings += _check_against(row, volume, target)
        values = np.asarray(volume.array)
        top = float(np.percentile(np.abs(values[values != 0]), 99)) if values.any() else 0.0
        if row.role in _IMAGES:
            seen.append(_Seen(row, volume.sha256, top))
    return findings, seen


def _check_image(row: ManifestRow, volume: Volume) -> list[Finding]:
    """What is wrong with an image alone."""
    import numpy as np

    from nmsynth.core.errors import SuvError

    found = []
    for name, stated, real in (("unit", row.unit, volume.unit.value), ("modality", row.modality, volume.modality)):
        if stated and stated != real:
            found.append(f"the manifest states the {name} '{stated}', the image '{real}'")
    values = np.asarray(volume.array)
    if row.role != "mask" and values.min() == values.max():
        found.append(f"the image is empty: every voxel is {values.min():g}")
    if volume.modality == "PT" and row.role in ("source", "target") and not volume.unit.is_suv:
        try:
            volume.to_suv()
        except SuvError as error:
            found.append(f"no SUV: {error}")
    return [Finding("error", row.case, row.role, row.name, what) for what in found]


def _check_against(row: ManifestRow, volume: Volume, target: Volume) -> list[Finding]:
    """What is wrong between an image and its target."""
    if not volume.has_grid_of(target):
        what = f"the grid is not the target's: shape {volume.shape} for {target.shape}, or another place"
        return [Finding("error", row.case, row.role, row.name, what)]
    comparable = volume.modality == target.modality and bool(volume.array.any()) and bool(target.array.any())
    if row.role == "source" and comparable:
        apart = _shift_mm(volume, target)
        if apart >= SHIFT_MM:
            what = f"the image seems to lie {apart:.0f} mm from the target"
            return [Finding("warning", row.case, row.role, row.name, what)]
    return []


def _shift_mm(volume: Volume, target: Volume) -> float:
    """Distance by which an image best fits its target, from phase correlation of both, smoothed [mm]."""
    import numpy as np
    from scipy import ndimage
    from skimage.registration import phase_cross_correlation

    def smooth(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Square root of the image, without the noise of its voxels: the body counts, not the hottest organ."""
        smoothed = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), 2.0)
        return np.asarray(np.sqrt(np.maximum(smoothed, 0.0)), dtype=np.float64)

    find: Callable[..., Any] = phase_cross_correlation
    shift, _, _ = find(smooth(target.array), smooth(volume.array), normalization=None)
    return float(np.linalg.norm(np.asarray(shift) * np.asarray(target.spacing_mm)))


def _duplicates(seen: Iterable[_Seen]) -> list[Finding]:
    """The same voxels in two places: a leak where they stand in two splits."""
    first: dict[str, ManifestRow] = {}
    findings = []
    for image in seen:
        other = first.setdefault(image.digest, image.row)
        if other is image.row or (other.case == image.row.case and other.path == image.row.path):
            continue
        leak = other.split != image.row.split
        what = f"the same voxels as {other.role} '{other.name}' of case '{other.case}'"
        what += f", which is in '{other.split}'" if leak else ""
        findings.append(Finding("error" if leak else "warning", image.row.case, image.row.role, image.row.name, what))
    return findings


def _ranges(seen: Iterable[_Seen]) -> list[Finding]:
    """Images whose values are of another order than those of other images of the kind."""
    import numpy as np

    kinds: dict[tuple[str, str, str], list[_Seen]] = {}
    for image in seen:
        if image.top > 0:
            kinds.setdefault((image.row.role, image.row.modality, image.row.unit), []).append(image)
    findings = []
    for images in kinds.values():
        middle = float(np.median([i.top for i in images]))
        for image in images:
            if not middle / RANGE_FACTOR <= image.top <= middle * RANGE_FACTOR:
                what = f"its values reach {image.top:.3g}, those of other images of the kind {middle:.3g}"
                findings.append(Finding("warning", image.row.case, image.row.role, image.row.name, what))
    return findings
