import json

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.io.nifti import write_nifti
from nmsynth.models.card import IntervalCard
from nmsynth.workflows.report import report_study, without_truth
from tests.models.method_packages import make_method_card, save_tiny_method
from tests.report.scenes import body, images, volume


@pytest.fixture
def files(tmp_path):
    """NIfTI files of the three images and of a mask of the lesions."""
    paths = {name: write_nifti(image, tmp_path / f"{name}.nii.gz") for name, image in images().items()}
    lesions = volume(((body() > 1.5) & (body() < 5.5)).astype(float), unit=Unit.UNITLESS)
    return {**paths, "lesions": write_nifti(lesions, tmp_path / "mask.nii.gz")}


def test_report_on_files_with_a_reference_measures_lesions(files, tmp_path):
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"seed": 11, "flags": ["few counts"]}), encoding="utf-8")
    page = report_study(
        files["synthetic"],
        tmp_path / "report.html",
        source=files["source"],
        reference=files["reference"],
        reference_kind="T1",
        masks={"lesions": files["lesions"]},
        record=record,
    )
    text = page.read_text(encoding="utf-8")
    for words in ("T1, the noise-free reconstruction", "NRMSE", "Uptake by lesion", "few counts", "Lesions <b>3</b>"):
        assert words in text


def test_report_without_reference_prints_no_error_metric(files, tmp_path):
    page = report_study(files["synthetic"], tmp_path / "report.html", source=files["source"])
    text = page.read_text(encoding="utf-8")
    assert "the source (no truth is known)" in text
    assert "NRMSE</th>" not in text
    assert "noise reduction" in text
    assert "proof of concept" in text


def test_measurements_that_need_a_truth_are_left_out():
    rows = [
        {"name": "NRMSE", "reference": "T2", "value": 1.0},
        {"name": "COV", "value": 0.1},
        {"name": "relative bias", "reference": "source", "value": 0.0},
        {"name": "relative bias", "reference": "T2", "value": 0.0},
        {"name": "SUVmean bias", "reference": "T2", "value": 0.0},
        {"name": "COV", "value": 0.1, "arm": "reference"},
    ]
    kept = without_truth({"measurements": rows, "lesions": [{}]})
    assert kept["measurements"] == rows[1:3]
    assert kept["lesions"] == []


def test_model_named_by_an_image_is_never_a_path(files, tmp_path):
    from nmsynth.core.provenance import Provenance

    image = volume(np.asarray(images()["synthetic"].array), provenance=Provenance(synthetic=True, model="../../etc 1"))
    path = write_nifti(image, tmp_path / "named.nii.gz")
    text = report_study(path, tmp_path / "report.html", source=files["source"]).read_text(encoding="utf-8")
    assert "No model card was given" in text


def test_existing_page_nothing_to_compare_and_bad_record_are_refused(files, tmp_path):
    page = tmp_path / "report.html"
    with pytest.raises(InputError, match="neither source nor reference"):
        report_study(files["synthetic"], page)
    bad = tmp_path / "bad.json"
    bad.write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match="JSON object; found list"):
        report_study(files["synthetic"], page, source=files["source"], record=bad)
    bad.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="readable JSON file"):
        report_study(files["synthetic"], page, source=files["source"], record=bad)
    with pytest.raises(InputError, match="unit must be one of"):
        report_study(files["synthetic"], page, source=files["source"], unit="furlong")
    page.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is there already"):
        report_study(files["synthetic"], page, source=files["source"])


def test_curves_are_drawn_where_lesions_and_a_reference_are_given(files, tmp_path):
    options = {"source": files["source"], "reference": files["reference"], "reference_kind": "T1"}
    with_lesions = {"masks": {"lesions": files["lesions"]}, **options}
    heading = "Recovery, noise and false structures</h2>"
    for name, given, drawn in (
        ("all", with_lesions, True),
        ("off", {**with_lesions, "with_curves": False}, False),
        ("none", options, False),
    ):
        page = report_study(files["synthetic"], tmp_path / f"{name}.html", **given)
        assert (heading in page.read_text(encoding="utf-8")) is drawn


def test_baselines_and_full_counts_stand_beside_with_their_controls(files, tmp_path):
    page = report_study(
        files["synthetic"],
        tmp_path / "report.html",
        source=files["source"],
        reference=files["reference"],
        full_counts=files["source"],
        baselines={"my filter": files["source"]},
        reference_kind="T1",
        with_curves=False,
    )
    text = page.read_text(encoding="utf-8")
    for words in ("my filter", "best Gaussian of full counts", "Gaussian of the source at equal noise"):
        assert words in text
    with pytest.raises(InputError, match="'reference' is kept"):
        report_study(
            files["synthetic"], tmp_path / "b.html", source=files["source"], baselines={"reference": files["source"]}
        )


def test_three_samples_stand_beside_the_image_and_regions_have_intervals(files, tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    middle = images()["synthetic"]
    for k, factor in enumerate((0.8, 0.9, 1.1, 1.2), 1):
        write_nifti(middle.with_array(middle.array * factor), folder / f"sample-{k:03d}.nii.gz")
    for name, factor in (("lower", 0.7), ("upper", 1.3)):
        write_nifti(middle.with_array(middle.array * factor), folder / f"{name}.nii.gz")
    interval = IntervalCard(
        coverage=0.9, n_samples=4, voxel_factor=2.0, voxel_floor=0.1, region_factor=2.0, region_floor=0.0, n_cases=9,
        n_regions=9,
    )  # fmt: skip
    package = save_tiny_method(tmp_path / "models", make_method_card(family="cvae", interval=interval))
    given = {"source": files["source"], "samples": folder, "masks": {"lesions": files["lesions"]}}
    page = report_study(files["synthetic"], tmp_path / "report.html", model=str(package), with_curves=False, **given)
    text = page.read_text(encoding="utf-8")
    for words in ("sample 1", "sample 2", "sample 3", "half of the interval", "mean of the samples"):
        assert words in text
    assert "sample 4" not in text
    assert text.count("90 % interval of the model") >= 1
    other = report_study(files["synthetic"], tmp_path / "other.html", reference=files["reference"], **given)
    assert "sample 3" in other.read_text(encoding="utf-8")
    assert "NRMSE of sample" not in other.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"holds none\. Write them with nmsynth synthesize --write-samples"):
        report_study(files["synthetic"], tmp_path / "no.html", source=files["source"], samples=tmp_path / "models")
