"""Validators and second readers of NM objects: what nmsynth writes is what they see."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.dicom_nm_derived import write_derived_counts, write_derived_tomogram
from nmsynth.io.dicom_nm_new import Sweep, write_new_planar, write_new_projections, write_new_tomogram
from nmsynth.io.dicom_reader import read_nm_counts
from tests.helpers import require_peer
from tests.io.test_dicom_nm import ACQUISITION, CAMERA, ROTATION, SERIES, SIMULATED, planar, tomogram

KINDS = ("static", "whole body", "projections", "tomogram", "derived", "derived tomogram", "corrected tomogram")


def corrected(volume):
    """A tomogram whose attenuation a model corrected, of no unit."""
    acquisition = replace(volume.acquisition, attenuation_correction="synthetic, nmsynth")
    return replace(volume, array=0.7 * volume.array, unit=Unit.RELATIVE, suv_rule=None, acquisition=acquisition)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One folder of each kind."""
    root = tmp_path_factory.mktemp("nm")
    given = {"camera": CAMERA, "series": SERIES}
    static = write_new_planar(planar(), root / "static", faces_mm=(150.0, 160.0), **given)
    counts = read_nm_counts(static)
    volume = write_new_tomogram(tomogram(), root / "volume", rotation=ROTATION, **given)
    return {
        "static": static,
        "whole body": write_new_planar(planar(), root / "sweep", sweep=Sweep(2.0, 1000.0), **given),
        "projections": write_new_projections(
            np.ones((4, 6, 8), np.float32), root / "tomo", rotation=ROTATION, pixel_mm=(4.8, 4.8),
            acquisition=ACQUISITION, provenance=SIMULATED, **given,
        ),
        "tomogram": volume,
        "derived": write_derived_counts(counts.header, counts.counts // 2, root / "half", provenance=SIMULATED),
        "derived tomogram": write_derived_tomogram(read(volume), root / "derived"),
        "corrected tomogram": write_derived_tomogram(corrected(read(volume)), root / "corrected"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(objects, kind):
    program = require_peer("dciodvfy")
    done = subprocess.run(
        [program, str(objects[kind] / "00001.dcm")], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    # The edition of 2022 does not know SyntheticData, (0008,001C).
    assert [n for n in lines if "Error" in n and "(0x0008,0x001c)" not in n.lower()] == []
    assert "NMImage" in lines


@pytest.mark.parametrize("kind", KINDS)
def test_dcmdump_reads_every_object(objects, kind):
    program = require_peer("dcmdump")
    done = subprocess.run([program, "-q", str(objects[kind] / "00001.dcm")], capture_output=True, text=True, check=True)
    assert "SYNTHETIC, RESEARCH ONLY" in done.stdout
    assert "=NuclearMedicineImageStorage" in done.stdout


@pytest.mark.parametrize("kind", ["static", "whole body", "projections"])
def test_simpleitk_reads_the_same_counts(objects, kind):
    sitk = pytest.importorskip("SimpleITK")
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(objects[kind] / "00001.dcm")))
    assert (found == read_nm_counts(objects[kind]).counts).all()


def test_the_real_planar_series_is_written_whole_and_read_again(shared_data, tmp_path):
    program = require_peer("dciodvfy")
    source = read_nm_counts(shared_data / "planar_static")
    folder = write_derived_counts(source.header, source.counts, tmp_path / "o", provenance=SIMULATED)
    assert read(folder).array.sum(dtype=np.float64) == 1_596_488
    done = subprocess.run([program, str(folder / "00001.dcm")], capture_output=True, text=True, check=False)
    errors = [n for n in (done.stdout + done.stderr).splitlines() if "Error" in n and "0x001c" not in n.lower()]
    # what remains is the source's own: de-identified without saying how
    assert all("Deidentification" in line for line in errors)
