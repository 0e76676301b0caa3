"""What the measurements beside the proof of a task say in a card: closed loop, detection, real scans, coupling, guide.

Each converter takes the JSON of its script (``benchmarks.closed_loop``, ``heart_detection``, ``real_planar``,
``real_spect``, ``coupling``, ``guide``) and gives metrics, and sentences where a metric does not say it. Numbers that a
script adds are taken as they come; texts and single subjects are left to its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from nmsynth.models.card import Metric

Table = dict[str, Any]
Verdict = Literal["", "better", "worse", "not told apart"]
Bounds = tuple[float, float | None, float | None]
"""Value with its interval, which may be unknown."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What goes into a card."""

    metrics: tuple[Metric, ...] = ()
    sentences: tuple[str, ...] = ()


def bounds_of(value: Any) -> Bounds | None:
    """A number, or three of which the others are its bounds, or a dictionary of them; ``None`` for anything else.

    Examples
    --------
    >>> bounds_of([0.1, 0.0, 0.2]), bounds_of(3), bounds_of("text")
    ((0.1, 0.0, 0.2), (3.0, None, None), None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value), None, None
    if isinstance(value, dict) and {"value", "lower", "upper"} <= set(value):
        return float(value["value"]), float(value["lower"]), float(value["upper"])
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, (int, float)) for v in value):
        return float(value[0]), float(value[1]), float(value[2])
    return None


def sign_of(difference: Any) -> Verdict:
    """What an interval of a difference says where less is better; with no interval nothing."""
    found = bounds_of(difference)
    if found is None or found[1] is None or found[2] is None:
        return ""
    return "better" if found[2] < 0 else "worse" if found[1] > 0 else "not told apart"


def _metric(name: str, value: Bounds, condition: str, **further: Any) -> Metric:
    """A metric with bounds."""
    return Metric(name=name, value=value[0], low=value[1], high=value[2], condition=condition, **further)


def _fraction(value: float) -> str:
    """Counts in words."""
    return f"1/{1 / value:g} of the counts" if value < 1 else "full counts"


def _numbers(entry: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Bounds]]:
    """Numbers of an entry by name, and those of dictionaries in it but of organs one by one."""
    for key, value in entry.items():
        name = f"{prefix}{key}".replace("_", " ")
        found = bounds_of(value)
        if found is not None:
            yield name, found
        elif isinstance(value, dict) and key != "organs":
            yield from _numbers(value, f"{name} ")


def of_closed_loop(table: Table) -> Findings:
    """Errors of PET after reconstruction with the synthetic map, beside the best of the other maps."""
    of_arms = {arm: dict(_numbers(entry)) for arm, entry in table["summary"].items() if isinstance(entry, dict)}
    own = of_arms["synthetic"]
    n = own.pop("n subjects", (0.0, None, None))[0]
    where = f"closed loop on simulated patients, scanner {table['scanner']}, n = {n:g}"
    metrics = []
    for name, value in own.items():
        others = {arm: found[name][0] for arm, found in of_arms.items() if arm != "synthetic" and name in found}
        best = min(others, key=lambda arm: abs(others[arm])) if others else None
        beside = {} if best is None else {"baseline": others[best], "baseline_name": best}
        metrics.append(_metric(f"PET after reconstruction: {name}", value, where, **beside))
    aims = table["summary"]["synthetic"].get("aims", {})
    told = [
        f"Closed loop, scanner {table['scanner']}: {aim.replace('_', ' ')} is {said}." for aim, said in aims.items()
    ]
    return Findings(tuple(metrics), tuple(told))


def of_heart_detection(table: Table) -> Findings:
    """Areas under the ROC curve for defects, and their differences to the source and to full counts."""
    hearts = ", ".join(f"{n} hearts {kind}" for kind, n in table["hearts"].items())
    where = f"simulated, camera {table['camera']}, {hearts}"
    auc, metrics, sentences = table["auc"], [], []
    for key, entry in table.items():
        if not key.startswith("model at "):
            continue
        told = key.removeprefix("model at ")
        at = f"{where}, {_fraction(float(told))}"
        own, source = bounds_of(auc.get(f"model {told}")), bounds_of(auc.get(f"input {told}"))
        if own is not None and source is not None:
            metrics.append(_metric("AUC for defects", own, at, baseline=source[0], baseline_name="the source as it is"))
        verdicts = table.get("verdicts", {}).get(key, {})
        for name, value in _numbers(entry):
            said = verdicts.get(name, "")
            metrics.append(_metric(f"AUC for defects, model {name}", value, at, verdict=_of_detection(said)))
            if said:
                sentences.append(f"Detection of defects at {_fraction(float(told))}, {name}: {said}.")
    return Findings(tuple(metrics), tuple(sentences))


def _of_detection(said: str) -> Verdict:
    """What a verdict of detection is in a table; not to be worse is not to be better."""
    if not said:
        return ""
    return "better" if said == "better" else "worse" if said == "worse" else "not told apart"


def of_real_planar(table: Table) -> Findings:
    """Errors on measured counts against those that were taken out."""
    metrics, sentences = [], []
    for line in table["summary"]:
        at = (
            f"measured views of one patient, thinned to {_fraction(line['fraction'])}, n = {line['n_views']} views of "
            f"{line['n_draws']} draws"
        )
        own, best = bounds_of(line["synthetic"]), bounds_of(line["best Gaussian"])
        signs = {sign_of(line[f"synthetic less {arm}"]) for arm in ("source", "best Gaussian")}
        verdict = next(iter(signs)) if len(signs) == 1 else "worse" if "worse" in signs else "not told apart"
        if own is not None and best is not None:
            metrics.append(_metric("error against the complement", own, at, baseline=best[0], verdict=verdict))
        low, high = line["total_counts"][0], line["total_counts"][-1]
        sentences.append(
            f"Counts of measured views at {_fraction(line['fraction'])} change by {low:+.1%} to {high:+.1%}."
        )
    return Findings(tuple(metrics), tuple(sentences))


def of_real_spect(table: Table) -> Findings:
    """Activity of organs and noise in a measured series."""
    at = f"one measured series{', ' + table['tracer'] if table['tracer'] else ''}, no truth"
    changes, noise, edges = table["organ_activity_change"], table["noise"], table["edge_mm"]
    metrics = [
        Metric(name="noise", value=noise["synthetic"], condition=at, baseline=noise["source"], baseline_name="source"),
        Metric(
            name="width of edges", value=edges["synthetic"], unit="mm", condition=at,
            baseline=edges["Gaussian of equal noise"], baseline_name="Gaussian of equal noise",
        ),
    ]  # fmt: skip
    if changes:
        largest, blurred = (max(found, key=abs) for found in (changes, table["organ_activity_change_gaussian"]))
        activity = Metric(
            name="change of an organ's activity, largest", value=largest, condition=at,
            baseline=blurred, baseline_name="Gaussian of equal noise",
        )  # fmt: skip
        metrics.insert(0, activity)
    return Findings(tuple(metrics))


def of_coupling(table: Table) -> Findings:
    """What is said of subjects whose anatomy and uptake have nothing, something or all to do with one another."""
    metrics, sentences = [], []
    for coupling, entry in table["couplings"].items():
        at = f"simulated, coupling {coupling}, n = {entry['subjects']}"
        numbers = dict(_numbers({k: v for k, v in entry.items() if k not in ("subjects", "model")}))
        metrics += [_metric(name, value, at) for name, value in numbers.items()]
        verdicts = entry.get("verdicts", {})
        if verdicts:
            told = "; ".join(f"{what}: {said}" for what, said in verdicts.items())
            sentences.append(f"Coupling {coupling}: {told}.")
    return Findings(tuple(metrics), tuple(sentences))


def of_guide(table: Table) -> Findings:
    """Whether a guide helps, beside a network that was trained without, and what it costs where it is missing."""
    guide = table["guide"].upper()
    metrics, helps, costs = [], [], []
    for fraction, level in table["levels"].items():
        at = f"simulated, {_fraction(float(fraction))}, two networks of this comparison"
        for number, value in level["arms"]["prediction"].items():
            other = level["arms"].get("trained without", {}).get(number)
            difference = level["model_less_arm"].get("trained without", {}).get(number)
            metrics.append(
                _metric(
                    f"{number}, guided by {guide}", bounds_of(value) or (0.0, None, None), f"{at}, n = {value['n']}",
                    baseline=None if other is None else other["value"], baseline_name="trained without",
                    verdict=sign_of(difference),
                )
            )  # fmt: skip
        for told, arm in ((helps, "trained without"), (costs, "guide missing")):
            found = bounds_of(level["model_less_arm"].get(arm, {}).get("NRMSE"))
            if found is not None and found[1] is not None and found[2] is not None:
                told.append(f"{-found[0]:+.4f} ({-found[2]:+.4f} to {-found[1]:+.4f}) at {_fraction(float(fraction))}")
    sentences = [
        f"{what}, NRMSE changes by {', '.join(told)}."
        for what, told in (
            (f"Trained without a {guide} rather than with one", helps),
            (f"Where the network that was trained with a {guide} has to do without it", costs),
        )
        if told
    ]
    return Findings(tuple(metrics), tuple(sentences))


@dataclass(frozen=True, slots=True)
class Kind:
    """A script's JSON: how it is known, of which weights it speaks, and what it says."""

    key: str
    """That only its JSON has."""
    weights: Callable[[Table], set[str]]
    convert: Callable[[Table], Findings]


KINDS = (
    Kind("couplings", lambda t: {entry["model"]["sha256"] for entry in t["couplings"].values()}, of_coupling),
    Kind("scanner", lambda t: {t["asked"]["sha256"]}, of_closed_loop),
    Kind("hearts", lambda t: {t["model"]["sha256"]}, of_heart_detection),
    Kind("organ_activity_change", lambda t: {t["model"]["sha256"]}, of_real_spect),
    Kind("guide", lambda t: set(t["models"].values()), of_guide),
    Kind("summary", lambda t: {t["model"]["sha256"]}, of_real_planar),
)
"""The first whose key is there."""


def kind_of(table: Table) -> Kind | None:
    """Which script wrote a JSON; ``None`` for any other."""
    return next((kind for kind in KINDS if kind.key in table), None)
