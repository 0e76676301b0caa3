import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.dynamic_tracers import TRACERS, dynamic_tracer
from nmsynth.physics.input_function import InputFunction, ParentFraction, fine_minutes
from nmsynth.physics.kinetic_regions import REGION_OF_LABEL, regions_of_labels
from nmsynth.physics.kinetics import RateConstants, frame_means, tissue_curve
from nmsynth.physics.phantom.organs import UPTAKE
from nmsynth.physics.rate_constants import (
    AMYLOID,
    DOPA_INFLUX_PER_MIN,
    FDG,
    FDG_ORGANS,
    FDG_SPREAD,
    amyloid_rates,
    dopa_rates,
    metabolic_rates,
    subject_rates,
)


def curve_of(rates, tracer, minutes):
    blood = dynamic_tracer(tracer).blood
    return tissue_curve(rates, blood.plasma(minutes), minutes, whole_blood=blood.whole_blood(minutes))


def test_fdg_of_cortex_and_white_matter_is_huangs():
    grey, white = FDG["cortex"], FDG["white matter"]
    assert (grey.k1, grey.k2, grey.k3, grey.k4) == (0.102, 0.130, 0.062, 0.0068)
    assert (white.k1, white.k2, white.k3, white.k4) == (0.054, 0.109, 0.045, 0.0058)


@pytest.mark.parametrize("organ", [o for o in FDG_ORGANS if o in UPTAKE])
def test_fdg_of_organs_has_the_uptake_of_the_static_table_after_an_hour(organ):
    value = curve_of(FDG_ORGANS[organ], "FDG", fine_minutes(60.0))[-1]
    assert value == pytest.approx(UPTAKE[organ].median, rel=0.05)


@pytest.mark.parametrize(
    ("tracer", "ratios"), [("florbetaben", (1.021, 1.532, 2.042)), ("flutemetamol", (1.020, 1.397, 1.774))]
)
def test_cortex_has_the_binding_that_its_source_states_for_the_reference_model(tracer, ratios):
    # BP 0.021, 0.532 and 1.042 of florbetaben, 0.020, 0.397 and 0.774 of flutemetamol in Heeman et al.
    for severity, ratio in zip((0.0, 0.5, 1.0), ratios, strict=True):
        rates = amyloid_rates(tracer, severity)
        found = rates["cortex"].distribution_volume / rates["cerebellar grey"].distribution_volume
        assert found == pytest.approx(ratio, abs=0.001)


@pytest.mark.parametrize(("binding", "published"), [(0.19, 1.28), (0.23, 1.34), (0.29, 1.43)])
def test_florbetapir_ratio_of_uptake_is_the_published_one_for_its_binding(binding, published):
    t, minutes = AMYLOID["florbetapir"], fine_minutes(90.0)
    target = curve_of(RateConstants(t.k1, t.k2, binding * t.k4, t.k4, 0.05), "florbetapir", minutes)
    reference = curve_of(t.reference, "florbetapir", minutes)
    ratio = frame_means(target, minutes, [(50.0, 70.0)]) / frame_means(reference, minutes, [(50.0, 70.0)])
    assert ratio[0] == pytest.approx(published, rel=0.03)


def test_plaques_raise_cortex_and_leave_the_cerebellum():
    low, high = amyloid_rates("florbetaben", 0.2), amyloid_rates("florbetaben", 0.9)
    assert high["cortex"].distribution_volume > low["cortex"].distribution_volume
    assert high["occipital"].distribution_volume < high["cortex"].distribution_volume
    assert high["cerebellar grey"] == low["cerebellar grey"]
    assert high["white matter"] == low["white matter"]


def test_dopa_influx_is_the_published_one():
    for severity, column in ((0.0, 0), (1.0, 1)):
        rates = dopa_rates(severity)
        for region, published in DOPA_INFLUX_PER_MIN.items():
            r = rates[region]
            assert r.k2 * r.k3 / (r.k2 + r.k3) == pytest.approx(published[column], rel=1e-9)
    assert DOPA_INFLUX_PER_MIN["putamen"] == (0.0104, 0.0046)


def test_unchanged_florbetaben_in_plasma_has_the_area_measured_in_volunteers():
    minutes = fine_minutes(600.0)
    area = np.trapezoid(dynamic_tracer("florbetaben").blood.plasma(minutes), minutes)
    assert 0.35 < area / 70.0 < 0.55  # SUV min over litres of a body of 70 kg: min/L of the dose


def test_metabolites_leave_plasma_and_stay_in_blood():
    parent = ParentFraction(0.1, 10.0)
    whole, unchanged = InputFunction(), InputFunction(parent=parent)
    minutes = fine_minutes(60.0)
    assert parent.at(0.0) == 1.0
    assert parent.at(10.0) == pytest.approx(0.55)
    assert np.allclose(unchanged.plasma(minutes), whole.plasma(minutes) * parent.at(minutes))
    assert np.array_equal(unchanged.whole_blood(minutes), whole.whole_blood(minutes))


def test_inputs_and_rates_vary_with_the_seed_alone():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        return dynamic_tracer("florbetapir").blood.varied(rng), subject_rates(dopa_rates(0.5), rng)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_fdg_varies_between_subjects_as_volunteers_did_and_regions_of_one_together():
    subjects = [metabolic_rates(FDG, np.random.default_rng(k)) for k in range(2000)]
    cortex = np.log([[getattr(s["cortex"], k) for k in ("k1", "k2", "k3", "k4")] for s in subjects])
    assert cortex.std(axis=0) == pytest.approx(FDG_SPREAD, rel=0.05)
    assert FDG_SPREAD[:3] == (0.15, 0.12, 0.30)  # of Heiss et al.
    influx = [np.log([s[r].influx for s in subjects]) for r in ("cortex", "putamen")]
    assert influx[0].std() == pytest.approx(0.19, abs=0.01)
    assert np.corrcoef(influx)[0, 1] == pytest.approx(0.5, abs=0.06)
    assert np.exp(np.median(influx[0])) == pytest.approx(FDG["cortex"].influx, rel=0.02)


def test_ratios_to_the_reference_vary_less_between_subjects_than_delivery():
    subjects = [subject_rates(amyloid_rates("florbetaben", 0.5), np.random.default_rng(k)) for k in range(200)]
    delivery = np.array([s["cortex"].k1 for s in subjects])
    ratio = np.array([s["cortex"].distribution_volume / s["cerebellar grey"].distribution_volume for s in subjects])
    assert 0.08 < delivery.std() / delivery.mean() < 0.15
    assert ratio.std() / ratio.mean() < 0.07
    assert ratio.mean() == pytest.approx(1.532, rel=0.02)


@pytest.mark.parametrize("name", TRACERS)
def test_every_tracer_knows_every_region_of_a_label_map_and_frames_that_hold_its_windows(name):
    tracer = TRACERS[name]
    rates = tracer.rates(0.0)
    assert {"other", "air", "fat", "pons"} | set(REGION_OF_LABEL.values()) <= set(rates)
    end = sum(tracer.frames_s) / 60
    assert tracer.early_min[1] < tracer.late_min[0]
    assert tracer.late_min[1] <= end


def test_labels_become_regions():
    indices, names = regions_of_labels(np.array([[0, 3, 1013], [2008, 47, 515]]))
    assert [[names[k] for k in row] for row in indices] == [
        ["outside", "cortex", "occipital"],
        ["cortex", "cerebellar grey", "bone"],
    ]
    assert REGION_OF_LABEL[12] == REGION_OF_LABEL[51] == "putamen"


def test_place_tells_occipital_cortex_and_the_pons():
    labels = np.zeros((40, 44, 36), dtype=np.int32)
    labels[4:36, 4:40, 2:18], labels[4:36, 4:40, 18:34] = 3, 42
    labels[8:32, 8:36, 6:18], labels[8:32, 8:36, 18:30] = 2, 41
    labels[0:9, 20:26, 15:21] = 16
    indices, names = regions_of_labels(labels, (4.0, 4.0, 4.0))
    assert {"occipital", "cortex", "pons", "brainstem"} <= set(names)
    rows = np.argwhere(indices == names.index("occipital"))[:, 1]
    assert rows.mean() > np.argwhere(indices == names.index("cortex"))[:, 1].mean() + 8
    pons, stem = (np.argwhere(indices == names.index(n))[:, 0] for n in ("pons", "brainstem"))
    assert stem.min() < pons.min() <= pons.max() < stem.max()


def test_what_is_unknown_is_refused():
    with pytest.raises(InputError, match="one of FDG, florbetaben"):
        dynamic_tracer("raclopride")
    with pytest.raises(InputError, match="FreeSurfer numbering"):
        regions_of_labels(np.array([3, 999]))
    with pytest.raises(InputError, match="FreeSurfer numbering"):
        regions_of_labels(np.array([3.5]))
    with pytest.raises(InputError, match="region of the brain"):
        regions_of_labels(np.array([0, 515]))
    with pytest.raises(InputError, match="between 0 and 1"):
        amyloid_rates("florbetaben", 1.5)
    with pytest.raises(InputError, match="amyloid are known for florbetaben"):
        amyloid_rates("FDG", 0.0)
    with pytest.raises(InputError, match="severity 0"):
        dynamic_tracer("FDG").rates(0.5)
    with pytest.raises(InputError, match="parent fraction"):
        ParentFraction(1.2, 5.0)
