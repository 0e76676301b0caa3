"""Statistics over patients: one value a patient, or several lesions a patient, with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED, cluster_bootstrap
from nmsynth.metrics.recovery import quartiles


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, quartiles, mean and a 95 % bootstrap interval of the median over patients."""

    median: float
    q1: float
    q3: float
    mean: float
    lower: float
    upper: float
    n_values: int
    n_patients: int


def summarise(
    values: Sequence[float], patients: Sequence[str], *, n_bootstrap: int = N_BOOTSTRAP, seed: int = SEED
) -> Summary | None:
    """Summarise values that belong to patients; whole patients are resampled, never their single values.

    Parameters
    ----------
    values
        Such as the NRMSE of a patient, or the recovery of a lesion.
    patients
        Pseudonym of the patient of each value.
    n_bootstrap, seed
        Of the bootstrap; same seed, same interval, whatever the order of the patients.

    Returns
    -------
        ``None`` for no values. With one patient the interval has no width and says nothing.
    """
    groups: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        groups.setdefault(patient, []).append(value)
    ordered = [np.asarray(sorted(groups[name]), dtype=np.float64) for name in sorted(groups)]
    interval = cluster_bootstrap(ordered, n_bootstrap=n_bootstrap, seed=seed)
    spread = quartiles(list(values))
    if interval is None or spread is None:
        return None
    return Summary(
        median=spread.median,
        q1=spread.lower,
        q3=spread.upper,
        mean=float(np.mean(np.asarray(values, dtype=np.float64))),
        lower=interval.lower,
        upper=interval.upper,
        n_values=len(values),
        n_patients=len(groups),
    )
