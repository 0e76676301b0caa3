"""Train a recipe: simulate its cohort, train, calibrate, write the model package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.config import nearest, override, read_toml, resolve
from nmsynth.core.errors import InputError, MissingExtraError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.bundled import bundled_file, bundled_names

if TYPE_CHECKING:
    from nmsynth.training.experiment import Recipe


def recipe_names() -> list[str]:
    """Names of the recipes of nmsynth."""
    return bundled_names()


def load_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by its name or from a TOML file, with single values replaced.

    Raises
    ------
    InputError
        If there is none of that name, or a key is unknown.
    """
    from nmsynth.training.experiment import Recipe

    path = Path(recipe)
    if path.suffix == ".toml":
        values = read_toml(path)
    else:
        names = recipe_names()
        if str(recipe) not in names:
            close = nearest(str(recipe), names)
            remedy = f"Did you mean '{close}'?" if close else f"Recipes: {', '.join(names)}."
            raise InputError(f"A recipe is a TOML file or one of nmsynth's; '{recipe}' is neither. {remedy}")
        with bundled_file(str(recipe)) as bundled:
            values = read_toml(bundled)
            path = bundled
    if overrides:
        values = override(values, overrides)
    return resolve(Recipe, values, where=f"'{path.name}'")


def train_recipe(
    recipe: str | Path,
    *,
    output: Path,
    data: Path | None = None,
    resume: bool = True,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Path:
    """Train a model by a recipe and return the folder of its package.

    Parameters
    ----------
    recipe
        Name of a recipe of nmsynth, or a TOML file.
    output
        Folder of the run: ``cohort`` (cases as training reads them), ``training``, ``refinement-1`` and so on
        (checkpoints, logs, resolved recipe), ``calibration.json`` and ``package``.
    data
        Manifest of a dataset, or its folder; the cohort of the recipe is simulated when unset.
    resume
        Continue a run that was interrupted; complete cases and the last checkpoint are kept.
    overrides
        Values by dotted key, such as ``{"optimisation.steps": 100}``.

    Raises
    ------
    MissingExtraError
        If the extra ``train`` is not installed.
    """
    resolved = load_recipe(recipe, overrides)
    try:
        from nmsynth.training.trainer import train
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Training needs the extra 'train'; '{error.name}' is not installed. Run: pip install 'nmsynth[train]'"
        ) from error
    from nmsynth.workflows.cohort import import_cohort, simulate_cohort

    output = Path(output)
    cohort = output / "cohort"
    gathering = part_of(progress, 0.0, 0.3)
    if data is None:
        simulate_cohort(resolved.simulation, cohort, progress=gathering)
    else:
        import_cohort(Path(data), cohort, progress=gathering)
    network = train(_build(resolved), resolved, cohort, output / "training", resume=resume)
    for number, further in enumerate(resolved.refined(), 1):
        network = train(network, further, cohort, output / f"refinement-{number}", resume=resume)
    progress("calibrating", 0.9)
    return export_package(network, resolved, output)


def _build(recipe: Recipe) -> Any:
    """The network of a recipe, initialised by its seed."""
    import torch

    from nmsynth.models.card import NetworkSpec
    from nmsynth.models.package import build_network

    torch.manual_seed(recipe.optimisation.seed)
    return build_network(NetworkSpec(name=recipe.network.name, arguments=recipe.network.arguments()))


def export_package(network: Any, recipe: Recipe, output: Path) -> Path:
    """Calibrate a trained network on patients of its own and write its package.

    The evidence thresholds and what each gives are written to ``calibration.json``.
    """
    from dataclasses import asdict

    from nmsynth.data.reference import CALIBRATION_SEEDS, reference_patient
    from nmsynth.models.card import Card, NetworkSpec
    from nmsynth.models.package import save_package
    from nmsynth.training.calibration import choose_thresholds, measure_thresholds
    from nmsynth.workflows.card_text import read_card_text

    network = network.float().eval()
    calibration = recipe.calibration
    fractions = calibration.count_fractions
    patients = (reference_patient(seed, fractions) for seed in CALIBRATION_SEEDS[: calibration.patients])
    points = measure_thresholds(network, patients, count_fractions=fractions)
    thresholds = choose_thresholds(points, calibration.limits())
    report = {"schema_version": 1, "thresholds": thresholds, "points": [asdict(p) for p in points]}
    (output / "calibration.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = read_card_text(recipe.package.card)
    card = Card.model_validate(
        {
            **text,
            "name": recipe.package.name,
            "version": recipe.package.version,
            "task": recipe.task,
            "network": NetworkSpec(name=recipe.network.name, arguments=recipe.network.arguments()),
            "significance": thresholds,
            "significance_note": _calibration_note(recipe, points, thresholds),
            "training": recipe.model_dump(mode="json", exclude={"simulation": {"data"}}),
        }
    )
    folder = output / "package" / recipe.package.name
    save_package(folder, network=network, card=card, overwrite=True)
    return folder


def _calibration_note(recipe: Recipe, points: list[Any], thresholds: dict[str, float]) -> str:
    """How the thresholds were found, and what they gave."""
    parts = []
    for level, threshold in thresholds.items():
        measured = "; ".join(
            f"1/{round(1 / p.count_fraction)}: {p.false_structures_per_100_slices:.1f} and {p.lesion_recovery:.2f}"
            for p in points
            if p.threshold == threshold
        )
        parts.append(f"{level} (threshold {threshold:g}): {measured}")
    return (
        f"Lowest evidence at which false structures stay within the recipe's limits at every count level, on "
        f"{recipe.calibration.patients} simulated patients. False structures per 100 slices and median recovery of "
        "lesions of 10 to 18 mm at each count level: " + ". ".join(parts) + "."
    )
