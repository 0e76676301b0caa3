"""Every recipe of a published method loads, says what it follows, learns a step and answers; the list shows all."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.data.method_patches import MethodBatches
from nmsynth.data.prepared import PreparedCase
from nmsynth.inference.method_predictor import PredictionSettings, predict_method
from nmsynth.io.nifti import write_nifti
from nmsynth.models.envelope import Tracer
from nmsynth.models.methods import METHODS, MethodSpec, build_method, load_shipped, shipped_state
from nmsynth.physics.phantom.brain_tracers import brain_tracer_named
from nmsynth.physics.phantom.tracers import tracer_named
from nmsynth.physics.rate_constants import FDG_SPREAD
from nmsynth.workflows.card_text import read_card_text
from nmsynth.workflows.method_preparation import prepare_dataset
from nmsynth.workflows.method_recipes import (
    is_method_recipe,
    load_method_recipe,
    method_recipe_names,
    model_recipe_names,
    without_idea,
)
from nmsynth.workflows.method_training import train_on_dataset
from nmsynth.workflows.planning import plan_dataset
from nmsynth.workflows.recipe_list import list_recipes, recipe_text
from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies, study_recipe_names
from nmsynth.workflows.tasks import load_task, task_names
from tests.models.method_packages import make_plan
from tests.models.method_training import train_method

pytest.importorskip("lightning")
UNITS = {"PT": Unit.SUV_BODY_WEIGHT, "NM": Unit.COUNTS, "CT": Unit.HOUNSFIELD, "MR": Unit.UNITLESS}
SHAPES = {"planar": (1, 32, 32), "volume": (16, 16, 16)}
TINY = {
    "channels": [4, 8],
    "patch": [16, 16, 16],
    "schedule.steps": 2,
    "schedule.batch": 1,
    "schedule.region_share": 1.0,
    "augmentation.rotation_degrees": 0.0,
    "augmentation.zoom": 0.0,
}
NARROW = {
    "pix2pix": {"discriminator_channels": 4},
    "cyclegan": {"discriminator_channels": 4, "history": 2},
    "ddpm": {"sampling_steps": 2},
}
TRACERS = ("FDG", "florbetapir")
NAMES = {None: "FDG", "SESTAMIBI": "SESTAMIBI-STRESS"}
"""Tracer of a PET that names none, and of a heart."""


def _image(modality: str, shape: tuple[int, int, int], seed: int, unit: Unit | None = None) -> Volume:
    """A warm cube in a random background, in the range of its unit."""
    array = np.random.default_rng(seed).random(shape).astype(np.float32)
    inner = tuple(slice(n // 4, n - n // 4) if n > 1 else slice(None) for n in shape)
    array[inner] += 2.0
    scale = {"CT": 300.0, "MR": 100.0, "NM": 20.0}.get(modality, 1.0)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]  # (z, y, x) to (left, posterior, superior)
    return Volume(array=scale * array, affine=affine, unit=unit or UNITS[modality], modality=modality)


def _dataset(folder: Path, source: str, target: str, kind: str, *, told: bool, unitless: bool = False) -> Path:
    """Two cases, one for training and one for validation, each with a lesion; the source in no unit where asked for."""
    rows = []
    units = {"source": Unit.RELATIVE if unitless else UNITS[source], "target": UNITS[target]}
    for number, split in enumerate(("train", "validation")):
        case = f"c{number}"
        facts = (("source_tracer", TRACERS[number]), ("target_tracer", TRACERS[1 - number])) if told else ()
        for k, (role, modality) in enumerate((("source", source), ("target", target))):
            path = folder / case / f"{role}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(_image(modality, SHAPES[kind], 10 * number + k, units[role]), path)
            rows.append(
                ManifestRow(
                    case, case, split, role, role, f"{case}/{path.name}", None, modality, units[role].value, facts
                )
            )
        lesion = np.zeros(SHAPES[kind], dtype=np.float32)
        lesion[:, 6:9, 6:9] = 1
        mask = _image("PT", SHAPES[kind], 0).with_array(lesion, unit=Unit.UNITLESS)
        write_nifti(mask, folder / case / "lesions.nii.gz")
        rows.append(ManifestRow(case, case, split, "mask", "lesions", f"{case}/lesions.nii.gz"))
    write_manifest(folder / "manifest.csv", rows)
    return folder


@cache
def _prepared(source: str, target: str, kind: str, told: bool, alike: bool):
    """Plan and prepared cases of a pair of modalities; layers are held in memory."""
    with TemporaryDirectory() as temporary:
        folder = _dataset(Path(temporary) / "data", source, target, kind, told=told, unitless=alike)
        tiny = {**TINY, "patch": [1, 32, 32]} if kind == "planar" else TINY
        tiny = {**tiny, "same_calibration": True} if alike else tiny
        plan = plan_dataset(folder, device="cpu", overrides=tiny)
        cases = prepare_dataset(folder, plan, Path(temporary) / "prepared", workers=1)
        held = [PreparedCase(c.case_id, c.subject, c.split, np.array(c.layers), c.levels, c.record) for c in cases]
    return plan, tuple(held)


def _pair_of(name: str):
    """Plan and cases that a recipe is tried on."""
    recipe = load_method_recipe(name)
    data = recipe.data
    kind = "planar" if data.simulate == "bone-planar" else "volume"
    alike = recipe.plan.get("same_calibration", False)
    return _prepared(data.sources[0], data.target, kind, name == "multi-tracer-cyclegan", alike)


def test_the_published_methods_of_the_review_are_there():
    assert len(method_recipe_names()) == 15
    assert {load_method_recipe(name).method.name for name in method_recipe_names()} <= METHODS.keys()


@pytest.mark.parametrize("name", method_recipe_names())
def test_a_recipe_says_what_it_follows_and_what_differs(name):
    recipe = load_method_recipe(name)
    assert recipe.name == name
    assert is_method_recipe(name)
    assert len(recipe.title) > 20
    assert "20" in recipe.reproduces
    assert len(recipe.differs) >= 3
    assert all(sentence.endswith(".") for sentence in recipe.differs)
    assert recipe.data.sources
    assert not recipe.data.simulate or recipe.data.simulate in {*study_recipe_names(), "lowcount-pet"}
    assert bool(recipe.data.simulate) == any("simulated patients" in sentence for sentence in recipe.differs)


def test_every_task_has_the_recipe_of_a_model():
    assert {*model_recipe_names(), "lowcount-pet"} == set(task_names())


@pytest.mark.parametrize("name", model_recipe_names())
def test_the_recipe_of_a_model_serves_its_task(name):
    recipe, task = load_method_recipe(name), load_task(name)
    assert recipe.name == recipe.card == name
    assert is_method_recipe(name)
    assert recipe.data.simulate == task.study
    assert recipe.idea.endswith(".")
    text = read_card_text(name)
    assert text["licence"] == "Apache-2.0"
    assert "simulated patients only" in text["summary"] or text["summary"].startswith("Proof of concept on simulated")
    assert len(text["failures"]) >= 2


SIMULATED_CORRELATION = (
    "mr-to-fdg", "mr-to-amyloid", "ct-to-pet", "pet-to-ct", "pet-to-mr", "tracer-to-tracer", "early-to-late",
    "early-to-influx",
)  # fmt: skip
"""Tasks across modalities, tracers and times, whose models are proven on simulated patients alone."""


@pytest.mark.parametrize("name", SIMULATED_CORRELATION)
def test_cards_of_what_was_set_and_not_found_say_so_first(name):
    text = read_card_text(name)
    assert text["summary"].startswith("Proof of concept on simulated correlation: ")
    assert "was set" in text["summary"].split(".")[0]
    assert all(sentence.endswith(".") for sentence in text["failures"])


def test_cards_of_early_images_say_what_their_patients_had():
    for name in ("early-to-late", "early-to-influx"):
        told = " ".join(read_card_text(name)["failures"])
        assert "disease of the brain and tumours are absent" in told
        assert ", ".join(f"{100 * s:g}" for s in FDG_SPREAD[:3]) in told


@pytest.mark.parametrize("name", [n for n in model_recipe_names() if not n.startswith(("mr-to-", "ct-to-"))])
def test_the_card_takes_the_tracers_that_are_simulated(name):
    recipe = load_method_recipe(name)
    known = [Tracer.model_validate(tracer) for tracer in read_card_text(name)["envelope"]["tracers"]]
    for study in plan_studies(load_study_recipe(recipe.data.simulate), 20, 0):
        named = study.settings["tracer"]
        find = brain_tracer_named if study.settings.get("phantom") == "brain" else tracer_named
        stated = find(NAMES.get(named, named))
        assert any(tracer.matches(stated.radionuclide, stated.agent) for tracer in known)


@pytest.mark.parametrize("name", model_recipe_names())
def test_the_ablation_differs_by_the_idea_alone(name):
    recipe = load_method_recipe(name)
    other = without_idea(recipe)
    assert other.name == f"{name}-without-idea"
    assert (other.card, other.idea, other.without_idea) == ("", "", None)
    assert (other.method, other.plan, other.first_sources) != (recipe.method, recipe.plan, recipe.first_sources)
    assert other.data == recipe.data
    assert other.plan.keys() == recipe.plan.keys()


def test_a_recipe_without_an_idea_has_none_to_leave_out(tmp_path, capsys):
    with pytest.raises(InputError, match="'unet' states no idea that could be left out"):
        without_idea(load_method_recipe("unet"))
    assert run(["train", "lowcount-pet", "--without-idea", "-o", str(tmp_path / "run")]) == 2
    assert "takes no --without-idea" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*method_recipe_names(), *model_recipe_names()])
def test_a_recipe_learns_a_step_and_answers(name):
    plan, cases = _pair_of(name)
    from nmsynth.core.config import override, resolve
    from nmsynth.core.plan import Plan

    recipe = load_method_recipe(name)
    plan = resolve(Plan, override(plan.model_dump(mode="json"), recipe.plan), where="the plan")
    torch.manual_seed(0)
    spec = MethodSpec(
        name=recipe.method.name, arguments={**recipe.method.arguments, **NARROW.get(recipe.method.name, {})}
    )
    method = build_method(spec, plan)
    untold = (0.0,) * plan.n_conditions  # a recipe may tell more or less than the plan by which cases were prepared
    cases = [replace(case, levels=tuple((layers, untold) for layers, _ in case.levels)) for case in cases]
    batch = MethodBatches(cases[:1], plan, paired=method.paired).draw(0)
    assert float(batch["labels"].max()) == 1
    before = {key: value.clone() for key, value in shipped_state(method).items()}
    history = train_method(method, batch, 2)
    assert all(np.isfinite(value) for terms in history for value in terms.values())
    assert any(not torch.equal(before[key], value) for key, value in shipped_state(method).items())
    shipped = build_method(spec, plan, for_training=False)
    load_shipped(shipped, shipped_state(method))
    case = cases[1]
    answer, _ = predict_method(
        shipped, plan, case.source(0), case.levels[0][1], PredictionSettings(n_samples=1, overlap=0.0)
    )
    assert answer.shape == case.target.shape
    assert np.isfinite(answer).all()


def test_the_documentation_names_every_recipe_and_family():
    text = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    names = (*method_recipe_names(), *model_recipe_names(), *METHODS, *study_recipe_names())
    assert [name for name in names if f"`{name}`" not in text] == []
    assert all(load_method_recipe(name).reproduces in text for name in method_recipe_names())


def test_a_recipe_refuses_another_modality(tmp_path):
    folder = _dataset(tmp_path / "data", "CT", "PT", "volume", told=False)
    with pytest.raises(InputError, match="takes MR; the dataset's sources are CT"):
        train_on_dataset(load_method_recipe("t1-to-fdg-unet"), folder, tmp_path / "run")


def test_a_recipe_without_simulated_data_asks_for_a_dataset(tmp_path):
    with pytest.raises(InputError, match="needs a dataset of MR and PT"):
        train_on_dataset(load_method_recipe("t1-to-fdg-ddpm"), None, tmp_path / "run")


def test_the_list_shows_methods_first_and_every_file(capsys):
    assert run(["recipes", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["recipes"]
    kinds = [entry["of"] for entry in shown]
    assert kinds == sorted(kinds, key=("method", "model", "dataset").index)
    assert {entry["name"] for entry in shown} == {entry.name for entry in list_recipes()}
    assert run(["recipes"]) == 0
    table = capsys.readouterr().out
    assert "CT -> PT" in table
    assert "brain-mr-pet" in table


def test_a_recipe_is_shown_to_be_copied(tmp_path, capsys):
    assert run(["recipes", "show", "dixon-to-ct-unet"]) == 0
    copy = tmp_path / "mine.toml"
    copy.write_text(capsys.readouterr().out)
    assert load_method_recipe(copy) == load_method_recipe("dixon-to-ct-unet")
    assert recipe_text("ct-pet").startswith("#")
    assert run(["recipes", "show", "dixon-to-ct"]) == 2
    assert "Did you mean 'dixon-to-ct-unet'" in capsys.readouterr().err


@pytest.mark.parametrize("name", study_recipe_names())
def test_a_study_makes_one_target_and_a_source(name):
    """By name of what its command writes; a planar study has them once for each view."""
    from nmsynth.workflows.study_recipe import _role

    recipe = load_study_recipe(name)
    roles = recipe.roles
    written = {"scan": True, "noise_free": False, "ct": False, "mr": False, "uncorrected": True, "sparse": True}
    written |= {"suvr": False, "late_noise_free": False, "patlak_noise_free": False, "minutes-00-10": True}
    written |= {"early": True, "late": True, "patlak": True, "truth": False}
    asked = {"scan", "noise_free", *recipe.settings.get("also", ())}
    asked |= {"suvr"} if recipe.settings.get("phantom") == "brain" and recipe.kind == "pet" else set()
    asked |= {c.removesuffix("-randomised") for c in recipe.settings.get("companions", ())} & {"ct", "mr"}
    if recipe.kind == "dynamic":
        asked |= {"late_noise_free", "patlak_noise_free", "minutes-00-10", "early", "late", "patlak", "truth", "suvr"}
    found = [_role(n, roles, of_scan=written[n], is_image=True) for n in sorted(asked)]
    assert found.count("target") == 1
    assert found.count("source") == (2 if name == "two-tracers" else 1)


@pytest.mark.parametrize("name", ["lowcount-spect", "sparse-spect", "lowcount-planar"])
def test_lesions_count_more_by_the_idea_alone(name):
    recipe = load_method_recipe(name)
    network = build_method(recipe.method, make_plan(residual=True))
    assert network.region_emphasis == 4.0
    without = without_idea(recipe)
    assert without.method.arguments == {k: v for k, v in recipe.method.arguments.items() if k != "region_emphasis"}
    assert without.plan["schedule.region_share"] == 0.0
