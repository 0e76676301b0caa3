"""``nmsynth plan``: from a dataset to the plan of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.models.methods import MethodSpec

PLAN_FILE = "plan.toml"
LEAST_STEPS = 400
"""Steps below which little is learned: a plan for fewer minutes takes smaller patches first."""
LEAST_PATCH = 8192
"""Voxels below which a patch is not halved, 16 x 24 x 24 or so."""
MINUTES_SHARE = 0.85
"""Share of the minutes asked for that goes into steps; the rest is for validation and saving."""
TIMED_VALIDATIONS = ((10, 4), (10, 2), (10, 1), (6, 1))
"""How often a training of so many minutes validates, and on how many cases."""


def plan_dataset(
    dataset: Path,
    *,
    device: str = "auto",
    dimensions: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    family: str = "unet",
    method: MethodSpec | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Plan:
    """Make a plan for a dataset from its fingerprint; test cases are not looked at.

    Parameters
    ----------
    dataset
        Manifest, or its folder.
    device
        ``cpu``, ``cuda`` or ``auto``.
    dimensions
        ``2d``, ``2.5d`` or ``3d`` where it is not to be chosen.
    steps
        Optimiser steps; by the number of cases when unset.
    minutes
        Time that training should take on this machine, from which the steps follow; measured with ``method``.
    family
        Whose steps are timed where no method is given.
    method
        That is to be trained.
    overrides
        Values of the plan by dotted key, applied last; patch and batch are planned for the dimensions among them.

    Raises
    ------
    InputError
        If the dataset does not fit, or both steps and minutes are given.
    """
    from nmsynth.core.config import override, resolve
    from nmsynth.core.plan import Plan
    from nmsynth.data.fingerprint import take_fingerprint
    from nmsynth.data.manifest import read_manifest
    from nmsynth.data.manifest_cohort import cases_of
    from nmsynth.data.plan_rules import plan_from_fingerprint
    from nmsynth.inference.backend import fast_precision

    if steps is not None and minutes is not None:
        raise InputError("A training is as long as its steps or its minutes say; both are given. Leave one out.")
    rows = read_manifest(dataset)
    cases_of(rows, one_sided=True)
    kind, memory = device_and_memory(device)
    fingerprint = take_fingerprint([r for r in rows if r.split != "test"], root_of(dataset), progress=progress)
    plan = plan_from_fingerprint(
        fingerprint,
        device=kind,
        memory_bytes=memory,
        dimensions=dimensions or _dimensions_of(overrides or {}),
        steps=steps or _steps_of(overrides or {}),
        same_calibration=(overrides or {}).get("same_calibration") is True,
    )
    precision = fast_precision(kind, plan.spatial_dims)
    plan = plan.model_copy(
        update={
            "schedule": plan.schedule.model_copy(update={"precision": precision}),
            "fingerprint": {**plan.fingerprint, "device": kind, "memory_gb": round((memory or 0) / 2**30, 1)},
        }
    )
    if overrides:
        plan = resolve(Plan, override(plan.model_dump(mode="json"), overrides), where="the plan")
    if minutes is None:
        return plan
    keep_patch = "patch" in (overrides or {})
    return plan_for_minutes(plan, minutes, method=method, family=family, device=kind, keep_patch=keep_patch)


def _steps_of(overrides: Mapping[str, Any]) -> int | None:
    """Steps that a user's values say, so that warm-up and validations follow them; refused later if they are none."""
    stated = overrides.get("schedule.steps")
    return stated if isinstance(stated, int) and stated > 0 else None


def _dimensions_of(overrides: Mapping[str, Any]) -> str | None:
    """Dimensions that a user's values say, or that their patch needs; ``None`` where it is left to the rules."""
    stated = overrides.get("dimensions")
    if stated in ("2d", "2.5d", "3d"):
        return str(stated)
    patch = overrides.get("patch")
    if isinstance(patch, list | tuple) and len(patch) == 3 and patch[0] != 1:
        return "3d"
    return None


def plan_for_minutes(
    plan: Plan,
    minutes: float,
    *,
    method: MethodSpec | None = None,
    family: str = "unet",
    device: str = "auto",
    threads: int | None = None,
    keep_patch: bool = False,
) -> Plan:
    """A plan whose steps and validations take about a time on this machine, by timing a few.

    Parameters
    ----------
    plan
        All else of it is kept, but that a 3D patch is halved while there would be fewer than 400 steps.
    minutes
        For training and validation together.
    method
        Which is timed; ``family`` with its own arguments when unset.
    family
        A family, or an import path.
    device
        Where it is to be trained.
    threads
        Of torch, with which it is to be trained; its own choice when unset.
    keep_patch
        Keep the patch in any case.
    """
    from nmsynth.data.plan_rules import plan_validations
    from nmsynth.inference.backend import resolve_device
    from nmsynth.models.methods import MethodSpec
    from nmsynth.training.speed import measure_speed

    if minutes <= 0:
        raise InputError(f"A training takes more than no time; found {minutes:g} minutes. Give a positive number.")
    spec = method or MethodSpec(name=family)
    where = resolve_device(device)
    speed = measure_speed(spec, plan, device=where, threads=threads)
    while not keep_patch and minutes * 60 * MINUTES_SHARE < LEAST_STEPS * speed.step_s and _may_shrink(plan):
        plan = _with_half_the_patch(plan)
        speed = measure_speed(spec, plan, device=where, threads=threads)
    image_s = speed.answer_s * windows_of(plan)
    n_validations, n_cases = plan_validations((1 - MINUTES_SHARE) * minutes * 60 / image_s, TIMED_VALIDATIONS)
    left_s = max(MINUTES_SHARE / 2 * minutes * 60, minutes * 60 - n_validations * n_cases * image_s)
    steps = max(20, int(min(left_s, MINUTES_SHARE * minutes * 60) / speed.step_s))
    update = {
        "steps": steps,
        "warmup": min(plan.schedule.warmup, steps // 10),
        "validate_every": -(-steps // n_validations),
        "validation_cases": min(plan.schedule.validation_cases, n_cases),
    }
    note = {
        **plan.fingerprint,
        "seconds_per_step": float(f"{speed.step_s:.3g}"),
        "seconds_per_validation_image": float(f"{image_s:.3g}"),
        "timed_family": spec.name,
    }
    return plan.model_copy(update={"schedule": plan.schedule.model_copy(update=update), "fingerprint": note})


def _may_shrink(plan: Plan) -> bool:
    """Whether a patch can be halved and still hold an organ."""
    return plan.spatial_dims == 3 and math.prod(plan.patch) > 2 * LEAST_PATCH


def _with_half_the_patch(plan: Plan) -> Plan:
    """The plan with patches of at most half as many voxels."""
    from nmsynth.data.plan_rules import plan_patch

    patch = plan_patch(plan.patch, plan.spacing_mm, kind="3d", most=math.prod(plan.patch) // 2)
    return plan.model_copy(update={"patch": patch})


def windows_of(plan: Plan) -> int:
    """Patches by which a validation predicts an image of the dataset's median size; 1 where that is not known."""
    from nmsynth.inference.method_predictor import plan_windows
    from nmsynth.training.validation import OVERLAP

    target = plan.fingerprint.get("target", {})
    try:
        sizes, spacings = target["shapes"]["median"], target["spacings_mm"]["median"]
    except (KeyError, TypeError):
        return 1
    z, y, x = (max(1, round(n * s / own)) for n, s, own in zip(sizes, spacings, plan.spacing_mm, strict=True))
    if plan.spatial_dims == 2 and plan.windows == "slice":
        return int(-(-(z * y * x) // math.prod(plan.network_patch)))
    if plan.spatial_dims == 2:  # what is timed is the answer for one slice
        return int(z * len(list(plan_windows((1, y, x), plan, OVERLAP))))
    return len(list(plan_windows((z, y, x), plan, OVERLAP)))


def write_plan(plan: Plan, dataset: Path, output: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a plan as TOML, beside the manifest unless another file is named, and return where.

    Raises
    ------
    InputError
        If the file is there and may not be replaced.
    """
    from nmsynth.core.plan import plan_to_toml
    from nmsynth.io.atomic import atomic_file

    path = output or root_of(dataset) / PLAN_FILE
    if path.suffix != ".toml":
        raise InputError(f"A plan is a .toml file; found '{path.name}'. Rename it.")
    with atomic_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(plan_to_toml(plan), encoding="utf-8")
    return path


def plan_summary(plan: Plan) -> dict[str, str]:
    """The main decisions of a plan, in words."""

    def size(values: tuple[float, ...], unit: str = "") -> str:
        """Sizes as people write them."""
        return " x ".join(f"{v:g}" for v in values) + unit

    def image(kind: Any) -> str:
        """An image and its normalisation."""
        n = kind.normalisation
        how = {
            "robust": "by each image's body",
            "level": f"in {n.scale:g} of each image's level",
            "window": f"{n.low} to {n.high}, in {n.scale:g}",
        }
        return f"{kind.modality} [{kind.unit.value}], {n.kind} {how.get(n.kind, f'in {n.scale:g}')}"

    s = plan.schedule
    pairs = {"task": plan.task}
    pairs |= {f"source {i.name}": image(i) + (" (may be missing)" if i.optional else "") for i in plan.sources}
    pairs |= {
        "target": image(plan.target) + (", as a difference to the source" if plan.residual else ""),
        "told": ", ".join(c.name for c in plan.conditions) or "nothing",
        "voxels (z, y, x)": size(plan.spacing_mm, " mm"),
        "patch (z, y, x)": f"{size(plan.patch)}, {plan.dimensions}, {s.batch} a batch",
        "levels": size(plan.channels).replace(" x ", ", "),
        "schedule": f"{s.steps} steps, {s.precision}, validated every {s.validate_every}",
    }
    return pairs


def root_of(dataset: Path) -> Path:
    """Folder that the paths of a manifest are relative to."""
    return dataset if dataset.is_dir() else dataset.parent


def splits_of(rows: list[ManifestRow]) -> dict[str, str]:
    """Split of each subject."""
    return {row.subject: row.split for row in rows}


def device_and_memory(device: str) -> tuple[str, int | None]:
    """``cpu`` or ``cuda``, and its memory [bytes] where it is known."""
    import torch

    from nmsynth.inference.backend import resolve_device
    from nmsynth.inference.tiling import free_bytes

    kind = resolve_device(device).partition(":")[0]
    return kind, torch.cuda.get_device_properties(0).total_memory if kind == "cuda" else free_bytes()
