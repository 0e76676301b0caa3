import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.plan import read_plan
from nmsynth.data.manifest import ManifestRow
from nmsynth.inference.backend import fast_precision
from nmsynth.models.methods import MethodSpec
from nmsynth.models.residual_unet import ResidualUNet
from nmsynth.workflows.image_files import files_state
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.planning import plan_dataset, plan_for_minutes, plan_summary, windows_of, write_plan
from tests.workflows.methods_dataset import SMALL, make_dataset, picture

pytest.importorskip("lightning")

from nmsynth.io.nifti import write_nifti
from nmsynth.training import speed
from nmsynth.workflows.method_preparation import prepare_dataset
from nmsynth.workflows.method_training import (
    overruled_keys,
    prepare_run,
    remove_trainings,
    train_on_dataset,
    training_options,
)


def quick(**values):
    return training_options(threads=1, device="cpu", **values)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plan(data):
    return plan_dataset(data, device="cpu", overrides=SMALL)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    told = []
    found = train_on_dataset(
        load_method_recipe("unet"), data, output, options=quick(), overrides=SMALL, progress=lambda *w: told.append(w)
    )
    return output, found[0], told


def test_dataset_becomes_a_model_with_what_its_training_was(trained):
    from nmsynth.models.method_package import load_method
    from nmsynth.models.package import read_card

    output, found, told = trained
    assert (found.split.train, found.split.validation, found.split.test) == (("s0", "s2", "s3"), ("s1",), ("s4",))
    card = read_card(found.package)
    assert card.plan == read_plan(output / "plan.toml") == found.plan
    record = card.training
    assert record["n_subjects"] == {"train": 3, "validation": 1}
    assert [p["step"] for p in record["validation_curve"]["0-main"]] == [2, 4]
    assert record["converged"] is None
    assert record["seconds"] > 0
    loaded = load_method(found.package, card)
    for name, value in loaded.state_dict().items():
        assert torch.allclose(value, found.method.state_dict()[name], atol=1e-3)
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_same_call_goes_on_and_another_plan_is_refused(trained, data):
    output, found, _ = trained
    before = (output / "training" / "0-main" / "last.ckpt").stat().st_mtime_ns
    again = train_on_dataset(load_method_recipe("unet"), data, output, options=quick())
    assert (output / "training" / "0-main" / "last.ckpt").stat().st_mtime_ns == before
    assert all(torch.equal(a, b) for a, b in zip(found.method.parameters(), again[0].method.parameters(), strict=True))
    with pytest.raises(InputError, match="keeps the plan that it was begun with"):
        train_on_dataset(load_method_recipe("unet"), data, output, options=quick(), overrides={"schedule.steps": 9})
    with pytest.raises(InputError, match="those of another"):
        prepare_dataset(data, found.plan.model_copy(update={"spacing_mm": (5.0, 5.0, 5.0)}), output / "prepared")


def test_a_run_takes_the_cases_that_another_prepared_where_they_are_the_same(trained, data, tmp_path):
    prepared = trained[0] / "prepared"
    before = {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()}
    narrow = {**SMALL, "channels": (4, 8)}
    ready = prepare_run(
        load_method_recipe("unet"), data, tmp_path / "same", options=quick(), overrides=narrow, prepared_by=prepared
    )
    assert (tmp_path / "same" / "prepared").resolve() == prepared.resolve()
    assert {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()} == before
    assert len(ready.prepared) == 5
    wide = {**SMALL, "spacing_mm": (8.0, 8.0, 8.0)}
    prepare_run(
        load_method_recipe("unet"), data, tmp_path / "other", options=quick(), overrides=wide, prepared_by=prepared
    )
    assert not (tmp_path / "other" / "prepared").is_symlink()


def test_same_call_with_options_goes_on_though_the_machine_has_another_memory(data, tmp_path, monkeypatch):
    changes = {**SMALL, "schedule.steps": 2, "patch": (8, 16, 16)}
    first = train_on_dataset(load_method_recipe("unet"), data, tmp_path, options=quick(), overrides=changes)[0]
    monkeypatch.setattr("nmsynth.workflows.planning.device_and_memory", lambda *_: ("cpu", 7 * 2**30))
    again = train_on_dataset(load_method_recipe("unet"), data, tmp_path, options=quick(), overrides=changes)[0]
    assert again.plan == first.plan
    with pytest.raises(InputError, match="keeps the plan"):
        train_on_dataset(load_method_recipe("unet"), data, tmp_path, options=quick(), overrides=SMALL)


def test_image_that_changed_is_refused_by_a_training_and_prepared_anew_by_the_next(tmp_path):
    data = make_dataset(tmp_path / "data", subjects=3)
    changes = {**SMALL, "schedule.steps": 1}

    def train():
        found = train_on_dataset(load_method_recipe("unet"), data, tmp_path / "run", options=quick(), overrides=changes)
        return found, np.load(tmp_path / "run" / "prepared" / "c2.npy")

    _, before = train()
    write_nifti(picture("CT", 77), data / "ct-2.nii.gz", overwrite=True)
    with pytest.raises(InputError, match=r"those of 'c2' have changed since \(1 of 3 cases\). Begin anew"):
        train()
    kept = (tmp_path / "run" / "prepared" / "c0.npy").stat().st_mtime_ns
    remove_trainings(tmp_path / "run")
    _, after = train()
    assert not np.array_equal(before[0], after[0])
    assert (tmp_path / "run" / "prepared" / "c0.npy").stat().st_mtime_ns == kept
    (tmp_path / "run" / "prepared" / "images.json").unlink()  # of a run of before: what is there counts
    train()
    assert (tmp_path / "run" / "prepared" / "images.json").is_file()


def test_state_of_files_holds_sidecars_and_folders(tmp_path):
    (tmp_path / "series").mkdir()
    for name in ("a.nii.gz", "a.json", "series/1.dcm", "mu.nii.gz"):
        (tmp_path / name).write_text(name)
    row = ManifestRow("c", "s", "train", "source", "ct", "a.nii.gz")
    rows = [row, replace(row, role="target", path="series"), replace(row, role="anatomy", path="mu.nii.gz")]
    states = [files_state(rows, tmp_path)]
    for name in ("a.json", "series/1.dcm", "series/2.dcm", "mu.nii.gz"):
        (tmp_path / name).write_text(name * 2)
        states.append(files_state(rows, tmp_path))
    assert len(set(states)) == 4
    assert states[3] == states[4]  # what is not prepared does not count


def test_minutes_of_a_run_that_was_begun_otherwise_are_refused(trained, data):
    output, found, _ = trained
    with pytest.raises(InputError, match="60 minutes are asked for, and it was begun otherwise, with 4 steps"):
        train_on_dataset(load_method_recipe("unet"), data, output, options=quick(), minutes=60)
    assert read_plan(output / "plan.toml") == found.plan


def test_plan_is_made_for_the_device_that_trains(data, tmp_path, monkeypatch):
    asked = []

    def noted(dataset, *, device, **rest):
        asked.append(device)
        raise InputError("That is all.")

    monkeypatch.setattr("nmsynth.workflows.method_training.plan_dataset", noted)
    with pytest.raises(InputError, match="That is all"):
        train_on_dataset(load_method_recipe("unet"), data, tmp_path, options=quick())
    assert asked == ["cpu"]


def test_a_recipe_may_see_the_first_sources_alone(tmp_path):
    data = make_dataset(tmp_path / "data", mr_of=(0, 1, 2, 3, 4))
    recipe = load_method_recipe("unet")
    for kept, output in ((0, "all"), (1, "first")):
        only = recipe.model_copy(update={"first_sources": kept})
        train_on_dataset(only, data, tmp_path / output, options=quick(), overrides=SMALL)
    plans = [read_plan(tmp_path / output / "plan.toml") for output in ("all", "first")]
    assert [len(plan.sources) for plan in plans] == [2, 1]
    assert plans[1].sources == plans[0].sources[:1]


RECIPE = """
name = "shy"
[method]
name = "unet"
[plan]
channels = [4, 4]
"schedule.region_share" = 0.9
[without_idea.plan]
"schedule.region_share" = 0.0
"""


def test_plan_that_is_given_is_followed_and_what_it_replaces_of_the_recipe_told(data, plan, tmp_path, caplog):
    (tmp_path / "shy.toml").write_text(RECIPE)
    short = plan.model_copy(update={"schedule": plan.schedule.model_copy(update={"steps": 1})})
    recipe = load_method_recipe(tmp_path / "shy.toml")
    found = train_on_dataset(recipe, data, tmp_path / "run", plan=short, options=quick())[0]
    assert found.plan == short
    told = [record.getMessage() for record in caplog.records if record.name.startswith("nmsynth")]
    assert told == ["The plan that is given is followed where it differs from the recipe 'shy': schedule.region_share."]


def test_without_the_idea_a_plan_that_states_it_is_refused(data, plan, tmp_path, capsys):
    (tmp_path / "shy.toml").write_text(RECIPE)
    write_plan(plan, data, tmp_path / "plan.toml")
    words = ["train", str(tmp_path / "shy.toml"), "--without-idea", "--data", str(data), "-o", str(tmp_path / "run")]
    assert run([*words, "--plan", str(tmp_path / "plan.toml"), "--device", "cpu"]) == 2
    assert "'shy-without-idea' differs from its recipe by schedule.region_share" in capsys.readouterr().err
    assert not (tmp_path / "run" / "plan.toml").exists()
    (tmp_path / "run").mkdir()
    write_plan(plan, data, tmp_path / "run" / "plan.toml")  # as a training with the idea would have begun it
    assert run([*words, "--device", "cpu"]) == 2
    assert "differs from its recipe" in capsys.readouterr().err


def test_plan_of_a_recipe_holds_what_the_recipe_changes(data, tmp_path, capsys):
    (tmp_path / "shy.toml").write_text(RECIPE)
    words = ["plan", str(data), "-o", str(tmp_path / "plan.toml"), "--device", "cpu"]
    assert run([*words, "--recipe", str(tmp_path / "shy.toml"), "--set", "schedule.steps=7"]) == 0
    made = read_plan(tmp_path / "plan.toml")
    assert (made.channels, made.schedule.region_share, made.schedule.steps) == ((4, 4), 0.9, 7)
    assert overruled_keys(load_method_recipe(tmp_path / "shy.toml"), made) == []


def test_model_is_fine_tuned_by_its_own_scales(trained, data, tmp_path):
    _, found, _ = trained
    changes = {"schedule.steps": 1, "schedule.warmup": 0, "schedule.learning_rate": 1e-9, "schedule.batch": 1}
    tuned = train_on_dataset(
        load_method_recipe("unet"), data, tmp_path, options=quick(), overrides=changes, start_from=found.package
    )[0]
    assert tuned.plan.sources == found.plan.sources
    assert tuned.plan.patch == found.plan.patch
    assert tuned.plan.schedule.steps == 1
    for a, b in zip(tuned.method.parameters(), found.method.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)
    other = found.plan.model_copy(update={"spacing_mm": (8.0, 8.0, 8.0)})
    with pytest.raises(InputError, match=r"its 'spacing_mm' are 4\.0, 4\.0, 4\.0, the plan's 8\.0"):
        train_on_dataset(
            load_method_recipe("unet"), data, tmp_path / "b", options=quick(), plan=other, start_from=found.package
        )
    with pytest.raises(InputError, match="trains 'pix2pix'; the model unet is of the family 'unet'"):
        train_on_dataset(load_method_recipe("pix2pix"), data, tmp_path / "b", options=quick(), start_from=found.package)


def test_folds_test_every_subject_once(data, plan, tmp_path):
    recipe = load_method_recipe("unet")
    short = plan.model_copy(update={"schedule": plan.schedule.model_copy(update={"steps": 1})})
    found = train_on_dataset(recipe, data, tmp_path, plan=short, folds=2, options=quick())
    assert sorted(s for t in found for s in t.split.test) == ["s0", "s1", "s2", "s3"]
    assert [t.name for t in found] == ["unet-fold-0", "unet-fold-1"]
    assert all((t.package / "card.json").is_file() or any(t.package.iterdir()) for t in found)
    only = train_on_dataset(recipe, data, tmp_path, plan=short, folds=2, fold=1, options=quick())
    assert [t.name for t in only] == ["unet-fold-1"]
    with pytest.raises(InputError, match=r"0 to 1 of the folds asked for; found 2"):
        train_on_dataset(recipe, data, tmp_path, plan=short, folds=2, fold=2, options=quick())
    remove_trainings(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["package", "plan-asked.json", "plan.toml", "prepared"]


def test_plan_follows_the_dataset(plan, data, tmp_path):
    assert plan.task == "ct-to-pet"
    assert [s.name for s in plan.sources] == ["ct"]
    assert (plan.residual, plan.dimensions, plan.spacing_mm) == (False, "3d", (4.0, 4.0, 4.0))
    assert plan.fingerprint["n_subjects"] == 4  # the test case is not looked at
    path = write_plan(plan, data, tmp_path / "plan.toml")
    assert read_plan(path) == plan
    assert "ct-to-pet" in plan_summary(plan)["task"]
    with pytest.raises(InputError, match=r"a \.toml file"):
        write_plan(plan, data, tmp_path / "plan.json")
    with pytest.raises(InputError, match="both are given"):
        plan_dataset(data, steps=5, minutes=1.0)


def test_patch_and_batch_are_planned_for_the_dimensions_asked_for(data):
    assert plan_dataset(data, device="cpu").dimensions == "2.5d"
    volume = plan_dataset(data, device="cpu", overrides={"dimensions": "3d"})
    assert (volume.dimensions, volume.context) == ("3d", 1)
    assert volume.patch[0] > 1
    assert plan_dataset(data, device="cpu", overrides={"patch": [8, 16, 16]}).dimensions == "3d"
    assert plan_dataset(data, device="cpu", overrides={"patch": [1, 16, 16]}).dimensions == "2.5d"


def test_validations_and_warm_up_follow_the_steps_asked_for(data):
    asked = plan_dataset(data, device="cpu", overrides={"schedule.steps": 400}).schedule
    assert (asked.steps, asked.validate_every, asked.warmup) == (400, 20, 40)


def test_minutes_become_steps_and_validations_that_fit(plan):
    timed = plan_for_minutes(plan, 0.2)
    note = timed.fingerprint
    spent = timed.schedule.steps * note["seconds_per_step"]
    validations = timed.schedule.steps // timed.schedule.validate_every
    spent += validations * timed.schedule.validation_cases * note["seconds_per_validation_image"]
    assert 0.2 * 60 * 0.5 < spent < 0.2 * 60 * 1.1
    assert windows_of(plan) == 2 * 4 * 4
    with pytest.raises(InputError, match="more than no time"):
        plan_for_minutes(plan, 0)


def test_speed_is_timed_with_the_threads_of_the_training(monkeypatch, plan):
    seen, build, before = [], speed.build_method, torch.get_num_threads()

    def noted(*arguments, **options):
        seen.append(torch.get_num_threads())
        return build(*arguments, **options)

    monkeypatch.setattr(speed, "build_method", noted)
    plan_for_minutes(plan, 0.05, threads=1)
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"amx_bf16": True}, ("bf16", "bf16")),
        ({"amx_bf16": False, "avx512_bf16": True}, ("bf16", "fp32")),
        ({"avx512_f": True}, ("fp32", "fp32")),
    ],
)
def test_precision_is_what_the_processor_is_fast_in_unless_asked_for(monkeypatch, data, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    planned = [plan_dataset(data, device="cpu", dimensions=d).schedule.precision for d in ("2.5d", "3d")]
    assert tuple(planned) == precision
    asked = plan_dataset(data, device="cpu", overrides={"schedule.precision": "fp32"})
    assert asked.schedule.precision == "fp32"


def test_precision_is_single_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert (fast_precision("cpu"), fast_precision("cuda")) == ("fp32", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_speed_is_timed_in_the_precision_of_the_training(monkeypatch, plan, precision):
    seen = []

    def noted(self, *arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        return losses(self, *arguments)

    losses = ResidualUNet.losses
    monkeypatch.setattr(ResidualUNet, "losses", noted)
    schedule = plan.schedule.model_copy(update={"precision": precision})
    speed.measure_speed(MethodSpec(name="unet"), plan.model_copy(update={"schedule": schedule}))
    assert set(seen) == {precision == "bf16"}


def test_optional_source_is_filled_and_told(tmp_path):
    data = make_dataset(tmp_path / "data", subjects=3, mr_of=(0,))
    plan = plan_dataset(data, device="cpu", overrides=SMALL)
    assert [(s.name, s.optional) for s in plan.sources] == [("ct", False), ("mr", True)]
    cases = prepare_dataset(data, plan, tmp_path / "prepared", workers=1)
    told = [case.levels[0][1] for case in cases]
    assert told == [(1.0,), (0.0,), (0.0,)]
    assert cases[0].source(0).shape == (2, 12, 24, 24)
    assert np.ptp(cases[1].source(0)[1]) == 0
    assert cases[0].labels.max() == 1


def flat_target(images, rows):
    images["pt-2.nii.gz"] = images["pt-2.nii.gz"].with_array(images["pt-2.nii.gz"].array[:1])


def with_first_row(**values):
    def change(images, rows):
        rows[0] = replace(rows[0], **values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flat_target, "all of one slice, or all of several"),
        (with_first_row(role="target"), "'c0' has 0 and 2"),
        (with_first_row(modality="MR", name="mr"), "must be that of the sidecar, CT; found MR"),
    ],
)
def test_what_would_spoil_a_training_is_told_before_it(tmp_path, change, message):
    data = make_dataset(tmp_path / "data", subjects=3, change=change)
    with pytest.raises(InputError, match=message):
        train_on_dataset(load_method_recipe("unet"), data, tmp_path / "run", options=quick(), overrides=SMALL)
    assert not (tmp_path / "run" / "training").exists()


def test_voxel_that_is_no_number_is_told(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    data = make_dataset(tmp_path / "data", subjects=3)
    image = nibabel.load(data / "ct-2.nii.gz")
    array = image.get_fdata().astype(np.float32)
    array[3, 4, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, image.affine, image.header), data / "ct-2.nii.gz")
    with pytest.raises(UnsafeInputError, match="finite"):
        plan_dataset(data)


def test_missing_file_is_told(tmp_path):
    data = make_dataset(tmp_path / "data", subjects=3)
    (data / "pt-2.nii.gz").unlink()
    with pytest.raises(InputError, match=r"the image 'pt-2.nii.gz' of case 'c2' is not there"):
        plan_dataset(data)


def test_plan_of_other_images_is_refused(tmp_path, plan):
    data = make_dataset(tmp_path / "data", subjects=3)
    other = plan.model_copy(update={"target": plan.target.model_copy(update={"modality": "NM"})})
    with pytest.raises(InputError, match="made for NM as target; the dataset has PT"):
        prepare_dataset(data, other, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_too_little_room_for_cases_is_told(data, plan, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match="Prepared cases need about"):
        prepare_dataset(data, plan, tmp_path / "prepared")


def test_curve_of_a_run_is_json(trained):
    output, _, _ = trained
    points = json.loads((output / "training" / "0-main" / "curve.json").read_text())["points"]
    assert {"step", "seconds", "score", "error", "bias", "region_error", "waiting"} == set(points[0])
