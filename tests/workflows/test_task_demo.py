"""The demonstration of a task goes from a simulated study to a report, with a model of the user's."""

import json

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.evaluation.tasks import TASKS
from nmsynth.models.card import IntervalCard
from nmsynth.models.method_package import save_method_package
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows.study_recipe import load_study_recipe, study_recipe_names
from nmsynth.workflows.task_demo import run_task_demo
from nmsynth.workflows.task_study import plan_task_studies, simulate_task_study, study_masks
from nmsynth.workflows.tasks import load_task, task_names, tasks_with_models
from tests.models.method_packages import make_method_card, make_plan, silenced, tiny_method

HEART = {"settings.voxel_mm": 9.6, "settings.n_views": 12}
SMALL_SPECT = {"settings.voxel_mm": 9.6, "draws.n_views": [12], "settings.n_iterations": 1}
SHORT = {"settings.length_mm": 64.0, "settings.voxel_mm": 8.0}


def package_of(folder, first, target, **grid):
    """A model that gives back its first source where it is residual, or nearly nothing."""
    residual = (first.modality, first.unit) == (target.modality, target.unit)
    grid = {"spacing_mm": (8.0, 8.0, 8.0), "patch": (8, 16, 16)} | grid
    plan = make_plan(sources=(first,), target=target, conditions=(), residual=residual, **grid)
    card = make_method_card(plan, envelope=envelope_from_plan(plan))
    save_method_package(folder / "tiny-method", method=silenced(tiny_method(card)), card=card)
    return folder / "tiny-method"


def image(name, modality, unit, kind, **normalisation):
    return ImagePlan(
        name=name,
        modality=modality,
        unit=unit,
        normalisation=Normalisation(kind=kind, **({"scale": 3.0} | normalisation)),
    )


def test_every_task_is_evaluated_under_its_name_and_has_a_study():
    for name in task_names():
        task = load_task(name)
        assert task.name == name
        assert name in TASKS
        assert task.study in study_recipe_names()
        load_study_recipe(task.study, task.demo)
        for test in task.tests:
            level = {task.levels.key: [task.levels.values[0]]} if task.levels else {}
            load_study_recipe(task.study, {**test.changes, **level})


def test_a_task_without_a_model_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match=r"has no model yet; name one of your own with --model. To train one"):
        run_task_demo(load_task("lowcount-mpi").model_copy(update={"model": ""}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"found 'lowcount-mpl'. Did you mean 'lowcount-mpi'"):
        load_task("lowcount-mpl")


def test_a_heart_is_shown_with_its_segments(tmp_path):
    spect = image("nm", "NM", Unit.BQML, "level")
    package = package_of(tmp_path, spect, spect, spacing_mm=(9.6, 9.6, 9.6))
    out = tmp_path / "out"
    result = run_task_demo(load_task("lowcount-mpi"), out, model=str(package), changes=HEART)
    value = result.metrics.value
    # the model gives back its source, so both have the same errors
    assert value("NRMSE") == pytest.approx(value("NRMSE", arm="source"), rel=1e-4)
    assert 0 < value("segment error, mean") < 100
    assert {"prediction", "source", "full counts", "best Gaussian of the source"} <= set(result.metrics.arms)
    assert result.rows()[0]["method"].startswith("synthetic")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "segment error" in page
    assert json.loads((out / "demo.json").read_text())["task"] == "lowcount-mpi"
    with pytest.raises(InputError, match="must not exist; it does"):
        run_task_demo(load_task("lowcount-mpi"), out, model=str(package))


def test_transporters_are_shown_with_their_binding(tmp_path):
    spect = image("nm", "NM", Unit.BQML, "level")
    package = package_of(tmp_path, spect, spect, spacing_mm=(9.6, 9.6, 9.6))
    changes = SMALL_SPECT | {"choices": [{"tracer": "ioflupane", "phantom": "brain"}]}
    task = load_task("lowcount-spect")
    result = run_task_demo(task, tmp_path / "out", model=str(package), changes=changes)
    found = result.metrics
    headings = set().union(*result.rows())
    assert "binding ratio of the putamen, error" in headings
    assert "bias of the liver" not in headings  # a head has none
    errors = {arm: found.value("specific binding ratio error", mask="putamen", arm=arm) for arm in found.arms}
    assert errors["prediction"] == pytest.approx(errors["source"], abs=1e-3)
    assert found.value("specific binding ratio", mask="caudate", arm="prediction") is not None


@pytest.mark.parametrize("choice", [{"tracer": "MDP"}, {"tracer": "HMPAO", "phantom": "brain"}])
def test_binding_is_measured_where_a_tracer_binds_alone(choice, tmp_path):
    task = load_task("lowcount-spect")
    plan = plan_task_studies(task, 1, 0, SMALL_SPECT | {"choices": [choice]})[0]
    masks = study_masks(simulate_task_study(task, plan, tmp_path)[0])
    assert not {"putamen", "caudate"} & set(masks)
    assert ({"cerebral_cortex", "cerebellar_cortex"} <= set(masks)) == ("phantom" in choice)


def test_attenuation_is_corrected_on_the_scale_of_the_source(tmp_path):
    spect = image("uncorrected", "NM", Unit.RELATIVE, "level")
    package = package_of(tmp_path, spect, spect, spacing_mm=(9.6, 9.6, 9.6))
    changes = HEART
    result = run_task_demo(load_task("ac-spect"), tmp_path / "out", model=str(package), changes=changes)
    assert any("brought to the reference's by least squares" in warning for warning in result.metrics.warnings)
    assert result.metrics.value("segment error, mean") > 0
    full, own = (result.metrics.value("segment error, mean", arm=arm) for arm in ("full counts", "prediction"))
    assert full < own  # a corrected scan, with noise of its own


def test_a_ct_is_shown_with_its_tissues(tmp_path, capsys):
    mr = image("mr", "MR", Unit.RELATIVE, "robust")
    ct = image("ct", "CT", Unit.HOUNSFIELD, "window", scale=1000.0, low=-1024.0, high=2000.0)
    package = package_of(tmp_path, mr, ct)
    words = ["demo", str(tmp_path / "out"), "--task", "mr-to-ct", "--model", str(package), "--json"]
    assert run([*words, *(w for key, value in SHORT.items() for w in ("--set", f"{key}={value}"))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["metrics"]["task"]) == ("mr-to-ct", "mr-to-ct")
    assert any(row["name"] == "bone Dice" for row in found["metrics"]["measurements"])


def test_pet_is_shown_with_its_organs(tmp_path):
    nac = image("uncorrected", "PT", Unit.RELATIVE, "level").model_copy(update={"attenuation_corrected": False})
    package = package_of(tmp_path, nac, image("pet", "PT", Unit.RELATIVE, "level"), same_calibration=True)
    result = run_task_demo(load_task("nac-to-ac-pet"), tmp_path / "out", model=str(package), changes=SHORT)
    assert result.metrics.reference_kind == "T1"
    # it gives back its source, of which attenuation left a part that is compared as it is
    assert 0.5 < result.metrics.value("organ error, median") < 1.0
    assert not any("least squares" in warning for warning in result.metrics.warnings)
    assert result.metrics.value("organ error, median", arm="source") == pytest.approx(
        result.metrics.value("organ error, median"), rel=0.02
    )
    scaled, best, full = (
        result.metrics.value("NRMSE", arm=arm)
        for arm in ("best Gaussian of the source, scaled", "best Gaussian of the source", "full counts")
    )
    assert full > 0.02  # a scan is not the reference, which has no noise
    assert scaled < 0.8 * best
    assert result.metrics.value("factor", arm="best Gaussian of the source, scaled") > 2.0


def test_a_planar_view_is_shown_with_its_hot_spots(tmp_path):
    view = image("nm", "NM", Unit.COUNTS, "level")
    slices = {"spacing_mm": (1.0, 9.6, 9.6), "patch": (1, 16, 16), "dimensions": "2d"}
    package = package_of(tmp_path, view, view, **slices)
    changes = {"settings.region": "pelvis", "settings.pixel_mm": 9.6, "settings.lesions": 4}
    task = load_task("lowcount-planar")
    result = run_task_demo(task, tmp_path / "out", model=str(package), changes=changes)
    assert result.metrics.value("NRMSE") == pytest.approx(result.metrics.value("NRMSE", arm="source"), rel=0.2)
    assert result.metrics.value("total counts") == pytest.approx(0.0, abs=0.05)
    assert result.metrics.definitions["scale of the reference"] == "0.125, 1"
    full, own = (result.metrics.value("NRMSE", arm=arm) for arm in ("full counts", "source"))
    assert full == pytest.approx(own / 8**0.5, rel=0.15)
    assert result.metrics.value("NRMSE", arm="best Gaussian of full counts") < full
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "hot spots missed" in page
    assert "<h2>Views</h2>" in page


def test_tasks_are_listed(capsys):
    assert run(["tasks", "--json"]) == 0
    listed = {task["name"]: task for task in json.loads(capsys.readouterr().out)["tasks"]}
    assert listed["lowcount-pet"]["model"] == "lowcount-pet"
    assert listed["mr-to-ct"]["study"] == "mr-ct"
    assert run(["demo", "--model", "own"]) == 2


def test_all_tasks_with_a_model_are_shown(tmp_path, capsys, monkeypatch):
    shown = []

    def recorded(task, output, **_):
        shown.append((task.name, output.name))
        raise InputError("far enough")

    monkeypatch.setattr("nmsynth.workflows.task_demo.run_task_demo", recorded)
    assert run(["demo", str(tmp_path / "out"), "--task", "all"]) == 2
    first = tasks_with_models()[0]
    assert shown == [(first, first)]
    assert run(["demo", str(tmp_path / "out"), "--task", "all", "--model", "own"]) == 2
    assert "--model and --set belong to one task" in capsys.readouterr().err


def test_samples_of_a_brain_stand_side_by_side_with_intervals_of_its_regions(tmp_path):
    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    ratio = ImagePlan(
        name="pet", modality="PT", unit=Unit.SUVR, normalisation=Normalisation(kind="linear", scale=2.0),
        references=(("FDG", "pons"),),
    )  # fmt: skip
    plan = make_plan(
        sources=(mr,), target=ratio, conditions=(), task="mr-to-fdg", spacing_mm=(8.0, 8.0, 8.0), patch=(8, 16, 16)
    )
    interval = IntervalCard(
        coverage=0.9, n_samples=4, voxel_factor=2.0, voxel_floor=0.1, region_factor=2.0, region_floor=5.0, n_cases=9,
        n_regions=9,
    )  # fmt: skip
    card = make_method_card(plan, family="subject-vae", envelope=envelope_from_plan(plan), interval=interval)
    save_method_package(tmp_path / "tiny-method", method=tiny_method(card), card=card)
    out = tmp_path / "out"
    changes = {"settings.voxel_mm": 8.0}
    result = run_task_demo(load_task("mr-to-fdg"), out, model=str(tmp_path / "tiny-method"), changes=changes)
    assert result.metrics.value("regional SUVR error, mean") > 0
    assert len(result.intervals) > 5
    assert all(i.is_covered and i.upper - i.lower >= 20.0 for i in result.intervals)  # twice the factor of the floor
    assert json.loads((out / "demo.json").read_text())["regions"][0]["covered"]
    assert "regions have their reference within the interval" in (out / "report.html").read_text(encoding="utf-8")
