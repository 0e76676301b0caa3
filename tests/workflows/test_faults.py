"""Faults that reach the output: what a faulty but usable series becomes."""

import json

import numpy as np
import pytest

from nmsynth.core.errors import SuvError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.workflows.evaluation import evaluate_study
from nmsynth.workflows.synthesis import synthesize_study
from tests.io.dicom_factory import make_series, save_series, uid
from tests.models.packages import save_tiny

SHAPE = (6, 16, 16)
SETTINGS = {"backend": "torch", "threads": 1}


@pytest.fixture
def model(tmp_path):
    return save_tiny(tmp_path / "models")


def slices(stored=None, **changes):
    stored = np.random.default_rng(0).integers(1, 30000, SHAPE).astype(np.int16) if stored is None else stored
    return make_series(stored=stored, spacing_mm=(3.0, 4.0, 4.0), **changes)


def test_fault_01_without_weight_the_output_is_in_bq_per_ml_and_says_so(model, tmp_path):
    source = save_series(slices(PatientWeight=None), tmp_path / "scan")
    result = synthesize_study(source, tmp_path / "out", model=model, settings=SETTINGS)
    image = read(tmp_path / "out")
    assert image.unit is Unit.BQML
    assert any("weight" in warning for warning in result.image.warnings)
    assert any("weight" in warning for warning in json.loads((tmp_path / "out.json").read_text())["warnings"])
    with pytest.raises(SuvError, match="weight"):
        image.to_suv()


def test_fault_30_an_empty_series_becomes_an_empty_series(model, tmp_path):
    source = save_series(slices(np.zeros(SHAPE, np.int16)), tmp_path / "scan")
    result = synthesize_study(source, tmp_path / "out", model=model, settings=SETTINGS)
    assert not read(tmp_path / "out").array.any()
    assert result.flags


def test_faults_43_62_order_and_preamble_of_the_files_change_nothing(model, tmp_path):
    plain = save_series(slices(), tmp_path / "plain")
    odd = save_series(slices(), tmp_path / "odd", name=lambda index: f"{(index * 5) % 6}.dcm")
    for path in odd.iterdir():
        path.write_bytes(b"MZ" + path.read_bytes()[2:])
    for source in (plain, odd):
        synthesize_study(source, tmp_path / f"{source.name}-out", model=model, settings=SETTINGS)
    np.testing.assert_array_equal(read(tmp_path / "plain-out").array, read(tmp_path / "odd-out").array)
    assert not any(path.read_bytes().startswith(b"MZ") for path in (tmp_path / "odd-out").iterdir())


def test_fault_57_images_of_different_frames_are_not_compared(tmp_path):
    first = save_series(slices(), tmp_path / "first")
    second = save_series(slices(series=1, FrameOfReferenceUID=uid("another patient")), tmp_path / "second")
    with pytest.raises(UnsafeInputError, match="share a frame of reference; those of reference, prediction differ"):
        evaluate_study(first, second)
    with pytest.raises(UnsafeInputError, match=r"those of .*source.* differ"):
        evaluate_study(first, first, source_path=second)
