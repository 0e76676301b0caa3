"""Whether two series are of one patient, without saying of whom."""

from __future__ import annotations

import hashlib
from pathlib import Path

from nmsynth.core.errors import NmsynthError
from nmsynth.io.dicom_parse import parse, quiet_pydicom
from nmsynth.io.dicom_sources import list_files


def patient_digest(path: Path) -> str | None:
    """Hash of the PatientID of the first DICOM file under a path; ``None`` where there is none.

    Only for comparing within one run: a hash of a short number can be undone by trying all, so it is never written.
    """
    try:
        files, _ = list_files(path)
        with quiet_pydicom():
            header = next((h for h in map(parse, files) if h is not None), None)
        number = header.text("PatientID") if header is not None else None
    except NmsynthError:  # a damaged file is told where the image is read
        return None
    return hashlib.sha256(number.encode()).hexdigest() if number else None
