"""One self-contained HTML page on a synthetic image."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from nmsynth.core.volume import Volume
from nmsynth.io.atomic import atomic_file, check_output
from nmsynth.report import lesion_tables, tables
from nmsynth.report.figures import Painter, Picture, histogram_picture, lesion_pictures
from nmsynth.report.lesions import measure_lesions
from nmsynth.report.pictures import BANNER
from nmsynth.report.polar import polar_picture
from nmsynth.report.scene import Scene, prepare_scene
from nmsynth.report.text import number, percent, printable
from nmsynth.report.tradeoff import trade_off

TEMPLATES = Path(__file__).parent / "templates"

CARD_ORDER = (
    *("name", "version", "task", "verdict", "summary", "intended_use", "licence", "sha256"),
    *("envelope", "data", "failures", "metrics", "findings", "negative_values"),
)
"""Keys of a model card that are shown first."""

MAX_LESION_ARMS = 2
"""Most methods in the table of lesions."""

NOT_PLOTTED = tables.CONTROL_ORDER[1:2] + tables.CONTROL_ORDER[4:]
"""Controls that stand in the tables alone, so that the points of the plots can be told apart."""


def write_report(
    path: str | Path,
    *,
    images: Mapping[str, Volume],
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    lesions: Sequence[Mapping[str, Any]] | None = None,
    curves: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    card: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    title: str = "Synthetic PET",
    reference_kind: str | None = None,
    claim: str = "The images show one synthetic image beside its source; they support no claim of accuracy.",
    claim_class: str | None = None,
    point: Sequence[float] | None = None,
    flags: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write one HTML page with everything embedded: pictures, tables, model card, record, claim.

    Parameters
    ----------
    path
        File to write; written whole or not at all.
    images
        By name, in one unit or all convertible to SUV, any orientation; ``source``, ``synthetic`` (or
        ``prediction``), ``reference``, ``truth``; other names are baselines.
    metrics
        By method, the JSON of an evaluation: anywhere in it, mappings with ``name`` and ``value`` and, where they
        apply, ``unit``, ``mask``, ``reference``, ``data_range``, ``lower``, ``upper``, ``arm``.
    lesions
        Spheres by ``centre_index`` (z, y, x), ``diameter_mm`` [mm], ``contrast`` and ``index``, on the grid of the
        source, else of the first image.
    curves
        By method, points with ``recovery``, ``noise`` (COV), ``false_structures`` (per 100 slices) and ``setting``;
        see :class:`nmsynth.evaluation.curves.Curves`.
    card
        Model card.
    record
        Record of the synthesis, JSON values.
    title
        Heading of the page.
    reference_kind
        ``T0``, ``T1``, ``T2`` (a noisy reference), or ``None`` where there is no truth.
    claim
        One sentence that the page supports.
    claim_class
        RELAINCE class of the claim; by the kind of reference where not given.
    point
        Index (z, y, x) through which the planes pass; the hottest lesion where not given.
    flags
        Warnings of the synthesis, beside those of the volumes.
    overwrite
        Replace an existing file.

    Returns
    -------
        The path.

    Raises
    ------
    InputError
        If the file exists and ``overwrite`` is false, or the images do not share a unit.
    """
    target = check_output(Path(path), overwrite=overwrite, is_directory=False)
    scene = prepare_scene(images, lesions, point)
    reference_name = _reference_name(scene, reference_kind)
    return write_page(
        target, scene, images, _picture_context(scene, metrics, curves, reference_name), metrics=metrics, card=card,
        record=record, title=title, reference_kind=reference_kind, reference_name=reference_name, claim=claim,
        claim_class=claim_class, flags=flags, overwrite=overwrite,
    )  # fmt: skip


NO_PICTURES: dict[str, Any] = {
    "projections": None,
    "planes_title": "Three planes",
    "polar": None,
    "differences": [],
    "lesion_pictures": [],
    "lesions": [],
    "decisions": None,
    "lesion_arms": [],
    "lesion_main": None,
    "histogram": None,
    "trade_off": None,
}
"""What a page may show but for its first pictures, ``planes``, where there is none of it."""


def write_page(
    target: Path,
    scene: Scene,
    images: Mapping[str, Volume],
    pictures: Mapping[str, Any],
    *,
    metrics: Mapping[str, Mapping[str, Any]] | None,
    card: Mapping[str, Any] | None,
    record: Mapping[str, Any] | None,
    title: str,
    reference_kind: str | None,
    reference_name: str,
    claim: str,
    claim_class: str | None = None,
    flags: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a page of pictures, and of all else that is said of a study.

    Parameters
    ----------
    target
        File to write, whole or not at all.
    scene, images
        What is shown.
    pictures
        Embedded, by their place in the template; ``planes`` must be there, see :data:`NO_PICTURES` for the others.
    reference_name
        What differences are taken to, in words.
    metrics, card, record, title, reference_kind, claim, claim_class, flags, overwrite
        As in :func:`write_report`.
    """
    context = {
        "title": title,
        "claim": claim,
        "claim_class": claim_class or _claim_class(scene, reference_kind, images),
        "banner": BANNER,
        "noisy": reference_kind == "T2",
        "reference_name": reference_name,
        "facts": _facts(scene, images, card, reference_name),
        **NO_PICTURES,
        **pictures,
        **_table_context(scene, metrics),
        **_study_context(scene, images, metrics, card, record, flags),
    }
    context["sections"] = _sections(context)
    page = render(context)
    with atomic_file(target, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return target


def render(context: Mapping[str, Any]) -> str:
    """Fill the template: every value is escaped, undefined names are errors, nothing given is read as a template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html.j2").render(**context, style=style).lstrip()


def embedded(picture: Picture | None) -> dict[str, Any] | None:
    """Picture for the template, its bytes as a data URI."""
    if picture is None:
        return None
    data = base64.b64encode(picture.png).decode("ascii")
    return {
        "uri": Markup("data:image/png;base64,{}").format(data),
        "caption": picture.caption,
        "alt": f"{BANNER}. {picture.alt}",
    }


def _picture_context(
    scene: Scene,
    metrics: Mapping[str, Mapping[str, Any]] | None,
    curves: Mapping[str, Sequence[Mapping[str, Any]]] | None,
    reference_name: str,
) -> dict[str, Any]:
    """All pictures and the table of lesions."""
    painter = Painter(scene, reference_name)
    rows = tables.lesion_rows(metrics)
    if not rows and scene.lesions and scene.reference is not None and scene.is_activity:
        alike = {name: scene.images[name] for name in scene.alike}
        rows = measure_lesions(alike, scene.lesions, scene.grid.spacing_mm, reference=scene.reference)
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    main = scene.main if scene.main in arms else (arms[0] if arms else None)
    plotted = [row for row in rows if row["arm"] not in NOT_PLOTTED]
    arms = tables.order_methods(arms, main)[:MAX_LESION_ARMS]
    trade = trade_off(curves, main=scene.main) if curves else None
    return {
        "projections": embedded(painter.projections()),
        "planes": embedded(painter.planes()),
        "polar": embedded(polar_picture(metrics, reference_name)),
        "differences": [embedded(item) for item in painter.differences()],
        "lesion_pictures": (
            [embedded(item) for item in lesion_pictures(scene, plotted, reference_name)] if scene.is_activity else []
        ),
        "lesions": lesion_tables.lesion_table(rows, arms),
        "decisions": lesion_tables.decision_table(rows, arms),
        "lesion_arms": arms,
        "lesion_main": main,
        "histogram": embedded(histogram_picture(scene, reference_name)),
        "trade_off": None if trade is None else embedded(_trade_off_picture(trade, reference_name)),
    }


def _trade_off_picture(png: bytes, reference_name: str) -> Picture:
    """Curves with their caption."""
    return Picture(
        png,
        f"Contrast recovery (median over lesions) against noise and against false structures, all against "
        f"{reference_name}. Dashed: the source smoothed by Gaussians of growing width. Joined points: the model at its "
        "three significances, with quartiles over lesions as thin lines. A method on the dashed line only smooths; one "
        "above it keeps lesions that a Gaussian of equal noise, or of equally many false structures, loses.",
        "Recovery against noise and against false structures",
    )


def _table_context(scene: Scene, metrics: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Verdict, tables of measurements, definitions."""
    collected = tables.collect(metrics)
    main = scene.main if scene.main in collected else next(iter(collected), None)
    definitions: dict[str, Any] = {}
    for document in (metrics or {}).values():
        found = document.get("definitions") if isinstance(document, Mapping) else None
        definitions |= dict(found) if isinstance(found, Mapping) else {}
    return {
        "main": main,
        "unit": scene.unit,
        "verdict": tables.verdict(collected, main),
        "tables": tables.metric_tables(collected, main),
        "definitions": definitions,
        "verdict_note": (
            "" if scene.has_truth else "Without a truth these numbers say how much changed, not how right it is. "
        )
        + (
            "Read error, recovery and false structures together: an image can win on NRMSE by erasing small lesions. "
            "The blue column is the synthetic image; brackets hold the stated interval."
            " Recovery and biases: median over lesions."
            if scene.is_activity
            else "A small mean error hides bones that lie beside their place and a body of another outline; both count "
            "most where the image corrects attenuation. The blue column is the synthetic image."
        ),
        "no_metrics": "No measurements were given: this page shows the images alone and supports no number.",
    }


def _study_context(
    scene: Scene,
    images: Mapping[str, Volume],
    metrics: Mapping[str, Mapping[str, Any]] | None,
    card: Mapping[str, Any] | None,
    record: Mapping[str, Any] | None,
    flags: Sequence[str],
) -> dict[str, Any]:
    """Acquisition, count level, model card, warnings and record."""
    source = images.get("source", next(iter(images.values())))
    warnings = [str(flag) for flag in flags]
    own = (record or {}).get("flags")
    warnings += [str(flag) for flag in own] if isinstance(own, (list, tuple)) else []
    for name, volume in images.items():
        warnings += [f"{name}: {text}" for text in volume.warnings]
    for name, document in (metrics or {}).items():
        found = document.get("warnings") if isinstance(document, Mapping) else None
        warnings += [f"{name}: {text}" for text in found] if isinstance(found, (list, tuple)) else []
    card = dict(card or {})
    first = {key: card[key] for key in CARD_ORDER if key in card}
    return {
        "has_source": "source" in images,
        "acquisition": tables.acquisition_lines(source),
        "counts": _counts(images, tables.collect(metrics)),
        "card": first | {key: value for key, value in card.items() if key not in first},
        "no_card": "No model card was given: nothing is known here of the model's data, envelope and failures.",
        "warnings": list(dict.fromkeys([*warnings, *scene.notes])),
        "record": _json_text(record) if record else None,
        "version": (record or {}).get("nmsynth_version"),
    }


def _json_text(record: Mapping[str, Any]) -> Markup:
    """Record as indented JSON, escaped; characters outside ASCII stay escapes."""
    return escape(json.dumps(record, indent=2, ensure_ascii=True, default=str))


def _counts(
    images: Mapping[str, Volume], collected: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[tuple[str, str]]:
    """What is known of the count level of each image."""
    lines: list[tuple[str, str]] = []
    for name, volume in images.items():
        fraction = volume.acquisition.simulated_count_fraction
        if fraction is not None:
            part = f", 1/{1 / fraction:.3g}" if 0 < fraction < 1 else ""
            lines.append((f"{name}, simulated counts", f"{percent(fraction, signed=False)} of full{part}"))
    for method, rows in collected.items():
        row = next((r for r in rows if r.get("name") == "COV" and r.get("value") is not None), None)
        if row is not None:
            lines.append((f"{method}, COV", f"{tables.cell(row)[0]} in {row.get('mask')}"))
        level = next((r for r in rows if "count" in str(r.get("name")).lower() and r.get("value") is not None), None)
        if level is not None:
            lines.append((f"{method}, {level['name']}", f"{number(level['value'])} {level.get('unit') or ''}"))
    return lines or [("Count level", "not stated by the source, not measured")]


def _reference_name(scene: Scene, kind: str | None) -> str:
    """Name of what differences are taken to, in words."""
    if not scene.has_truth:
        return tables.REFERENCE_NAMES["source"]
    if not scene.is_activity:
        return "the true image"
    return tables.REFERENCE_NAMES.get(str(kind), str(kind or "the reference, of a kind not stated"))


def _claim_class(scene: Scene, kind: str | None, images: Mapping[str, Volume]) -> str:
    """RELAINCE class that the kind of reference supports at most."""
    if not scene.has_truth:
        return "proof of concept"
    simulated = kind in ("T0", "T1") or any(volume.provenance.simulated for volume in images.values())
    data = "simulated data" if simulated else "measured data"
    against = ", against a noisy reference" if kind == "T2" and scene.is_activity else ""
    return f"technical evaluation on {data}{against}"


def _facts(
    scene: Scene, images: Mapping[str, Volume], card: Mapping[str, Any] | None, reference_name: str
) -> list[tuple[str, str]]:
    """Line of facts under the title."""
    model = images[scene.main].provenance.model if scene.main is not None else None
    if model is None and card:
        model = " ".join(str(card[key]) for key in ("name", "version") if card.get(key))
    found = [
        ("Model", model or "not stated"),
        ("Compared with", reference_name),
        ("Images in", scene.unit),
        ("Window", f"{scene.scales[scene.alike[0]].low:g}–{scene.window:g}".replace("-", "−")),
    ]
    if scene.lesions:
        found.append(("Lesions", str(len(scene.lesions))))
    return found


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchors and names of the sections that the page has."""
    every = [
        ("verdict", "Verdict", True),
        ("planes", "Planes", True),
        ("polar", "Polar maps", bool(context["polar"])),
        ("differences", "Differences", bool(context["differences"])),
        ("lesions", "Lesions", bool(context["lesion_pictures"] or context["lesions"])),
        ("tradeoff", "Trade-off", bool(context["trade_off"])),
        ("voxels", "Voxels", bool(context["histogram"])),
        ("tables", "Measurements", bool(context["tables"])),
        ("study", "Study", True),
        ("model", "Model", True),
        ("warnings", "Warnings", True),
        ("record", "Record", True),
        ("claim", "Claim", True),
    ]
    return [(key, name) for key, name, present in every if present]
