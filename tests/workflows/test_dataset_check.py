import json
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.data.orientation import turned
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.dataset_check import check_dataset
from nmsynth.workflows.planning import plan_dataset
from tests.data.test_orientation import STORED
from tests.helpers import make_volume
from tests.io.dicom_factory import make_series, save_series


def body(rng, scale=1.0):
    image = np.zeros((12, 24, 24), dtype=np.float32)
    image[3:9, 6:18, 6:18] = 2.0 + rng.random((6, 12, 12))
    return scale * image


def dataset(folder, change=None):
    """Three cases of a source and a target in SUV; ``change`` spoils them before they are written."""
    folder.mkdir(exist_ok=True)
    images, rows = {}, []
    for k in range(3):
        rng = np.random.default_rng(k)
        clean = body(rng)
        for role, array in (("source", clean + 0.1 * rng.random(clean.shape, dtype=np.float32)), ("target", clean)):
            path = f"{role}-{k}.nii.gz"
            images[path] = make_volume(array=array, unit=Unit.SUV_BODY_WEIGHT)
            rows.append(
                ManifestRow(f"c{k}", f"s{k}", "validation" if k == 1 else "train", role, role, path, 0.5, "PT",
                            Unit.SUV_BODY_WEIGHT.value)
            )  # fmt: skip
    if change is not None:
        change(images, rows)
    for path, volume in images.items():
        write_nifti(volume, folder / path)
    write_manifest(folder / "manifest.csv", rows)
    return folder


def found(folder):
    return [(f["level"], f["case"], f["role"], f["what"]) for f in check_dataset(folder)["findings"]]


def test_a_sound_dataset_has_no_findings(tmp_path):
    result = check_dataset(dataset(tmp_path))
    assert result["findings"] == []
    assert (result["cases"], result["images"], result["splits"]) == (3, 6, {"train": 2, "validation": 1})


def with_array(path, array):
    def change(images, rows):
        images[path] = images[path].with_array(array(images[path].array))

    return change


def elsewhere(path, millimetres):
    def change(images, rows):
        affine = np.array(images[path].affine)
        affine[0, 3] += millimetres
        images[path] = images[path].with_array(images[path].array, affine=affine)

    return change


@pytest.mark.parametrize(
    ("change", "level", "message"),
    [
        (with_array("target-0.nii.gz", np.zeros_like), "error", "is empty: every voxel is 0"),
        (with_array("source-0.nii.gz", lambda a: 100 * a), "warning", "its values reach"),
        (with_array("source-0.nii.gz", lambda a: np.roll(a, 4, axis=2)), "warning", "mm from the target"),
        (elsewhere("source-0.nii.gz", 500.0), "error", "has no overlap with the target's"),
        (with_array("source-0.nii.gz", lambda a: a[:, :12]), "warning", "% of the body that the target shows"),
    ],
)
def test_what_is_wrong_with_an_image_is_told(tmp_path, change, level, message):
    findings = found(dataset(tmp_path, change))
    assert {finding[1] for finding in findings} == {"c0"}
    assert any(finding[0] == level and message in finding[3] for finding in findings)


def test_the_same_voxels_in_two_splits_are_a_leak(tmp_path):
    def copy(images, rows):
        images["source-1.nii.gz"] = images["source-0.nii.gz"]
        images["target-1.nii.gz"] = images["target-0.nii.gz"]

    findings = found(dataset(tmp_path, copy))
    assert [f[:3] for f in findings] == [("error", "c1", "source"), ("error", "c1", "target")]
    assert "case 'c0', which is in 'train'" in findings[0][3]


def test_the_manifest_must_tell_the_truth_of_unit_and_modality(tmp_path):
    def lie(images, rows):
        rows[0] = ManifestRow("c0", "s0", "train", "source", "source", "source-0.nii.gz", 0.5, "CT", "HU")

    findings = [f for f in found(dataset(tmp_path, lie)) if f[1]]
    assert len(findings) == 2
    assert any("states the unit 'HU'" in f[3] for f in findings)


def test_pet_without_an_suv_is_told(tmp_path):
    def strip(images, rows):
        bare = make_volume(array=images["source-0.nii.gz"].array, unit=Unit.BQML, acquisition=Acquisition())
        images["source-0.nii.gz"] = bare
        rows[0] = ManifestRow("c0", "s0", "train", "source", "source", "source-0.nii.gz", 0.5, "PT", "Bq/mL")

    assert any("no SUV" in f[3] for f in found(dataset(tmp_path, strip)))


def in_unit(unit, **fields):
    """All images in a unit, without a way to an SUV."""

    def change(images, rows):
        for k, row in enumerate(rows):
            array = images[row.path].array
            images[row.path] = make_volume(array=array, unit=unit, acquisition=Acquisition(), **fields)
            rows[k] = replace(row, unit=unit.value)

    return change


@pytest.mark.parametrize("unit", [Unit.SUVR, Unit.RELATIVE, Unit.COUNTS])
def test_pet_that_is_no_suv_and_needs_none_is_no_error(tmp_path, unit):
    folder = dataset(tmp_path, in_unit(unit))
    assert found(folder) == []
    plan_dataset(folder, device="cpu", steps=1)


@pytest.mark.parametrize("unit", [Unit.BQML, Unit.SUV_LEAN_BODY_MASS_JAMES])
def test_pet_that_a_plan_cannot_convert_is_told(tmp_path, unit):
    folder = dataset(tmp_path, in_unit(unit))
    assert {(f[0], f[2]) for f in found(folder) if "no SUV: An SUV needs" in f[3]} == {
        ("error", "source"), ("error", "target"),
    }  # fmt: skip
    with pytest.raises(SuvError, match=r"Case 'c0', source 'source': An SUV needs"):
        plan_dataset(folder, device="cpu", steps=1)


def test_a_condition_in_becquerel_without_an_suv_is_told(tmp_path):
    def add(images, rows):
        images["early.nii.gz"] = make_volume(array=images["source-0.nii.gz"].array + 1, unit=Unit.BQML)
        rows.append(ManifestRow("c0", "s0", "train", "condition", "early", "early.nii.gz", None, "PT", "Bq/mL"))

    assert [f[2] for f in found(dataset(tmp_path, add)) if "no SUV" in f[3]] == ["condition"]


def test_an_image_of_four_dimensions_is_told(tmp_path):
    def frames(images, rows):
        image = images["target-0.nii.gz"]
        images["target-0.nii.gz"] = replace(image, array=np.stack([image.array] * 3), axes=("frame", *image.axes))

    told = [f[:3] for f in found(dataset(tmp_path, frames)) if "must have the axes (z, y, x)" in f[3]]
    assert told == [("error", "c0", "target")]


def test_images_of_one_kind_in_two_units_are_told(tmp_path):
    def other(images, rows):
        for k in range(2):
            path = rows[k].path
            images[path] = images[path].with_array(images[path].array, unit=Unit.RELATIVE)
            rows[k] = replace(rows[k], unit="relative")

    told = [f[1:3] for f in found(dataset(tmp_path, other)) if "of one kind need one modality and unit" in f[3]]
    assert told == [("c1", "source"), ("c1", "target"), ("c2", "source"), ("c2", "target")]


def test_what_a_plan_refuses_of_the_rows_is_told(tmp_path):
    def spoil(images, rows):
        for k, age in enumerate(("61", "sixty", "62")):
            rows[2 * k] = replace(rows[2 * k], conditions=(("age", age),))
        rows[4] = replace(rows[4], name="late", count_fraction=None)

    folder = dataset(tmp_path, spoil)
    told = [(f[1], f[3][:60]) for f in found(folder) if f[0] == "error"]
    assert told == [
        ("", "one source must be there in every case; of 3 cases found pet"),
        ("c1", "A condition is a finite number in all cases, or a name; 'age"),
    ]
    with pytest.raises(InputError, match="One source must be there in every case"):
        plan_dataset(folder, device="cpu", steps=1)


def test_an_unknown_unit_is_told_of_its_case_alone(tmp_path):
    def misspell(images, rows):
        rows[2] = replace(rows[2], unit="g/ml")

    told = found(dataset(tmp_path, misspell))
    assert [f[:3] for f in told] == [("error", "c1", "source")]
    assert "states an unknown unit: A unit must be one of" in told[0][3]


def shifted(volume):
    affine = np.array(volume.affine)
    affine[0, 3] += 0.5
    return volume.with_array(volume.array, affine=affine)


@pytest.mark.parametrize("moved", [shifted, *(lambda v, t=t: turned(v, t) for t in STORED.values())])
def test_the_same_voxels_are_known_wherever_they_lie_and_however_they_are_stored(tmp_path, moved):
    def copy(images, rows):
        for role in ("source", "target"):
            images[f"{role}-1.nii.gz"] = moved(images[f"{role}-0.nii.gz"])

    told = [f[:3] for f in found(dataset(tmp_path, copy)) if "case 'c0', which is in 'train'" in f[3]]
    assert told == [("error", "c1", "source"), ("error", "c1", "target")]


@pytest.mark.parametrize(("names", "warned"), [(("P01", "p1"), 1), (("007", "7"), 1), (("p10", "p1"), 0)])
def test_subjects_that_are_called_alike_in_two_splits_are_told(tmp_path, names, warned):
    def rename(images, rows):
        for k, row in enumerate(rows):
            rows[k] = replace(row, subject=dict(zip(("s0", "s1"), names, strict=True)).get(row.subject, row.subject))

    told = found(dataset(tmp_path, rename))
    assert [f[:2] for f in told] == [("warning", "c1")] * warned
    assert all(f"'{names[1]}' is called like '{names[0]}' of case 'c0', which is in 'train'" in f[3] for f in told)


def test_values_are_compared_between_images_of_one_channel(tmp_path):
    def mr(images, rows):
        for k in range(3):
            array = images[f"source-{k}.nii.gz"].array
            for name, factor in (("t1", 300.0), ("adc", 0.001)):
                images[f"{name}-{k}.nii.gz"] = make_volume(array=factor * array, unit=Unit.UNITLESS, modality="MR")
                rows.append(
                    ManifestRow(
                        f"c{k}", f"s{k}", rows[2 * k].split, "source", name, f"{name}-{k}.nii.gz", None, "MR", "1"
                    )
                )

    assert [f for f in found(dataset(tmp_path, mr)) if "its values reach" in f[3]] == []


def test_damage_and_missing_roles_are_told_and_the_rest_is_checked(tmp_path, capsys):
    folder = dataset(tmp_path, lambda *written: written[1].pop())
    (folder / "source-0.nii.gz").write_bytes(b"not an image")
    assert run(["dataset", "check", str(folder), "--json"]) == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["case"], f["level"]) for f in findings] == [("c0", "error"), ("", "warning")]
    assert findings[1]["what"].startswith(
        "2 pairs, 1 source alone and 0 targets alone: what stands alone ('c2') is of use"
    )


def test_what_stands_alone_is_counted_and_no_error_but_a_side_must_be_there(tmp_path, capsys):
    def without(*paths):
        def change(images, rows):
            rows[:] = [row for row in rows if row.path not in paths]

        return change

    mixed = dataset(tmp_path / "a", without("target-0.nii.gz", "source-2.nii.gz"))
    assert run(["dataset", "check", str(mixed)]) == 0
    told = capsys.readouterr().out
    assert "3 cases (1 pair, 1 source alone and 1 target alone), 4 images" in told
    assert check_dataset(mixed)["sides"] == {"pair": 1, "source": 1, "target": 1}
    sources = dataset(tmp_path / "b", without(*(f"target-{k}.nii.gz" for k in range(3))))
    assert ("error", "", "target", "no case has a target") in found(sources)


def test_a_patient_with_a_source_in_training_and_a_target_in_test_is_one_patient(tmp_path):
    stored = (np.arange(12 * 24 * 24) % 500).astype(np.int16).reshape(12, 24, 24)
    slices = make_series(stored=stored, PatientID="SECRET")
    rows = []
    for k, (subject, split, role) in enumerate((("s0", "train", "source"), ("s00", "test", "target"))):
        save_series(slices, tmp_path / role)
        rows.append(ManifestRow(f"c{k}", subject, split, role, "pet" if role == "source" else "", role))
    write_manifest(tmp_path / "manifest.csv", rows)
    told = [what for level, case, _, what in found(tmp_path) if level == "error" and case == "c1"]
    assert any("the DICOM headers name the patient of case 'c0'" in what and "in 'train'" in what for what in told)
    assert any("the same voxels as source 'pet' of case 'c0', which is in 'train'" in what for what in told)
    assert any("its subject 's00' is called like 's0'" in what for _, _, _, what in found(tmp_path))
    write_manifest(tmp_path / "manifest.csv", [replace(row, subject="s0") for row in rows])
    with pytest.raises(InputError, match="'s0'"):
        check_dataset(tmp_path)


def test_the_table_names_what_is_wrong(tmp_path, capsys):
    assert run(["dataset", "check", str(dataset(tmp_path))]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out


def test_another_grid_in_the_same_place_is_no_fault(tmp_path):
    def finer(images, rows):
        image = images["source-0.nii.gz"]
        affine = np.array(image.affine)
        affine[:3, 3] -= affine[:3, 0] / 4
        affine[:3, 0] /= 2
        images["source-0.nii.gz"] = image.with_array(np.repeat(image.array, 2, axis=0), affine=affine)

    assert found(dataset(tmp_path, finer)) == []


def test_a_flat_image_among_others_is_an_error(tmp_path):
    flat = found(dataset(tmp_path, with_array("source-2.nii.gz", lambda a: a[5:6])))
    assert ("error", "c2", "source", "a two-dimensional image among three-dimensional ones") in flat


def test_a_nan_is_an_error_of_its_case(tmp_path):
    import nibabel

    folder = dataset(tmp_path)
    image = nibabel.load(folder / "source-1.nii.gz")
    array = image.get_fdata()
    array[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, image.affine), folder / "source-1.nii.gz")
    ((level, case, _, what),) = found(folder)
    assert (level, case) == ("error", "c1")
    assert "1 NaN or infinite" in what


def test_no_room_for_the_prepared_images_is_an_error(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 100))
    ((level, _, _, what),) = found(dataset(tmp_path))
    assert level == "error"
    assert "0.0 GB are free" in what


def test_a_short_field_of_view_and_a_body_cut_off_are_told(tmp_path):
    def cut(images, rows):
        for path in ("source-2.nii.gz", "target-2.nii.gz"):
            images[path] = images[path].with_array(images[path].array[:5, :, 8:])

    told = [what for level, case, _, what in found(dataset(tmp_path, cut)) if case == "c2" and level == "warning"]
    assert sum("its field of view is" in what for what in told) == 2
    assert sum("the body is cut off" in what for what in told) == 1


def test_contours_of_two_modalities_are_compared(tmp_path):
    def shift(images, rows):
        for k, moved in ((0, 0), (2, 5)):
            inside = images[f"target-{k}.nii.gz"].array > 0
            ct = np.where(np.roll(inside, moved, axis=2), 40.0, -1000.0)
            images[f"source-{k}.nii.gz"] = make_volume(array=ct, unit=Unit.HOUNSFIELD, modality="CT")
            rows[2 * k] = ManifestRow(f"c{k}", f"s{k}", "train", "source", "ct", f"source-{k}.nii.gz", None, "CT", "HU")

    ((level, case, _, what),) = [f for f in found(dataset(tmp_path, shift)) if f[1]]
    assert (level, case) == ("warning", "c2")
    assert "the contour of the body lies" in what


def test_one_patient_under_two_names_is_told_without_the_number(tmp_path):
    rows = []
    for k in range(2):
        for role in ("source", "target"):
            rng = np.random.default_rng((k, role == "source"))
            path = f"{role}-{k}"
            stored = (1000 * body(rng)).astype(np.int16)
            save_series(make_series(stored=stored, series=path, PatientID="SECRET"), tmp_path / path)
            rows.append(ManifestRow(f"c{k}", f"s{k}", ("train", "test")[k], role, "", path))
    write_manifest(tmp_path / "manifest.csv", rows)
    told = [f for f in found(tmp_path) if "DICOM headers name the patient of case 'c0'" in f[3]]
    assert [f[:2] for f in told] == [("error", "c1")]
    assert "SECRET" not in str(found(tmp_path))


def test_the_page_of_pictures_needs_no_other_file(tmp_path):
    folder = dataset(tmp_path / "data", with_array("source-0.nii.gz", lambda a: 100 * a))
    assert run(["dataset", "check", str(folder), "--pictures", str(tmp_path / "pictures")]) == 0
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"c0.png", "c1.png", "c2.png", "index.html"}
    page = (tmp_path / "pictures" / "index.html").read_text()
    assert page.count("data:image/png;base64") == 3
    assert len(page) > sum(path.stat().st_size for path in (tmp_path / "pictures").glob("*.png"))
    assert "its values reach" in page
    assert 'src="http' not in page
