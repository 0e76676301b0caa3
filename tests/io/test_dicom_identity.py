"""Descriptions name no patient, and keep what they say of the scan."""

import pytest

from nmsynth.io import find_series, read
from nmsynth.io.dicom_reader import read_headers
from tests.io.dicom_factory import make_series, save_series

DOE = {"PatientName": "Doe^Jane", "PatientID": "ID12345678", "PatientBirthDate": "19500203", "AccessionNumber": "A-77"}
WU = {"PatientName": "Wu^Li^Q", "PatientID": "7", "PatientBirthDate": ""}


@pytest.mark.parametrize(
    ("patient", "description", "shown"),
    [
        (DOE, "PET Doe Jane ID12345678", "PET"),
        (DOE, "CT_DOE_jane_AC", "CT_AC"),
        (DOE, "JaneDoe, PET 12345678 WB", "PET WB"),
        (DOE, "PET ID 1234-5678, 3 min", "PET 3 min"),
        (DOE, "born 03.02.1950 (3/2/50) 1950-02-03 19500203", "born"),
        (DOE, "PET A77 / a-77", "PET"),
        (DOE, "Doe", None),
        (DOE, "PET WB 2.5 mm, OSEM 3i21s (AC)", "PET WB 2.5 mm, OSEM 3i21s (AC)"),
        (DOE, "  Janus  scan", "  Janus  scan"),
        (WU, "Wu PET LI brain 7 min liver", "PET brain 7 min liver"),
        (WU, "PET wuli", "PET"),
        ({"PatientName": "PET^Phantom", "PatientID": "PET"}, "Phantom FDG PET 1", "Phantom FDG PET 1"),
        ({"PatientName": "M\u00fcller^Jos\u00e9", "PatientID": ""}, "PET MULLER Jose\u0301", "PET"),
        ({"PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"}, "PET \u5c71\u7530\u592a\u90ce", "PET"),
        ({"PatientName": "", "PatientID": "", "PatientBirthDate": ""}, "PET WB", "PET WB"),
    ],
)
def test_fault_68_a_description_names_no_patient(tmp_path, patient, description, shown):
    folder = save_series(
        make_series(SpecificCharacterSet="ISO_IR 192", SeriesDescription=description, **patient), tmp_path
    )
    (summary,) = find_series(folder)
    volume = read(folder)
    assert volume.acquisition.series_description == (None if shown is None else shown.strip())
    assert summary.description == (shown or "").strip()
    assert str(read_headers(folder)[0].SeriesDescription) == description.rstrip()
