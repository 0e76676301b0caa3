"""Faults met through the command line: exit status, one line, nothing written, nobody named."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.io import read, write
from tests.io.dicom_factory import make_series, save_series, uid
from tests.models.packages import make_pet, save_tiny

SHAPE = (6, 16, 16)
IDENTITY = {"PatientName": "ZYXGIVEN^Zebedee", "PatientID": "ZYX-4711-ID", "PatientBirthDate": "19630229"}
FORBIDDEN = ("zyxgiven", "zebedee", "4711", "19630229", "1963-02-29")
QUICK = ["--set", "backend=torch", "--threads", "1"]


def slices(modality="PT", **changes):
    """A series that the tiny model takes, of a patient whom nobody may name."""
    stored = np.random.default_rng(0).integers(1, 30000, SHAPE).astype(np.int16)
    return make_series(modality, stored=stored, spacing_mm=(3.0, 4.0, 4.0), **(IDENTITY | changes))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(tmp_path):
    """Path of a tiny package."""
    return str(save_tiny(tmp_path / "models"))


def one(index, **changes):
    """Changes of a single slice."""

    def edit(series):
        for keyword, value in changes.items():
            if value is None:
                delattr(series[index], keyword)
            else:
                setattr(series[index], keyword, value)
        return series

    return edit


def every(**changes):
    """Changes of every slice."""
    return lambda _: slices(**changes)


def drop(index):
    return lambda series: series[:index] + series[index + 1 :]


REFUSED = {
    "11 counts per second": (every(Units="CPS"), "unit must be"),
    "19 slope missing": (every(RescaleSlope=None), "must state RescaleSlope"),
    "20 slope zero": (one(2, RescaleSlope="0"), "RescaleSlope must be positive"),
    "22 one slice without slope": (one(2, RescaleSlope=None), "must state RescaleSlope"),
    "26 truncated pixels": (one(2, PixelData=b"\1\2"), "must hold 512 bytes"),
    "27 huge matrix claimed": (every(Rows=65535, Columns=65535), "must hold 8589672450 bytes"),
    "28 no rows": (every(Rows=0), "must have rows and columns"),
    "36 slice missing": (drop(3), "follow without a gap"),
    "37 position twice": (one(2, ImagePositionPatient=["-20", "10", "33"]), "different positions"),
    "40 two frames of reference": (one(2, FrameOfReferenceUID=uid("other")), "one frame of reference"),
    "42 no position": (one(2, ImagePositionPatient=None), "must state ImagePositionPatient"),
    "47 dynamic": (every(SeriesType=["DYNAMIC", "IMAGE"]), "must be static"),
    "53 two patients": (one(2, PatientID="ZYX-4711-OTHER", PatientName="ZYXGIVEN^Other"), "one patient"),
    "55 modality against SOP class": (every(Modality="MR"), "Modality and SOP class must agree"),
    "74 another tracer": (
        lambda _: slices(
            radiopharmaceutical={"Radiopharmaceutical": "PSMA-1007", "RadiopharmaceuticalCodeSequence": None}
        ),
        "tracer must be FDG",
    ),
    "74 a CT": (lambda _: slices("CT"), "modality must be PT, found CT"),
    "91 no attenuation correction": (every(CorrectedImage=["DECY", "NORM"]), "attenuation correction"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_faulty_series_is_refused_in_one_line_that_names_nobody(name, model, tmp_path, capsys):
    edit, reason = REFUSED[name]
    source = save_series(edit(slices()), tmp_path / "scan")
    before = contents(source)
    assert run(["synthesize", str(source), str(tmp_path / "out"), "--model", model, *QUICK]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert reason in captured.err
    assert not any(text in captured.err.lower() for text in FORBIDDEN)
    assert contents(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "scan"]


def archive_that_leads_out(folder):
    with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
        archive.writestr("../../evil.dcm", b"x")
    return ["info", str(folder / "scan.zip")]


def pickled_model(folder):
    (folder / "model.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    return ["synthesize", str(save_series(slices(), folder / "scan")), "out", "--model", str(folder / "model.ckpt")]


def picture(folder):
    (folder / "scan.dcm").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    return ["info", str(folder / "scan.dcm")]


def foreign_series_uid(folder):
    return ["info", str(save_series(slices(), folder / "scan")), "--series-uid", "../../etc"]


def output_that_exists(folder):
    (folder / "out").mkdir()
    (folder / "out" / "notes.txt").write_text("mine")
    return ["synthesize", str(save_series(slices(), folder / "scan")), str(folder / "out")]


def unknown_unit(folder):
    return ["info", str(write(make_pet(), folder / "scan.nii.gz")), "--unit", "kBq"]


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (unknown_unit, 2),
        (archive_that_leads_out, 3),
        (pickled_model, 3),
        (picture, 2),
        (foreign_series_uid, 2),
        (output_that_exists, 2),
    ],
)
def test_a_mistake_exits_2_and_a_refusal_3(prepare, status, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = prepare(tmp_path)
    before = contents(tmp_path)
    assert run(words) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert contents(tmp_path) == before


def spoken(capsys, log: Path) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err + log.read_text(encoding="utf-8")


def test_fault_68_no_command_names_the_patient(model, tmp_path, capsys):
    """Everything said and every file but the DICOM objects themselves, at the highest verbosity."""
    log = tmp_path / "log.txt"
    loud = ["-v", "-v", "--log-file", str(log)]
    source = save_series(slices(), tmp_path / "scan")
    broken = save_series(one(2, RescaleSlope="0")(slices()), tmp_path / "broken")
    truncated = save_series(slices(), tmp_path / "truncated")
    (truncated / "slice-002.dcm").write_bytes((truncated / "slice-002.dcm").read_bytes()[:700])
    out = tmp_path / "out"
    out.mkdir()
    common = ["--model", model, *QUICK, *loud]
    assert run(["info", str(source), *loud]) == 0
    assert run(["info", str(source), "--json", *loud]) == 0
    assert run(["info", str(tmp_path), *loud]) == 3
    assert run(["synthesize", str(source), str(out / "series"), "--json", *common]) == 0
    assert run(["synthesize", str(source), str(out / "scan.nii.gz"), *common]) == 0
    assert run(["synthesize", str(broken), str(out / "none"), *common]) == 3
    assert run(["synthesize", str(truncated), str(out / "none"), *common]) == 3
    assert run(["synthesize", str(out / "series"), str(out / "none"), *common]) == 3
    words = [str(out / "scan.nii.gz"), str(source), "--source", str(source), "--set", "with_ssim=false"]
    assert run(["evaluate", *words, "-o", str(out / "metrics.json"), *loud]) == 0
    said = spoken(capsys, log)
    for path in out.rglob("*"):
        said += f"\n{path.relative_to(out)}"
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
            said += path.read_text(encoding="utf-8")
        if path.suffix == ".gz":
            said += str(read(path))
    assert len(said) > 2000
    found = [text for text in FORBIDDEN if text in said.lower()]
    assert found == []
