"""Planar DICOM series are learned from: each view is a case."""

from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.manifest import read_manifest, write_manifest
from nmsynth.io import read
from nmsynth.workflows.dataset_check import check_dataset
from nmsynth.workflows.dataset_make import Split, Wanted, make_manifest
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.method_preparation import prepare_dataset
from nmsynth.workflows.planar_simulation import SimulatePlanarSettings, simulate_planar
from nmsynth.workflows.planning import plan_dataset
from nmsynth.workflows.thinning import ThinSettings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two patients with two views each, at full counts and at a quarter of them, in DICOM."""
    folder = tmp_path_factory.mktemp("planar")
    for seed, name in enumerate(("Doe", "Roe")):
        settings = SimulatePlanarSettings(seed=seed, region="pelvis", pixel_mm=9.6, lesions=2)
        simulate_planar(settings, folder / name / "whole")
        thin = ThinSettings(source=folder / name / "whole" / "scan", count_fraction=0.25, seed=seed)
        simulate_planar(thin, folder / name / "thin")
    wanted = (Wanted("source", "", "thin/scan"), Wanted("target", "", "whole/scan"))
    make_manifest(folder, None, wanted, split=Split(0.5))
    return folder


def test_each_view_is_a_case(dataset):
    rows = read_manifest(dataset)
    assert sorted({row.case for row in rows}) == [f"p00{p}-view-{v}" for p in (1, 2) for v in (1, 2)]
    assert {(row.case[-1], row.view) for row in rows} == {("1", 1), ("2", 2)}
    assert {row.subject for row in rows} == {"p001", "p002"}
    assert check_dataset(dataset)["findings"] == []


def test_a_view_is_prepared_as_one_slice_of_its_own_counts(dataset, tmp_path):
    plan = plan_dataset(dataset)
    assert (plan.dimensions, plan.target.unit.value) == ("2d", "counts")
    cases = prepare_dataset(dataset, plan, tmp_path, workers=1)
    rows = {row.case: row for row in read_manifest(dataset) if row.role == "target"}
    for case in cases:
        row = rows[case.case_id]
        whole = read(dataset / row.path).array[row.view - 1]
        found = case.target_normalisation().invert(np.asarray(case.target))
        assert found.shape == (1, *whole.shape)
        assert np.abs(found[0] - whole).max() < 1e-3 * whole.max()


@pytest.mark.parametrize(
    ("view", "reason"), [(3, "View 3 is asked for; the image has 2 planar views"), (None, "Make a row a view")]
)
def test_a_view_that_is_not_there_is_told(dataset, tmp_path, view, reason):
    plan = plan_dataset(dataset)
    rows = [row for row in read_manifest(dataset) if row.subject == "p001"]
    write_manifest(dataset / "wrong.csv", [r if r.role == "source" else replace(r, view=view) for r in rows])
    with pytest.raises(InputError, match=reason):
        prepare_dataset(dataset / "wrong.csv", plan, tmp_path / "prepared", workers=1)


def test_a_view_is_a_number(dataset):
    text = (dataset / "manifest.csv").read_text().replace(",1\n", ",front\n")
    (dataset / "named.csv").write_text(text)
    with pytest.raises(InputError, match="a view is a number from 1; found 'front'"):
        read_manifest(dataset / "named.csv")


def test_simulated_planar_datasets_are_nifti(tmp_path):
    settings = SimulateCohortSettings(recipe="bone-planar", subjects=1, file_format="dicom")
    with pytest.raises(InputError, match="Planar views of a dataset are written as NIfTI"):
        simulate_dataset(settings, tmp_path / "out", workers=1)
