import json
from dataclasses import replace

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.data.manifest_images import read_image
from nmsynth.data.registration import RegistrationSettings
from nmsynth.io.nifti import write_nifti
from nmsynth.models.registry import show_model
from nmsynth.training.method_trainer import TrainingOptions
from nmsynth.workflows.dataset_register import register_dataset
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.method_training import train_on_dataset
from tests.data.test_registration import limb
from tests.workflows.methods_dataset import SMALL, make_dataset


@pytest.fixture
def folder(tmp_path):
    ct, pet, tumour = limb()[0], limb(bend_mm=6.0)[1], limb()[2]
    rows = []
    for role, name, volume in (("source", "ct", ct), ("target", "", pet), ("mask", "tumour", tumour)):
        write_nifti(volume, tmp_path / f"{role}.nii.gz")
        rows.append(ManifestRow("p001", "p001", "train", role, name, f"{role}.nii.gz"))
    (tmp_path / "curve.tsv").write_text("t\n")
    write_manifest(tmp_path / "manifest.csv", [*rows, ManifestRow("p001", "p001", "train", "data", "", "curve.tsv")])
    return tmp_path


def test_a_registered_dataset_is_a_dataset(folder, capsys):
    new = folder / "registered"
    command = ["dataset", "register", str(folder), str(new), "--how", "deformable", "--by", "contour", "--keep",
               "tumour", "--workers", "1"]  # fmt: skip
    assert run(command) == 0
    assert "contour" in capsys.readouterr().out
    rows = {row.role: row for row in read_manifest(new)}
    source, target = read_image(rows["source"], new), read_image(rows["target"], new)
    assert source.has_grid_of(target)
    assert source.modality == "CT"
    assert "taken: contour" in source.provenance.settings["registration"]
    record = json.loads((new / "p001" / "registration.json").read_text())["source_ct.nii.gz"]
    assert record["after"]["dice"] > record["before"]["dice"]
    stamp = (new / "p001" / "source_ct.nii.gz").stat().st_mtime_ns
    assert run(command) == 0
    assert (new / "p001" / "source_ct.nii.gz").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="with other settings"):
        register_dataset(folder, new, RegistrationSettings())


def test_what_is_not_there_to_be_laid_over_is_named(folder):
    with pytest.raises(InputError, match="case 'p001' has 0 of role or name 'mr'"):
        register_dataset(folder, folder / "new", RegistrationSettings(), to="mr")
    with pytest.raises(InputError, match="holds other files"):
        register_dataset(folder, folder, RegistrationSettings())


def test_each_case_is_laid_over_through_the_fold_that_never_saw_it(tmp_path):
    def all_in_folds(images, rows):
        rows[:] = [replace(row, split="train") for row in rows]

    data = make_dataset(tmp_path / "data", subjects=4, change=all_in_folds)
    run_folder, new = tmp_path / "run", tmp_path / "new"
    settings = RegistrationSettings(how="deformable", by="synthesis")
    recipe, options = load_method_recipe("unet"), TrainingOptions(threads=1, device="cpu")
    changes = {**SMALL, "schedule.steps": 1, "schedule.warmup": 0}
    train_on_dataset(recipe, data, run_folder, folds=2, fold=1, options=options, overrides=changes)
    with pytest.raises(InputError, match="has 1 models for 2 folds"):
        register_dataset(data, new, settings, through=run_folder, workers=1)
    with pytest.raises(InputError, match="'synthesis' without one"):
        register_dataset(data, new, settings, workers=1)
    assert not new.exists()
    trained = train_on_dataset(recipe, data, run_folder, folds=2, options=options, overrides=changes)
    result = register_dataset(data, new, settings, through=run_folder, workers=1)
    assert sorted(result["models_sha256"]) == sorted(show_model(t.package).sha256 for t in trained)
    assert set(result["cases"]) == {"c0", "c1", "c2", "c3"}
    fewer = make_dataset(tmp_path / "fewer", subjects=6, change=all_in_folds)
    with pytest.raises(InputError, match="folds must be those of this dataset"):
        register_dataset(fewer, tmp_path / "other", settings, through=run_folder, workers=1)
