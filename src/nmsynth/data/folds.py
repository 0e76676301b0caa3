"""Which subjects train, validate and test: by the manifest, or by cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nmsynth.core.errors import InputError

VALIDATION_SHARE = 0.15
"""Share of the training subjects that choose the best weights, where the manifest names none."""


@dataclass(frozen=True, slots=True)
class Split:
    """Subjects of one training."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_by_manifest(splits: Mapping[str, str], *, seed: int = 0) -> Split:
    """The splits that a manifest states; without a validation split some training subjects are held out.

    Parameters
    ----------
    splits
        ``train``, ``validation`` or ``test`` of each subject.
    seed
        Of the choice of subjects that are held out.
    """
    parts = {name: tuple(sorted(s for s, split in splits.items() if split == name)) for name in _NAMES}
    train, validation = parts["train"], parts["validation"]
    if not validation:
        train, validation = _held_out(train, seed)
    return Split(train, validation, parts["test"])


def cross_validation(splits: Mapping[str, str], n_folds: int, *, seed: int = 0) -> list[Split]:
    """Folds over all subjects that are not for testing; each is tested once, by a model that never saw it.

    Subjects are ordered by a hash of the seed and their name and dealt out in turn, so folds differ by at most one
    subject and do not depend on the order of the manifest.

    Parameters
    ----------
    splits
        Split of each subject; ``test`` stays out.
    n_folds
        At least 2.
    seed
        Another seed deals otherwise.

    Raises
    ------
    InputError
        If there are fewer subjects than would leave two for training in each fold.
    """
    subjects = _shuffled([s for s, split in splits.items() if split != "test"], seed)
    if n_folds < 2 or len(subjects) < max(n_folds, 4):
        raise InputError(
            f"Cross-validation needs at least 2 folds, and as many subjects and at least 4; found {n_folds} folds and "
            f"{len(subjects)} subjects. Ask for fewer folds or add subjects."
        )
    folds = []
    for k in range(n_folds):
        test = subjects[k::n_folds]
        train, validation = _held_out([s for s in subjects if s not in set(test)], seed + 1)
        folds.append(Split(train, validation, tuple(sorted(test))))
    return folds


_NAMES = ("train", "validation", "test")


def _held_out(subjects: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Subjects for training, and those held out of it."""
    ordered = _shuffled(subjects, seed)
    n_held = max(1, round(VALIDATION_SHARE * len(ordered))) if len(ordered) > 1 else 0
    return tuple(sorted(ordered[n_held:])), tuple(sorted(ordered[:n_held]))


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    """Subjects in the order of a hash."""
    return sorted(subjects, key=lambda s: hashlib.sha256(f"{seed}/{s}".encode()).hexdigest())
