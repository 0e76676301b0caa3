"""Comparing a synthetic CT with the true one, as CT and as the attenuation map that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import field_of_view, find_body, on_grid
from nmsynth.evaluation.preparation import BODY_NAME, as_mask_array, check_images
from nmsynth.evaluation.schema import Metrics, image_facts
from nmsynth.evaluation.settings import EvaluationSettings
from nmsynth.metrics import image as image_measures
from nmsynth.metrics.anatomy import BONE_HU, ORGAN_REACH_MM, bone_dice, organ_overlap, overlap, tissue_errors
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.quantitative import region_mean
from nmsynth.physics.materials import PHOTON_KEV, mu_from_hu

HU_DATA_RANGE = 2000.0
"""Of PSNR and SSIM, -1000 to 1000 HU, the same for every patient."""
LUNG_HU = -400.0
"""Below which what lies in the body is lung, or air."""
LEAST_TOLD = 0.02
"""Share of the body outside the source that is worth a warning."""
Mask = npt.NDArray[np.bool_]
_KIND = "true CT"
SHOWN_ORGANS = ("liver", "kidney", "kidneys", "brain")
"""Masks of organs whose overlap is measured, where CT or MR shows them."""
ORGAN_TEXT = (
    f"overlap of the masks {', '.join(SHOWN_ORGANS)} with what is as bright, within {ORGAN_REACH_MM:g} mm, by the "
    "level that shows them best in the reference, where one does; and the mean over these organs"
)

DEFINITIONS = {
    "MAE, bias": "mean absolute error and mean error, in the mask",
    "PSNR and SSIM": "data range 2000 HU",
    "body": "the mask given, or the true CT above -300 HU without couch and thin parts, holes filled in each slice",
    "tissues": (
        "by the true CT inside the body: air and lung below -200 HU, fat to -30, soft tissue to 150, bone from 150, "
        "dense bone from 300"
    ),
    "bone Dice": "overlap of the voxels of both images at or above the level, inside the body",
    "lung Dice": "the same of the voxels below -400 HU",
    "organ Dice": ORGAN_TEXT,
    "body Dice": "overlap of the body of this image with that of the true CT; PET errs most by the contour",
    "attenuation": "both images converted to 511 keV as for PET/CT at 120 kVp; bias over the mean of the true map",
}


def evaluate_anatomy(
    arms: Mapping[str, Volume],
    reference: Volume,
    *,
    source: Volume | None,
    masks: Mapping[str, Volume | npt.ArrayLike] | None,
    task: str,
    settings: EvaluationSettings,
) -> Metrics:
    """Measure synthetic CT against the true one.

    Parameters
    ----------
    arms
        Synthetic CT by method [HU], axes ``(z, y, x)``.
    reference
        True CT [HU] on the same grid.
    source
        What the CT was made from, on any grid: what lies outside its field of view could not be known, and is left out.
    masks
        ``body``, found in the true CT when not given; any other is a region whose mean is compared.
    task
        Name, for the record.
    settings
        ``data_range`` and ``with_ssim`` are used.

    Raises
    ------
    InputError
        For other grids or units.
    UnsafeInputError
        For NaN or infinity.
    """
    volumes = {"reference": reference, **arms}
    check_images(volumes)
    other = [f"{name} in {v.unit.value}" for name, v in volumes.items() if v.unit is not Unit.HOUNSFIELD]
    if other:
        raise InputError(f"CT is compared in HU; found {', '.join(other)}. Give CT, or another task.")
    arrays = {name: np.asarray(as_mask_array(name, m, reference) > 0) for name, m in (masks or {}).items()}
    body = arrays.pop(BODY_NAME, None)
    body_name = BODY_NAME if body is not None else "body (automatic)"
    outline = _body_of(reference)
    body = outline if body is None else body
    warnings = [] if body.any() else ["The body mask is empty: the true CT shows only air."]
    seen = np.ones(reference.shape, dtype=bool)
    if source is not None:
        seen = on_grid(field_of_view(source), source, reference)
        left_out = 1.0 - float((body & seen).sum()) / max(int(body.sum()), 1)
        body, body_name = body & seen, f"{body_name}, in the field of the source"
        if left_out > LEAST_TOLD:
            warnings.append(
                f"{100 * left_out:.0f} % of the body lie outside the field of view of the source and are left out."
            )
    told = {name: text for name, text in DEFINITIONS.items() if text != ORGAN_TEXT or arrays.keys() & {*SHOWN_ORGANS}}
    found: list[Measurement] = []
    for name, volume in arms.items():
        own = [
            *_voxelwise(volume.array, reference.array, body, body_name, settings),
            *_by_tissue(volume.array, reference.array, body, arrays),
            *organ_dice(volume.array, reference, {name: mask & seen for name, mask in arrays.items()}, _KIND),
            Measurement("body Dice", overlap(_body_of(volume) & seen, outline & seen), "1", body_name, _KIND),
            *_attenuation(volume.array, reference.array, body, body_name),
        ]
        found += [replace(item, arm=name) for item in own]
    return Metrics(
        task=task,
        unit=Unit.HOUNSFIELD.value,
        reference_kind=_KIND,
        measurements=tuple(found),
        settings=settings.model_dump(mode="json"),
        definitions={"reference": "the true CT", **told},
        images={name: image_facts(volume) for name, volume in volumes.items()},
        places={"body": {"name": body_name, "voxels": int(body.sum())}},
        warnings=tuple(warnings),
    )


def _body_of(volume: Volume) -> Mask:
    """Body of a CT on its own grid."""
    body = find_body(volume)
    return on_grid(body.mask, body.image, volume)


def _voxelwise(
    image: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], body: Mask, name: str, s: EvaluationSettings
) -> list[Measurement]:
    """Metrics of all voxels of the body; NRMSE is left out, as the zero of HU is water."""
    found = image_measures.image_metrics(
        image, reference, body, data_range=s.data_range or HU_DATA_RANGE, unit=Unit.HOUNSFIELD.value, mask_name=name,
        reference_kind=_KIND, with_ssim=s.with_ssim,
    )  # fmt: skip
    return [item for item in found if item.name in ("MAE", "RMSE", "bias", "PSNR", "SSIM")]


def _by_tissue(
    image: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], body: Mask, regions: Mapping[str, Mask]
) -> list[Measurement]:
    """Errors of each tissue and region, and overlap of bone."""
    unit = Unit.HOUNSFIELD.value
    found = []
    for tissue, (error, mean_error, n) in tissue_errors(image, reference, body).items():
        reason = None if n else "the true CT shows none"
        found.append(Measurement("MAE", error, unit, tissue, _KIND, n=n, reason=reason))
        found.append(Measurement("bias", mean_error, unit, tissue, _KIND, n=n, reason=reason))
    for level in BONE_HU:
        value = bone_dice(image, reference, body, level)
        reason = None if value is not None else "the true CT shows none"
        found.append(Measurement("bone Dice", value, "1", f"at least {level:g} HU", _KIND, reason=reason))
    lungs = [np.asarray(a < LUNG_HU) & body for a in (image, reference)]
    reason = None if lungs[1].any() else "the true CT shows none"
    found.append(Measurement("lung Dice", overlap(*lungs), "1", f"below {LUNG_HU:g} HU", _KIND, reason=reason))
    for name, mask in regions.items():
        mean, true = region_mean(image, mask), region_mean(reference, mask)
        difference = None if mean is None or true is None else mean - true
        found.append(Measurement("error of the mean", difference, unit, name, _KIND))
    return found


def organ_dice(
    image: npt.NDArray[np.float32], reference: Volume, masks: Mapping[str, Mask], against: str
) -> list[Measurement]:
    """Overlap of each of :data:`SHOWN_ORGANS` and their mean; nothing where no mask of them is given."""
    known = {name: mask for name, mask in masks.items() if name in SHOWN_ORGANS}
    if not known:
        return []
    found = {n: organ_overlap(image, reference.array, mask, reference.spacing_mm) for n, mask in known.items()}
    reason = "the reference does not show it by one level"
    rows = [
        Measurement("organ Dice", value, "1", name, against, reason=None if value is not None else reason)
        for name, value in found.items()
    ]
    values = [value for value in found.values() if value is not None]
    mean = float(np.mean(values)) if values else None
    why = None if values else "the reference shows none of the organs by one level"
    return [*rows, Measurement("organ Dice, mean", mean, "1", "organs", against, n=len(values), reason=why)]


def _attenuation(
    image: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], body: Mask, name: str
) -> list[Measurement]:
    """Errors of the attenuation map."""
    own, true = (mu_from_hu(a, energy_kev=PHOTON_KEV["F-18"]) for a in (image, reference))
    return [
        Measurement("attenuation MAE", image_measures.mae(own, true, body), "1/cm", name, _KIND),
        Measurement("attenuation bias", image_measures.relative_bias(own, true, body), "1", name, _KIND),
    ]
