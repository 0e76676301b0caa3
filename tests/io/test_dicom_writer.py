"""A derived series: identity, marks, pixels, and what hostile sources cannot do to it."""

import errno
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from nmsynth.core.errors import InputError, NumericalError, UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import dicom_encoding, read
from nmsynth.io.dicom_writer import write_dicom
from nmsynth.io.writing import write
from tests.helpers import make_volume
from tests.io.dicom_factory import make_series, save_series

MODEL = Provenance(
    synthetic=True, model="lowcount-pet 1.0.0", model_sha256="ab" * 32, settings={"significance": "standard"}
)


def _synthetic(volume, array=None, **fields):
    return volume.with_array(volume.array if array is None else array, **{"provenance": MODEL, **fields})


def _source(tmp_path, **changes):
    return save_series(make_series(**changes), tmp_path / "source")


def _written(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_identity_is_new_and_study_patient_frame_are_kept(tmp_path):
    folder = _source(tmp_path, AccessionNumber="A1")
    slices = _written(write(_synthetic(read(folder)), tmp_path / "out"))
    sources = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "FrameOfReferenceUID",
                    "Manufacturer", "AcquisitionTime", "FrameReferenceTime", "ActualFrameDuration", "DecayCorrection",
                    "Units", "PatientWeight"):  # fmt: skip
        assert {str(s[keyword].value) for s in slices} == {str(s[keyword].value) for s in sources}, keyword
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    assert slices[0].SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert slices[0].SeriesNumber != sources[0].SeriesNumber
    uids = {s.SOPInstanceUID for s in slices}
    assert len(uids) == 5
    assert not uids & {s.SOPInstanceUID for s in sources}
    assert all(s.file_meta.MediaStorageSOPInstanceUID == s.SOPInstanceUID for s in slices)
    assert all(len(uid) <= 64 and pydicom.uid.UID(uid).is_valid for uid in uids)


def test_a_synthetic_correction_is_named_and_no_reader_finds_an_suv(tmp_path):
    source = read(_source(tmp_path, CorrectedImage=["DECY", "NORM"], AttenuationCorrectionMethod=None))
    assert source.unit is Unit.RELATIVE
    stated = replace(source.acquisition, attenuation_correction="synthetic, nmsynth")
    for dataset in _written(write(_synthetic(source, acquisition=stated), tmp_path / "out")):
        assert dataset.AttenuationCorrectionMethod == "synthetic, nmsynth"
        assert list(dataset.CorrectedImage) == ["DECY", "NORM"]
        assert dataset.Units == "PROPCNTS"
    again = read(tmp_path / "out")
    assert again.unit is Unit.RELATIVE
    assert again.acquisition.attenuation_correction == "synthetic, nmsynth"
    calibrated = replace(stated, corrections=("DECY", "NORM", "ATTN", "SCAT"))
    image = _synthetic(source, acquisition=calibrated, unit=Unit.BQML)
    first = _written(write(image, tmp_path / "calibrated"))[0]
    assert (first.Units, list(first.CorrectedImage)) == ("BQML", ["DECY", "NORM", "ATTN", "SCAT"])
    assert "CorrectedImage was DECY, NORM." in str(first.DerivationDescription)


def test_marks_say_what_it_is(tmp_path):
    folder = _source(tmp_path, SeriesDescription="Thorax " * 9, ImageComments="seen")
    for dataset in _written(write(_synthetic(read(folder)), tmp_path / "out")):
        assert list(dataset.ImageType) == ["DERIVED", "PRIMARY"]
        assert dataset.SyntheticData == "YES"
        assert dataset.SeriesDescription.startswith("SYNTHETIC, RESEARCH ONLY: Thorax")
        assert len(dataset.SeriesDescription) <= 64
        assert dataset.ImageComments == "SYNTHETIC, RESEARCH ONLY. seen"
        assert (dataset.BurnedInAnnotation, dataset.QualityControlImage, dataset.LossyImageCompression) == (
            "NO",
            "NO",
            "00",
        )
        text = dataset.DerivationDescription
        for part in ("lowcount-pet 1.0.0", "ab" * 32, '"significance":"standard"', "20250101 110000", "rule a"):
            assert part in text, part
        assert len(text) <= 1024


def test_sources_and_equipment_are_named(tmp_path):
    earlier = Dataset()
    earlier.Manufacturer = "Earlier"
    folder = _source(tmp_path, ContributingEquipmentSequence=[earlier])
    sources = {str(pydicom.dcmread(path).SOPInstanceUID) for path in folder.iterdir()}
    for dataset in _written(write(_synthetic(read(folder)), tmp_path / "out")):
        items = dataset.SourceImageSequence
        assert {str(item.ReferencedSOPInstanceUID) for item in items} == sources
        purpose = items[0].PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
        first, second = dataset.ContributingEquipmentSequence
        assert (first.Manufacturer, second.Manufacturer) == ("Earlier", "nmsynth")
        assert second.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert "research use only" in second.ContributionDescription


def test_provenance_is_found_again(tmp_path):
    volume = read(_source(tmp_path))
    again = read(write(_synthetic(volume), tmp_path / "out"))
    assert again.provenance.synthetic
    assert (again.provenance.model, again.provenance.model_sha256) == (MODEL.model, MODEL.model_sha256)
    assert again.provenance.settings == MODEL.settings
    assert again.provenance.parents == (volume.source.series_uid,)


def test_low_count_simulation_is_marked_too(tmp_path):
    volume = read(_source(tmp_path))
    simulated = volume.with_array(
        volume.array,
        provenance=Provenance(simulated=True, settings={"seed": 1}),
        acquisition=replace(volume.acquisition, simulated_count_fraction=0.05),
    )
    out = write(simulated, tmp_path / "out")
    dataset = _written(out)[0]
    assert dataset.SyntheticData == "YES"
    assert dataset.SeriesDescription == "SYNTHETIC, RESEARCH ONLY: simulated Factory PT"
    assert "Count fraction 0.05" in dataset.DerivationDescription
    assert dataset.ContributingEquipmentSequence[-1].PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    again = read(out)
    assert (again.provenance.simulated, again.provenance.synthetic) == (True, False)
    assert again.acquisition.simulated_count_fraction == 0.05


def test_mark_is_not_repeated_on_a_second_derivation(tmp_path):
    first = read(write(_synthetic(read(_source(tmp_path))), tmp_path / "first"))
    dataset = _written(write(_synthetic(first), tmp_path / "second"))[0]
    assert dataset.SeriesDescription == "SYNTHETIC, RESEARCH ONLY: Factory PT"
    assert len(dataset.ContributingEquipmentSequence) == 2


def test_own_time_stands_in_content_and_creation(tmp_path):
    volume = read(_source(tmp_path))
    out = write_dicom(_synthetic(volume), tmp_path / "out", created=datetime(2031, 2, 3, 4, 5, 6))
    dataset = _written(out)[0]
    assert (dataset.ContentDate, dataset.InstanceCreationDate) == ("20310203", "20310203")
    assert dataset.ContentTime == dataset.InstanceCreationTime == "040506.000000"
    assert (dataset.AcquisitionDate, dataset.AcquisitionTime) == ("20250101", "110000")


@pytest.mark.parametrize(("low", "signed", "kind"), [(0.0, 0, "US"), (-50.0, 1, "SS")])
def test_values_are_quantised_with_the_slope_that_is_written(tmp_path, low, signed, kind):
    volume = read(_source(tmp_path))
    array = np.random.default_rng(1).uniform(low, 1e4, volume.shape).astype(np.float32)
    array[:, 0, 0] = low
    array *= np.array([1e-6, 1, 1e3, 1 / 3, 7.7])[:, None, None].astype(np.float32)
    out = write(_synthetic(volume, array), tmp_path / "out")
    for k, dataset in enumerate(_written(out)):
        assert dataset.PixelRepresentation == signed
        assert dataset["SmallestImagePixelValue"].VR == dataset["LargestImagePixelValue"].VR == kind
        assert dataset.SmallestImagePixelValue == dataset.pixel_array.min()
        assert dataset.LargestImagePixelValue == dataset.pixel_array.max()
        assert len(str(dataset.RescaleSlope)) <= 16
        assert float(dataset.RescaleIntercept) == 0.0
        values = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope)
        assert np.abs(values - array[k]).max() <= 0.5001 * float(dataset.RescaleSlope)
    assert np.allclose(read(out).array, array, atol=0, rtol=2e-2) or signed


def test_image_of_zeros_is_written(tmp_path):
    volume = read(_source(tmp_path))
    again = read(write(_synthetic(volume, np.zeros(volume.shape)), tmp_path / "out"))
    assert not again.array.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_never_written(tmp_path, bad):
    volume = read(_source(tmp_path))
    array = volume.array.copy()
    array[2, 3, 4] = bad
    with pytest.raises(NumericalError, match="Nothing was written"):
        write(_synthetic(volume, array), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_private_attributes_go_at_every_depth(tmp_path):
    slices = make_series()
    for dataset in slices:
        dataset.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "a")
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        item.private_block(0x0011, "SECRET", create=True).add_new(1, "LO", "b")
        item.RadionuclideCodeSequence[0].private_block(0x0011, "SECRET", create=True).add_new(1, "LO", "c")
        dataset.add_new(0x60000010, "US", 4)
        dataset.add_new(0x60003000, "OW", b"\0\0")
    out = write(_synthetic(read(save_series(slices, tmp_path / "source"))), tmp_path / "out")
    for path in out.iterdir():
        assert b"SECRET" not in path.read_bytes()
        dataset = pydicom.dcmread(path)
        assert not [e for e in dataset.iterall() if e.tag.is_private]
        assert 0x60003000 not in dataset


def test_attributes_that_differ_between_slices_stay_with_their_slice(tmp_path):
    slices = make_series()
    for k, dataset in enumerate(slices):
        dataset.AcquisitionTime = f"11000{k}"
        dataset.AcquisitionNumber = k + 7
        dataset.FrameReferenceTime = str(150000.0 + 1000 * k)
        if k != 1:
            dataset.ProtocolName = "sometimes"
        if k == 2:
            dataset.NumberOfAverages = "3"
    folder = save_series(slices, tmp_path / "source")
    written = _written(write(_synthetic(read(folder)), tmp_path / "out"))
    assert [d.AcquisitionTime for d in written] == [f"11000{k}" for k in range(5)]
    assert [d.AcquisitionNumber for d in written] == list(range(7, 12))
    assert ["ProtocolName" in d for d in written] == [True, False, True, True, True]
    assert ["NumberOfAverages" in d for d in written] == [False, False, True, False, False]
    assert [float(d.ImagePositionPatient[2]) for d in written] == [30, 33, 36, 39, 42]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Ὀδυσσεύς^λ"),
        ("ISO_IR 192", "שלום^מרים"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 138", "שרון^דבורה"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 100", "Buc^Jérôme"),
    ],
)
def test_names_of_every_script_round_trip(tmp_path, charset, name):
    folder = _source(tmp_path, SpecificCharacterSet=charset, PatientName=name)
    for dataset in _written(write(_synthetic(read(folder)), tmp_path / "out")):
        assert str(dataset.PatientName) == name
        assert dataset.SeriesDescription.startswith("SYNTHETIC")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (b"ISO_IR 192", "Buc^Jérôme".encode("latin-1")),
        (b"ISO_IR 100", "Yamada^山田".encode("shift_jis")),
        (b"ISO_IR 6  ", "Buc^Jérôme".encode()),
    ],
)
def test_bytes_that_do_not_fit_the_character_set_are_not_altered(tmp_path, charset, name):
    folder = _source(tmp_path, SpecificCharacterSet="ISO_IR 192", PatientName="N" * len(name), PatientID="X-1")
    for path in folder.iterdir():
        data = path.read_bytes().replace(b"ISO_IR 192", charset).replace(b"N" * len(name), name)
        path.write_bytes(data)
    source = _written(folder)[0].get_item("PatientName").value
    assert name in source
    for dataset in _written(write(_synthetic(read(folder)), tmp_path / "out")):
        assert dataset.get_item("PatientName").value.strip() == source.strip()


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "{{7*7}}", "=cmd|' /C calc'!A0", "\u202egnp.exe", "../../etc/passwd"]
)
def test_hostile_text_stays_text(tmp_path, text):
    folder = _source(
        tmp_path, SpecificCharacterSet="ISO_IR 192", PatientName=text, SeriesDescription=text, PatientID=text
    )
    out = write(_synthetic(read(folder)), tmp_path / "out")
    dataset = _written(out)[0]
    assert str(dataset.PatientName) == text
    assert dataset.SeriesDescription == f"SYNTHETIC, RESEARCH ONLY: {text}"
    assert sorted(path.name for path in out.iterdir()) == [f"{k:05d}.dcm" for k in range(1, 6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_control_characters_do_not_reach_the_description(tmp_path):
    volume = read(_source(tmp_path))
    from nmsynth.io.dicom_marks import Marks

    marks = Marks(provenance=volume.provenance, created=datetime(2025, 1, 1))
    assert marks.series_description("a\nb\x1b[31mc\\d") == "DERIVED, RESEARCH ONLY: a b [31mc/d"


def test_unusable_identifier_of_the_source_is_refused(tmp_path, monkeypatch):
    volume = read(_source(tmp_path))
    from nmsynth.io import dicom_writer

    headers = dicom_writer._read_headers(volume.source)
    monkeypatch.setattr(dicom_writer, "_read_headers", lambda _: headers)
    for keyword in ("StudyInstanceUID", "SOPInstanceUID"):
        kept = headers[1 if keyword == "SOPInstanceUID" else 0][keyword]
        for bad in ("../../evil", "/etc/passwd", "1.2\0.3", "1." * 100, ""):
            for header in headers:
                header[keyword] = pydicom.DataElement(kept.tag, "UI", bad, validation_mode=pydicom.config.IGNORE)
            with pytest.raises(UnsafeInputError, match=f"{keyword} of the source must be a DICOM UID"):
                write(_synthetic(volume), tmp_path / "out")
        for k, header in enumerate(headers):
            setattr(header, keyword, f"1.2.{k if keyword == 'SOPInstanceUID' else 0}.3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_executable_preamble_is_zeroed(tmp_path):
    folder = _source(tmp_path)
    for path in folder.iterdir():
        path.write_bytes(b"MZ" + bytes(126) + path.read_bytes()[128:])
    for path in write(_synthetic(read(folder)), tmp_path / "out").iterdir():
        assert path.read_bytes()[:132] == bytes(128) + b"DICM"


def test_another_grid_is_refused(tmp_path):
    volume = read(_source(tmp_path))
    shifted = volume.affine.copy()
    shifted[0, 3] += 2.0
    with pytest.raises(InputError, match=r"slice 0 of the volume lies 2 mm from it"):
        write(replace(_synthetic(volume), affine=shifted), tmp_path / "out")
    with pytest.raises(InputError, match="keep the grid of its source"):
        write(_synthetic(volume, volume.array[1:]), tmp_path / "out")
    with pytest.raises(InputError, match="needs the unit 'HU'"):
        write(_synthetic(volume, modality="CT"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_existing_output_is_refused_then_replaced(tmp_path):
    volume = read(_source(tmp_path))
    out = write(_synthetic(volume), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match="something is there already"):
        write(_synthetic(volume), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    write(_synthetic(volume, volume.array * 2), out, overwrite=True)
    assert read(out).array.max() == pytest.approx(2 * volume.array.max())
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="Only a series written by nmsynth"):
        write(_synthetic(volume), out, overwrite=True)


def test_source_is_never_overwritten(tmp_path):
    folder = _source(tmp_path)
    volume = read(folder)
    for target in (folder, tmp_path):
        with pytest.raises(InputError, match="must not hold the source"):
            write(_synthetic(volume), target, overwrite=True)
    assert len(list(folder.iterdir())) == 5


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    volume = read(_source(tmp_path))
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(dicom_encoding.os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(_synthetic(volume), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_disk_that_gives_back_other_bytes_is_found(tmp_path, monkeypatch):
    volume = read(_source(tmp_path))
    monkeypatch.setattr(dicom_encoding.Path, "read_bytes", lambda _: b"")
    with pytest.raises(InputError, match="must read back as it was written"):
        write(_synthetic(volume), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_source_may_be_given_as_path_or_volume(tmp_path):
    folder = _source(tmp_path)
    volume = read(folder)
    homeless = replace(_synthetic(volume), source=None)
    with pytest.raises(InputError, match="needs the DICOM series it derives from"):
        write(homeless, tmp_path / "out")
    assert len(list(write(homeless, tmp_path / "a", source=folder).iterdir())) == 5
    assert len(list(write(homeless, tmp_path / "b", source=volume).iterdir())) == 5


def test_format_follows_from_the_path(tmp_path):
    with pytest.raises(InputError, match="Name a folder"):
        write(make_volume(), tmp_path / "image.dcm")
    assert write(make_volume(), tmp_path / "image.nii").is_file()


def test_guide_is_named_as_structural_image(tmp_path):
    volume = read(_source(tmp_path))
    guide = read(save_series(make_series("CT"), tmp_path / "ct"))
    dataset = _written(write_dicom(_synthetic(volume), tmp_path / "out", guides=[guide]))[0]
    purposes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in dataset.SourceImageSequence]
    assert purposes == ["121322"] * 5 + ["128250"] * 5


def test_type_of_suv_does_not_outlive_its_unit(tmp_path):
    folder = _source(tmp_path, Units="GML", SUVType="LBMJAMES128")
    volume = read(folder)
    kept = _written(write(_synthetic(volume), tmp_path / "kept"))
    assert {d.SUVType for d in kept} == {"LBMJAMES128"}
    changed = _written(write(_synthetic(volume, unit=Unit.BQML), tmp_path / "changed"))
    assert all("SUVType" not in d and d.Units == "BQML" for d in changed)


def test_counts_of_the_measurement_are_not_those_of_a_simulation(tmp_path):
    volume = read(_source(tmp_path, PrimaryPromptsCountsAccumulated="1000"))
    simulated = _synthetic(volume, provenance=Provenance(simulated=True))
    assert all("PrimaryPromptsCountsAccumulated" not in d for d in _written(write(simulated, tmp_path / "a")))
    assert all(d.PrimaryPromptsCountsAccumulated == 1000 for d in _written(write(_synthetic(volume), tmp_path / "b")))


def test_implicit_source_gives_a_plain_output(tmp_path):
    slices = make_series()
    folder = tmp_path / "source"
    folder.mkdir()
    for k, dataset in enumerate(slices):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(folder / f"{k}.dcm", dataset, implicit_vr=True, little_endian=True)
    volume = read(folder)
    out = write(_synthetic(volume), tmp_path / "out")
    assert {d.file_meta.TransferSyntaxUID for d in _written(out)} == {pydicom.uid.ExplicitVRLittleEndian}
    assert np.allclose(read(out).array, volume.array, atol=volume.array.max() / 60000)


def test_time_of_creation_is_on_the_clock_of_the_source(tmp_path):
    folder = _source(tmp_path, TimezoneOffsetFromUTC="+1300")
    dataset = _written(write(_synthetic(read(folder)), tmp_path / "out"))[0]
    written = datetime.strptime(dataset.ContentDate + dataset.ContentTime, "%Y%m%d%H%M%S.%f")
    now = datetime.now(timezone(timedelta(hours=13))).replace(tzinfo=None)
    assert abs((now - written).total_seconds()) < 120
