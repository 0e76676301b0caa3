"""The cases of a dataset that a method can learn from, and which of their subjects train, validate and test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.data.folds import Split
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.models.method_spec import MethodSpec

_LOGGER = logging.getLogger(__name__)


def learnable_rows(rows: Sequence[ManifestRow], spec: MethodSpec, *, told: bool = True) -> list[ManifestRow]:
    """Rows of the cases that a method can learn from: all, or the pairs alone where it learns from pairs.

    Parameters
    ----------
    rows
        Of the manifest.
    spec
        Which method.
    told
        Whether the log says how many cases are left out.

    Raises
    ------
    InputError
        If it learns from pairs and there are none, or a case has neither a source nor a target.
    """
    from nmsynth.data.manifest_cohort import cases_of
    from nmsynth.data.sides import PAIR, count_sides, side_of, sides_in_words
    from nmsynth.models.methods import learns_from_pairs

    cases = cases_of(rows, one_sided=True)
    counts = count_sides(cases)
    n_others = len(cases) - counts[PAIR]
    if not n_others or not learns_from_pairs(spec):
        return list(rows)
    if not counts[PAIR]:
        raise InputError(
            f"'{spec.name}' learns from pairs of a source and a target; found {sides_in_words(counts)}. Add pairs, or "
            "take a family that learns without, such as cyclegan with method.arguments.paired=false."
        )
    if told:
        _LOGGER.warning(
            "'%s' learns from pairs: %d of %d cases are left out, which have a source or a target alone.",
            spec.name,
            n_others,
            len(cases),
        )
    pairs = {case for case, members in cases.items() if side_of(members) == PAIR}
    return [row for row in rows if row.case in pairs]


def training_splits(rows: Sequence[ManifestRow], folds: int | None = None) -> list[Split]:
    """Subjects of each training: by the manifest, or fold after fold.

    Only subjects with a pair can be validated and tested. Where the manifest names none for validation, and in folds,
    the others train.

    Parameters
    ----------
    rows
        Of all cases that a method can learn from.
    folds
        Number of folds; by the manifest's splits when unset.

    Raises
    ------
    InputError
        If there are too few subjects for the folds.
    """
    from nmsynth.data.folds import Split, cross_validation, split_by_manifest
    from nmsynth.data.manifest import by_case
    from nmsynth.data.sides import PAIR, side_of

    splits = {row.subject: row.split for row in rows}
    paired = {members[0].subject for members in by_case(rows).values() if side_of(members) == PAIR}
    if not folds and (len(paired) == len(splits) or "validation" in splits.values()):
        return [split_by_manifest(splits)]
    of_pairs = {subject: split for subject, split in splits.items() if subject in paired}
    try:
        found = cross_validation(of_pairs, folds) if folds else [split_by_manifest(of_pairs)]
    except InputError as error:
        if len(of_pairs) == len(splits):
            raise
        raise InputError(f"{error} Only those with a pair count, {len(of_pairs)} of {len(splits)}.") from error
    others = [subject for subject in splits if subject not in paired]
    train, test = ([s for s in others if (splits[s] == "test") == apart] for apart in (False, True))
    return [Split(tuple(sorted([*f.train, *train])), f.validation, tuple(sorted([*f.test, *test]))) for f in found]
