"""Tables over patients: count levels by methods, with quartiles and bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.evaluation.schema import Metrics
from nmsynth.evaluation.statistics import summarise
from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED, Interval, paired_difference

COHORT_SCHEMA_VERSION = 1
"""Of the JSON of :class:`CohortTable`."""
LESION_VALUES = {
    "recovery": "recovery",
    "mean bias": "mean_bias",
    "peak bias": "peak_bias",
    "max bias": "maximum_bias",
    "omitted": "omitted",
    "shifted": "shifted",
}
"""Name in the table, and in a lesion's row, of what is pooled over lesions."""

Labels = tuple[tuple[str, str], ...]
Key = tuple[Labels, str, str, str, str, str | None, float | None]


@dataclass(frozen=True, slots=True)
class CohortEntry:
    """One evaluated scan of one patient: a realisation at a count level."""

    case_id: str
    """Pseudonym; several realisations of one patient share it."""
    metrics: Metrics
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the table is split by besides the arm, such as ``{"counts": "1/10", "test": "simulated"}``."""


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One number over patients."""

    labels: Mapping[str, str]
    arm: str
    name: str
    unit: str
    mask: str
    reference: str | None
    data_range: float | None
    median: float
    q1: float
    q3: float
    mean: float
    lower: float
    """Of the 95 % bootstrap interval of the median over patients."""
    upper: float
    n_values: int
    """Patients, or lesions where the mask names lesions."""
    n_patients: int

    def to_row(self) -> dict[str, Any]:
        """Flat dictionary of JSON values, labels first."""
        row = asdict(self)
        labels = row.pop("labels")
        return {**labels, **row}


@dataclass(frozen=True, slots=True)
class CohortTable:
    """Rows over patients, ready for JSON, CSV or a document."""

    rows: tuple[CohortRow, ...]
    n_bootstrap: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, with ``schema_version``."""
        return {
            "schema_version": COHORT_SCHEMA_VERSION,
            "statistic": "median over patients (or lesions), quartiles, 95 % percentile bootstrap over patients",
            "n_bootstrap": self.n_bootstrap,
            "seed": self.seed,
            "rows": [row.to_row() for row in self.rows],
        }

    def select(
        self,
        *,
        name: str | None = None,
        arm: str | None = None,
        mask: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[CohortRow, ...]:
        """Rows that match all that is given."""
        return tuple(
            row
            for row in self.rows
            if name in (None, row.name)
            and arm in (None, row.arm)
            and mask in (None, row.mask)
            and all(row.labels.get(key) == value for key, value in (labels or {}).items())
        )

    def to_markdown(self, columns: Sequence[tuple[str, str | None]], *, digits: int = 3) -> str:
        """Table of arms and labels down, chosen metrics across, as ``median [lower, upper]``.

        Parameters
        ----------
        columns
            Name and mask of each column; the first mask found where it is ``None``.
        digits
            After the point.
        """
        label_names = list(dict.fromkeys(key for row in self.rows for key in row.labels))
        titles = [f"{name}, {mask}" if mask else name for name, mask in columns]
        lines = [
            "| " + " | ".join([*label_names, "method", *titles]) + " |",
            "|" + "---|" * (len(label_names) + 1 + len(columns)),
        ]
        for labels, arm in dict.fromkeys((tuple(row.labels.items()), row.arm) for row in self.rows):
            cells = [dict(labels).get(name, "") for name in label_names] + [arm]
            found = [self.select(name=name, arm=arm, mask=mask, labels=dict(labels)) for name, mask in columns]
            cells += [_cell(rows, digits) for rows in found]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"


def _cell(rows: Sequence[CohortRow], digits: int) -> str:
    """First row as text, a dash for none."""
    if not rows:
        return "–"
    row = rows[0]
    return f"{row.median:.{digits}f} [{row.lower:.{digits}f}, {row.upper:.{digits}f}]"


def cohort_table(
    entries: Iterable[CohortEntry],
    *,
    names: Sequence[str] | None = None,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = SEED,
) -> CohortTable:
    """Summarise evaluations over patients.

    Realisations of one patient at one label are averaged first, so that a patient counts once. Lesion values (recovery,
    biases, omitted and shifted fractions) are pooled over lesions, each averaged over its realisations, by size class
    and for all; their intervals resample patients.

    Parameters
    ----------
    entries
        Evaluations with the pseudonym of their patient and labels.
    names
        Measurements to keep; all where ``None``. Lesion values are always kept.
    n_bootstrap, seed
        Of the intervals.
    """
    collected: dict[Key, dict[tuple[str, str], list[float]]] = {}
    for entry in entries:
        labels: Labels = tuple((str(key), str(value)) for key, value in entry.labels.items())
        _collect_measurements(collected, entry, labels, names)
        _collect_lesions(collected, entry, labels)
    rows: list[CohortRow] = []
    for key, by_item in collected.items():
        values = [float(np.mean(repeats)) for repeats in by_item.values()]
        summary = summarise(values, [case for case, _ in by_item], n_bootstrap=n_bootstrap, seed=seed)
        if summary is not None:
            label_items, arm, name, unit, mask, reference, data_range = key
            rows.append(CohortRow(dict(label_items), arm, name, unit, mask, reference, data_range, **asdict(summary)))
    return CohortTable(tuple(rows), n_bootstrap, seed)


def _collect_measurements(
    collected: dict[Key, dict[tuple[str, str], list[float]]],
    entry: CohortEntry,
    labels: Labels,
    names: Sequence[str] | None,
) -> None:
    """Add the measurements of one evaluation, lesion summaries left to the pooled lesions."""
    for item in entry.metrics.measurements:
        pooled = item.mask.startswith("lesions") and item.interval == "quartiles over lesions"
        if item.value is None or pooled or (names is not None and item.name not in names):
            continue
        key: Key = (labels, item.arm, item.name, item.unit, item.mask, item.reference, item.data_range)
        collected.setdefault(key, {}).setdefault((entry.case_id, ""), []).append(item.value)


def _collect_lesions(
    collected: dict[Key, dict[tuple[str, str], list[float]]], entry: CohortEntry, labels: Labels
) -> None:
    """Add the lesions of one evaluation, in their size class and among all."""
    for lesion in entry.metrics.lesions:
        for name, attribute in LESION_VALUES.items():
            value = getattr(lesion, attribute)
            if value is None:
                continue
            for mask in ("lesions", f"lesions {lesion.size_class}"):
                key: Key = (labels, lesion.arm, name, "1", mask, entry.metrics.reference_kind, None)
                collected.setdefault(key, {}).setdefault((entry.case_id, lesion.lesion), []).append(float(value))


def compare_arms(
    entries: Iterable[CohortEntry],
    name: str,
    *,
    arm: str,
    other: str,
    mask: str | None = None,
    relative: bool = True,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = SEED,
) -> Interval | None:
    """Median paired difference of a measurement between two arms over patients, with its interval.

    Parameters
    ----------
    entries
        Evaluations at one label; realisations of a patient are averaged first.
    name, mask
        Of the measurement.
    arm, other
        The difference is ``arm`` minus ``other``, over ``other`` if ``relative``: -0.2 of NRMSE is 20 % below.
    relative
        Divide by the value of ``other``.
    n_bootstrap, seed
        Of the interval.

    Returns
    -------
        ``None`` where no patient has both.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        first = entry.metrics.value(name, mask=mask, arm=arm)
        second = entry.metrics.value(name, mask=mask, arm=other)
        if first is not None and second is not None:
            pairs.setdefault(entry.case_id, []).append((first, second))
    if not pairs:
        return None
    means = np.array([np.mean(pairs[case], axis=0) for case in sorted(pairs)])
    return paired_difference(means[:, 0], means[:, 1], relative=relative, n_bootstrap=n_bootstrap, seed=seed)


def lesion_repeatability(entries: Sequence[CohortEntry], *, arm: str, min_realisations: int = 3) -> dict[str, float]:
    """Within-lesion coefficient of variation of SUVpeak over realisations, by ``"case lesion"``.

    Parameters
    ----------
    entries
        Realisations of the same patients at one label.
    arm
        Whose.
    min_realisations
        Fewer are an error.
    """
    peaks: dict[str, list[float]] = {}
    for entry in entries:
        for lesion in entry.metrics.lesions:
            if lesion.arm == arm and lesion.peak is not None:
                peaks.setdefault(f"{entry.case_id} {lesion.lesion}", []).append(lesion.peak)
    result: dict[str, float] = {}
    for name, values in peaks.items():
        if len(values) < min_realisations:
            raise InputError(
                f"Repeatability needs at least {min_realisations} realisations of each lesion; found {len(values)}."
            )
        mean = float(np.mean(values))
        if mean > 0:
            result[name] = float(np.std(values, ddof=1)) / mean
    return result
