"""Attenuation of a subject's tissues: CT numbers of the tables, lung, bone, and what differs between subjects."""

import numpy as np
import pytest

from nmsynth.physics.materials import hu_from_mu
from nmsynth.physics.phantom import Grid, LesionPlan, Organ, Phantom, whole_body_patient
from nmsynth.physics.tissue_density import SOFT_HU, TissueDensities, with_tissue_densities


def _blocks(labels, mu, family="whole_body"):
    """Phantom of one voxel a value, along y."""
    shape = (1, len(labels), 1)
    grid = Grid(shape, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    zeros = np.zeros(shape, np.float32)
    painted = np.array(mu, np.float32).reshape(shape)
    numbers = np.array(labels, np.uint8).reshape(shape)
    return Phantom(grid, zeros, painted, numbers, zeros.astype(np.uint8), (), 70.0, 1.7, "F", 0, family)


def _hu(phantom, tissues):
    return hu_from_mu(with_tissue_densities(phantom, tissues).mu_map).ravel()


def test_painted_organs_get_the_ct_number_of_the_table():
    organs = [Organ.FAT, Organ.MUSCLE, Organ.LIVER, Organ.SPLEEN, Organ.KIDNEY, Organ.BLOOD, Organ.CSF]
    mu = [0.090, 0.096, 0.099, 0.098, 0.098, 0.101, 0.096]
    found = _hu(_blocks(organs, mu), TissueDensities.mean())
    assert found == pytest.approx([SOFT_HU[o][0] for o in organs], abs=3.0)


def test_air_stays_air_and_edges_stay_between():
    found = _hu(_blocks([Organ.OUTSIDE, Organ.AIR, Organ.FAT], [0.0, 0.0005, 0.045]), TissueDensities.mean())
    assert found[0] == -1000
    assert found[1] < -990
    assert found[2] == pytest.approx(-550, abs=3)


def test_bone_follows_its_density():
    labels, mu = [Organ.BONE, Organ.MARROW], [0.15, 0.113]
    thin, mean, dense = (
        _hu(_blocks(labels, mu), TissueDensities(TissueDensities.mean().soft_hu, bone_density=f))
        for f in (0.8, 1.0, 1.2)
    )
    assert (thin < mean).all()
    assert (mean < dense).all()
    assert mean == pytest.approx([1018, 170], abs=20)
    assert dense[0] - mean[0] == pytest.approx(0.2 * (0.15 - 0.1008) / 5.1e-5, rel=0.02)


def test_lung_is_densest_at_the_back_and_ends_in_soft_tissue():
    tissues = TissueDensities(TissueDensities.mean().soft_hu, lung_texture_hu=0.0, lung_gradient_hu_per_cm=7.0)
    labels, mu = [Organ.LUNG] * 101, [0.030] * 100 + [0.096]
    found = _hu(_blocks(labels, mu), tissues)
    assert found[0] == pytest.approx(-750.0, abs=1)
    assert found[50] - found[0] == pytest.approx(70.0, abs=1)
    assert found[100] == pytest.approx(50.0, abs=3)
    denser = _hu(_blocks([Organ.LUNG], [0.036]), tissues)
    assert denser[0] == pytest.approx(-700.0, abs=1)


def test_clutter_takes_the_tissue_that_it_lies_in():
    found = _hu(_blocks([Organ.CLUTTER] * 3, [0.030, 0.090, 0.096]), TissueDensities.mean())
    assert -900 < found[0] < -600
    assert found[1:] == pytest.approx([-100, 50], abs=3)


def test_subjects_differ_and_a_seed_is_one_subject():
    assert TissueDensities.draw(3) == TissueDensities.draw(3) != TissueDensities.draw(4)
    drawn = [TissueDensities.draw(seed) for seed in range(200)]
    liver = [t.soft_hu[Organ.LIVER] for t in drawn]
    assert np.mean(liver) == pytest.approx(56.0, abs=2.0)
    assert np.std(liver) == pytest.approx(7.0, rel=0.2)
    assert np.std([np.log(t.bone_density) for t in drawn]) == pytest.approx(0.12, rel=0.2)
    assert drawn[0].to_json()["soft_hu"]["liver"] == round(liver[0], 1)


def test_a_slab_of_a_patient_is_the_patient():
    patient = whole_body_patient(2, lesions=LesionPlan(count=0))
    tissues = TissueDensities.draw(2)
    z = patient.frame.z(0.72)
    whole = Grid.centred((8, 40, 40), (10.0, 10.0, 10.0), z)
    part = Grid.centred((3, 40, 40), (10.0, 10.0, 10.0), z + 40.0)
    one, other = (with_tissue_densities(patient.render(g), tissues).mu_map for g in (whole, part))
    assert np.allclose(one[4:7], other, atol=1e-6)


def test_organs_of_a_patient_have_plausible_ct_numbers():
    patient = whole_body_patient(5, lesions=LesionPlan(count=0))
    grid = Grid.centred((30, 48, 48), (10.0, 10.0, 10.0), patient.frame.z(0.60))
    phantom = patient.render(grid)
    hu = hu_from_mu(with_tissue_densities(phantom, TissueDensities.draw(5)).mu_map)
    for organ, low, high in ((Organ.LUNG, -900, -600), (Organ.FAT, -130, -60), (Organ.MUSCLE, 20, 80),
                             (Organ.LIVER, 30, 85), (Organ.BLOOD, 20, 65), (Organ.MARROW, 100, 450)):  # fmt: skip
        assert low < np.median(hu[phantom.labels == organ]) < high, organ
