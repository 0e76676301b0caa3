import math
from dataclasses import replace

import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import Plan
from nmsynth.core.units import Unit
from nmsynth.data.fingerprint import Fingerprint, ImageStatistics
from nmsynth.data.plan_rules import plan_batch, plan_channels, plan_from_fingerprint, plan_patch
from nmsynth.models.plan_envelope import planned_units


def kind_of(
    modality, unit, *, shape=(100, 128, 128), spacing=(3.0, 4.0, 4.0), percentiles=(0.1, 0.2, 1.0, 4.0, 9.0), n=10
):
    extent = tuple(n * s for n, s in zip(shape, spacing, strict=True))
    return ImageStatistics(
        modality, unit.value, n, n, [spacing] * 3, [shape] * 3, [extent] * 3, percentiles=[list(percentiles)] * 3
    )


PET = kind_of("PT", Unit.SUV_BODY_WEIGHT)
CT = kind_of("CT", Unit.HOUNSFIELD, percentiles=(-900, -100, 40, 300, 1220))
LINEAR = Normalisation(kind="linear")
MR = kind_of("MR", Unit.RELATIVE, percentiles=(5, 50, 300, 650, 900))


def fingerprint(target=PET, sources=None, conditions=None, n_cases=10, regions=True):
    return Fingerprint(n_cases, n_cases, target, sources or {"pet": PET}, conditions or {}, regions)


def test_low_count_pet_is_a_difference_on_one_scale():
    facts = {"count_fraction": ["0.05", "0.5", "1"], "tracer": ["FDG", "FDG", "FDG"]}
    plan = plan_from_fingerprint(fingerprint(conditions=facts))
    assert plan.residual
    assert plan.sources[0].normalisation == plan.target.normalisation
    assert (plan.target.normalisation.kind, plan.target.normalisation.scale) == ("linear", 9.0)
    assert plan.target.normalisation.offset == 0.0
    assert [c.name for c in plan.conditions] == ["count_fraction"]  # a tracer that is always one tells nothing
    assert abs(plan.conditions[0].encode("0.05")[0]) < 2
    assert plan.schedule.steps == 2500
    assert (plan.schedule.region_share, plan.schedule.outside_share) == (0.33, 0.05)
    assert plan.windows == "patch"


def test_what_all_images_state_is_planned():
    pet = kind_of("PT", Unit.SUV_BODY_WEIGHT)
    pet.corrected, pet.tracers = [False, False], [("F-18", "FDG")]
    planned = plan_from_fingerprint(fingerprint(sources={"pet": pet})).sources[0]
    assert (planned.attenuation_corrected, planned.tracers) == (False, (("F-18", "FDG"),))
    pet.corrected = [False, True]
    assert plan_from_fingerprint(fingerprint(sources={"pet": pet})).sources[0].attenuation_corrected is None


def test_ct_and_mr_keep_their_scales():
    plan = plan_from_fingerprint(fingerprint(target=CT, sources={"mr": MR, "pet": PET}, regions=False))
    assert [s.name for s in plan.sources] == ["mr", "pet"]
    window = plan.target.normalisation
    assert (window.kind, window.low, window.high, window.scale) == ("window", -1024.0, 2000.0, 1000.0)
    assert plan.target.fill == -1024.0
    robust = plan.sources[0].normalisation
    assert (robust.kind, robust.offset, robust.scale) == ("robust", 0.0, 650.0)
    assert not plan.residual
    assert plan.schedule.region_share == 0.0
    assert plan.task == "mr-pet-to-ct"


def spect(unit, level=0.5):
    """Statistics of SPECT whose 99.5th percentile is 9 and whose level is the same in every image."""
    kind = kind_of("NM", unit)
    kind.levels = [level] * 3
    return kind


def test_spect_is_planned_by_the_level_of_each_image():
    plan = plan_from_fingerprint(fingerprint(target=spect(Unit.BQML), sources={"spect": spect(Unit.BQML)}))
    assert plan.residual
    assert (plan.target.normalisation.kind, plan.target.normalisation.scale) == ("level", 18.0)
    assert plan.target_level_of_source  # what attenuation takes is learned
    counts = plan_from_fingerprint(fingerprint(target=spect(Unit.COUNTS), sources={"spect": spect(Unit.COUNTS)}))
    assert not counts.target_level_of_source  # an eighth of the counts is not to be made eight times brighter
    assert set(planned_units(counts.sources[0])) == {Unit.COUNTS, Unit.BQML, Unit.RELATIVE}


def test_a_source_of_unknown_scale_leaves_the_target_without_one():
    plan = plan_from_fingerprint(fingerprint(target=spect(Unit.BQML), sources={"spect": spect(Unit.RELATIVE)}))
    assert (plan.sources[0].unit, plan.target.unit) == (Unit.RELATIVE, Unit.RELATIVE)
    assert plan.residual
    assert not plan.target_level_of_source


def test_pet_without_a_scale_is_planned_by_its_level_and_gives_suv_as_they_are():
    uncorrected = kind_of("PT", Unit.RELATIVE)
    uncorrected.levels = [0.5] * 3
    plan = plan_from_fingerprint(fingerprint(sources={"pet": uncorrected}))  # the tail of the target is heavy
    assert (plan.sources[0].normalisation.kind, plan.sources[0].normalisation.scale) == ("level", 18.0)
    assert (plan.target.normalisation.kind, plan.target.normalisation.scale) == ("linear", 9.0)
    assert not plan.residual
    assert not plan.target_level_of_source


def test_what_is_calibrated_alike_is_learned_on_the_scale_of_the_source():
    uncorrected = kind_of("PT", Unit.RELATIVE)
    uncorrected.levels = [0.5] * 3
    plan = plan_from_fingerprint(fingerprint(sources={"pet": uncorrected}), same_calibration=True)
    assert plan.residual
    assert plan.target_level_of_source
    assert (plan.target.unit, plan.target.normalisation.kind) == (Unit.RELATIVE, "level")
    with pytest.raises(
        InputError, match=r"can have its calibration; found CT in HU and PT. Leave same_calibration out"
    ):
        plan_from_fingerprint(fingerprint(sources={"ct": CT}), same_calibration=True)
    with pytest.raises(ValueError, match="normalised by that source's level"):
        Plan(
            **{
                **plan.model_dump(),
                "residual": False,
                "target": plan.target.model_copy(update={"normalisation": LINEAR}),
            }
        )


def test_spect_from_another_modality_has_no_level_to_come_back_to():
    plan = plan_from_fingerprint(fingerprint(target=spect(Unit.BQML), sources={"ct": CT}))
    assert plan.target.normalisation.kind in ("linear", "asinh")


def test_hot_spots_are_compressed_where_another_modality_predicts_them():
    plan = plan_from_fingerprint(fingerprint(sources={"ct": CT}))  # 99.5th percentile 9, median 1
    assert (plan.target.normalisation.kind, plan.target.normalisation.scale) == ("asinh", 9.0)
    assert plan.target.normalisation.knee == 1.0
    even = kind_of("PT", Unit.SUV_BODY_WEIGHT, percentiles=(0.1, 0.2, 1.5, 4.0, 9.0))
    assert plan_from_fingerprint(fingerprint(target=even, sources={"ct": CT})).target.normalisation.kind == "linear"
    nothing = kind_of("PT", Unit.SUV_BODY_WEIGHT, percentiles=(0, 0, 0, 0, 9.0))
    assert plan_from_fingerprint(fingerprint(target=nothing, sources={"ct": CT})).target.normalisation.kind == "linear"


def test_source_of_the_targets_kind_comes_first_and_a_rare_one_is_optional():
    rare = kind_of("CT", Unit.HOUNSFIELD, n=4)
    plan = plan_from_fingerprint(fingerprint(sources={"ct": rare, "pet": PET}))
    assert [(s.name, s.optional) for s in plan.sources] == [("pet", False), ("ct", True)]


def test_a_source_that_every_case_has_comes_first_and_one_there_must_be():
    rare = kind_of("PT", Unit.SUV_BODY_WEIGHT, n=4)
    plan = plan_from_fingerprint(fingerprint(sources={"early": rare, "late": PET, "ct": CT}))
    assert [(s.name, s.optional) for s in plan.sources] == [("late", False), ("ct", False), ("early", True)]
    assert plan.residual
    with pytest.raises(InputError, match=r"must be there in every case; of 10 cases found early in 4, ct in 4. Leave"):
        plan_from_fingerprint(fingerprint(sources={"early": rare, "ct": kind_of("CT", Unit.HOUNSFIELD, n=4)}))


def aged(*values):
    """Fingerprint of ten cases that each state an age, but for those that say nothing."""
    said = [(v, f"c{k}") for k, v in enumerate(values) if v]
    found = fingerprint(conditions={"age": [v for v, _ in said]})
    return replace(found, stated_by={"age": [c for _, c in said]})


def test_a_condition_that_some_cases_leave_unsaid_is_optional():
    ages = [str(60 + k) for k in range(10)]
    (age,) = plan_from_fingerprint(aged(*ages)).conditions
    assert (age.kind, age.optional) == ("number", False)
    (age,) = plan_from_fingerprint(aged("", *ages[1:])).conditions
    assert (age.kind, age.optional, age.width) == ("number", True, 2)
    (sex,) = plan_from_fingerprint(aged("", *("M" * 5), *("F" * 4))).conditions
    assert (sex.kind, sex.categories, sex.optional) == ("category", ("F", "M"), True)


def test_tracers_of_source_and_target_are_planned_in_pairs():
    told = {"source_tracer": ["FDG", "FDG", "florbetapir"], "target_tracer": ["florbetapir", "early", "FDG"]}
    stated = {name: ["c1", "c2", "c3"] for name in told}
    plan = plan_from_fingerprint(Fingerprint(3, 3, PET, {"pet": PET}, told, False, stated))
    assert plan.tracer_pairs == (("FDG", "early"), ("FDG", "florbetapir"), ("florbetapir", "FDG"))


@pytest.mark.parametrize("slip", ["sixty", "6 1", "inf"])
def test_a_slip_among_numbers_is_no_category(slip):
    message = f"'age' mostly is a number, and that of case 'c3' is '{slip}'. Correct it"
    with pytest.raises(InputError, match=message):
        plan_from_fingerprint(aged("60", "61", "62", slip, *("70" for _ in range(6))))


def test_few_slices_are_planned_one_by_one():
    thin = kind_of("PT", Unit.SUV_BODY_WEIGHT, shape=(5, 128, 128))
    plan = plan_from_fingerprint(fingerprint(target=thin, sources={"pet": thin}))
    assert (plan.dimensions, plan.patch, plan.context) == ("2d", (1, 128, 128), 1)
    assert plan_from_fingerprint(fingerprint(), dimensions="2.5d").context == 5


def test_slices_with_neighbours_on_a_cpu_and_volumes_on_a_gpu():
    plan = plan_from_fingerprint(fingerprint())
    assert (plan.dimensions, plan.context, plan.patch[0]) == ("2.5d", 5, 1)
    assert math.prod(plan.patch) * plan.schedule.batch <= 8 * 64 * 64
    volume = plan_from_fingerprint(fingerprint(), device="cuda")
    assert (volume.dimensions, volume.context) == ("3d", 1)
    assert plan_from_fingerprint(fingerprint(), dimensions="3d").patch[0] > 1


@pytest.mark.parametrize(
    ("voxels", "spacing", "kind", "most", "expected"),
    [
        ((32, 64, 64), (4, 4, 4), "3d", 32 * 64 * 64, (32, 64, 64)),
        ((20, 30, 40), (4, 4, 4), "3d", 10**9, (16, 24, 40)),
        ((64, 64, 64), (2, 2, 2), "3d", 32**3, (32, 32, 32)),
        ((3, 100, 100), (4, 4, 4), "2d", 10**9, (1, 96, 96)),
        ((3, 4, 4), (4, 4, 4), "3d", 10**9, (8, 8, 8)),
    ],
)
def test_patch_is_as_large_as_image_and_device_allow(voxels, spacing, kind, most, expected):
    assert plan_patch(voxels, spacing, kind=kind, most=most) == expected


def test_network_and_batch_grow_with_patch_and_device():
    assert plan_channels((8, 8, 8), "cpu") == (16, 32)
    assert plan_channels((32, 64, 64), "cpu") == (16, 32, 64, 128)
    assert plan_channels((96, 96, 96), "cuda:0") == (32, 64, 128, 256, 320)
    assert plan_batch((32, 64, 64), "cpu", None) == 2
    assert plan_batch((8, 16, 16), "cpu", None) == 16
    assert plan_batch((1, 64, 64), "cpu", None, kind="2.5d") == 8
    assert plan_batch((96, 96, 96), "cuda", 8 * 10**9) == 2
    assert plan_batch((96, 96, 96), "cuda", 10**9) == 1


def test_plan_of_a_fingerprint_is_the_same_twice():
    assert plan_from_fingerprint(fingerprint()) == plan_from_fingerprint(fingerprint())
