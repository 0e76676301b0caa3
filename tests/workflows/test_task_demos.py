"""Every task across modalities and times is demonstrated with a tiny model, and each number of its proof is there."""

import json

import pytest

from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ConditionPlan, ImagePlan
from nmsynth.core.units import Unit
from nmsynth.evaluation.beyond_anatomy import DEFINITIONS as OF_FITTED
from nmsynth.io import read
from nmsynth.models.card import IntervalCard
from nmsynth.models.method_package import save_method_package
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows.region_intervals import DEFINITIONS as OF_INTERVALS
from nmsynth.workflows.task_demo import run_task_demo
from nmsynth.workflows.task_study import evaluate_task_study, plan_task_studies, simulate_task_study
from nmsynth.workflows.tasks import load_task
from tests.models.method_packages import FDG, make_method_card, make_plan, tiny_method

F18 = (("F-18", "Fluorodeoxyglucose F^18^"),)
SUV = {"modality": "PT", "unit": Unit.SUV_BODY_WEIGHT, "normalisation": Normalisation(kind="linear", scale=4.0)}
PET = ImagePlan(name="pet", tracers=F18, **SUV)
CT = ImagePlan(
    name="ct", modality="CT", unit=Unit.HOUNSFIELD, fill=-1024.0,
    normalisation=Normalisation(kind="window", scale=1000.0, low=-1024.0, high=2000.0),
)  # fmt: skip
MR = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
PARTS = tuple(
    ImagePlan(name=f"minutes-{a}", tracers=F18, optional=k > 0, **SUV)
    for k, a in enumerate(("00-10", "10-20", "20-30"))
)
LATE = ImagePlan(name="late", tracers=F18, **SUV)
INFLUX = ImagePlan(
    name="influx", modality="PT", unit=Unit.INFLUX, normalisation=Normalisation(kind="linear", scale=0.03), tracers=F18
)
SEEN = ConditionPlan(name="seen_min", offset=20.0, scale=10.0)
PLASMA = ConditionPlan(name="plasma_integral", kind="logarithm", offset=4.6, scale=0.4, optional=True)
TRACERS = tuple(
    ConditionPlan(name=name, kind="category", categories=("FDG", "early-florbetapir", "florbetapir"))
    for name in ("source_tracer", "target_tracer")
)


def ratio(**references):
    """An image of ratios to a region."""
    return ImagePlan(
        name="ratio", modality="PT", unit=Unit.SUVR, normalisation=Normalisation(kind="linear", scale=2.0),
        references=tuple(references.items()),
    )  # fmt: skip


BODY = {"settings.length_mm": 250.0, "settings.voxel_mm": 8.0}
SHORT = {"settings.length_mm": 250.0, "draws.voxel_mm": [8.0]}
BRAIN = {"settings.voxel_mm": 8.0}
HEAD = {
    "settings.voxel_mm": 6.0, "settings.length_mm": 144.0, "draws.seen_min": [20.0], "draws.count_fraction": [1.0],
    "settings.frames_s": [300.0, 300.0, 300.0, 300.0, 600.0, 900.0, 900.0],
}  # fmt: skip
DEMOS = {
    "ct-to-pet": ({"sources": (CT,), "target": PET}, "cvae", BODY | {"draws.lesions": [6]}),
    "pet-to-ct": ({"sources": (PET,), "target": CT}, "unet", SHORT),
    "pet-to-mr": ({"sources": (PET,), "target": MR}, "unet", SHORT),
    "mr-to-amyloid": (
        {"sources": (MR,), "target": ratio(florbetapir="whole cerebellum")},
        "subject-vae",
        BRAIN,
    ),
    "tracer-to-tracer": (
        {
            "sources": (PET, MR), "target": ratio(FDG="pons", florbetapir="whole cerebellum"), "conditions": TRACERS,
            "tracer_pairs": (("FDG", "florbetapir"),),
        },
        "subject-vae",
        BRAIN | {"choices": [{"tracer": "FDG", "target_tracer": "florbetapir"}]},
    ),
    "early-to-late": (
        {"sources": PARTS, "target": LATE, "conditions": (SEEN,), "target_time": "30 to 60 min"},
        "unet",
        HEAD,
    ),
    "early-to-influx": ({"sources": PARTS, "target": INFLUX, "conditions": (SEEN, PLASMA)}, "unet", HEAD),
}  # fmt: skip


LONG = ("ct-to-pet", "pet-to-ct", "pet-to-mr")
"""Of bodies, half a minute each; what is measured of them is tested below, too."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in DEMOS])
def test_the_demonstration_has_every_number_of_the_proof(tmp_path, name):
    images, family, changes = DEMOS[name]
    plan = make_plan(
        **{
            "conditions": (),
            "task": name,
            "spacing_mm": (8.0, 8.0, 8.0),
            "patch": (16, 64, 64) if name in LONG else (8, 16, 16),
            **images,
        }
    )
    interval = IntervalCard(
        coverage=0.9, n_samples=4, voxel_factor=2.0, voxel_floor=0.1, region_factor=2.0, region_floor=1.0, n_cases=9,
        n_regions=9,
    )  # fmt: skip
    draws = family != "unet"
    card = make_method_card(
        plan, family=family, interval=interval if draws else None,
        envelope=envelope_from_plan(plan, tracers=(FDG,) if plan.sources[0].modality == "PT" else ()),
    )  # fmt: skip
    save_method_package(tmp_path / "tiny-method", method=tiny_method(card), card=card)
    out, task = tmp_path / "out", load_task(name)
    result = run_task_demo(task, out, model=str(tmp_path / "tiny-method"), changes=changes)
    known = [p for p in task.proof if p.measure not in OF_FITTED]  # the others need a baseline that was trained
    missing = [p.heading for p in known if result.metrics.value(p.measure, mask=p.mask) is None]
    assert missing == []
    page = (out / "report.html").read_text(encoding="utf-8")
    for k in range(1, 4):
        assert (f"sample {k}" in page) is draws
    assert ("interval coverage" in page) is draws
    kept = json.loads((out / "metrics.json").read_text())
    assert (set(OF_INTERVALS) <= set(kept["definitions"])) is draws


@pytest.mark.parametrize("name", LONG)
def test_every_number_of_a_body_is_measured(tmp_path, name):
    task = load_task(name)
    study = simulate_task_study(task, plan_task_studies(task, 1, 9_500, DEMOS[name][2])[0], tmp_path)[0]
    metrics = evaluate_task_study(study, {"prediction": study.target}, read(next(iter(study.sources.values()))))
    known = [p for p in task.proof if p.measure not in OF_INTERVALS]
    assert [p.heading for p in known if metrics.value(p.measure, mask=p.mask) is None] == []
