"""Whether a model beats what is beside it, by several numbers over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nmsynth.evaluation.evaluate import PREDICTION
from nmsynth.metrics.agreement import Interval, bootstrap_interval, paired_difference

Wanted = Literal["lower", "higher", "zero", "one"]
"""Where the best value of a number lies; ``zero`` of a bias, ``one`` of a recovery."""
Values = Mapping[str, Mapping[str, float | None]]
"""Of one patient: by arm and by number."""


@dataclass(frozen=True, slots=True)
class ProofSummary:
    """Numbers of every arm over patients, and how far the model is from each arm."""

    arms: Mapping[str, Mapping[str, Interval]]
    """Median over patients with its interval."""
    differences: Mapping[str, Mapping[str, Interval]]
    """Of every other arm: median of the paired differences of :func:`shortfall`, model less arm, so that the model is
    better where it is negative."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""

        def plain(found: Mapping[str, Mapping[str, Interval]]) -> dict[str, Any]:
            """Intervals as dictionaries."""
            return {arm: {name: asdict(interval) for name, interval in own.items()} for arm, own in found.items()}

        return {"arms": plain(self.arms), "model_less_arm": plain(self.differences)}

    def is_better(self, number: str, than: Sequence[str]) -> bool:
        """Whether the model is better than each of some arms, with the interval of the difference below zero."""
        found = [self.differences[arm].get(number) for arm in than if arm in self.differences]
        return bool(found) and all(interval is not None and interval.upper < 0 for interval in found)

    def is_worse(self, number: str, than: Sequence[str]) -> bool:
        """Whether the model is worse than one of some arms, with the interval of the difference above zero."""
        found = [self.differences[arm].get(number) for arm in than if arm in self.differences]
        return any(interval is not None and interval.lower > 0 for interval in found)


def shortfall(value: float, wanted: Wanted) -> float:
    """How far a number is from its best, less is better; of a number that has no best, its negative.

    Examples
    --------
    >>> shortfall(0.8, "one"), shortfall(-3.0, "zero"), shortfall(2.0, "higher")
    (0.19999999999999996, 3.0, -2.0)
    """
    if wanted == "lower":
        return value
    if wanted == "higher":
        return -value
    return abs(value - 1.0) if wanted == "one" else abs(value)


def summarise_proof(patients: Sequence[Values], wanted: Mapping[str, Wanted]) -> ProofSummary:
    """Summarise the numbers of some patients.

    Parameters
    ----------
    patients
        Of each patient the numbers of every arm, ``None`` where one is not defined.
    wanted
        Numbers that are summarised, with where their best value lies.

    Returns
    -------
        Medians over patients with 95 % bootstrap intervals. A difference is of the patients in whom both arms have the
        number.
    """
    names = list(dict.fromkeys(arm for patient in patients for arm in patient))
    arms: dict[str, dict[str, Interval]] = {}
    differences: dict[str, dict[str, Interval]] = {}
    for arm in names:
        for number, best in wanted.items():
            own = [patient.get(arm, {}).get(number) for patient in patients]
            interval = bootstrap_interval([value for value in own if value is not None])
            if interval is not None:
                arms.setdefault(arm, {})[number] = interval
            if arm == PREDICTION:
                continue
            of_model = [patient.get(PREDICTION, {}).get(number) for patient in patients]
            pairs = [(a, b) for a, b in zip(of_model, own, strict=True) if a is not None and b is not None]
            difference = paired_difference(
                [shortfall(a, best) for a, _ in pairs], [shortfall(b, best) for _, b in pairs]
            )
            if difference is not None:
                differences.setdefault(arm, {})[number] = difference
    return ProofSummary(arms, differences)
