import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import LesionPlan, Organ, whole_body_patient
from nmsynth.physics.phantom.organs import UPTAKE
from nmsynth.physics.phantom.tracers import TRACERS, tracer_named


@pytest.fixture(scope="module")
def by_tracer():
    found = {}
    for name in TRACERS:
        patient = whole_body_patient(5, lesions=LesionPlan(count=0), tracer=name)
        found[name] = patient.render(patient.grid((10.0, 10.0, 10.0)))
    return found


def mean_of(phantom, *organs):
    return float(phantom.activity[np.isin(phantom.labels, organs)].mean())


def test_every_tracer_names_every_structure():
    for tracer in TRACERS.values():
        assert set(tracer.uptake) == set(UPTAKE)
        assert all(u.low <= u.median <= u.high for u in tracer.uptake.values())


def test_anatomy_does_not_depend_on_the_tracer(by_tracer):
    fdg = by_tracer["FDG"]
    for other in by_tracer.values():
        assert np.array_equal(other.mu_map, fdg.mu_map)
        assert (other.labels != fdg.labels).mean() < 1e-3


def test_tracers_go_where_they_should(by_tracer):
    mdp, dotatate, fdg = by_tracer["MDP"], by_tracer["DOTATATE"], by_tracer["FDG"]
    assert mean_of(mdp, Organ.MARROW, Organ.BONE) > 4 * mean_of(mdp, Organ.LIVER)
    assert mean_of(dotatate, Organ.SPLEEN) > 2 * mean_of(dotatate, Organ.LIVER) > 4 * mean_of(dotatate, Organ.BLOOD)
    assert mean_of(fdg, Organ.BRAIN_GREY) > 5 * mean_of(mdp, Organ.BRAIN_GREY)


def test_unknown_tracer_is_refused():
    assert tracer_named("mdp").radionuclide == "Tc-99m"
    with pytest.raises(InputError, match="one of FDG"):
        tracer_named("XYZ")
