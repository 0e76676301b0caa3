import csv
import hashlib
import json

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.manifest import read_manifest
from nmsynth.data.scan import ReferenceScan
from nmsynth.io import read
from nmsynth.physics.phantom import LesionPlan
from nmsynth.workflows.cohort import import_cohort, plan_subjects
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies, study_recipe_names
from nmsynth.workflows.training import load_recipe

SMALL = {
    "simulation.families": {"whole-body": 2, "head": 1},
    "simulation.grids": [96],
    "simulation.planes": 8,
}


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def simulate(folder, *, subjects=2, seed=7, overrides=SMALL, **arguments):
    file_format = arguments.pop("file_format", "nifti")
    settings = SimulateCohortSettings(subjects=subjects, seed=seed, file_format=file_format)
    return simulate_dataset(settings, folder, overrides=overrides, **arguments)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset") / "cohort"
    simulate(folder, workers=1)
    return folder


def test_manifest_names_every_image_with_its_part(dataset):
    rows = read_manifest(dataset)
    first = [r for r in rows if r.case == "whole-body-00000"]
    assert [r.role for r in first] == ["source"] * 6 + ["target", "truth", "mask", "mask", "anatomy"]
    assert first[0].count_fraction == 1.0
    assert all(0 < r.count_fraction < 1 for r in first[1:6])
    assert {r.split for r in rows} == {"train", "validation"}
    assert {r.unit for r in rows} == {"Bq/mL", "1", "1/cm"}


def test_scans_read_back_in_suv_around_the_noise_free_image(dataset):
    target = read(dataset / "whole-body-00000" / "noise_free.nii.gz").to_suv()
    scan = read(dataset / "whole-body-00000" / "scan_0.nii.gz").to_suv()
    inside = target.array > 0.5
    assert scan.has_grid_of(target)
    assert scan.array[inside].mean() == pytest.approx(target.array[inside].mean(), rel=0.03)
    assert read(dataset / "whole-body-00000" / "truth.nii.gz").provenance.simulated


def test_files_do_not_depend_on_the_number_of_workers(dataset, tmp_path):
    simulate(tmp_path / "cohort", workers=2)
    assert digests(tmp_path / "cohort") == digests(dataset)


def test_an_interrupted_dataset_goes_on_and_keeps_what_is_whole(dataset, tmp_path):
    folder = tmp_path / "cohort"
    simulate(folder, subjects=1, workers=1)
    kept = (folder / "whole-body-00000" / "case.json").stat().st_mtime_ns
    left = folder / ".head-00000-x.partial"
    left.mkdir()
    told = []
    simulate(folder, workers=1, progress=lambda *stage_and_share: told.append(stage_and_share))
    assert (folder / "whole-body-00000" / "case.json").stat().st_mtime_ns == kept
    assert not left.exists()
    assert len(told) == 2
    assert digests(folder) == digests(dataset)


def test_other_settings_are_refused_and_named(dataset):
    with pytest.raises(InputError, match=r"made with other settings \(recipe\)"):
        simulate(dataset, overrides={**SMALL, "simulation.planes": 16})


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        simulate(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_seeds_give_other_subjects(dataset):
    recipe = load_recipe("lowcount-pet").simulation
    available = dict.fromkeys(recipe.families, True)
    seven, eight = (plan_subjects(recipe, 40, seed, available) for seed in (7, 8))
    procedural = [p for p in seven if p.family == "whole-body"]
    assert not {p.subject_seed for p in procedural} & {p.subject_seed for p in eight if p.family == "whole-body"}
    assert plan_subjects(recipe, 10, 7, available) == seven[:10]
    assert [p.split for p in seven[:2]] == ["train", "validation"]
    shares = {f: sum(p.family == f for p in seven) / 40 for f in recipe.families}
    assert shares["whole-body"] == pytest.approx(110 / 232, abs=0.03)


def test_a_subject_stands_in_one_split():
    recipe = load_recipe("lowcount-pet").simulation
    plans = plan_subjects(recipe, 400, 3, dict.fromkeys(recipe.families, True))
    splits = {}
    for plan in plans:
        assert splits.setdefault((plan.family, plan.subject_seed), plan.split) == plan.split


def test_dicom_scans_hold_the_activity_of_the_nifti_scans(dataset, tmp_path):
    simulate(tmp_path / "cohort", file_format="dicom", workers=1, subjects=1)
    rows = read_manifest(tmp_path / "cohort")
    scan = next(r for r in rows if r.role == "source")
    found = read(tmp_path / "cohort" / scan.path)
    wanted = read(dataset / "whole-body-00000" / "scan_0.nii.gz")
    assert found.has_grid_of(wanted)
    np.testing.assert_allclose(found.array, wanted.array, atol=wanted.array.max() / 2**15)


def test_a_dataset_becomes_the_cases_of_a_training(dataset, tmp_path):
    from nmsynth.data.cohort import open_cohort

    assert import_cohort(dataset, tmp_path / "cases", workers=1) == ["whole-body-00000", "head-00000"]
    (case,) = open_cohort(tmp_path / "cases", "train")
    assert case.images.shape[0] == 8
    assert case.record["fractions"][0] == 1.0
    assert case.record["resolution_mm"][0] > 3
    target = read(dataset / "whole-body-00000" / "noise_free.nii.gz").to_suv()
    assert float(case.images[0].max()) == pytest.approx(float(target.array.max()), rel=1e-3)


def test_cases_of_a_changed_manifest_are_refused(dataset, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    import_cohort(copy, tmp_path / "cases", workers=1)
    with (copy / "manifest.csv").open("a") as stream:
        stream.write("\n")
    with pytest.raises(InputError, match="the manifest has changed"):
        import_cohort(copy, tmp_path / "cases", workers=1)


def test_training_takes_the_manifest(dataset, tmp_path, monkeypatch):
    pytest.importorskip("lightning")
    # a hundred isolated lesions take most of a minute to place
    monkeypatch.setattr("nmsynth.data.reference.LesionPlan", lambda **plan: LesionPlan(**(plan | {"count": 12})))
    monkeypatch.setattr("nmsynth.data.reference.ReferenceScan", lambda: ReferenceScan(voxel_mm=8.0, plane_mm=8.0))
    from nmsynth.workflows.training import train_recipe

    small = {
        "network.channels": [4, 4],
        "optimisation.steps": 2,
        "optimisation.batch": 1,
        "optimisation.patch": [8, 32, 32],
        "optimisation.validate_every": 1,
        "optimisation.precision": "fp32",
        "optimisation.threads": 1,
        "calibration.patients": 1,
        "refinements": [],
    }
    package = train_recipe("lowcount-pet", output=tmp_path / "run", data=dataset, overrides=small)
    assert (package / "card.json").is_file()


def test_recipe_of_studies_gives_its_images_as_rows(tmp_path):
    recipe = tmp_path / "spheres.toml"
    recipe.write_text(
        'name = "spheres"\nkind = "spect"\n[settings]\nphantom = "cylinder"\nvoxel_mm = 10.0\nlength_mm = 80.0\n'
        "n_views = 12\nn_iterations = 1\n[draws]\ncount_fraction = [0.5, 0.25]\n"
    )
    settings = SimulateCohortSettings(recipe=str(recipe), subjects=2, seed=1)
    simulate_dataset(settings, tmp_path / "out", workers=1)
    rows = read_manifest(tmp_path / "out")
    assert [r.case for r in rows if r.role == "source"] == ["spheres-00000", "spheres-00001"]
    assert {r.count_fraction for r in rows if r.role == "source"} <= {0.5, 0.25}
    assert {r.role for r in rows} >= {"source", "target", "truth", "mask", "anatomy", "reference", "data"}
    record = json.loads((tmp_path / "out" / "spheres-00001" / "case.json").read_text())
    assert record["settings"]["n_views"] == 12


def test_unknown_setting_of_studies_is_named_before_any_work(tmp_path):
    recipe = tmp_path / "wrong.toml"
    recipe.write_text('name = "wrong"\nkind = "spect"\n[settings]\nviews = 12\n')
    settings = SimulateCohortSettings(recipe=str(recipe), subjects=2)
    with pytest.raises(InputError, match="Unknown key 'views'"):
        simulate_dataset(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_manifest_is_plain_csv(dataset):
    with (dataset / "manifest.csv").open(newline="") as stream:
        header = next(csv.reader(stream))
    assert header[:5] == ["case", "subject", "split", "role", "name"]


@pytest.mark.parametrize("name", study_recipe_names())
def test_every_recipe_of_studies_fits_its_command(name):
    recipe = load_study_recipe(name)
    plans = plan_studies(recipe, 5, 2)
    assert recipe.name == name
    assert len({plan.settings["seed"] for plan in plans}) == 5
    assert [plan.split for plan in plans[:2]] == ["train", "validation"]
    assert plan_studies(recipe, 3, 2) == plans[:3]


def test_seeds_of_demonstrations_and_proofs_are_no_dataset(tmp_path):
    with pytest.raises(InputError, match=r"must not be one of 7000 to 11999, .* found 9000"):
        simulate_dataset(SimulateCohortSettings(seed=9000, subjects=1), tmp_path / "data")
    assert not (tmp_path / "data").exists()
