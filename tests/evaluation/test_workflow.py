import json
from datetime import datetime

import numpy as np
import pytest

import nmsynth.io
from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.workflows import evaluation
from tests.evaluation.scenes import masks, scan, truth, volume
from tests.helpers import make_volume


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Paths that read as a prediction, a reference, a source and a mask on another grid."""
    coarse = make_volume(array=masks()["liver"][::2, ::2, ::2], spacing_mm=(8.0, 8.0, 8.0), unit=Unit.UNITLESS)
    images = {
        "prediction": volume(1.1 * truth()),
        "reference": volume(truth()),
        "source": volume(scan()),
        "lesions": volume(masks()["lesions"], Unit.UNITLESS),
        "coarse": coarse,
    }
    monkeypatch.setattr(nmsynth.io, "read", lambda path, **_: images[path.name], raising=False)
    return {name: tmp_path / name for name in images}


def test_study_is_read_evaluated_and_written(study, tmp_path):
    output = tmp_path / "metrics.json"
    found = evaluation.evaluate_study(
        study["prediction"],
        study["reference"],
        source_path=study["source"],
        mask_paths={"lesions": study["lesions"]},
        settings={"reference_kind": "T1"},
        output=output,
    )
    assert found.value("relative bias") == pytest.approx(0.1, rel=1e-4)
    loaded = json.loads(output.read_text(encoding="utf-8"))
    assert (loaded["schema_version"], loaded["reference"]) == (1, "T1")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_csv_has_one_line_for_each_measurement(study, tmp_path):
    output = tmp_path / "metrics.csv"
    found = evaluation.evaluate_study(study["prediction"], study["reference"], output=output)
    assert len(output.read_text(encoding="utf-8").splitlines()) == 1 + len(found.rows())


def test_existing_output_is_kept_unless_overwriting(study, tmp_path):
    output = tmp_path / "metrics.json"
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"'metrics\.json' must not exist"):
        evaluation.evaluate_study(study["prediction"], study["reference"], output=output)
    assert output.read_text(encoding="utf-8") == "mine"
    evaluation.evaluate_study(study["prediction"], study["reference"], output=output, overwrite=True)
    assert output.read_text(encoding="utf-8").startswith("{")


def test_output_of_another_format_or_in_no_folder_is_refused(study, tmp_path):
    with pytest.raises(InputError, match=r"written as \.json or \.csv"):
        evaluation.evaluate_study(study["prediction"], study["reference"], output=tmp_path / "metrics.xlsx")
    with pytest.raises(InputError, match="folder of the output"):
        evaluation.evaluate_study(study["prediction"], study["reference"], output=tmp_path / "no" / "metrics.json")


def test_mask_on_another_grid_is_refused_or_resampled(study):
    paths = {"mask_paths": {"liver": study["coarse"]}}
    with pytest.raises(InputError, match="must share the grid of the reference"):
        evaluation.evaluate_study(study["prediction"], study["reference"], **paths)
    found = evaluation.evaluate_study(study["prediction"], study["reference"], resample=True, **paths)
    assert found.value("SUVmean", mask="liver") == pytest.approx(2.2, rel=0.1)


def test_unknown_unit_is_refused_with_the_valid_ones(study):
    with pytest.raises(InputError, match=r"must be one of Bq/mL, .*; found 'kBq'"):
        evaluation.evaluate_study(study["prediction"], study["reference"], unit="kBq")


def test_grid_with_other_directions_is_turned_without_loss():
    image = make_volume((4, 5, 6))
    affine = image.affine.copy()
    affine[:3, 3] += 4 * affine[:3, 1] + 5 * affine[:3, 2]
    affine[:3, 1:3] *= -1
    flipped = make_volume(array=image.array[:, ::-1, ::-1], affine=affine)
    assert not flipped.has_grid_of(image)
    turned = evaluation.turn_to(flipped, image)
    assert turned.has_grid_of(image)
    assert np.array_equal(turned.array, image.array)
    elsewhere = make_volume((4, 5, 6), origin_mm=(0.0, 0.0, 0.0))
    assert evaluation.turn_to(elsewhere, image) is elsewhere


def test_decay_and_times_of_slices_are_turned_with_them():
    times = tuple(datetime(2025, 1, 1, 11, k) for k in range(4))
    scan_of_slices = Acquisition(acquisition_times=times, frame_durations_s=(1.0, 2.0, 3.0, 4.0))
    rule = SuvRule(decay_rule="NONE", slice_decay=(1.0, 1.1, 1.2, 1.3))
    image = make_volume((4, 5, 6), acquisition=scan_of_slices, suv_rule=rule)
    affine = image.affine.copy()
    affine[:3, 3] += 3 * affine[:3, 0]
    affine[:3, 0] *= -1
    reference = make_volume((4, 5, 6), affine=affine)
    found = evaluation.turn_to(image, reference)
    assert found.has_grid_of(reference)
    assert found.suv_rule.slice_decay == (1.3, 1.2, 1.1, 1.0)
    assert found.acquisition.acquisition_times == times[::-1]
    assert found.acquisition.frame_durations_s == (4.0, 3.0, 2.0, 1.0)
