import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.folds import cross_validation, split_by_manifest

SPLITS = {f"s{k}": "test" if k == 9 else "train" for k in range(10)}


def test_every_subject_is_tested_once_and_never_trained_on():
    folds = cross_validation(SPLITS, 3)
    assert sorted(s for fold in folds for s in fold.test) == [f"s{k}" for k in range(9)]
    for fold in folds:
        parts = [set(fold.train), set(fold.validation), set(fold.test)]
        assert all(parts)
        assert sum(len(p) for p in parts) == len(set().union(*parts)) == 9


def test_folds_do_not_depend_on_the_order_of_the_manifest():
    assert cross_validation(dict(reversed(SPLITS.items())), 3) == cross_validation(SPLITS, 3)
    assert cross_validation(SPLITS, 3, seed=5) != cross_validation(SPLITS, 3)


def test_validation_is_held_out_where_none_is_named():
    split = split_by_manifest(SPLITS)
    assert split.test == ("s9",)
    assert len(split.validation) == 1
    named = split_by_manifest(SPLITS | {"s0": "validation"})
    assert named.validation == ("s0",)


@pytest.mark.parametrize(("n_subjects", "n_folds"), [(3, 2), (4, 5), (8, 1)])
def test_too_few_subjects_or_folds_are_refused(n_subjects, n_folds):
    with pytest.raises(InputError, match="at least 2 folds"):
        cross_validation({f"s{k}": "train" for k in range(n_subjects)}, n_folds)
