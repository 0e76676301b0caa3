"""Datasets in which patients have a source alone or a target alone, from their folder to an image."""

import csv
import json

import numpy as np
import pytest
import torch

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.plan import read_plan
from nmsynth.data.manifest import ManifestRow, read_manifest
from nmsynth.io.nifti import read_nifti, write_nifti
from nmsynth.models.method_spec import MethodSpec
from nmsynth.models.methods import learns_from_pairs
from nmsynth.models.package import read_card
from nmsynth.workflows.dataset_make import Split, Wanted, make_manifest
from nmsynth.workflows.method_cases import learnable_rows, training_splits
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.planning import plan_dataset
from tests.workflows.methods_dataset import SMALL, picture

pytest.importorskip("lightning")

from nmsynth.workflows.method_training import train_on_dataset, training_options

TINY = {**SMALL, "schedule.patience": 0, "patch": [8, 16, 16], "dimensions": "3d"}
CYCLEGAN = load_method_recipe("cyclegan", {"method.arguments.discriminator_channels": 4, "method.arguments.history": 2})
PATIENTS = {"Doe": "pair", "Roe": "pair", "Poe": "source", "Bloggs": "source", "Public": "target", "Muster": "target"}


def patients(folder, kinds):
    """A folder for each patient, with CT, PET, or both; PET stands alone on a grid of its own."""
    for k, (name, kind) in enumerate(kinds.items()):
        (folder / name).mkdir(parents=True)
        for modality, file, lone in (("CT", "ct", "source"), ("PT", "pet", "target")):
            if kind in ("pair", lone):
                volume = picture(modality, 10 * k)
                if kind == "target":
                    volume = volume.with_array(volume.array[:, 2:-2])
                write_nifti(volume, folder / name / f"{file}.nii.gz")
    return folder


def made(folder, kinds):
    """The folder with a manifest that holds what stands alone."""
    words = ["dataset", "make", str(patients(folder, kinds)), "--source", "ct=ct.nii.gz", "--target", "pet.nii.gz"]
    assert run([*words, "--unpaired", "--validation-share", "0.5", "--as", "ct=CT,HU", "--as", "target=PT,SUVbw"]) == 0
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return made(tmp_path_factory.mktemp("data") / "mixed", PATIENTS)


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory):
    alone = {name: kind for name, kind in PATIENTS.items() if kind != "pair"}
    return made(tmp_path_factory.mktemp("data") / "unpaired", alone)


def train(recipe, data, output, *, changes=(), **options):
    how = training_options(threads=1, device="cpu", **options)
    return train_on_dataset(recipe, data, output, options=how, overrides={**TINY, **dict(changes)})[0]


def losses(output):
    with (output / "training" / "0-main" / "train.csv").open() as stream:
        return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in csv.DictReader(stream)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_wholly_unpaired_dataset_becomes_a_model_that_says_it_was_never_compared(unpaired, tmp_path, capsys):
    assert run(["dataset", "check", str(unpaired), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["sides"], result["splits"]) == ({"pair": 0, "source": 2, "target": 2}, {"train": 4})
    changes = [word for key, value in TINY.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    assert run(["plan", str(unpaired), "-o", str(tmp_path / "plan.toml"), "--device", "cpu", *changes]) == 0
    plan = read_plan(tmp_path / "plan.toml")
    assert [plan.sources[0].modality, plan.target.modality] == ["CT", "PT"]
    assert plan.fingerprint["sides"] == result["sides"]
    found = train(CYCLEGAN, unpaired, tmp_path / "run")
    stage = tmp_path / "run" / "training" / "0-main"
    curve = json.loads((stage / "curve.json").read_text())
    assert curve["note"].startswith("No validation subject has both a source and a target: there is no score")
    assert [(p["step"], p["score"], p["error"]) for p in curve["points"]] == [(2, None, None), (4, None, None)]
    assert capsys.readouterr().err.count(curve["note"]) == 1
    assert [path.name for path in (stage / "samples").iterdir()] == ["step-000002.png", "step-000004.png"]
    assert not (stage / "best.pt").exists()
    averaged = torch.load(stage / "last.ckpt", weights_only=True)["average"]
    assert all(torch.equal(value, averaged[name]) for name, value in found.method.state_dict().items())
    card = read_card(found.package)
    assert "never compared with a true target" in card.failures[-1]
    assert (card.training["compared"], card.training["converged"]) == (False, None)
    assert card.training["n_subjects"] == {"train": 4, "validation": 0}
    answer = tmp_path / "answer.nii.gz"
    source = unpaired / "Poe" / "ct.nii.gz"
    assert run(["synthesize", str(source), str(answer), "--model", str(found.package), "--device", "cpu"]) == 0
    assert read_nifti(answer).shape == read_nifti(source).shape


def test_what_stands_alone_is_prepared_on_a_grid_of_its_own_and_learned_from(mixed, tmp_path, monkeypatch):
    from nmsynth.data import method_patches

    drawn = []
    whole = method_patches.MethodBatches._crop

    def noted(self, case, *rest):
        drawn.append(case)
        return whole(self, case, *rest)

    monkeypatch.setattr(method_patches.MethodBatches, "_crop", noted)
    found = train(CYCLEGAN, mixed, tmp_path, changes={"schedule.batch": 4})
    cases = {case.case_id: case for case in drawn}
    assert [sum(c.has_source for c in cases.values()), sum(c.has_target for c in cases.values())] == [3, 3]
    assert {c.layers.shape[1:] for c in cases.values()} == {(12, 24, 24), (12, 20, 24)}
    lone = next(c for c in cases.values() if not c.has_target)
    assert len(lone.layers) == 3
    with pytest.raises(InputError, match=f"'{lone.case_id}' has a source alone"):
        _ = lone.target
    points = json.loads((tmp_path / "training" / "0-main" / "curve.json").read_text())["points"]
    assert all(p["score"] > 0 for p in points)  # by the pair that is held
    assert read_card(found.package).training["compared"] is True
    assert len(found.split.validation) == 1


def test_training_without_pairs_goes_on_exactly_and_is_the_same_twice(unpaired, tmp_path, monkeypatch):
    from nmsynth.training import keeper

    monkeypatch.setattr(keeper, "LOG_EVERY", 1)
    unbroken = train(CYCLEGAN, unpaired, tmp_path / "a")
    for stop_after in (1, 3, None):
        resumed = train(CYCLEGAN, unpaired, tmp_path / "b", stop_after=stop_after)
    assert same(unbroken.method, resumed.method)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert len(losses(tmp_path / "a")) == 4
    other = train(CYCLEGAN, unpaired, tmp_path / "c", changes={"schedule.seed": 2})
    assert not same(unbroken.method, other.method)


def test_a_family_that_needs_pairs_takes_them_and_says_what_it_leaves_out(mixed, unpaired, tmp_path, caplog):
    found = train(load_method_recipe("unet"), mixed, tmp_path / "a")
    told = [record.getMessage() for record in caplog.records if record.name.startswith("nmsynth")]
    assert told == ["'unet' learns from pairs: 4 of 6 cases are left out, which have a source or a target alone."]
    assert len(list((tmp_path / "a" / "prepared").glob("*.npy"))) == 2
    assert read_card(found.package).training["n_subjects"] == {"train": 1, "validation": 1}
    with pytest.raises(
        InputError, match=r"'unet' learns from pairs .* found 0 pairs, 2 sources alone and 2 targets al"
    ):
        train(load_method_recipe("unet"), unpaired, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_patience_without_a_score_and_a_side_that_is_missing_are_refused(unpaired, tmp_path):
    with pytest.raises(InputError, match=r"no validation subject has both .* schedule.patience is 3"):
        train(CYCLEGAN, unpaired, tmp_path / "a", changes={"schedule.patience": 3})
    assert not (tmp_path / "a" / "training" / "method.json").exists()
    text = (unpaired / "manifest.csv").read_text()
    sources = {row.case for row in read_manifest(unpaired) if row.role == "source"}
    for line in text.splitlines():
        text = text.replace(line, line.replace(",train,", ",test,")) if line.split(",")[0] in sources else text
    (unpaired / "other.csv").write_text(text)
    with pytest.raises(InputError, match="needs sources and a target"):
        plan_dataset(unpaired / "other.csv", device="cpu")
    plan, how = plan_dataset(unpaired, device="cpu", overrides=TINY), training_options(threads=1, device="cpu")
    with pytest.raises(InputError, match="cases with a source and cases with a target to train on; found 0 and 2"):
        train_on_dataset(CYCLEGAN, unpaired / "other.csv", tmp_path / "b", plan=plan, options=how)


def rows(kinds, apart=None, split="train"):
    """Rows of subjects by their side, all for training but one."""
    roles = {"pair": ("source", "target"), "source": ("source",), "target": ("target",)}
    return [
        ManifestRow(f"c-{name}", name, split if name == apart else "train", role, "", "x")
        for name, kind in kinds.items()
        for role in roles[kind]
    ]


def test_only_subjects_with_a_pair_are_held_or_tested_where_the_manifest_names_none():
    kinds = {f"s{k}": "pair" if k < 4 else "source" if k < 6 else "target" for k in range(8)}
    split = training_splits(rows(kinds))[0]
    assert set(split.validation) < {f"s{k}" for k in range(4)}
    assert {*split.train, *split.validation} == set(kinds)
    folds = training_splits(rows(kinds), 2)
    assert sorted(s for fold in folds for s in fold.test) == [f"s{k}" for k in range(4)]
    assert all({"s4", "s5", "s6", "s7"} <= set(fold.train) for fold in folds)
    with pytest.raises(InputError, match=r"found 2 folds and 3 subjects.* Only those with a pair count, 3 of 7\."):
        training_splits(rows({name: kind for name, kind in kinds.items() if name != "s0"}), 2)
    named = training_splits(rows(kinds, "s4", "validation"))[0]
    assert named.validation == ("s4",)
    alone = training_splits(rows({"a": "source", "b": "target"}, "a", "test"))[0]
    assert (alone.train, alone.validation, alone.test) == (("b",), (), ("a",))


@pytest.mark.parametrize(
    ("name", "arguments", "pairs"),
    [
        ("unet", {}, True),
        ("cyclegan", {}, False),
        ("cyclegan", {"paired": True}, True),
        ("torch.nn:Conv3d", {}, True),
        ("tests.training.methods:TwoGroups", {}, True),
        ("no.such:Class", {}, True),
    ],
)
def test_whether_a_family_needs_pairs_is_known_before_it_is_built(name, arguments, pairs):
    assert learns_from_pairs(MethodSpec(name=name, arguments=arguments)) is pairs


def test_a_case_needs_a_side_and_one_target_at_most():
    neither = [ManifestRow("c", "s", "train", "mask", "lesions", "x")]
    two = [ManifestRow("c", "s", "train", "target", name, "x") for name in "ab"]
    for wrong in (neither, two):
        with pytest.raises(InputError, match=r"A case needs sources, one target, or both; 'c' has 0 and [02]"):
            learnable_rows(wrong, MethodSpec(name="cyclegan"))


WANTED = (Wanted("source", "ct", "ct.nii.gz"), Wanted("target", "", "pet.nii.gz"))


def test_a_manifest_holds_what_stands_alone_only_on_request(tmp_path):
    folder = patients(tmp_path, PATIENTS)
    result = make_manifest(folder, None, WANTED)
    assert (result["cases"], len(result["left_out"])) == (2, 4)
    result = make_manifest(folder, None, WANTED, split=Split(0.4, 0.5), unpaired=True, overwrite=True)
    assert (result["sides"], result["left_out"]) == ({"pair": 2, "source": 2, "target": 2}, [])
    roles = {split: sorted(r.role for r in read_manifest(folder) if r.split == split) for split in result["splits"]}
    # of two of each side one is for testing, and only a pair is for validation
    assert roles["test"] == ["source", "source", "target", "target"]
    assert roles["validation"] == roles["train"] == ["source", "target"]
    assert len({row.subject for row in read_manifest(folder) if row.split == "validation"}) == 1


def test_a_folder_without_pairs_is_refused_with_what_takes_it(tmp_path):
    folder = patients(tmp_path, {"Poe": "source", "Public": "target"})
    with pytest.raises(InputError, match=r"it has no target\. Check the patterns, or take what stands alone by --unp"):
        make_manifest(folder, None, WANTED)
    with pytest.raises(InputError, match="2 folds need as many subjects with a pair; 0 are there"):
        make_manifest(folder, None, WANTED, split=Split(folds=2), unpaired=True)
    with pytest.raises(InputError, match="must leave a source and a target for training"):
        make_manifest(folder, None, WANTED, split=Split(0.0, 0.9), unpaired=True)
    make_manifest(folder, None, WANTED, unpaired=True)
    with pytest.raises(InputError, match="cases with a source and cases with a target; none was found"):
        make_manifest(folder, None, (WANTED[0], Wanted("target", "", "no.nii.gz")), unpaired=True, overwrite=True)
    assert np.all([row.split == "train" for row in read_manifest(folder)])
