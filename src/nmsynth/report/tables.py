"""Tables of a report: measurements beside one another by method, lesions, acquisition, verdict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.report.text import MISSING, number, percent

REFERENCE_NAMES = {
    "T0": "T0, the true activity",
    "T1": "T1, the noise-free reconstruction",
    "T2": "T2, a noisy reference",
    "source": "the source (no truth is known)",
}
"""How each kind of reference is called."""

MAIN_NAMES = ("synthetic", "prediction")
"""Names under which the image in question may be given."""

VERDICT: tuple[tuple[str, str, str | None, str], ...] = (
    ("NRMSE", "NRMSE", None, "lower"),
    ("PSNR", "PSNR", None, "higher"),
    ("SSIM", "SSIM", None, "nearer 1"),
    ("relative bias", "total activity bias", None, "nearer 0"),
    ("COV", "noise, liver COV", None, "reference"),
    ("noise reduction", "noise reduction, liver", None, "structure kept"),
    ("recovery", "lesion recovery, 10–18 mm", "10-18", "nearer 1"),
    ("recovery", "lesion recovery, all", "lesions", "nearer 1"),
    ("SUVpeak bias", "lesion SUVpeak bias", "lesions", "nearer 0"),
    ("SUVmean bias", "lesion SUVmean bias", "lesions", "nearer 0"),
    ("omissions", "lesions lost", None, "0"),
    ("Deauville category flips", "Deauville category flips", None, "0"),
    ("PERCIST measurable flips", "PERCIST measurable flips", None, "0"),
    ("false structures", "false structures", None, "0"),
    ("missing structures", "missing structures", None, "0"),
    ("MAE", "error of the numbers", "body", "lower"),
    ("MAE", "error in soft tissue", "soft tissue", "lower"),
    ("MAE", "error in bone", "bone", "lower"),
    ("bone Dice", "overlap of dense bone", "300", "nearer 1"),
    ("body Dice", "overlap of the body", None, "nearer 1"),
    ("attenuation bias", "attenuation at 511 keV", None, "nearer 0"),
    ("segment error, largest", "segments of the heart, largest error", None, "0"),
    ("defect bias", "segments with a defect", None, "nearer 0"),
    ("defect contrast recovery", "contrast of defects", None, "nearer 1"),
    ("false defects", "normal segments with a false defect", None, "0"),
    ("inferior/anterior error", "inferior over anterior wall", None, "nearer 0"),
    ("total perfusion deficit error", "total perfusion deficit", None, "nearer 0"),
    ("summed score error", "summed score", None, "nearer 0"),
    ("specific binding ratio error", "specific binding ratio", None, "nearer 0"),
    ("cortex to cerebellum ratio error", "cortex to cerebellum", None, "nearer 0"),
    ("organ error, median", "error of organs, median", None, "0"),
    ("organ error, 95th percentile", "error of organs, 95th percentile", None, "0"),
    ("organ error, largest", "error of organs, largest", None, "0"),
    ("total counts", "counts of the body", "body", "nearer 0"),
    ("contrast recovery", "contrast of lesions", None, "nearer 1"),
    ("cold contrast recovery", "contrast of cold defects", None, "nearer 1"),
    ("missed hot spots", "hot spots missed", None, "0"),
    ("false hot spots", "false hot spots", None, "0"),
    ("hot-spot index error", "hot-spot index", None, "nearer 0"),
)
"""Measurement, its name in the verdict, a part of its region's name, and what to aim at."""

RATIOS = (
    *("bias", "NRMSE", "COV", "noise reduction", "relative bias", "total counts", "lesion counts"),
    *("organ error, median", "organ error, 95th percentile", "organ error, largest", "error over mean"),
    *("hot-spot index", "hot-spot index error", "cortex to cerebellum ratio error"),
)
"""Names of measurements in unit 1 that are printed as per cent."""

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Image metrics", ("NRMSE", "RMSE", "PSNR", "SSIM", "MAE", "bias", "relative bias")),
    ("Noise", ("COV", "SD", "noise reduction", "noise autocorrelation")),
    ("Bone, body and attenuation", ("bone Dice", "body Dice", "attenuation MAE", "attenuation bias")),
    (
        "Perfusion of the heart",
        (
            "segment error, mean",
            "segment error, largest",
            "total perfusion",
            "summed score",
            "false deficit",
            "defect",
            "filled defects",
            "false defects",
            "inferior/anterior",
            "septal/lateral",
            "apex/base",
        ),
    ),
    ("Specific binding", ("specific binding",)),
    ("Perfusion of the brain", ("cortex to cerebellum",)),
    ("Correction", ("organ error", "error over mean", "voxels beyond")),
    ("Counts and hot spots", ("total counts", "hot spots", "missed hot", "false hot", "hot-spot index")),
    ("False and missing structures", ("false structures", "missing structures", "fabrication")),
    (
        "Lesions, summary",
        (
            "recovery",
            "contrast recovery",
            "cold contrast recovery",
            "lesion counts",
            "SUVmean bias",
            "SUVmax bias",
            "SUVpeak bias",
            "SUVpeak Bland-Altman",
            "SUVpeak concordance",
            "omissions",
            "intensity",
            "Deauville",
            "PERCIST",
        ),
    ),
)
"""Title of each table and the beginnings of the names of its measurements; what fits none is a region's value."""


DECIMALS = (("recovery", 2), ("noise autocorrelation", 2), ("SSIM", 3), ("SUVpeak concordance", 3))
"""Beginnings of the names of measurements that are printed with a fixed count of decimals."""

CONTROL_ORDER = (
    "best Gaussian of the source",
    "Gaussian of the source at equal noise",
    "",
    "full counts",
    "best Gaussian of full counts",
    "full counts through the model",
)
"""Order of the controls between the source and the reference; the empty name stands for all others."""


@dataclass(slots=True)
class Line:
    """One line of a table: what was measured, and a cell for each method."""

    name: str
    mask: str
    unit: str
    reference: str
    data_range: str
    aim: str = ""
    again: bool = False
    """Whether the line above is of the same measure."""
    cells: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Value and, in brackets, its bounds, by method."""


@dataclass(slots=True)
class Table:
    """A titled table with one column a method."""

    title: str
    methods: list[str]
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rows_in(document: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every row with a name and a value, wherever it stands in a JSON document."""
    if isinstance(document, Mapping):
        if "name" in document and "value" in document:
            yield document
            return
        for value in document.values():
            yield from rows_in(value)
    elif isinstance(document, (list, tuple)):
        for value in document:
            yield from rows_in(value)


def collect(metrics: Mapping[str, Mapping[str, Any]] | None) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each method; the arm ``prediction`` of a document is the method that the document is named by."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for method, document in (metrics or {}).items():
        own: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows_in(document):
            arm = str(row.get("arm") or "prediction")
            own.setdefault(method if arm == "prediction" else arm, []).append(row)
        for name, rows in own.items():
            found.setdefault(name, rows)
    return found


def lesion_rows(metrics: Mapping[str, Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Lesion rows of every method, each lesion and method once; see :mod:`nmsynth.report.lesions` for their keys."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for method, document in (metrics or {}).items():
        rows = document.get("lesions") if isinstance(document, Mapping) else None
        for row in rows if isinstance(rows, (list, tuple)) else ():
            if isinstance(row, Mapping) and "lesion" in row:
                arm = str(row.get("arm") or "prediction")
                arm = method if arm == "prediction" else arm
                found.setdefault((arm, str(row["lesion"])), {**row, "arm": arm, "lesion": str(row["lesion"])})
    return list(found.values())


def order_methods(names: Sequence[str], main: str | None) -> list[str]:
    """Put the synthetic image first, then source, its Gaussians, others, full counts, the reference last."""
    rank: dict[str | None, int] = {name: k + 2 for k, name in enumerate(CONTROL_ORDER)}
    rank |= {"source": 1, "reference": len(CONTROL_ORDER) + 2, main: 0}
    return sorted(names, key=lambda name: rank.get(name, rank[""]))


def cell(row: Mapping[str, Any]) -> tuple[str, str]:
    """Print a value and, apart, its bounds where it has both and stands for several; ratios as per cent."""
    value, lower, upper = row.get("value"), row.get("lower"), row.get("upper")
    if value is None:
        return MISSING, ""
    if lower is None or upper is None or row.get("n") == 1:
        return shown_value(row, value), ""
    return shown_value(row, value), f"({_bound(row, lower)} to {_bound(row, upper)})"


def _bound(row: Mapping[str, Any], item: Any) -> str:
    """Print a bound: as the value, but per cent without their sign, and whole from ten on."""
    if _as_percent(row) and isinstance(item, (int, float)) and 10 <= abs(100 * item) < math.inf:
        return (f"{100 * item:+.0f}" if "bias" in str(row.get("name")) else f"{100 * item:.0f}").replace("-", "−")
    return shown_value(row, item).removesuffix(" %")


def shown_value(row: Mapping[str, Any], item: Any) -> str:
    """Print one number of a row in the way of its measure."""
    name = str(row.get("name"))
    if not isinstance(item, (int, float)) or not math.isfinite(item):
        return number(item)
    if _as_percent(row):
        return percent(float(item), signed="bias" in name)
    if str(row.get("unit")) == "lesions":
        return f"{item:.0f}"
    decimals = next((n for beginning, n in DECIMALS if name == beginning or name.startswith(f"{beginning} ")), None)
    return number(item) if decimals is None else f"{round(item, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _as_percent(row: Mapping[str, Any]) -> bool:
    """Whether a row is a ratio that is printed as per cent."""
    name = str(row.get("name"))
    return str(row.get("unit")) == "1" and any(name == r or name.endswith(f" {r}") for r in RATIOS)


def metric_tables(collected: Mapping[str, Sequence[Mapping[str, Any]]], main: str | None) -> list[Table]:
    """Tables of all measurements, one column a method, one line for each measurement, region and reference."""
    methods = order_methods(list(collected), main)
    tables = {title: Table(title, methods) for title in (*[g[0] for g in GROUPS], "Regions and other values")}
    lines: dict[tuple[str, ...], Line] = {}
    for method in methods:
        for row in collected[method]:
            table = tables[_group(row)]
            shown = cell(row)
            line = _line(row)
            key = (table.title, line.name, line.mask, line.unit, line.reference, line.data_range)
            if key not in lines:
                lines[key] = line
                table.lines.append(line)
            lines[key].cells.setdefault(method, shown)
            _add_notes(table, row)
    for table in tables.values():
        _arrange(table, methods)
    return [table for table in tables.values() if table.lines]


def _arrange(table: Table, methods: Sequence[str]) -> None:
    """Bring the lines of one measure together, and keep the methods that have a value."""
    places: dict[str, int] = {}
    for line in table.lines:
        places.setdefault(line.name, len(places))
    table.lines.sort(key=lambda line: places[line.name])
    for above, line in itertools.pairwise(table.lines):
        line.again = line.name == above.name
    shown = {name for line in table.lines for name, (value, _) in line.cells.items() if value != MISSING}
    shown = shown or {name for line in table.lines for name in line.cells}
    table.methods = [name for name in methods if name in shown]
    table.lines = [line for line in table.lines if any(name in line.cells for name in table.methods)]


def _add_notes(table: Table, row: Mapping[str, Any]) -> None:
    """Add what a row says of its bounds or of a missing value, once a table."""
    for note in (row.get("interval") and f"In brackets: {row['interval']}.", row.get("reason")):
        if note:
            text = f"{row.get('name')}: {note}" if note is row.get("reason") else str(note)
            if text not in table.notes:
                table.notes.append(text)


def _group(row: Mapping[str, Any]) -> str:
    """Title of the table that a row belongs to."""
    name = str(row.get("name"))
    for title, beginnings in GROUPS:
        if any(name == b or name.startswith(f"{b} ") for b in beginnings):
            return title
    return "Regions and other values"


def _line(row: Mapping[str, Any]) -> Line:
    """Empty line for a row."""
    summed = row.get("n") is not None and (row.get("interval") or row.get("unit") == "lesions")
    return Line(
        str(row.get("name")),
        str(row.get("mask") or MISSING) + (f", n = {row['n']}" if summed else ""),
        "%" if _as_percent(row) else str(row.get("unit") or MISSING),
        str(row.get("reference") or MISSING),
        MISSING if row.get("data_range") is None else number(row["data_range"]),
    )


def verdict(collected: Mapping[str, Sequence[Mapping[str, Any]]], main: str | None) -> Table | None:
    """Short table for the first screen; ``None`` where no measurement fits it."""
    methods = [name for name in order_methods(list(collected), main) if name != "reference"]
    table = Table("Verdict", methods)
    for name, shown, part, aim in VERDICT:
        found: dict[str, Mapping[str, Any]] = {}
        for method in methods:
            row = next((row for row in collected[method] if _fits(row, name, part)), None)
            if row is not None:
                found[method] = row
        if not found:
            continue
        first = next(iter(found.values()))
        line = _line(first)
        line.name, line.aim = shown, _aim(aim, name, part, collected)
        line.unit = "" if line.unit in ("1", "%", "lesions", MISSING) else line.unit
        line.reference = "" if line.reference == MISSING else f"against {line.reference}"
        line.reference += "" if line.data_range == MISSING else f", data range {line.data_range}"
        line.cells = {method: cell(row) for method, row in found.items()}
        table.lines.append(line)
    return table if table.lines else None


def _aim(aim: str, name: str, part: str | None, collected: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What to aim at, with the reference's own value where it has one."""
    if aim == "reference" and "reference" not in collected:
        return "structure kept"
    own = next((row for row in collected.get("reference", ()) if _fits(row, name, part)), None)
    return aim if own is None or own.get("value") is None else f"{aim}, {cell(own)[0]}"


def _fits(row: Mapping[str, Any], name: str, part: str | None) -> bool:
    """Whether a row is the one that the verdict asks for: by name, region and, for activity, a reference."""
    mask = str(row.get("mask") or "")
    if row.get("name") != name or (name == "MAE" and row.get("unit") != Unit.HOUNSFIELD.value):
        return False  # of activity, NRMSE says it
    if part == "lesions":
        return mask == "lesions"
    if part is not None:
        return part in mask
    return not (name in ("NRMSE", "relative bias") and str(row.get("reference")) == "source") or mask.startswith("body")


def acquisition_lines(volume: Volume) -> list[tuple[str, str]]:
    """What is known of the scan, without identity: no name, number, date or time of day."""
    a = volume.acquisition
    uptake = None
    if a.injection_time is not None and a.reference_time is not None:
        try:
            uptake = (a.reference_time - a.injection_time).total_seconds() / 60.0
        except TypeError:
            uptake = None
    durations = sorted(set(a.frame_durations_s))
    n_z, n_y, n_x = volume.spatial_shape
    z, y, x = volume.spacing_mm
    lines: list[tuple[str, Any, str]] = [
        ("Modality", volume.modality, ""),
        ("Unit of the source", volume.unit.value, ""),
        ("Matrix (z × y × x)", f"{n_z} × {n_y} × {n_x}", ""),
        ("Voxel (z × y × x)", f"{z:.2f} × {y:.2f} × {x:.2f}", " mm"),
        ("Radionuclide", a.radionuclide, ""),
        ("Radiopharmaceutical", a.radiopharmaceutical, ""),
        ("Half-life", None if a.half_life_s is None else a.half_life_s / 60.0, " min"),
        ("Injected activity", None if a.injected_activity_bq is None else a.injected_activity_bq / 1e6, " MBq"),
        ("Injection to decay reference", uptake, " min"),
        ("Decay correction", a.decay_correction, ""),
        ("Corrections", ", ".join(a.corrections) or None, ""),
        ("Frame duration", ", ".join(number(d) for d in durations[:4]) or None, " s"),
        ("Body mass", a.body_mass_kg, " kg"),
        ("Height", a.height_m, " m"),
        ("Scanner", " ".join(part for part in (a.manufacturer, a.scanner) if part) or None, ""),
        ("Reconstruction", a.reconstruction, ""),
        ("Body part", a.body_part, ""),
        ("Patient position", a.patient_position, ""),
        ("Series description", a.series_description, ""),
        ("Simulated", "yes" if volume.provenance.simulated else "no", ""),
    ]
    if volume.suv_rule is not None:
        rule = volume.suv_rule
        lines.append(
            ("SUV rule", getattr(rule, "reason", None) or f"time rule {rule.time_rule}, {rule.decay_rule}", "")
        )
    return [(name, (v if isinstance(v, str) else number(v)) + unit) for name, v, unit in lines if v is not None]
