"""Faults 54, 56, 58-66, 68 and 71 of the list: files, archives and strings."""

import os
import stat
import zipfile
import zlib

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nmsynth.core.errors import InputError, NmsynthError, UnsafeInputError
from nmsynth.io import dicom_parse, dicom_sources, find_series, read
from nmsynth.io.dicom_reader import read_headers
from nmsynth.io.dicom_sources import pseudonym
from tests.io.dicom_factory import ExplicitVRLittleEndian, make_nm, make_series, save_series, uid

UNDEFINED = b"\xff\xff\xff\xff"


def spoiled(folder, change, name="slice-002.dcm"):
    """Change the bytes of one file of a good series."""
    save_series(make_series(), folder)
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    return folder


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def data_set_start(content: bytes) -> int:
    return 132 + 12 + int.from_bytes(content[140:144], "little")


def test_fault_54_same_instance_other_content(tmp_path):
    slices = make_series()
    plain = read(save_series(slices, tmp_path))
    slices[2].PixelData = bytes(len(slices[2].PixelData))
    save_series([slices[2]], tmp_path, name="z-{}.dcm".format)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, plain.array)
    assert any("z-0.dcm" in warning and "set aside" in warning for warning in volume.warnings)


def test_fault_56_same_instance_again(tmp_path):
    slices = make_series()
    save_series(slices, tmp_path / "a")
    plain = read(tmp_path)
    save_series(slices, tmp_path / "b")
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, plain.array)
    assert volume.warnings == ()


@pytest.mark.parametrize("depth", [300, 100_000])
def test_fault_58_deep_nesting(tmp_path, depth):
    level = b"\x08\x00\x40\x11SQ\0\0" + UNDEFINED + b"\xfe\xff\x00\xe0" + UNDEFINED

    def change(content):
        start = data_set_start(content)
        return content[:start] + level * depth + content[start:]

    with pytest.raises(UnsafeInputError, match=r"slice-002\.dcm must not nest"):
        read(spoiled(tmp_path, change))


def test_fault_58_deep_nesting_of_stated_length(tmp_path):
    slices = make_series()
    for dataset in slices:
        inner = Dataset()
        for _ in range(25):
            outer = Dataset()
            outer.ReferencedStudySequence = [inner]
            inner = outer
        dataset.ReferencedStudySequence = [inner]
    assert read(save_series(slices, tmp_path)).shape == (5, 6, 7)


def test_fault_59_deflate_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_parse, "MAX_INFLATED_BYTES", 2**20)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = compressor.compress(bytes(2**24)) + compressor.flush()

    def change(content):
        content = content[: data_set_start(content)].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99\0")
        size = int.from_bytes(content[140:144], "little") + 3
        at = content.index(b"\x02\x00\x10\x00UI") + 6
        fixed = content[:at] + (22).to_bytes(2, "little") + content[at + 2 :].replace(b"99\0", b"99")
        return fixed[:140] + (size - 1).to_bytes(4, "little") + fixed[144:] + bomb

    with pytest.raises(UnsafeInputError, match="inflate to at most 1 MiB"):
        read(spoiled(tmp_path, change))


def test_fault_59_the_limit_is_small():
    assert dicom_parse.MAX_INFLATED_BYTES <= 2**28


def test_deflated_series_is_read(tmp_path):
    plain = read(save_series(make_series(), tmp_path / "a"))
    slices = make_series()
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read(save_series(slices, tmp_path / "b")).array, plain.array)


def test_fault_60_four_gib_of_pixels_claimed(tmp_path):
    def change(content):
        at = content.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
        return content[:at] + b"\xf0\xff\xff\xff" + content[at + 4 :]

    with pytest.raises(UnsafeInputError, match="it states 4294967280"):
        read(spoiled(tmp_path, change))


def test_fault_60_four_gib_claimed_by_another_element(tmp_path):
    def change(content):
        start = data_set_start(content)
        return content[:start] + b"\x08\x00\x01\x00UN\0\0\xf0\xff\xff\xff" + content[start:]

    with pytest.raises(UnsafeInputError, match=r"slice-002\.dcm must"):
        read(spoiled(tmp_path, change))


@pytest.mark.parametrize("content", [b"", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_fault_61_not_dicom(tmp_path, content):
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    with pytest.raises(InputError, match="DICOM"):
        read(path)
    with pytest.raises(InputError, match="none was found"):
        read(tmp_path)


def test_fault_61_beside_a_good_series_is_passed_over(tmp_path):
    save_series(make_series(), tmp_path)
    (tmp_path / "empty").touch()
    assert "1 files are not DICOM images and were passed over." in read(tmp_path).warnings


def test_damaged_header_refuses_the_series(tmp_path):
    with pytest.raises(UnsafeInputError, match=r"slice-002\.dcm must be complete"):
        read(spoiled(tmp_path, lambda content: content[:168]))


def other_series(folder, content):
    """A good PT series, and one file of a CT series beside it."""
    save_series(make_series(), folder)
    save_series(make_series("CT")[:1], folder / "ct", name="S{}".format)
    path = folder / "ct" / "S0"
    path.write_bytes(content(path.read_bytes()))
    return folder


def unparsable(content):
    """Keep the header up to the series and break what follows."""
    at = content.index(b"\x20\x00\x0d\x00UI")
    start = content.index(b"\x20\x00\x0e\x00UI") + 8
    end = start + int.from_bytes(content[start - 2 : start], "little")
    assert at < start
    return content[:end] + b"\x20\x00\x10\x00SQ\0\0" + UNDEFINED + b"\xfe\xff\x00\xe0\xff\xff\xff"


def test_damaged_file_of_another_series_leaves_a_good_one_readable(tmp_path):
    volume = read(other_series(tmp_path, unparsable), series_uid=uid("series", "PT", 0))
    assert volume.shape == (5, 6, 7)
    assert volume.warnings == ("File S0 is damaged and belongs to another series; it was passed over.",)


def test_damaged_slice_is_refused_by_the_series_that_its_bytes_name(tmp_path):
    with pytest.raises(UnsafeInputError, match=r"slice-002\.dcm must be sound DICOM"):
        read(spoiled(tmp_path, unparsable))


@pytest.mark.parametrize("given", ["", "slice-000.dcm"])
def test_damaged_file_of_no_known_series_is_passed_over_beside_a_whole_one(tmp_path, given):
    save_series(make_series(), tmp_path)
    (tmp_path / "IM_0001").write_bytes(bytes(128) + b"DICM" + b"damaged " * 5)
    volume = read(tmp_path / given)
    assert volume.shape == (5, 6, 7)
    assert any(text.startswith("File IM_0001 is damaged and names no series") for text in volume.warnings)


def test_damaged_file_of_no_known_series_is_refused_where_it_may_be_a_slice(tmp_path):
    save_series(make_series(NumberOfSlices=6), tmp_path)
    (tmp_path / "IM_0001").write_bytes(bytes(128) + b"DICM" + b"damaged " * 5)
    with pytest.raises(UnsafeInputError, match="IM_0001 must"):
        read(tmp_path)


def test_files_of_the_desktop_beside_a_series_change_nothing(tmp_path):
    plain = read(save_series(make_series(), tmp_path))
    for name in ("README.txt", ".DS_Store", "Thumbs.db", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"\0\0\0\1Bud1" * 40)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, plain.array)
    assert volume.warnings == ("3 files are not DICOM images and were passed over.",)


def test_fault_62_executable_preamble_is_read(tmp_path):
    assert read(spoiled(tmp_path, lambda content: b"MZ" + content[2:])).shape == (5, 6, 7)


def test_zip_gives_the_same_volume(tmp_path):
    folder = save_series(make_series(), tmp_path / "a")
    path = zipped(tmp_path / "a.zip", {f"x/{file.name}": file.read_bytes() for file in folder.iterdir()})
    np.testing.assert_array_equal(read(path).array, read(folder).array)


@pytest.mark.parametrize("name", ["../x.dcm", "/etc/x.dcm", "a/../../x.dcm", "C:\\x.dcm", "..\\x.dcm"])
def test_fault_63_zip_slip(tmp_path, name):
    with pytest.raises(UnsafeInputError, match="leads out"):
        read(zipped(tmp_path / "a.zip", {name: b"x"}))


def test_fault_63_link_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeInputError, match="it is a link"):
        read(tmp_path / "a.zip")


def test_fault_64_zip_bomb(tmp_path):
    with pytest.raises(UnsafeInputError, match="200 times its size"):
        read(zipped(tmp_path / "a.zip", {"a.dcm": bytes(2**23)}))


def test_fault_64_too_many_entries(tmp_path, monkeypatch):
    assert dicom_sources.MAX_FILES < 60_000
    monkeypatch.setattr(dicom_sources, "MAX_FILES", 20)
    path = zipped(tmp_path / "a.zip", {f"{index}.dcm": b"" for index in range(21)})
    with pytest.raises(UnsafeInputError, match="at most 20 files; this one holds 21"):
        read(path)


def test_fault_64_size_in_the_zip_is_a_lie(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.dcm": b"DICM" * 100})
    content = path.read_bytes()
    path.write_bytes(content.replace((400).to_bytes(4, "little"), (399).to_bytes(4, "little")))
    with pytest.raises(UnsafeInputError, match="damaged"):
        read(path)


def dicomdir(folder, names):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = uid("dicomdir")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.FileSetID = "TEST"
    dataset.DirectoryRecordSequence = []
    for parts in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = parts
        dataset.DirectoryRecordSequence.append(record)
    dataset.save_as(folder / "DICOMDIR", enforce_file_format=True, little_endian=True, implicit_vr=False)
    return folder / "DICOMDIR"


def test_dicomdir_reads_the_files_it_lists(tmp_path):
    save_series(make_series(), tmp_path / "IMAGES", name="S{}".format)
    save_series(make_series(series=1), tmp_path / "OTHER", name="S{}".format)
    path = dicomdir(tmp_path, [["IMAGES", f"S{index}"] for index in range(5)])
    assert read(path).shape == (5, 6, 7)
    assert len(find_series(tmp_path)) == 2


@pytest.mark.parametrize(
    "parts", [["..", "secret"], ["a", "..", "..", "secret"], ["/etc/passwd"], ["missing"], ["link"]]
)
def test_fault_65_dicomdir_leads_out(tmp_path, parts):
    (tmp_path / "secret").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    with dicom_parse.quiet_pydicom():
        path = dicomdir(root, [parts])
    with pytest.raises(UnsafeInputError, match="Entry 1 of the DICOMDIR"):
        read(path)


def test_fault_65_link_out_and_pipe_are_passed_over(tmp_path):
    outside = save_series(make_series(series=1), tmp_path / "outside")
    folder = save_series(make_series(), tmp_path / "inside")
    (folder / "link.dcm").symlink_to(outside / "slice-000.dcm")
    (folder / "folder").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    volume = read(folder)
    assert volume.shape == (5, 6, 7)
    assert any("passed over" in warning for warning in volume.warnings)


def test_fault_65_pipe_as_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeInputError, match="is neither"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("text", [b"../../..", b"/etc/pas", b"1.2\x003.4", b"1.2 3.45", b"\x1b[31m1.2", b"        "])
@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPInstanceUID"])
def test_fault_66_hostile_uid(tmp_path, text, keyword):
    slices = make_series()
    original = str(getattr(slices[2], keyword)).encode()
    hostile = b" " * len(original) if not text.strip() else text[:8].ljust(len(original), b"1")
    with pytest.raises(UnsafeInputError, match=f"{keyword}") as caught:
        read(spoiled(tmp_path, lambda content: content.replace(original, hostile)))
    assert "etc" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_fault_66_uid_of_200_characters(tmp_path):
    with dicom_parse.quiet_pydicom():
        save_series(make_series(SeriesInstanceUID="1." * 99 + "1"), tmp_path)
    with pytest.raises(UnsafeInputError, match="64 at most"):
        read(tmp_path)


def test_fault_66_series_uid_asked_for_is_escaped(tmp_path):
    save_series(make_series(), tmp_path)
    with pytest.raises(InputError, match=r"is not\. Found") as caught:
        read(tmp_path, series_uid="../x\n\x1b[31m")
    assert str(caught.value).isprintable()


def test_fault_68_control_characters_are_escaped(tmp_path):
    save_series(make_series(SeriesDescription="a\nb \x1b[31m \u202e", SpecificCharacterSet="ISO_IR 192"), tmp_path)
    (summary,) = find_series(tmp_path)
    assert summary.description == r"a\x0ab \x1b[31m \x202e"


def test_fault_68_no_identity_in_volume_or_log(tmp_path, caplog):
    caplog.set_level(0)
    slices = make_series(PatientName="SECRET^Name", PatientID="SECRET-ID", PatientBirthDate="19991231")
    volume = read(save_series(slices, tmp_path))
    assert "SECRET" not in repr(volume.acquisition) + "".join(volume.warnings) + caplog.text
    assert "1999" not in repr(volume.acquisition)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 138", "שרון^דבורה"),
    ],
)
def test_fault_71_names_survive_in_headers(tmp_path, charset, name):
    save_series(make_series(SpecificCharacterSet=charset, PatientName=name), tmp_path)
    assert read(tmp_path).shape == (5, 6, 7)
    assert str(read_headers(tmp_path)[0].PatientName) == name


@pytest.mark.parametrize("kind", ["PT", "CT", "NM"])
def test_random_damage_is_an_error_of_ours_or_harmless(tmp_path, kind):
    """Bytes changed, lengths blown up, files cut: read and find_series raise nothing but a NmsynthError."""
    slices = [make_nm()] if kind == "NM" else make_series(kind)
    folder = save_series(slices, tmp_path)
    path = sorted(folder.iterdir())[len(slices) // 2]
    good, rng = path.read_bytes(), np.random.default_rng(7)
    messages = []
    for _ in range(60):
        content = bytearray(good)
        for at in rng.integers(128, len(good) - 4, rng.integers(1, 6)):
            content[at : at + 4] = (b"\xff\xff\xff\xff", rng.bytes(1), rng.bytes(4), b"")[rng.integers(4)]
        path.write_bytes(content)
        for act in (find_series, read):
            try:
                act(folder)
            except NmsynthError as error:
                messages.append(str(error))
    assert len(messages) > 5
    assert all(message.isprintable() for message in messages)


def test_no_error_names_the_patient(tmp_path):
    slices = make_series(PatientName="SECRET^Name", PatientID="SECRET-ID")
    slices[1].RescaleSlope = "0"
    with pytest.raises(UnsafeInputError, match="RescaleSlope") as caught:
        read(save_series(slices, tmp_path))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("IM_0012.dcm", "IM_0012.dcm"),
        ("1-012.dcm", "1-012.dcm"),
        ("00000012", "00000012"),
        ("PT.1.2.840.113619.2.55.3.19990101.12.dcm", "PT.1.2.840.113619.2.55.3.19990101.12.dcm"),
        ("Doe_Jane_012.dcm", "number 12"),
        ("DOE.PT.4.1.IMA", "number 12"),
        ("\u5c71\u7530\u592a\u90ce.dcm", "number 12"),
        ("PT_19500101.dcm", "number 12"),
        ("01.01.1950.dcm", "number 12"),
        ("1950-01-01 slice.dcm", "number 12"),
    ],
)
def test_fault_68_a_file_name_that_could_be_a_person_is_not_shown(name, shown):
    assert pseudonym(name, 12) == shown


@pytest.mark.parametrize(
    "name", ["SECRET_Name_{:03d}.dcm", "4711815-{}.dcm", "slice-{}-19991231.dcm", "lee-{}.dcm", "{}-a9"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_fault_68_patient_in_the_file_names_is_not_in_messages(tmp_path, name, packed):
    identity = {"PatientID": "4711815", "PatientBirthDate": "19991231", "AccessionNumber": "1-a9"}
    slices = make_series(PatientName="SECRET^Name^lee", **identity)
    slices[1].RescaleSlope = "0"
    path = folder = save_series(slices, tmp_path / "SECRET", name=name.format)
    if packed:
        path = zipped(tmp_path / "SECRET.zip", {file.name: file.read_bytes() for file in folder.iterdir()})
    with pytest.raises(UnsafeInputError, match="RescaleSlope") as caught:
        read(path)
    said = str(caught.value)
    assert not any(secret in said for secret in ("SECRET", "Name", "4711815", "1999", "lee", "1-a9"))


@pytest.mark.parametrize("name", ["SECRET", "SECRET.nii", "SECRET.zip"])
def test_fault_68_patient_in_a_path_is_not_in_messages(tmp_path, name):
    with pytest.raises(InputError, match="nothing at that path") as caught:
        read(tmp_path / name)
    assert "SECRET" not in str(caught.value)
    (tmp_path / "SECRET").mkdir()
    (tmp_path / "SECRET.nii").write_bytes(bytes(400))
    (tmp_path / "SECRET.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(NmsynthError, match="must") as caught:
        read(tmp_path / name, unit="Bq/mL", modality="PT")
    assert "SECRET" not in str(caught.value)


def test_fault_59_small_bombs_are_refused_by_their_ratio():
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = compressor.compress(bytes(2**24)) + compressor.flush()
    with pytest.raises(UnsafeInputError, match="inflate to at most 3 MiB"):
        dicom_parse._inflated(bomb, "IM_1")
