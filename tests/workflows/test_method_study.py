"""A study with a method: conditions, further inputs, samples, and formats that cannot be."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.io import read, write
from nmsynth.workflows.synthesis import synthesize_study
from tests.helpers import make_volume
from tests.io.dicom_factory import make_series, save_series
from tests.models.method_packages import CT, PET, make_method_card, make_plan, save_tiny_method
from tests.models.packages import make_pet

SETTINGS = {"threads": 1, "conditions": {"count_fraction": 0.25}}
BQML = PET.model_copy(update={"unit": Unit.BQML, "normalisation": Normalisation(kind="linear", scale=10000.0)})
SUV_PET = {"unit": Unit.SUV_BODY_WEIGHT, "spacing_mm": (4.0, 4.0, 4.0)}


@pytest.fixture
def scan(tmp_path):
    """A scan in SUV as NIfTI with its sidecar."""
    return write(make_pet(**SUV_PET), tmp_path / "scan.nii.gz")


@pytest.fixture
def bare_ct(tmp_path):
    """A CT of the same place without a sidecar."""
    affine = affine_from_axes(spacing_mm=(4.0, 4.0, 4.0), origin_mm=(-20.0, 10.0, 30.0))
    path = write(make_volume((10, 24, 20), affine=affine, unit=Unit.HOUNSFIELD, modality="CT"), tmp_path / "ct.nii.gz")
    (tmp_path / "ct.json").unlink()
    return path


def test_the_command_takes_conditions_and_writes_samples(scan, tmp_path, capsys):
    folder = save_tiny_method(tmp_path, make_method_card(family="cvae"))
    words = ["synthesize", scan, tmp_path / "out.nii.gz", "--model", folder, "--condition", "count_fraction=0.25"]
    words += ["--samples", "2", "--write-samples", tmp_path / "samples", "--threads", "1"]
    assert run([str(word) for word in words]) == 0
    assert "synthetic, research use only" in capsys.readouterr().out
    images = [read(tmp_path / "samples" / f"sample-00{k}.nii.gz") for k in (1, 2)]
    np.testing.assert_allclose(
        read(tmp_path / "out.nii.gz").array, (images[0].array + images[1].array) / 2, rtol=1e-4, atol=1e-2
    )
    assert all(image.provenance.synthetic for image in images)


def test_samples_need_a_model_that_draws_them_and_a_new_folder(scan, tmp_path):
    folder = save_tiny_method(tmp_path)
    with pytest.raises(InputError, match="draws no samples"):
        synthesize_study(scan, tmp_path / "o.nii", model=folder, settings=SETTINGS, samples_path=tmp_path / "samples")
    assert not (tmp_path / "o.nii").exists()
    for overwrite, message in ((False, "must be new or empty"), (True, "Only a series written by nmsynth|draws no")):
        with pytest.raises(InputError, match=message):
            synthesize_study(
                scan, tmp_path / "o.nii", model=folder, settings=SETTINGS, samples_path=folder, overwrite=overwrite
            )


def test_a_further_image_without_a_sidecar_needs_its_unit(scan, bare_ct, tmp_path):
    folder = save_tiny_method(tmp_path, make_method_card(make_plan(sources=(PET, CT))))
    given = {"model": folder, "settings": SETTINGS, "inputs": {"ct": bare_ct}}
    with pytest.raises(InputError, match="unit not given"):
        synthesize_study(scan, tmp_path / "out.nii", **given)
    result = synthesize_study(scan, tmp_path / "out.nii", **given, input_units={"ct": "HU"})
    assert result.record["inputs"]["ct"]["modality"] == "CT"
    with pytest.raises(InputError, match="input 'ct', which is not given"):
        synthesize_study(scan, tmp_path / "o.nii", model=folder, settings=SETTINGS, input_units={"ct": "HU"})


def test_a_pet_series_becomes_a_series_and_its_samples_nifti(tmp_path):
    model = save_tiny_method(tmp_path, make_method_card(make_plan(sources=(BQML,), target=BQML), family="cvae"))
    scan = make_pet(spacing_mm=(4.0, 4.0, 4.0))
    time = datetime(2020, 1, 1, 10)
    facts = {"injected_activity_bq": 3e8, "injection_time": datetime(2020, 1, 1, 9), "reference_time": time}
    facts |= {"series_time": time, "acquisition_times": (time,), "frame_durations_s": (120.0,), "body_mass_kg": 70.0}
    facts |= {"half_life_s": 6586.2, "decay_correction": "START"}
    scan = replace(
        scan,
        provenance=replace(scan.provenance, simulated=True),
        acquisition=replace(scan.acquisition, **facts),
    )
    source = write(scan, tmp_path / "scan")
    settings = SETTINGS | {"n_samples": 2}
    for overwrite in (False, True):
        result = synthesize_study(
            source,
            tmp_path / "out",
            model=model,
            settings=settings,
            samples_path=tmp_path / "samples",
            overwrite=overwrite,
        )
    image = read(tmp_path / "out")
    assert np.abs(image.array - result.image.array).max() < 1e-4 * np.abs(result.image.array).max()
    assert image.provenance.synthetic
    assert len(list((tmp_path / "samples").glob("*.nii.gz"))) == 2


def test_dicom_is_refused_where_its_headers_cannot_be_continued(tmp_path):
    ct = CT.model_copy(update={"optional": False})
    folder = save_tiny_method(tmp_path, make_method_card(make_plan(target=ct)))
    scan = make_pet(**SUV_PET)
    scan = replace(scan, provenance=replace(scan.provenance, simulated=True))
    path = write(scan, tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match=r"gives CT in HU of PT.*\.nii\.gz"):
        synthesize_study(path, tmp_path / "out", model=folder, settings=SETTINGS)


def test_synthetic_ct_of_a_dicom_mr_is_a_series_in_its_study(tmp_path):
    import pydicom

    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    ct = CT.model_copy(update={"optional": False})
    card = make_method_card(make_plan(sources=(mr,), target=ct, conditions=(), task="mr-to-ct"))
    stored = np.random.default_rng(0).integers(0, 3000, (8, 16, 16)).astype(np.int16)
    source = save_series(make_series("MR", stored=stored, spacing_mm=(4.0, 4.0, 4.0)), tmp_path / "mr")
    out = tmp_path / "out"
    result = synthesize_study(source, out, model=save_tiny_method(tmp_path, card), settings={"threads": 1})
    image = read(out)
    assert (image.modality, image.unit) == ("CT", Unit.HOUNSFIELD)
    assert image.has_grid_of(read(source))
    assert np.abs(image.array - result.image.array).max() <= 0.5
    uids = [pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID for folder in (source, out)]
    assert uids[0] == uids[1]


def test_models_are_exported_and_imported_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NMSYNTH_MODELS", str(tmp_path / "mine"))
    folder = save_tiny_method(tmp_path)
    assert run(["models", "export", str(folder), str(tmp_path / "out.zip"), "--json"]) == 0
    assert run(["models", "import", str(tmp_path / "out.zip"), "--name", "mine"]) == 0
    assert run(["models", "verify", "mine"]) == 0
    assert run(["models", "show", "mine"]) == 0
    assert "- Source: pet" in capsys.readouterr().out
    (tmp_path / "weights.pt").write_bytes(b"\x80\x04pickle")
    assert run(["models", "import", str(tmp_path / "weights.pt")]) == 3
    assert run(["models", "show", "hub:nobody/nothing"]) == 2
