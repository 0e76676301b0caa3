"""Look at a dataset before any time is lost on it: every image is opened, and what would spoil a training is told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nmsynth.core.errors import NmsynthError
from nmsynth.core.progress import Progress, silent
from nmsynth.workflows.dataset_rows import LEARNED, check_rows

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.body_contours import Body
    from nmsynth.data.manifest import ManifestRow

SCHEMA_VERSION = 1
"""Version of the result."""
RANGE_FACTOR = 20.0
"""An image whose 99th percentile lies further than this factor from the median of its like is told."""
CUT_SHARE = 0.05
"""Of the body's surface at the sides of the field of view: more is told where others have less than a fifth of it."""
SHORT = 0.5
"""An image whose field of view is shorter than this times the median of its like is told."""
BYTES_PER_VOXEL = 4
"""Of a prepared image."""
_IMAGES = ("source", "condition", "target", "truth", "reference", "anatomy")


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
    modality: str
    unit: str
    compared: str
    """Unit in which images of a kind are compared: an SUV of PET that can have one."""
    digest: str
    """Of the voxels, in the order of the patient's axes."""
    top: float
    """99th percentile of what is not zero."""
    flat: bool
    length_mm: float
    """Of the field of view along the patient."""
    cut: float | None
    """Share of the body's surface at the sides of the field of view; ``None`` where the body was not looked for."""
    patient: str | None
    """Hash of the patient's number."""


def check_dataset(
    manifest: Path,
    *,
    tolerance_mm: float = 8.0,
    work: Path | None = None,
    pictures: Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Open every image of a manifest and list what is wrong.

    Errors: a case with neither a source nor a target, or no case with one of them; an image that cannot be read (NaN
    and damage included), whose unit or modality is not the manifest's, that is empty, that has other axes than
    ``(z, y, x)``, that is PET in Bq/mL or another SUV and states too little for an SUV by body weight, that has no
    overlap with its target; images of a kind in several modalities or units; no source that every case has; a
    condition that is a number in most cases alone; a two-dimensional image among others; one patient, or the same
    voxels, in two splits, wherever they lie and however they are stored; no room for the prepared images. Warnings:
    cases with a source or a target alone, which only a method that learns without pairs can use; the same voxels
    twice; subjects of two splits whose names differ in capitals or leading zeros alone; values a factor of 20 from
    those of others of the kind; a source that lies further than the tolerance from its target (of one modality by
    phase correlation, of two by the contours of the body), or that shows less than 80 % of its body; a body cut off,
    or a field of view half as long, where others of the kind are not.

    Parameters
    ----------
    manifest
        CSV or TOML file, or the folder that holds it.
    tolerance_mm
        Largest distance between a source and its target that is not told [mm].
    work
        Folder in which a training will prepare images; that of the manifest when unset.
    pictures
        Folder for a picture of each case and ``index.html`` with the findings; none when unset.

    Returns
    -------
        JSON values: ``cases``, ``sides`` (how many are pairs, sources alone and targets alone), ``subjects``,
        ``splits``, ``images``, ``prepared_bytes`` and ``findings``.

    Raises
    ------
    InputError
        If the manifest itself does not fit; see :func:`nmsynth.data.manifest.read_manifest`.
    """
    from nmsynth.data.manifest import by_case, manifest_file, read_manifest
    from nmsynth.data.sides import count_sides

    file = manifest_file(Path(manifest))
    rows = read_manifest(file)
    cases = by_case(rows)
    sides = count_sides(cases)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    findings: list[Finding] = []
    seen: list[_Seen] = []
    n_bytes = 0
    for k, (case, members) in enumerate(cases.items()):
        found, looked_at, volumes = _check_case(members, file.parent, tolerance_mm)
        findings += found
        seen += looked_at
        of = {row.role: v for row, v in reversed(volumes)}
        grid = of.get("target", of.get("source"))
        n_bytes += BYTES_PER_VOXEL * len(volumes) * (grid.array.size if grid is not None else 0)
        if pictures is not None:
            _draw(pictures, case, volumes)
        progress("checking the dataset", (k + 1) / len(cases))
    findings += [
        *_sides(cases),
        *(Finding("error", case, "", "", what) for case, what in check_rows(rows)),
        *_alike_subjects(rows),
        *_kinds(seen),
        *_duplicates(seen),
        *_ranges(seen),
        *_outliers(seen),
        *_patients(seen),
        *_room(n_bytes, work or file.parent),
    ]
    splits = sorted({row.split for row in rows})
    result = {
        "schema_version": SCHEMA_VERSION,
        "cases": len(cases),
        "sides": sides,
        "subjects": len({row.subject for row in rows}),
        "splits": {s: len({row.subject for row in rows if row.split == s}) for s in splits},
        "images": len(rows),
        "prepared_bytes": n_bytes,
        "findings": [asdict(f) for f in sorted(findings, key=lambda f: (f.level, f.case, f.role, f.name))],
    }
    if pictures is not None:
        from nmsynth.report.dataset_pictures import write_index

        write_index(pictures, result, list(cases))
    return result


def _draw(folder: Path, case: str, volumes: list[tuple[ManifestRow, Volume]]) -> None:
    """Picture of a case: its sources, conditions and target, with the outline of its masks."""
    from nmsynth.report.dataset_pictures import case_picture, picture_name

    shown = [(f"{r.role} {r.name}".strip(), v) for r, v in volumes if r.role in ("source", "condition", "target")]
    target = next((v for r, v in volumes if r.role == "target"), None)
    masks = [v for r, v in volumes if r.role == "mask"]
    if shown and all(v.axes == ("z", "y", "x") for _, v in shown):
        grid = target if target is not None else shown[0][1]
        (folder / picture_name(case)).write_bytes(case_picture(shown, grid, masks[0] if masks else None))


def _sides(cases: Mapping[str, Iterable[ManifestRow]]) -> list[Finding]:
    """Sides that a training needs and no case has, cases that have neither, and those that have one alone."""
    from nmsynth.data.sides import PAIR, SOURCE, TARGET, count_sides, side_of, sides_in_words

    of: dict[str, list[str]] = {side: [] for side in (PAIR, SOURCE, TARGET, "")}
    for case, rows in cases.items():
        of[side_of(rows)].append(case)
    found = [Finding("error", case, "", "", "the case has neither a source nor a target") for case in of[""]]
    lacking = [side for side in (SOURCE, TARGET) if not of[PAIR] and not of[side]]
    found += [Finding("error", "", side, "", f"no case has a {side}") for side in lacking]
    alone = [*of[SOURCE], *of[TARGET]]
    if alone and not lacking:
        named = f"'{alone[0]}'" + (f" and {len(alone) - 1} more" if alone[1:] else "")
        what = f"{sides_in_words(count_sides(cases))}: what stands alone ({named}) is of use only to a method that "
        what += "learns without pairs, such as cyclegan"
        found.append(Finding("warning", "", "", "", what))
    return found


def _check_case(
    rows: list[ManifestRow], root: Path, tolerance_mm: float
) -> tuple[list[Finding], list[_Seen], list[tuple[ManifestRow, Volume]]]:
    """Open the images of a case, the target first, and keep what is compared between cases."""
    from nmsynth.data.body_contours import find_body
    from nmsynth.data.manifest_images import read_image
    from nmsynth.workflows.dataset_alignment import WORKING_MM, check_place

    findings, seen, volumes = [], [], []
    target: Volume | None = None
    body: Body | None = None
    for row in sorted(rows, key=lambda r: r.role != "target"):
        if row.role == "data":
            continue
        try:
            volume = read_image(row, root)
        except NmsynthError as error:
            findings.append(Finding("error", row.case, row.role, row.name, str(error)))
            continue
        findings += _check_image(row, volume)
        volumes.append((row, volume))
        solid = volume.axes == ("z", "y", "x") and min(volume.shape) > 1
        if row.role == "target" and target is None and solid and volume.array.any():
            target, body = volume, find_body(volume, spacing_mm=WORKING_MM)
        elif target is not None and body is not None and solid:
            compare = row.role in ("source", "condition") and bool(volume.array.any())
            told = check_place(volume, target, body, tolerance_mm, compare=compare)
            findings += [Finding(level, row.case, row.role, row.name, what) for level, what in told]
        if row.role in _IMAGES:
            seen.append(_look(row, volume, root, body if row.role == "target" else None))
    return findings, seen, volumes


def _look(row: ManifestRow, volume: Volume, root: Path, body: Body | None) -> _Seen:
    """What is compared between cases."""
    import numpy as np

    from nmsynth.data.manifest_images import comparable
    from nmsynth.io.dicom_patient import patient_digest
    from nmsynth.io.nifti import is_nifti
    from nmsynth.workflows.dataset_alignment import cut_share

    values = np.asarray(volume.array)
    path = root / row.path
    try:
        compared = comparable(volume).unit.value
    except NmsynthError:  # told of the image alone
        compared = ""
    return _Seen(
        row=row,
        modality=volume.modality,
        unit=volume.unit.value,
        compared=compared,
        digest=_digest(volume),
        top=float(np.percentile(np.abs(values[values != 0]), 99)) if values.any() else 0.0,
        flat=volume.axes[-3:] != ("z", "y", "x") or min(volume.shape) == 1,
        length_mm=volume.spacing_mm[0] * volume.spatial_shape[0],
        cut=None if body is None else cut_share(body),
        patient=None if is_nifti(path) else patient_digest(path),
    )


def _digest(volume: Volume) -> str:
    """Hash of the voxels in the order of the patient's axes; where they lie does not count."""
    import numpy as np

    from nmsynth.core.volume import SPATIAL_AXES
    from nmsynth.data.orientation import PATIENT, turn_towards, turned

    if volume.axes == SPATIAL_AXES:
        volume = turned(volume, turn_towards(volume.affine, PATIENT))
    digest = hashlib.sha256(str(volume.shape).encode())
    digest.update(np.ascontiguousarray(volume.array).tobytes())
    return digest.hexdigest()


def _check_image(row: ManifestRow, volume: Volume) -> list[Finding]:
    """What is wrong with an image alone."""
    import numpy as np

    from nmsynth.core.errors import SuvError
    from nmsynth.core.units import Unit
    from nmsynth.data.manifest_images import check_is_volume, comparable

    found = []
    try:
        unit = Unit.parse(row.unit).value if row.unit else ""
    except NmsynthError as error:
        unit = ""
        found.append(f"the manifest states an unknown unit: {error}")
    for name, stated, real in (("unit", unit, volume.unit.value), ("modality", row.modality, volume.modality)):
        if stated and stated != real:
            found.append(f"the manifest states the {name} '{stated}', the image '{real}'")
    values = np.asarray(volume.array)
    if row.role != "mask" and values.min() == values.max():
        found.append(f"the image is empty: every voxel is {values.min():g}")
    if row.role in LEARNED:
        try:
            check_is_volume(volume, row)
            comparable(volume)
        except SuvError as error:
            found.append(f"no SUV: {error}")
        except NmsynthError as error:
            found.append(str(error))
    return [Finding("error", row.case, row.role, row.name, what) for what in found]


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


def _alike_subjects(rows: Iterable[ManifestRow]) -> list[Finding]:
    """Subjects of two splits whose names differ in capitals or leading zeros alone: perhaps one patient."""
    first: dict[str, ManifestRow] = {}
    told: set[tuple[str, str]] = set()
    findings = []
    for row in rows:
        other = first.setdefault(re.sub(r"(?<!\d)0+(?=\d)", "", row.subject.casefold()), row)
        pair = (other.subject, row.subject)
        if other.subject == row.subject or other.split == row.split or pair in told:
            continue
        told.add(pair)
        what = f"its subject '{row.subject}' is called like '{other.subject}' of case '{other.case}', which is in "
        what += f"'{other.split}'; are they one patient?"
        findings.append(Finding("warning", row.case, "", "", what))
    return findings


def _channel(row: ManifestRow) -> str:
    """Which images are of one kind: as a plan has them, the target one for itself."""
    return "target" if row.role == "target" else row.channel


def _kinds(seen: Iterable[_Seen]) -> list[Finding]:
    """Images of a kind in another modality or unit than the first, which a plan refuses."""
    first: dict[str, _Seen] = {}
    findings = []
    for image in seen:
        if image.row.role not in LEARNED or not image.compared:
            continue
        other = first.setdefault(_channel(image.row), image)
        if (image.modality, image.compared) != (other.modality, other.compared):
            what = f"images of one kind need one modality and unit; it is {image.modality} in {image.unit}, that of "
            what += f"case '{other.row.case}' {other.modality} in {other.unit}"
            findings.append(Finding("error", image.row.case, image.row.role, image.row.name, what))
    return findings


def _ranges(seen: Iterable[_Seen]) -> list[Finding]:
    """Images whose values are of another order than those of other images of the kind."""
    import numpy as np

    kinds: dict[tuple[str, str, str, str], list[_Seen]] = {}
    for image in seen:
        if image.top > 0:
            kind = (image.row.role, _channel(image.row), image.modality, image.unit)
            kinds.setdefault(kind, []).append(image)
    findings = []
    for images in kinds.values():
        middle = float(np.median([i.top for i in images]))
        for image in images:
            if not middle / RANGE_FACTOR <= image.top <= middle * RANGE_FACTOR:
                what = f"its values reach {image.top:.3g}, those of other images of the kind {middle:.3g}"
                findings.append(Finding("warning", image.row.case, image.row.role, image.row.name, what))
    return findings


def _outliers(seen: Iterable[_Seen]) -> list[Finding]:
    """Images that differ from others of their role and modality: flat ones, cut bodies, short fields of view."""
    import numpy as np

    images = list(seen)
    n_flat = sum(i.flat for i in images)
    found = [(i, "error", "a two-dimensional image among three-dimensional ones") for i in images if i.flat]
    found = found if n_flat < len(images) else []
    kinds: dict[tuple[str, str, str], list[_Seen]] = {}
    for image in images:
        if not image.flat:
            kinds.setdefault((image.row.role, image.row.name, image.modality), []).append(image)
    for like in kinds.values():
        length = float(np.median([i.length_mm for i in like]))
        cuts = [i.cut for i in like if i.cut is not None]
        usual = float(np.median(cuts)) if cuts else 0.0
        for i in like:
            if i.length_mm < SHORT * length:
                what = f"its field of view is {i.length_mm:.0f} mm long, those of others of the kind {length:.0f} mm"
                found.append((i, "warning", what))
            if i.cut is not None and i.cut > CUT_SHARE and usual < CUT_SHARE / 5:
                what = f"the body is cut off: {100 * i.cut:.0f} % of its surface lie at the sides of the field of view"
                found.append((i, "warning", what))
    return [Finding(level, i.row.case, i.row.role, i.row.name, what) for i, level, what in found]  # type: ignore[arg-type]


def _patients(seen: Iterable[_Seen]) -> list[Finding]:
    """One patient, by the number in the DICOM headers, under two names of a subject; never the number itself."""
    first: dict[str, ManifestRow] = {}
    told: set[tuple[str, str]] = set()
    findings = []
    for image in seen:
        other = first.setdefault(image.patient, image.row) if image.patient else image.row
        pair = (other.subject, image.row.subject)
        if other.subject == image.row.subject or pair in told:
            continue
        told.add(pair)
        leak = other.split != image.row.split
        what = f"the DICOM headers name the patient of case '{other.case}', who is subject '{other.subject}' there"
        what += f" and in '{other.split}'" if leak else ""
        findings.append(Finding("error" if leak else "warning", image.row.case, image.row.role, image.row.name, what))
    return findings


def _room(n_bytes: int, folder: Path) -> list[Finding]:
    """No room for the prepared images, each on its target's grid."""
    import shutil

    exists = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(exists).free
    if n_bytes <= free:
        return []
    needed = f"prepared images need about {n_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    what = f"{needed}; free some, or use another disk"
    return [Finding("error", "", "", "", what)]
