"""Validators and second readers: what nmsynth writes is what they see."""

import subprocess

import numpy as np
import pydicom
import pytest

from nmsynth.core.provenance import Provenance
from nmsynth.io import read
from nmsynth.io.dicom_new import write_new_pet_series
from nmsynth.io.writing import write
from tests.helpers import require_peer
from tests.io.dicom_factory import make_series, save_series
from tests.io.test_dicom_new import simulated
from tests.io.validators import errors_of, missing_attributes

MODEL = Provenance(synthetic=True, model="lowcount-pet 1.0.0", model_sha256="ab" * 32, settings={"seed": 1})
KINDS = ("real", "simulated", "factory")


@pytest.fixture(scope="module")
def series(request, tmp_path_factory):
    """Function from a kind to the volume and the folder that was written from it."""
    made = {}

    def make(kind):
        if kind in made:
            return made[kind]
        folder = tmp_path_factory.mktemp(kind)
        if kind == "simulated":
            volume = simulated()
            out = write_new_pet_series(volume, folder / "out", seed_uid="peers")
        else:
            if kind == "real":
                source = request.getfixturevalue("shared_data") / "pet_wholebody_ge"
            else:
                source = save_series(make_series(), folder / "source")
            volume = read(source)
            out = write(volume.with_array(volume.array, provenance=MODEL), folder / "out")
        made[kind] = (volume, out)
        return made[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(series, kind):
    program = require_peer("dciodvfy")
    _, out = series(kind)
    files = sorted(out.iterdir())
    for path in (files[0], files[len(files) // 2], files[-1]):
        assert errors_of(program, [path]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_dcentvfy_finds_one_consistent_series(series, kind):
    program = require_peer("dcentvfy")
    _, out = series(kind)
    assert errors_of(program, sorted(out.iterdir())) == []


@pytest.mark.parametrize("kind", KINDS)
def test_required_attributes_of_the_pet_modules_are_there(series, kind):
    dataset = pydicom.dcmread(sorted(series(kind)[1].iterdir())[0])
    assert missing_attributes(dataset, "positron-emission-tomography-image") == []


@pytest.mark.parametrize("kind", KINDS)
def test_simpleitk_reads_the_same_voxels_and_geometry(series, kind):
    sitk = pytest.importorskip("SimpleITK")
    volume, out = series(kind)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(out))
    image = sitk.ReadImage(names, sitk.sitkFloat64)
    ours = read(out)
    assert np.allclose(sitk.GetArrayFromImage(image), ours.array, rtol=1e-5, atol=1e-5 * ours.array.max())
    assert image.GetSpacing() == pytest.approx(volume.spacing_mm[::-1], rel=1e-3)
    corner = tuple(n - 1 for n in volume.shape)
    assert image.TransformIndexToPhysicalPoint(corner[::-1]) == pytest.approx(
        (volume.affine @ (*corner, 1))[:3], abs=0.02
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dcm2niix_reads_the_same_voxels_and_geometry(series, kind, tmp_path):
    program = require_peer("dcm2niix")
    _, out = series(kind)
    subprocess.run([program, "-f", "image", "-b", "n", "-o", str(tmp_path), str(out)], capture_output=True, check=True)
    (path,) = tmp_path.glob("image*.nii")
    peer, ours = read(path, unit="Bq/mL", modality="PT"), read(out)
    assert peer.shape == ours.shape
    # dcm2niix keeps one slope for a series, so its steps are those of the hottest slice.
    step = ours.array.max() / 32000
    resampled = peer.resample_to(ours, order=0)
    inside = (slice(1, -1),) * 3
    assert np.abs(resampled.array - ours.array)[inside].max() <= step
    assert sorted(peer.spacing_mm) == pytest.approx(sorted(ours.spacing_mm), rel=1e-3)


def test_dcmdump_reads_every_file(series):
    program = require_peer("dcmdump")
    _, out = series("factory")
    for path in out.iterdir():
        done = subprocess.run([program, "-q", str(path)], capture_output=True, text=True, check=True)
        assert "SYNTHETIC, RESEARCH ONLY" in done.stdout
