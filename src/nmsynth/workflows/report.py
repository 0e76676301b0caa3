"""A report on files: read, evaluate, look up the model's card, write one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import to_indices, to_world
from nmsynth.core.units import Unit

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume

MAX_RECORD_BYTES = 4_000_000
"""Largest record of a synthesis that is read [bytes]."""

WITHOUT_TRUTH = ("COV", "SD", "noise reduction", "noise autocorrelation", "SUVmean", "mean")
"""Beginnings of the names of measurements that need no truth."""

CLAIMS = {
    "T0": "On this one study the synthetic image differs from the true activity as measured above; it shows nothing of "
    "other patients or scanners.",
    "T1": "On this one study the synthetic image differs from the noise-free reconstruction as measured above; it "
    "shows nothing of other patients or scanners.",
    "T2": "On this one study the synthetic image differs from a noisy reference as measured above; how far it is from "
    "the truth is not shown.",
    None: "This page shows what the model changed in one study; without a reference it supports no claim of accuracy.",
}
"""Sentence that closes a report, by the kind of reference."""


def report_study(
    prediction: Path,
    output: Path,
    *,
    source: Path | None = None,
    reference: Path | None = None,
    reference_kind: str = "T2",
    masks: Mapping[str, Path] | None = None,
    baselines: Mapping[str, Path] | None = None,
    model: str | None = None,
    record: Path | None = None,
    curves: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    title: str | None = None,
    claim: str | None = None,
    point: Sequence[float] | None = None,
    unit: Unit | str | None = None,
    modality: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report on a synthetic image.

    Parameters
    ----------
    prediction, source, reference
        DICOM series or NIfTI images; without a reference the page shows the change against the source.
    output
        HTML file to write.
    reference_kind
        ``T0`` the true activity, ``T1`` the noise-free reconstruction, ``T2`` a noisy reference.
    masks
        Masks by name; those whose name begins with ``lesion`` hold lesions.
    baselines
        Other images to show and to measure, by name.
    model
        Name of the model whose card is shown; by default the one that the prediction names, if it is installed.
    record
        JSON record of the synthesis.
    curves
        Recovery against noise and false structures by method; see :func:`nmsynth.report.html.write_report`.
    title, claim
        Heading and closing sentence.
    point
        Index (z, y, x) in the source through which the planes pass.
    unit, modality
        Of NIfTI images without a sidecar.
    overwrite
        Replace an existing page.

    Returns
    -------
        Path of the page.
    """
    from nmsynth.io import read
    from nmsynth.io.atomic import check_output
    from nmsynth.report.html import write_report

    if source is None and reference is None:
        raise InputError("A report needs something to compare with; found neither source nor reference. Give one.")
    check_output(Path(output), overwrite=overwrite, is_directory=False)
    image_unit = None if unit is None else Unit.parse(unit)
    paths = {"source": source, "synthetic": prediction, "reference": reference, **(baselines or {})}
    images = {name: read(path, unit=image_unit, modality=modality) for name, path in paths.items() if path is not None}
    metrics = {
        name: _evaluate(paths, name, reference_kind, masks, image_unit, modality)
        for name in ("synthetic", *(baselines or {}))
    }
    kind = reference_kind if reference is not None else None
    return write_report(
        output,
        images=images,
        metrics=metrics,
        lesions=_lesions(masks or {}, next(iter(images.values()))),
        curves=curves,
        card=_card(model, images["synthetic"]),
        record=None if record is None else _read_record(Path(record)),
        title=title or "Synthetic PET beside its " + ("reference" if reference is not None else "source"),
        reference_kind=kind,
        claim=claim or CLAIMS.get(kind, CLAIMS[None]),
        point=point,
        overwrite=overwrite,
    )


def _evaluate(
    paths: Mapping[str, Path | None],
    name: str,
    reference_kind: str,
    masks: Mapping[str, Path] | None,
    unit: Unit | None,
    modality: str | None,
) -> dict[str, Any]:
    """Metrics of one image as JSON; without a reference only those that need no truth."""
    from nmsynth.workflows.evaluation import evaluate_study

    image, source, reference = paths[name], paths["source"], paths["reference"]
    against = reference if reference is not None else source
    if image is None or against is None:
        return {}
    settings: dict[str, Any] = {"reference_kind": reference_kind if reference is not None else "T2"}
    if reference is None or name != "synthetic":
        settings["with_best_gaussian"] = False
    found = evaluate_study(
        Path(image),
        Path(against),
        source_path=None if source is None else Path(source),
        mask_paths=masks,
        settings=settings,
        unit=unit,
        modality=modality,
    ).to_json()
    return found if reference is not None else without_truth(found)


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


def _lesions(masks: Mapping[str, Path], grid: Volume) -> list[dict[str, Any]]:
    """Spheres of the lesions in the masks, by centre of mass and volume, as indices of a grid."""
    from nmsynth.metrics.regions import equivalent_diameter_mm, split_lesions
    from nmsynth.workflows.evaluation import read_mask

    found: list[dict[str, Any]] = []
    for name, path in masks.items():
        if not name.lower().startswith("lesion"):
            continue
        mask = read_mask(Path(path))
        for part in split_lesions(mask.array):
            centre = np.argwhere(part).mean(axis=0)[None]
            index = to_indices(grid.affine, to_world(mask.affine, centre))[0]
            diameter = equivalent_diameter_mm(part, mask.spacing_mm)
            found.append({"index": len(found) + 1, "centre_index": index.tolist(), "diameter_mm": diameter})
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
