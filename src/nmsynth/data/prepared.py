"""Cases as a plan wants them: every image read, converted, resampled and normalised once, then read as patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, NmsynthError
from nmsynth.core.geometry import spacing_of
from nmsynth.core.normalisation import FittedNormalisation
from nmsynth.core.plan import ImagePlan, Plan
from nmsynth.core.volume import Volume
from nmsynth.data.body import body_contour
from nmsynth.data.body_contours import field_of_view
from nmsynth.data.manifest import ManifestRow
from nmsynth.data.manifest_images import check_is_volume, naming, shown_view
from nmsynth.data.planned_image import as_planned, fitted_to
from nmsynth.data.resampling import covered, plan_grid, resample
from nmsynth.data.sides import PAIR, SOURCE, TARGET, side_of
from nmsynth.io import read
from nmsynth.io.atomic import atomic_file

FloatArray = npt.NDArray[np.float32]

SCHEMA_VERSION = 2
"""Of a prepared case; 1 kept normalisations by name, so that levels of one name shared one."""
OUTSIDE_WEIGHT = 0.05
"""What a voxel outside the body counts in a loss, so that nothing is put there."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case, its voxels not yet read.

    Attributes
    ----------
    layers
        Memory-mapped, shape ``(layer, z, y, x)``, float32: the sources at every level, then target, weight and labels.
        A case of one side lacks the other's layers.
    levels
        For each way to present the case, the layer of each source of the plan, and the numbers the network is told;
        none where it has a target alone.
    """

    case_id: str
    subject: str
    split: str
    layers: FloatArray
    levels: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    record: dict[str, Any]

    @property
    def has_source(self) -> bool:
        """Whether there is a source."""
        return bool(self.record.get("side", PAIR) != TARGET)

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return bool(self.record.get("side", PAIR) != SOURCE)

    @property
    def is_pair(self) -> bool:
        """Whether there are both."""
        return self.has_source and self.has_target

    @property
    def target(self) -> FloatArray:
        """Normalised target, shape ``(z, y, x)``.

        Raises
        ------
        InputError
            If the case has a source alone.
        """
        if not self.has_target:
            raise InputError(f"The target of a case is asked for; '{self.case_id}' has a source alone. Leave it out.")
        target: FloatArray = self.layers[-3]
        return target

    @property
    def weight(self) -> FloatArray:
        """What each voxel counts, shape ``(z, y, x)``: 1 in the body, 0.05 beside it, 0 where none was imaged."""
        weight: FloatArray = self.layers[-2]
        return weight

    @property
    def labels(self) -> FloatArray:
        """Number of the lesion or organ of each voxel, 0 for none, shape ``(z, y, x)``."""
        labels: FloatArray = self.layers[-1]
        return labels

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along ``(z, y, x)`` [mm]."""
        z, y, x = self.record["spacing_mm"]
        return z, y, x

    def target_normalisation(self) -> FittedNormalisation:
        """By which the target was normalised."""
        return FittedNormalisation(**self.record["target_normalisation"])

    def source(self, level: int) -> FloatArray:
        """Normalised sources of a level, shape ``(source, z, y, x)``."""
        return np.stack([self.layers[k] for k in self.levels[level][0]])


def scale_by_source(plan: Plan, case: PreparedCase, level: int) -> FittedNormalisation:
    """The normalisation of a target that goes by a level, at that of the first source as it is presented."""
    own = case.record["normalisations"][case.levels[level][0][0]]["scale"]
    return FittedNormalisation("level", 0.0, _level_ratio(plan) * own)


def answer_normalisation(plan: Plan, case: PreparedCase, level: int) -> FittedNormalisation:
    """By which an answer to a level of a pair becomes an image in the target's unit."""
    return scale_by_source(plan, case, level) if plan.target_level_of_source else case.target_normalisation()


def target_gain(plan: Plan, case: PreparedCase, level: int) -> float:
    """What the normalised target is multiplied by, as an answer to that level of a pair is on the scale of its source.

    Targets that go by the level of their source are kept by the median over the levels; 1 for any other.
    """
    if not (plan.target_level_of_source and case.is_pair):
        return 1.0
    return case.target_normalisation().scale / scale_by_source(plan, case, level).scale


def source_volume(case: PreparedCase, plan: Plan, level: int) -> Volume:
    """The first source of a case at a level, in its own unit."""
    layer, image = case.levels[level][0][0], plan.sources[0]
    scale = FittedNormalisation(**case.record["normalisations"][layer])
    affine = np.asarray(case.record["affine"], dtype=np.float64)
    return Volume(scale.invert(case.layers[layer]), affine, image.unit, image.modality)


def read_image(row: ManifestRow, root: Path, image: ImagePlan | None = None) -> Volume:
    """Read an image of a manifest, in the unit that a plan asks for.

    Raises
    ------
    InputError
        If the image is of another modality or unit than planned, or has other axes than ``(z, y, x)``.
    UnsafeInputError
        If it has NaN or infinite voxels.
    SuvError
        If an SUV is planned and none can be stated.
    """
    path = root / row.path
    bare = path.name.lower().endswith((".nii", ".nii.gz"))
    with naming(row):
        volume = read(path, unit=row.unit or None if bare else None, modality=row.modality or None if bare else None)
        volume = shown_view(volume, row)
        check_is_volume(volume, row)
        if image is None:
            return volume
        return as_planned(volume, image, where=f"Case '{row.case}': ", remedy="Correct the manifest, or plan again.")


def reference_of(case_id: str, rows: Sequence[ManifestRow], plan: Plan) -> tuple[ManifestRow, ImagePlan]:
    """The image over whose field of view a case is prepared: its target, or the first source where it has none.

    Raises
    ------
    InputError
        If it has neither.
    """
    target = next((row for row in rows if row.role == "target"), None)
    if target is not None:
        return target, plan.target
    found = _rows_of(plan.sources[0], rows)
    if not found:
        raise _missing(case_id, plan.sources[0])
    return found[0], plan.sources[0]


def prepare_case(case_id: str, rows: Sequence[ManifestRow], root: Path, plan: Plan, folder: Path) -> None:
    """Read the images of a case and save them on the plan's grid, normalised.

    The grid lies over the target; over the first source in a case that has no target. A target alone is normalised by
    its own level where others are by that of their source.

    Parameters
    ----------
    case_id
        Name of the case.
    rows
        Of this case.
    root
        Folder that paths are relative to.
    plan
        Grid, units and normalisation.
    folder
        Gets ``<case_id>.npy`` and then ``<case_id>.json``, whose presence means completeness.

    Raises
    ------
    InputError
        If an image is not what the plan wants, or a source without which it cannot be is missing.
    """
    side = side_of(rows)
    row, image = reference_of(case_id, rows, plan)
    reference = read_image(row, root, image)
    affine, shape = plan_grid(reference, plan.spacing_mm)
    if plan.spatial_dims == 3 and shape[0] == 1:
        raise InputError(
            f"Case '{case_id}': a 3D plan needs images of several slices; the {row.role} has one. Leave the case out, "
            "or plan with dimensions 2d."
        )
    reference = _checked(resample(reference, affine, shape, fill=image.fill), row)
    sources = _Sources([], [], [], np.ones(shape, dtype=bool), np.ones(shape, dtype=bool))
    for image in plan.sources if side != TARGET else ():
        _add_source(sources, image, rows, root, affine)
    targets: list[FloatArray] = []
    of_target: dict[str, Any] = {}
    if side != SOURCE:
        with naming(row):
            fitted = _target_scale(plan, reference, sources if side == PAIR else None, case_id)
        targets, of_target = [fitted.apply(reference.array)], {"target_normalisation": fitted.to_json()}
    body = _body(rows, root, reference, affine, shape)
    weight = np.where(body, sources.seen, OUTSIDE_WEIGHT) * sources.field
    labels = _labels(rows, root, affine, shape)
    layers = [*sources.layers, *targets, weight.astype(np.float32), labels]
    record = {
        "schema_version": SCHEMA_VERSION,
        "case_id": case_id,
        "subject": row.subject,
        "split": row.split,
        "side": side,
        "spacing_mm": list(spacing_of(affine)),
        "affine": affine.tolist(),
        "levels": _levels(plan, sources.channels, rows) if side != TARGET else [],
        "normalisations": sources.normalisations,
        **of_target,
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{case_id}.npy", np.stack(layers).astype(np.float32))
    with atomic_file(folder / f"{case_id}.json", overwrite=True) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Sources:
    """What is gathered of the sources of a case."""

    layers: list[FloatArray]
    channels: list[list[tuple[int, ManifestRow | None]]]
    """For each source of the plan the layers that show it, each with its row."""
    normalisations: list[dict[str, Any]]
    """By which each layer was normalised; that of the plan where an image is missing."""
    field: npt.NDArray[np.bool_]
    """Voxels on the grid of every source."""
    seen: npt.NDArray[np.bool_]
    """Voxels where every source has values and not the fill of an image that was cut or turned."""


def _target_scale(plan: Plan, target: Volume, sources: _Sources | None, case_id: str) -> FittedNormalisation:
    """By which the target is normalised: its own, or that of the first source, the median of its levels."""
    if sources is None or not plan.target_level_of_source:
        return plan.target.normalisation.fit(target.array, target.spacing_mm)
    scales = [sources.normalisations[layer]["scale"] for layer, row in sources.channels[0] if row is not None]
    if not scales:
        raise InputError(
            f"Case '{case_id}' needs the first source, '{plan.sources[0].name}', by whose level its target is "
            "normalised; it has none. Leave the case out, or plan again."
        )
    return FittedNormalisation("level", 0.0, _level_ratio(plan) * float(np.median(scales)))


def _level_ratio(plan: Plan) -> float:
    """Scale of a target over the level of the first source, of which both are multiples."""
    return plan.target.normalisation.scale / plan.sources[0].normalisation.scale


def _add_source(
    sources: _Sources, image: ImagePlan, rows: Sequence[ManifestRow], root: Path, affine: npt.NDArray[np.float64]
) -> None:
    """Read what a case has of a source, or fill in for one that may be missing."""
    case_id = rows[0].case
    n_z, n_y, n_x = shape = sources.field.shape
    found = _rows_of(image, rows)
    if not found and not image.optional:
        raise _missing(case_id, image)
    alternatives: list[tuple[int, ManifestRow | None]] = []
    for row in found:
        volume = read_image(row, root, image)
        sources.field[...] &= covered(volume, affine, (n_z, n_y, n_x))
        seen = field_of_view(volume)
        if not seen.all():
            mask = volume.with_array(seen.astype(np.float32))
            sources.seen[...] &= resample(mask, affine, (n_z, n_y, n_x), order=0).array > 0
        moved = _checked(resample(volume, affine, (n_z, n_y, n_x), fill=image.fill), row)
        with naming(row):
            scale = fitted_to(volume, moved, image)
        sources.normalisations.append(scale.to_json())
        alternatives.append((len(sources.layers), row))
        sources.layers.append(scale.apply(moved.array))
    if not found:
        alternatives.append((len(sources.layers), None))
        empty = np.full(shape, image.fill, dtype=np.float32)
        typical = image.normalisation.typical()
        sources.normalisations.append(typical.to_json())
        sources.layers.append(typical.apply(empty))
    sources.channels.append(alternatives)


def _rows_of(image: ImagePlan, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """What a case has of a source."""
    return [row for row in rows if row.role in ("source", "condition") and row.channel == image.name]


def _missing(case_id: str, image: ImagePlan) -> InputError:
    """Explain that a case lacks a source."""
    return InputError(f"Case '{case_id}' needs the source '{image.name}'; it has none. Correct its rows.")


def prepared_bytes(reference: Volume, rows: Sequence[ManifestRow], plan: Plan) -> int:
    """Room that a prepared case takes on the disk [bytes], were it as large as this target, or source without one."""
    _, shape = plan_grid(reference, plan.spacing_mm)
    n_sources = sum(r.role in ("source", "condition") for r in rows)
    return int(np.prod(shape)) * 4 * (max(n_sources, len(plan.sources)) + 3)


def open_prepared(folder: Path, cases: Sequence[str] | None = None) -> list[PreparedCase]:
    """The complete cases of a folder, ordered by name, or those named.

    Raises
    ------
    InputError
        If a named case is not there, or one was prepared by an earlier version.
    """
    found = {}
    for path in sorted(folder.glob("[!.]*.json")):
        record = json.loads(path.read_text())
        if "case_id" not in record:
            continue
        case = record["case_id"]
        if record.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"Prepared cases must be of format {SCHEMA_VERSION}; '{case}' is of format "
                f"{record.get('schema_version')!r:.20}, of another version of nmsynth. Remove the folder "
                f"'{folder.name}', and the same command makes it again."
            )
        levels = tuple((tuple(layers), tuple(told)) for layers, told in record["levels"])
        layers = np.load(folder / f"{case}.npy", mmap_mode="r")
        found[case] = PreparedCase(case, record["subject"], record["split"], layers, levels, record)
    missing = [c for c in cases or () if c not in found]
    if missing:
        raise InputError(f"The folder of prepared cases must hold '{missing[0]}'; it does not. Prepare them again.")
    return list(found.values()) if cases is None else [found[c] for c in cases]


def _checked(volume: Volume, row: ManifestRow) -> Volume:
    """An image that has something to learn from."""
    if float(volume.array.min()) == float(volume.array.max()):
        raise InputError(
            f"Case '{row.case}': the {row.role} is empty on the grid of the case: every voxel is "
            f"{float(volume.array.min()):g}. Do its images show one place?"
        )
    return volume


def _levels(
    plan: Plan, channels: Sequence[Sequence[tuple[int, ManifestRow | None]]], rows: Sequence[ManifestRow]
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Every way to present a case: each level of the first source that has several, with the others beside."""
    n_levels = max(len(alternatives) for alternatives in channels)
    levels = []
    for k in range(n_levels):
        chosen = [alternatives[min(k, len(alternatives) - 1)] for alternatives in channels]
        facts = dict(pair for row in rows for pair in row.facts.items())
        for _, row in chosen:
            if row is not None:
                facts |= row.facts
                if row.count_fraction is not None:
                    facts["count_fraction"] = str(row.count_fraction)
        present = {image.name: row is not None for image, (_, row) in zip(plan.sources, chosen, strict=True)}
        try:
            told = encode_conditions(plan, facts, present)
        except InputError as error:
            raise InputError(f"Case '{rows[0].case}': {error}") from error
        levels.append((tuple(layer for layer, _ in chosen), tuple(told)))
    return levels


def encode_conditions(plan: Plan, facts: Mapping[str, str], present: Mapping[str, bool]) -> list[float]:
    """The numbers that a network is told.

    Parameters
    ----------
    plan
        Its conditions, then one number for each optional source: whether it is there.
    facts
        Value of each condition by name.
    present
        Whether each source is there, by name.

    Raises
    ------
    InputError
        If a condition that is not optional has no value, or one has a value that does not suit it.
    """
    told: list[float] = []
    for condition in plan.conditions:
        told += condition.encode_or_leave(facts.get(condition.name))
    return told + [float(present.get(image.name, False)) for image in plan.sources if image.optional]


def _body(
    rows: Sequence[ManifestRow],
    root: Path,
    target: Volume,
    affine: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
) -> npt.NDArray[np.bool_]:
    """The mask named ``body``, or the contour of the target."""
    row = next((r for r in rows if r.role == "mask" and r.name == "body"), None)
    if row is None:
        return body_contour(target)
    return np.asarray(resample(_label_image(row, root), affine, shape, order=0).array > 0)


def _labels(
    rows: Sequence[ManifestRow], root: Path, affine: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> FloatArray:
    """Regions of all masks but the body, numbered one mask after another."""
    labels = np.zeros(shape, dtype=np.float32)
    for row in rows:
        if row.role != "mask" or row.name == "body":
            continue
        found = np.round(resample(_label_image(row, root), affine, shape, order=0).array)
        labels = np.where(found > 0, found + labels.max(), labels)
    return labels


def _label_image(row: ManifestRow, root: Path) -> Volume:
    """Read a mask, for which unit and modality mean nothing."""
    path = root / row.path
    try:
        return read(path)
    except NmsynthError:
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            raise
        return read(path, unit="1", modality=row.modality or "PT")
