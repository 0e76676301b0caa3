"""A report on files: read, evaluate, look up the model's card, write one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.core.errors import InputError, NmsynthError
from nmsynth.core.geometry import to_indices, to_world
from nmsynth.core.progress import Progress, silent
from nmsynth.core.volume import PLANAR_AXES

if TYPE_CHECKING:
    from nmsynth.core.units import Unit
    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.curves import Curves
    from nmsynth.inference.predictor import Model

MAX_RECORD_BYTES = 4_000_000
"""Largest record of a synthesis that is read [bytes]."""

WITHOUT_TRUTH = ("COV", "SD", "noise reduction", "noise autocorrelation", "SUVmean", "mean")
"""Beginnings of the names of measurements that need no truth."""

NO_CLAIM = "This page shows what the model changed in one study; without a reference it supports no claim of accuracy."
"""Sentence that closes a report without a reference."""


PLANAR_CLAIM = "The numbers of this page hold for this one study against this reference, and for no other."
"""Sentence that closes a report on planar views with a reference."""


def report_study(
    prediction: Path,
    output: Path,
    *,
    source: Path | None = None,
    reference: Path | None = None,
    full_counts: Path | None = None,
    reference_kind: str = "T2",
    masks: Mapping[str, Path] | None = None,
    baselines: Mapping[str, Path] | None = None,
    samples: Path | None = None,
    model: str | None = None,
    record: Path | None = None,
    task: str | None = None,
    normals: Path | None = None,
    with_curves: bool = True,
    title: str | None = None,
    claim: str | None = None,
    point: Sequence[float] | None = None,
    unit: Unit | str | None = None,
    modality: str | None = None,
    resample: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write the report on a synthetic image.

    Parameters
    ----------
    prediction, source, reference, full_counts
        DICOM series or NIfTI images; without a reference the page shows the change against the source.
    output
        HTML file to write.
    reference_kind
        ``T0`` the true activity, ``T1`` the noise-free reconstruction, ``T2`` a noisy reference.
    masks
        Masks by name; those whose name begins with ``lesion`` hold lesions.
    baselines
        Other images to show and to measure, by name.
    samples
        Folder with the samples of a model that draws them: the first three and half of the interval are shown beside
        the image, and each mask gets the interval of its mean, where the model's card has one.
    model
        Name of the model whose card is shown; by default the one that the prediction names, if it is installed.
    record
        JSON record of the synthesis.
    task
        Whose measurements are made; by the kind of the image when unset: those of low-count PET, low-count SPECT or CT.
    normals
        JSON of normal limits of polar maps, for a task of the heart.
    with_curves
        Draw recovery against noise and against false structures where there are a source, a reference and lesions; the
        model that made the prediction, if it is installed, is then run on the source at its three significances.
    title, claim
        Heading and closing sentence.
    point
        Index (z, y, x) in the source through which the planes pass.
    unit, modality
        Of NIfTI images without a sidecar.
    resample
        Interpolate images and masks on other grids than the reference's, or the source's.
    overwrite
        Replace an existing page.
    progress
        Told of each step.

    Returns
    -------
        Path of the page.
    """
    from nmsynth.evaluation.tasks import task_evaluation
    from nmsynth.io.atomic import check_output
    from nmsynth.report.html import write_report
    from nmsynth.workflows.shown_samples import apart, sample_paths

    paths = _paths(prediction, source, reference, full_counts, baselines or {})
    check_output(Path(output), overwrite=overwrite, is_directory=False)
    shown_record = None if record is None else _read_record(Path(record))
    kind = reference_kind if reference is not None else None
    progress("reading", 0.0)
    paths |= {} if samples is None else sample_paths(samples)
    loaded, regions = _load(paths, masks or {}, unit=unit, modality=modality, resample=resample)
    images, drawn = apart(loaded)
    card = _card(model, images["synthetic"])
    if images["synthetic"].axes == PLANAR_AXES or task_evaluation(task).images == "planar":
        return _planar(
            images, regions, kind, output, card=card, record=shown_record, title=title, claim=claim,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    return write_report(
        output,
        images=images | drawn.shown(),
        card=card,
        record=shown_record,
        title=title or f"Synthetic {_kind_of(images)} beside its " + ("source" if reference is None else "reference"),
        reference_kind=kind,
        point=point,
        overwrite=overwrite,
        **_measure(
            images, regions, kind, card, model, claim, with_curves=with_curves, progress=progress,
            how=_Measuring(task or _TASKS.get(images["synthetic"].modality), normals),
            added=drawn.measurements(regions, card),
        ),
    )  # fmt: skip


def _planar(
    images: Mapping[str, Volume],
    regions: Mapping[str, Volume],
    kind: str | None,
    output: Path,
    *,
    claim: str | None,
    title: str | None,
    progress: Progress,
    **page: Any,
) -> Path:
    """The page on planar views."""
    from nmsynth.report.planar import write_planar_report

    progress("evaluating", 0.2)
    metrics = _evaluate(images, regions, kind, _Measuring("lowcount-planar", None)) if kind is not None else {}
    progress("drawing the page", 0.8)
    return write_planar_report(
        output,
        images=images,
        metrics={"synthetic": metrics} if metrics else None,
        reference_kind=kind,
        title=title or "Synthetic planar views beside their " + ("source" if kind is None else "reference"),
        claim=claim or (NO_CLAIM if kind is None else PLANAR_CLAIM),
        **page,
    )


@dataclass(frozen=True, slots=True)
class _Measuring:
    """How images are evaluated."""

    task: str | None
    normals: Path | None


_TASKS = {"CT": "mr-to-ct", "NM": "lowcount-spect"}
"""Task whose measurements are made, by modality of the synthetic image."""


def _kind_of(images: Mapping[str, Volume]) -> str:
    """Kind of the synthetic image in words."""
    modality = images["synthetic"].modality
    return {"PT": "PET", "NM": "SPECT"}.get(modality, modality)


def _measure(
    images: Mapping[str, Volume],
    regions: Mapping[str, Volume],
    kind: str | None,
    card: Mapping[str, Any] | None,
    model: str | None,
    claim: str | None,
    *,
    with_curves: bool,
    progress: Progress,
    how: _Measuring,
    added: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What the page shows besides the images: numbers, lesions, curves, notes, and the sentence that closes it."""
    from nmsynth.report.scene import is_comparable

    progress("evaluating", 0.2)
    alike = {name: v for name, v in images.items() if name != "source" or is_comparable(v, images["synthetic"])}
    metrics = _evaluate(images if images["synthetic"].modality == "CT" else alike, regions, kind, how)
    progress("drawing curves", 0.5)
    drawn = with_curves and images["synthetic"].modality == "PT"
    curves, notes = _curves(alike, regions, kind, card, model) if drawn else (None, ())
    progress("drawing the page", 0.8)
    own = None if kind is None or not metrics else _claim({"synthetic": metrics}, images["synthetic"], kind)
    if added:
        metrics = {**metrics, "measurements": [*metrics.get("measurements", ()), *added]}
    return {
        "metrics": {"synthetic": metrics} if metrics else None,
        "claim": claim or own or NO_CLAIM,
        "lesions": _lesions(regions, next(iter(images.values()))),
        "curves": None if curves is None else curves.rows(),
        "flags": notes,
    }


def _paths(
    prediction: Path,
    source: Path | None,
    reference: Path | None,
    full_counts: Path | None,
    baselines: Mapping[str, Path],
) -> dict[str, Path]:
    """Images by the name that they have on the page."""
    if source is None and reference is None:
        raise InputError("A report needs something to compare with; found neither source nor reference. Give one.")
    roles = {"source": source, "synthetic": prediction, "reference": reference, "full counts": full_counts}
    taken = sorted({*roles, "truth", "prediction"} & set(baselines))
    if taken:
        raise InputError(f"A baseline must have a name of its own; '{taken[0]}' is kept for nmsynth's. Rename it.")
    return {name: path for name, path in {**roles, **baselines}.items() if path is not None}


def _load(
    paths: Mapping[str, Path],
    masks: Mapping[str, Path],
    *,
    unit: Unit | str | None,
    modality: str | None,
    resample: bool,
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """Images in the order of the page, and masks, on the grid of the reference or else of the source."""
    from nmsynth.workflows.evaluation import load_images

    first = "reference" if "reference" in paths else "source"
    ordered = {first: paths[first], **paths}
    images, regions = load_images(ordered, masks, unit=unit, modality=modality, resample=resample)
    return {name: images[name] for name in paths}, regions


def _claim(metrics: Mapping[str, Mapping[str, Any]], prediction: Volume, kind: str) -> str | None:
    """Sentence of the numbers that were found."""
    from nmsynth.report.claim import claim_sentence

    study = "one simulated study" if prediction.provenance.simulated else "one study"
    return claim_sentence(metrics, main="synthetic", subject=f"this {study}", reference_kind=kind)


def _evaluate(
    images: Mapping[str, Volume], masks: Mapping[str, Volume], kind: str | None, how: _Measuring
) -> dict[str, Any]:
    """Metrics of all images as JSON; without a reference those that need no truth, against a source of the kind."""
    from nmsynth.evaluation.evaluate import PREDICTION, REFERENCE, SOURCE, evaluate_arms
    from nmsynth.evaluation.preparation import FULL_COUNTS
    from nmsynth.report.scene import is_comparable
    from nmsynth.workflows.evaluation import read_normal_limits

    if kind is None and ("source" not in images or not is_comparable(images["source"], images["synthetic"])):
        return {}
    against = images["reference"] if kind is not None else images["source"]
    of_ct = images["synthetic"].modality == "CT"
    baselines = {n: v for n, v in images.items() if n not in ("synthetic", REFERENCE, SOURCE, FULL_COUNTS)}
    found = evaluate_arms(
        {PREDICTION: images["synthetic"], **baselines},
        against,
        source=images.get(SOURCE),
        full_counts=None if of_ct else images.get(FULL_COUNTS),
        masks=masks,
        task=how.task,
        normals=None if how.normals is None else read_normal_limits(how.normals),
        settings={"reference_kind": kind or "T2", "with_best_gaussian": kind is not None},
    ).to_json()
    return found if kind is not None else without_truth(found)


def _curves(
    images: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    kind: str | None,
    card: Mapping[str, Any] | None,
    model: str | None,
) -> tuple[Curves | None, tuple[str, ...]]:
    """Curves where a source, a reference and lesions are there; and why the model's own is not drawn."""
    from nmsynth.workflows.curves import study_curves

    if kind is None or "source" not in images:
        return None, ()
    loaded, notes = _made_by(images["synthetic"], card, model)
    others = {n: v for n, v in images.items() if n not in ("synthetic", "reference", "source")}
    found = study_curves(
        images["source"],
        images["reference"],
        masks=masks,
        main="synthetic",
        prediction=images["synthetic"],
        model=loaded,
        others=others,
        reference_kind=kind,
    )
    return found, notes if found is not None else ()


def _made_by(
    prediction: Volume, card: Mapping[str, Any] | None, model: str | None
) -> tuple[Model | None, tuple[str, ...]]:
    """Model that made an image, where it is installed with the same weights."""
    from nmsynth.inference.predictor import load_network_model

    if card is None:
        return None, ()
    made_with = prediction.provenance.model_sha256
    if made_with is not None and made_with != card["sha256"]:
        return None, (
            f"The installed {card['name']} has other weights than the one that made the image: its curve is one point.",
        )
    try:
        return load_network_model(model or str(card["name"])), ()
    except NmsynthError as error:
        return None, (f"The curve of {card['name']} is one point: {error}",)


def without_truth(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of an evaluation against the source what needs no truth: noise, uptake, activity against the source.

    Errors, recovery and false structures against the source would count the removed noise as error.
    """
    kept = [
        row
        for row in metrics.get("measurements", ())
        if row.get("arm") != "reference"
        and (row.get("reference") == "source" or str(row.get("name")).startswith(WITHOUT_TRUTH))
        and "bias" not in str(row.get("name")).replace("relative bias", "")
    ]
    return {**metrics, "reference": "source", "measurements": kept, "lesions": [], "definitions": {}}


def _lesions(masks: Mapping[str, Volume], grid: Volume) -> list[dict[str, Any]]:
    """Spheres of the lesions in the masks, by centre of mass and volume, as indices of a grid."""
    from nmsynth.evaluation.preparation import named_lesions
    from nmsynth.metrics.regions import equivalent_diameter_mm

    found: list[dict[str, Any]] = []
    for name, part in named_lesions({name: mask.array for name, mask in masks.items()}):
        mask = next(iter(masks.values()))
        centre = np.argwhere(part).mean(axis=0)[None]
        index = to_indices(grid.affine, to_world(mask.affine, centre))[0]
        diameter = equivalent_diameter_mm(part, mask.spacing_mm)
        found.append({"name": name, "centre_index": index.tolist(), "diameter_mm": diameter})
    return found


def _card(model: str | None, prediction: Volume) -> dict[str, Any] | None:
    """Card of the model asked for, or of the one that the image names where it is installed.

    What an image names is looked up among the installed names only: it is never taken for a path.
    """
    from nmsynth.models.registry import list_models, show_model

    if model is not None:
        return show_model(model).model_dump(mode="json")
    named = (prediction.provenance.model or "").split()
    found = next((entry.card for entry in list_models() if named and entry.name == named[0]), None)
    return None if found is None else found.model_dump(mode="json")


def _read_record(path: Path) -> dict[str, Any]:
    """Record of a synthesis from its JSON file."""
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise InputError(f"A record must not exceed {MAX_RECORD_BYTES} bytes; this one is larger. Leave it out.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"A record must be a readable JSON file; reading failed with {type(error).__name__}. Give the record that "
            "the synthesis wrote, or leave it out."
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"A record must be a JSON object; found {type(found).__name__}. Give another file.")
    return found
