"""Pages on images whose source is of another kind."""

import re

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io.nifti import write_nifti
from nmsynth.report.scene import CT_WINDOW_HU, prepare_scene
from tests.evaluation.test_anatomy import SHAPE, SPACING, ct
from tests.helpers import make_volume


def mr():
    """What an MR of the same body shows, on a grid of its own."""
    array = np.interp(ct().array, [-1000.0, 40.0, 800.0], [0.0, 300.0, 20.0])
    return make_volume(array=array[::2], spacing_mm=(8.0, 4.0, 4.0), unit=Unit.RELATIVE, modality="MR")


def synthetic_ct():
    volume = ct(soft=60.0)
    return volume.with_array(volume.array, provenance=Provenance(synthetic=True, model="unet 0.1.0"))


def test_a_source_of_another_kind_has_its_own_window_and_is_not_compared():
    scene = prepare_scene({"source": mr(), "synthetic": synthetic_ct(), "reference": ct()}, None, None)
    assert scene.alike == ("synthetic", "reference")
    assert scene.reference == "reference"
    assert (scene.scales["synthetic"].low, scene.scales["synthetic"].high) == CT_WINDOW_HU
    assert scene.scales["reference"] == scene.scales["synthetic"]
    assert scene.scales["source"].low == 0.0
    assert 250 < scene.scales["source"].high < 500
    assert scene.grid.array.shape == SHAPE
    assert not scene.is_activity


def test_a_source_of_another_kind_is_nothing_to_differ_from():
    scene = prepare_scene({"source": mr(), "synthetic": synthetic_ct()}, None, None)
    assert scene.reference is None


def test_only_a_source_may_be_of_another_kind():
    with pytest.raises(InputError, match=r"one kind but for the source; found CT and MR \(reference\)"):
        prepare_scene({"synthetic": synthetic_ct(), "reference": mr()}, None, None)


def test_what_lies_outside_a_ct_is_air():
    part = make_volume(
        array=ct().array[:, 10:30, 10:30], spacing_mm=SPACING, unit=Unit.HOUNSFIELD, modality="CT",
        origin_mm=(ct().affine[0, 3] + 40.0, ct().affine[1, 3] + 40.0, ct().affine[2, 3]),
    )  # fmt: skip
    scene = prepare_scene({"synthetic": synthetic_ct(), "reference": part}, None, None)
    shown = scene.images["reference"] if scene.grid.array.shape == SHAPE else scene.images["synthetic"]
    assert shown[:, 0, 0].max() < -900


@pytest.mark.parametrize("with_reference", [True, False])
def test_the_page_says_what_matters_of_a_ct(with_reference, tmp_path):
    for name, volume in (("mr", mr()), ("synthetic", synthetic_ct()), ("ct", ct())):
        write_nifti(volume, tmp_path / f"{name}.nii.gz")
    command = ["report", str(tmp_path / "synthetic.nii.gz"), str(tmp_path / "page.html"), "--source",
               str(tmp_path / "mr.nii.gz")]  # fmt: skip
    assert run([*command, *(["--reference", str(tmp_path / "ct.nii.gz")] if with_reference else [])]) == 0
    page = re.sub(r"data:image[^\"]*", "", (tmp_path / "page.html").read_text())
    assert "Synthetic CT beside its " + ("reference" if with_reference else "source") in page
    assert ("overlap of dense bone" in page) == with_reference
    assert ("attenuation at 511 keV" in page) == with_reference
    assert 'id="differences"' in page if with_reference else 'id="differences"' not in page
    assert "Maximum-intensity" not in page
    assert "liver" not in page.split('id="study"')[0]
    assert "HU −250–350" in page
    claim = "the mean absolute error in the body was" if with_reference else "it supports no claim of accuracy"
    assert claim in page


def test_pet_made_from_ct_is_read_as_pet(tmp_path):
    rng = np.random.default_rng(0)
    uptake = np.where(ct().array > 300, 0.5, np.where(ct().array > -500, 1.5, 0.0)) * (1 + 0.1 * rng.random(SHAPE))
    pet = make_volume(array=uptake, spacing_mm=SPACING, unit=Unit.SUV_BODY_WEIGHT)
    made = pet.with_array(uptake * 0.9, provenance=Provenance(synthetic=True, model="unet 0.1.0"))
    for name, volume in (("ct", ct()), ("made", made), ("pet", pet)):
        write_nifti(volume, tmp_path / f"{name}.nii.gz")
    command = ["report", *(str(tmp_path / name) for name in ("made.nii.gz", "page.html")), "--source",
               str(tmp_path / "ct.nii.gz"), "--reference", str(tmp_path / "pet.nii.gz")]  # fmt: skip
    assert run(command) == 0
    page = re.sub(r"data:image[^\"]*", "", (tmp_path / "page.html").read_text())
    assert "Synthetic PET beside its reference" in page
    assert "Maximum-intensity" in page
    assert "the source in its own window, HU" in page
    assert "NRMSE" in page
    assert "best Gaussian" not in page  # of a CT
