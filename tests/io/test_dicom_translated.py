"""A synthetic CT or MR in the study of the scan it was made from: whose it is, what it is, and nothing invented."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pydicom
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, NumericalError, SuvError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.writing import write
from tests.helpers import make_volume, require_peer
from tests.io.dicom_factory import make_series, save_series
from tests.io.validators import errors_of, missing_attributes

MADE = Provenance(synthetic=True, model="mr-to-ct 1.0.0", model_sha256="ab" * 32, settings={"seed": 1})
IMITATES = {"imitates": "florbetapir", "unit": "SUVR", "reference_region": "whole cerebellum"}
NEVER = ("KVP", "ExposureTime", "XRayTubeCurrent", "RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength")


def synthetic(modality, **fields):
    if modality == "PT":
        return imitated(**fields)
    values = np.random.default_rng(1).uniform(-1000 if modality == "CT" else 0, 1500, (4, 8, 10))
    unit = Unit.HOUNSFIELD if modality == "CT" else Unit.RELATIVE
    given = {"array": values, "spacing_mm": (3.0, 2.0, 2.5), "unit": unit, "modality": modality, "provenance": MADE}
    return make_volume(**{**given, **fields})


def imitated(**fields):
    """A ratio image of amyloid that nobody injected a tracer for."""
    given = {
        "array": np.random.default_rng(1).uniform(-0.01, 2.4, (4, 8, 10)), "spacing_mm": (3.0, 2.0, 2.5),
        "unit": Unit.SUVR, "modality": "PT", "provenance": replace(MADE, settings={**MADE.settings, **IMITATES}),
        "acquisition": Acquisition(series_description="synthetic florbetapir-like PT"),
    }  # fmt: skip
    return make_volume(**{**given, **fields})


PAIRS = [("MR", "CT"), ("PT", "CT"), ("CT", "MR"), ("MR", "PT"), ("PT", "PT")]


@pytest.fixture(scope="module", params=PAIRS, ids=lambda p: f"{p[0]}-to-{p[1]}")
def made(request, tmp_path_factory):
    """Volume, folder that was written, headers of the source."""
    source_modality, modality = request.param
    folder = tmp_path_factory.mktemp("study")
    source = save_series(make_series(source_modality, AccessionNumber="A1"), folder / "source")
    volume = synthetic(modality)
    out = write(volume, folder / "out", source=source)
    return volume, out, [pydicom.dcmread(path) for path in sorted(source.iterdir())]


def written(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_values_geometry_and_unit_read_back(made):
    volume, out, _ = made
    again = read(out)
    assert (again.modality, again.unit) == (volume.modality, volume.unit)
    assert np.allclose(again.affine, volume.affine)
    scale = 4095.0 / volume.array.max() if volume.modality == "MR" else 1.0
    assert np.abs(again.array - scale * volume.array).max() <= (1e-4 if volume.modality == "PT" else 0.501)
    assert again.provenance.synthetic
    assert again.provenance.model == "mr-to-ct 1.0.0"


def test_patient_study_and_frame_are_those_of_the_source_and_the_rest_is_new(made):
    volume, out, sources = made
    slices = written(out)
    for keyword in ("PatientName", "PatientID", "PatientSex", "PatientWeight", "StudyInstanceUID", "AccessionNumber",
                    "FrameOfReferenceUID", "StudyDate", "AcquisitionTime"):  # fmt: skip
        assert {str(s[keyword].value) for s in slices} == {str(sources[0][keyword].value)}, keyword
    assert {s.Modality for s in slices} == {volume.modality}
    assert slices[0].SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert slices[0].SeriesNumber != sources[0].SeriesNumber
    assert len({s.SOPInstanceUID for s in slices} | {s.SOPInstanceUID for s in sources}) == len(slices) + len(sources)


def test_image_says_what_it_is_and_of_what(made):
    _, out, sources = made
    for dataset in written(out):
        assert list(dataset.ImageType[:2]) == ["DERIVED", "PRIMARY" if dataset.Modality == "PT" else "SECONDARY"]
        assert dataset.SyntheticData == "YES"
        assert dataset.SeriesDescription.startswith("SYNTHETIC, RESEARCH ONLY")
        assert "mr-to-ct 1.0.0" in dataset.DerivationDescription
        assert [i.ReferencedSOPInstanceUID for i in dataset.SourceImageSequence] == [s.SOPInstanceUID for s in sources]
        purposes = [i.PurposeOfReferenceCodeSequence[0].CodeValue for i in dataset.ContributingEquipmentSequence]
        assert purposes == ["109101", "109100"]


def test_no_scan_is_stated_that_never_was(made):
    _, out, _ = made
    dataset = written(out)[0]
    assert [k for k in NEVER if dataset.get(k) is not None and not dataset[k].is_empty] == []
    assert not dataset.get("RadiopharmaceuticalInformationSequence")
    assert (dataset.Manufacturer, dataset.get("Units")) == ("nmsynth", "NONE" if dataset.Modality == "PT" else None)


def test_pet_of_a_tracer_that_nobody_injected_says_so_and_has_no_suv(tmp_path):
    source = save_series(make_series("PT"), tmp_path / "source")
    out = write(imitated(), tmp_path / "out", source=source)
    dataset = written(out)[0]
    assert dataset.SeriesDescription == "SYNTHETIC, RESEARCH ONLY: synthetic florbetapir-like PT from PT"
    assert "imitate SUVR over whole cerebellum" in dataset.DerivationDescription
    assert dataset.get("SUVType") is None
    again = read(out)
    assert again.acquisition.injected_activity_bq is None
    assert again.acquisition.radiopharmaceutical is None
    with pytest.raises(SuvError, match="nothing was injected"):
        again.to_suv()
    with pytest.raises(InputError, match=r"imitated SUV or relative values; found .* in Bq/mL"):
        write(imitated(unit=Unit.BQML), tmp_path / "no", source=source)


def test_what_was_given_is_that_of_the_source_and_stands_in_the_description_alone(tmp_path):
    source = save_series(make_series("PT"), tmp_path / "source")
    dataset = written(write(imitated(), tmp_path / "out", source=source))[0]
    given = "Given for the scan of the source: FDG, 368.08 MBq, at 10:00:00. Nothing was given for this image."
    assert given in dataset.DerivationDescription
    assert not dataset.RadiopharmaceuticalInformationSequence
    later = replace(MADE, settings={**MADE.settings, **IMITATES, "time": "30 to 60 min"})
    of_later = written(write(imitated(provenance=later), tmp_path / "later", source=source))[0].DerivationDescription
    assert "at 10:00:00. This image imitates 30 to 60 min, when nothing was scanned." in of_later
    unknown = {"Radiopharmaceutical": None, "RadionuclideTotalDose": None, "RadiopharmaceuticalStartTime": None}
    bare = make_series("PT", radiopharmaceutical={**unknown, "RadiopharmaceuticalStartDateTime": None})
    source = save_series(bare, tmp_path / "bare")
    told = written(write(imitated(), tmp_path / "more", source=source))[0].DerivationDescription
    assert "Fluorodeoxyglucose F^18^, activity not stated, time not stated" in told
    source = save_series(make_series("MR"), tmp_path / "mr")
    assert "Given for" not in written(write(imitated(), tmp_path / "of-mr", source=source))[0].DerivationDescription


def test_small_and_negative_values_of_mr_are_scaled_and_said(tmp_path):
    source = save_series(make_series("CT"), tmp_path / "source")
    volume = synthetic("MR", array=np.linspace(-0.1, 2.0, 80).reshape(2, 5, 8))
    out = write(volume, tmp_path / "out", source=source)
    assert read(out).array.max() == 4095
    told = written(out)[0].DerivationDescription
    assert "set to 0" in told
    assert "multiplied by 2047.5" in told


def test_what_cannot_be_written_is_refused(tmp_path):
    source = save_series(make_series("MR"), tmp_path / "source")
    with pytest.raises(NumericalError, match="Nothing was written"):
        write(synthetic("CT", array=np.full((2, 2, 2), np.nan)), tmp_path / "out", source=source)
    with pytest.raises(InputError, match="values from -32768"):
        write(synthetic("CT", array=np.full((2, 2, 2), 1e5)), tmp_path / "out", source=source)
    with pytest.raises(InputError, match="needs the unit 'HU'"):
        write(synthetic("CT", unit=Unit.PER_CENTIMETRE), tmp_path / "out", source=source)
    assert not (tmp_path / "out").exists()


def test_validators_find_no_error(made):
    _, out, _ = made
    files = sorted(out.iterdir())
    assert errors_of(require_peer("dciodvfy"), files[:1]) == []
    assert errors_of(require_peer("dcentvfy"), files) == []


def test_required_attributes_are_there(made):
    volume, out, _ = made
    dataset = written(out)[0]
    kinds = {"CT": "ct-image", "MR": "mr-image", "PT": "positron-emission-tomography-image"}
    assert missing_attributes(dataset, kinds[volume.modality]) == []


def test_time_of_creation_is_that_given(tmp_path):
    from nmsynth.io.dicom_translated import write_translated_series

    source = save_series(make_series("MR"), tmp_path / "source")
    out = write_translated_series(synthetic("CT"), tmp_path / "out", source=source, created=datetime(2026, 1, 2, 3))
    assert (written(out)[0].ContentDate, written(out)[0].ContentTime) == ("20260102", "030000.000000")
