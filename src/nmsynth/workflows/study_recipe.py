"""Recipes of studies: which command of ``nmsynth simulate`` is called for each subject, and what is drawn for it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.config import override, read_toml, resolve
from nmsynth.core.errors import InputError
from nmsynth.core.numbered import unnumbered
from nmsynth.workflows.bundled import bundled_file, bundled_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmsynth.data.manifest import ManifestRow

FOLDER = "studies"
"""Folder that holds the recipes."""
_ROLES = {
    "scan": "source",
    "noise_free": "target",
    "truth": "truth",
    "activity": "truth",
    "lesions": "mask",
    "organs": "mask",
    "body": "mask",
    "segments": "mask",
    "regions": "mask",
    "mu_map": "anatomy",
    "ct": "anatomy",
    "mr": "anatomy",
}
"""Role of an image by its name; others are references."""
_VIEWS = ("anterior", "posterior")
_INPUTS = ("source", "labels", "ct")
"""Settings that are files of the user's, whose places are no part of a dataset."""
Role = Literal["source", "condition", "target", "truth", "reference", "mask", "anatomy", "data"]


class StudyRecipe(BaseModel):
    """Studies of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str
    kind: Literal["pet", "spect", "planar", "dynamic"]
    """Command of ``nmsynth simulate``."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of subjects held for validation."""
    settings: dict[str, Any] = {}
    """Of that command, the same for all subjects."""
    draws: dict[str, tuple[Any, ...]] = {}
    """Values of which one is drawn for each subject, all alike."""
    choices: tuple[dict[str, Any], ...] = ()
    """Settings that go together, of which one set is drawn for each subject; draws of the same name win."""
    roles: dict[str, Role] = {}
    """Role of an image by its name where it is not the usual one, such as ``{"mr": "source", "scan": "reference"}``."""
    told: tuple[str, ...] = ()
    """Facts of a study that become conditions of its images in a manifest, such as ``age``; those that it states."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """One study; a function of the recipe, the seed and its number."""

    case_id: str
    kind: str
    split: str
    settings: dict[str, Any]
    roles: dict[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    def key(self, **further: Any) -> str:
        """Name of what is measured of it: the case, and a hash of its settings and of what else decides the numbers."""
        decided = json.dumps({**self.settings, "": further}, sort_keys=True).encode()
        return f"{self.case_id}-{hashlib.sha256(decided).hexdigest()[:12]}"


def study_recipe_names() -> list[str]:
    """Names of the recipes of studies that come with nmsynth."""
    return bundled_names(FOLDER)


def load_study_recipe(recipe: str, overrides: Mapping[str, Any] | None = None) -> StudyRecipe | None:
    """The recipe of studies of a name or in a TOML file; ``None`` where it is none."""
    path = Path(recipe)
    if path.suffix == ".toml":
        values = read_toml(path)
        if "kind" not in values:
            return None
    elif recipe in study_recipe_names():
        with bundled_file(recipe, FOLDER) as bundled:
            values = read_toml(bundled)
    else:
        return None
    return resolve(StudyRecipe, override(values, overrides or {}), where=f"the recipe '{path.name}'")


def plan_studies(recipe: StudyRecipe, n_subjects: int, seed: int) -> list[StudyPlan]:
    """The first subjects of an endless series; the first is for training and the second for validation.

    Raises
    ------
    InputError
        If a setting is unknown or a value does not fit, before anything is simulated.
    """
    import numpy as np

    model, _ = _workflow(recipe.kind)
    plans = []
    for k in range(n_subjects):
        rng = np.random.default_rng((seed, 43, k))
        drawn = {name: values[int(rng.integers(len(values)))] for name, values in sorted(recipe.draws.items())}
        split = "validation" if k == 1 or (k > 1 and rng.random() < recipe.validation_share) else "train"
        chosen = recipe.choices[int(rng.integers(len(recipe.choices)))] if recipe.choices else {}
        settings = {**recipe.settings, **chosen, **drawn, "seed": 1_000_000 + seed * 100_000 + k}
        resolved = resolve(model, settings, where=f"the recipe '{recipe.name}'")
        case = f"{recipe.name}-{k:05d}"
        stated = resolved.model_dump(mode="json")
        plans.append(StudyPlan(case, recipe.kind, split, stated, dict(recipe.roles), recipe.told))
    return plans


def _workflow(kind: str) -> tuple[type[BaseModel], Callable[..., dict[str, Any]]]:
    """Settings and workflow of a kind of study."""
    if kind == "pet":
        from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet

        return SimulatePetSettings, simulate_pet
    if kind == "spect":
        from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect

        return SimulateSpectSettings, simulate_spect
    if kind == "planar":
        from nmsynth.workflows.planar_simulation import SimulatePlanarSettings, simulate_planar

        return SimulatePlanarSettings, simulate_planar
    if kind == "dynamic":
        from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, simulate_dynamic

        return SimulateDynamicSettings, simulate_dynamic
    raise InputError(f"A study is pet, spect, planar or dynamic; found '{kind}'. Correct the recipe.")


def simulate_study(plan: StudyPlan, work: Path, *, file_format: str) -> tuple[list[ManifestRow], dict[str, Any]]:
    """Simulate a study into a folder, and say what lies in it.

    Parameters
    ----------
    plan
        What is simulated.
    work
        Folder of the case; gets a folder ``study``.
    file_format
        ``nifti`` or ``dicom``, where the kind of study can be written so.
    """
    model, simulate = _workflow(plan.kind)
    stated = dict(plan.settings)
    if plan.kind == "planar" and file_format == "dicom":
        raise InputError(
            "Planar views of a dataset are written as NIfTI, as their DICOM says nothing of where the patient lay and "
            "would not fit what is known of them; DICOM was asked for. Leave it out."
        )
    if "file_format" in model.model_fields:
        stated["file_format"] = file_format
    elif file_format == "dicom":
        raise InputError(f"Studies of the kind '{plan.kind}' are written as NIfTI; DICOM was asked for. Leave it out.")
    settings = resolve(model, stated, where="the recipe")
    record = simulate(settings, work / "study")
    conditions = {name: str(record["told"][name]) for name in plan.told if name in record.get("told", {})}
    rows = [replace(row, conditions=tuple(conditions.items())) for row in _rows(plan, work)]
    used = {name: value for name, value in settings.model_dump(mode="json").items() if name not in _INPUTS}
    return rows, {"case": plan.case_id, "settings": used}


def _rows(plan: StudyPlan, work: Path) -> list[ManifestRow]:
    """What a study wrote, as rows of a manifest: its scan and what comes with it first, then what is known of it.

    Planar views that are an image each are a case each, of one subject.
    """
    from nmsynth.data.manifest import ManifestRow

    fractions = [
        float(f) for f in (plan.settings.get("count_fraction", 1.0), *plan.settings.get("further_fractions", ()))
    ]
    root = work / "study"
    like = _sidecar_facts(next(iter(sorted(root.glob("reference/noise_free*.nii.gz"))), root))
    rows: list[ManifestRow] = []
    for path in _images(root):
        name = "scan" if path == root else path.name.removesuffix(".nii.gz").removesuffix(".npy")
        of_scan, is_image = path == root or path.parent == root, path.suffix != ".npy"
        view = _view(name) if any((root / f"{v}.nii.gz").is_file() for v in _VIEWS) else ""
        name = name.removesuffix(view).removesuffix("_") or "scan"
        case = f"{plan.case_id}-{view}" if view else plan.case_id
        role = _role(name, plan.roles, of_scan=of_scan, is_image=is_image)
        if role in ("source", "target") and any((r.case, r.role, r.name) == (case, role, name) for r in rows):
            role = "reference"  # CT and MR stand beside a scan in DICOM and among what is known of it
        # frames of one scan are no levels of its counts
        counts = of_scan and _ROLES.get(name) != "anatomy" and plan.kind != "dynamic"
        of = fractions[_number(name)] if counts else 1.0 if name.startswith("full_count") else None
        facts = _sidecar_facts(path) or (like if counts and is_image else {})
        rows.append(
            ManifestRow(
                case, plan.case_id, plan.split, role, name, path.relative_to(work).as_posix(), of,
                facts.get("modality") or "", facts.get("unit") or "",
            )
        )  # fmt: skip
    return rows


def _view(name: str) -> str:
    """View that the name of an image ends in; nothing where it names none."""
    return next((view for view in _VIEWS if name == view or name.endswith(f"_{view}")), "")


def _number(name: str) -> int:
    """Number of a scan at a further fraction, such as of ``scan_2``; 0 for any other image."""
    found = re.fullmatch(r"scan_(\d+)", name)
    return int(found[1]) if found else 0


def _images(root: Path) -> list[Path]:
    """Images of a study: NIfTI and NumPy files, and folders of DICOM files."""
    folders = [
        folder for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir())) if any(folder.glob("*.dcm"))
    ]
    files = [path for pattern in ("*.nii.gz", "*.npy", "reference/*.nii.gz") for path in sorted(root.glob(pattern))]
    return [*folders, *files]


def _role(name: str, roles: Mapping[str, str], *, of_scan: bool, is_image: bool) -> str:
    """Role of an image by its name, which may end in its view; that of the recipe first."""
    plain = unnumbered(name.removesuffix(_view(name)).removesuffix("_"))
    if plain in roles:
        return roles[plain]
    if not is_image or name == "projections":
        return "data"
    return _ROLES.get(plain, "source" if of_scan else "reference")


def _sidecar_facts(path: Path) -> dict[str, Any]:
    """Unit and modality of a NIfTI image by its sidecar."""
    sidecar = path.with_name(f"{path.name.removesuffix('.nii.gz')}.json")
    if not path.name.endswith(".nii.gz") or not sidecar.is_file():
        return {}
    found: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8")).get("nmsynth", {})
    return found
