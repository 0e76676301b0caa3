"""CT, attenuation and MR of one subject: one grid, one anatomy, and what differs is said."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.anatomical_images import AnatomicalSettings, anatomical_images, anatomical_subject
from nmsynth.physics.couch import Couch
from nmsynth.physics.ct_image import CtSettings
from nmsynth.physics.materials import mu_at_energy, mu_from_hu
from nmsynth.physics.mr_image import MrSettings
from nmsynth.physics.phantom import (
    Grid,
    LesionPlan,
    WholeBodySettings,
    from_brain_labels,
    from_organ_labels,
    uniform_cylinder,
    whole_body_patient,
)

PATIENT = whole_body_patient(4, lesions=LesionPlan(count=0))
LOW = PATIENT.frame.z(0.66)
CLEAN = CtSettings(noise_hu=0.0, resolution_mm=0.0)


def _scan(n_z=8, n=44, voxel_mm=10.0, low=LOW):
    edge = -(n - 1) / 2 * voxel_mm
    affine = affine_from_axes(spacing_mm=(voxel_mm,) * 3, origin_mm=(edge, edge, low))
    return Volume(array=np.zeros((n_z, n, n), np.float32), affine=affine, unit=Unit.BQML, modality="PT")


def _images(settings, scan=None, seed=4, render=PATIENT.render):
    scan = scan or _scan()
    low = float(scan.affine[2, 3])
    high = low + scan.shape[0] * scan.spacing_mm[0]
    field_mm = scan.shape[1] * scan.spacing_mm[1]
    subject = anatomical_subject(render, settings, seed=seed, z_range_mm=(low, high), field_mm=field_mm)
    return subject, anatomical_images(subject, scan)


def test_images_share_one_grid_over_the_scan_and_say_what_they_are():
    scan = _scan()
    _, images = _images(AnatomicalSettings(mr=MrSettings()), scan)
    for volume, unit, modality in (
        (images.ct, Unit.HOUNSFIELD, "CT"),
        (images.mu_map, Unit.PER_CENTIMETRE, "CT"),
        (images.mr, Unit.RELATIVE, "MR"),
    ):
        assert (volume.unit, volume.modality) == (unit, modality)
        assert volume.provenance.simulated
        assert volume.shape == (8, 88, 88)
        assert volume.spacing_mm == (10.0, 5.0, 5.0)
        # two pixels for each of the scan's, within the same borders
        assert volume.affine @ (0, 0.5, 0.5, 1) == pytest.approx(scan.affine @ (0, 0, 0, 1))
        assert volume.affine @ (7, 86.5, 86.5, 1) == pytest.approx(scan.affine @ (7, 43, 43, 1))


@pytest.mark.parametrize("energy_kev", [140.5, 208.4, 511.0])
def test_ct_gives_back_the_attenuation_that_is_scanned(energy_kev):
    _, images = _images(AnatomicalSettings(ct=CLEAN, couch=Couch()))
    found = mu_from_hu(images.ct.array, energy_kev=energy_kev)
    assert np.allclose(found, mu_at_energy(images.mu_map.array, energy_kev), rtol=0.01, atol=1e-4)


def test_scanned_phantom_has_the_attenuation_of_the_images():
    subject, images = _images(AnatomicalSettings(ct=CLEAN))
    grid = Grid((8, 88, 88), (10.0, 5.0, 5.0), (LOW, -217.5, -217.5))
    scanned = subject.render(grid).mu_map
    inside = ndimage.binary_erosion(images.mu_map.array > 0.08, iterations=2)
    assert np.abs(scanned - images.mu_map.array)[inside].mean() < 1e-3
    painted = PATIENT.render(grid).mu_map
    assert np.abs(painted - images.mu_map.array)[inside].mean() > 2e-3


def test_couch_is_in_ct_and_attenuation_but_not_in_mr():
    with_couch = _images(AnatomicalSettings(ct=CLEAN, mr=MrSettings(snr=0.0), couch=Couch()))[1]
    without = _images(AnatomicalSettings(ct=CLEAN, mr=MrSettings(snr=0.0)))[1]
    added = with_couch.mu_map.array - without.mu_map.array
    assert added.max() > 0.01
    top = with_couch.facts["couch"]["top_mm"]
    y_mm = with_couch.mu_map.affine[1, 3] + 5.0 * np.nonzero(added > 0)[1]
    assert y_mm.min() > top - 45.0
    assert (with_couch.ct.array - without.ct.array)[added > 0.01].min() > 50
    assert np.array_equal(with_couch.mr.array, without.mr.array)


def test_misregistration_moves_ct_but_neither_attenuation_nor_couch():
    still = _images(AnatomicalSettings(ct=CLEAN, couch=Couch()))[1]
    moved = _images(AnatomicalSettings(ct=CLEAN, couch=Couch(), misregistered=True))[1]
    assert np.array_equal(still.mu_map.array, moved.mu_map.array)
    assert (still.ct.array != moved.ct.array).any()
    table = still.mu_map.array[:, 80:].max(axis=(0, 2)) > 0.005
    assert np.array_equal(still.ct.array[:, 80:][:, table], moved.ct.array[:, 80:][:, table])
    stated = moved.facts["misregistration"]["ct"]
    assert 0 < stated["mean_mm"] <= stated["max_mm"] < 40
    assert still.facts["misregistration"] == {}


@pytest.mark.parametrize("arms", ["up", "down"])
def test_diaphragm_and_shoulders_are_found_near_the_scan(arms):
    patient = whole_body_patient(4, lesions=LesionPlan(count=0), settings=WholeBodySettings(arms=arms))
    frame = patient.frame
    subject = anatomical_subject(
        patient.render, AnatomicalSettings(misregistered=True), seed=1, z_range_mm=(frame.z(0.7), frame.z(0.8)),
        field_mm=600.0,
    )  # fmt: skip
    assert frame.z(0.66) < subject.diaphragm_mm < frame.z(0.74)
    if arms == "down":
        assert subject.shoulder_mm is None
    else:
        assert frame.z(0.81) < subject.shoulder_mm < frame.z(0.90)


def test_stated_shift_is_the_measured_one():
    """A sphere-like head, displaced without breathing: its centre moves by what the record says."""
    labels = np.zeros((30, 30, 30), np.int32)
    z, y, x = np.mgrid[:30, :30, :30] - 14.5
    labels[z**2 + y**2 + x**2 < 121] = 2
    scan = _scan(n_z=15, n=16, low=0.0)

    def render(grid):
        return from_brain_labels(labels, (5.0, 5.0, 5.0), seed=1, grid=grid)

    still, moved = (
        _images(AnatomicalSettings(ct=CLEAN, misregistered=m), scan, seed=7, render=render)[1] for m in (False, True)
    )
    centres = [np.array(ndimage.center_of_mass(i.ct.array + 1000.0)) * (10.0, 5.0, 5.0) for i in (still, moved)]
    assert moved.facts["misregistration"]["ct"]["breathing_mm"] == 0
    # the smooth field of 1 mm and the turn about a centre 2.5 mm off are the rest
    assert centres[1] - centres[0] == pytest.approx(moved.facts["misregistration"]["ct"]["shift_mm"], abs=0.8)


def test_one_seed_gives_one_set_and_another_seed_another():
    settings = AnatomicalSettings(mr=MrSettings(), misregistered=True)
    scan = _scan(n_z=3)
    one, same, other = (_images(settings, scan, seed=s)[1] for s in (1, 1, 2))
    for name in ("ct", "mu_map", "mr"):
        assert getattr(one, name).sha256 == getattr(same, name).sha256
        assert getattr(one, name).sha256 != getattr(other, name).sha256
    assert one.facts == same.facts


def test_object_keeps_its_attenuation():
    scan = _scan(n_z=6, n=30, low=-30.0)
    settings = AnatomicalSettings(ct=CLEAN, tissues=False)
    _, images = _images(settings, scan, render=lambda g: uniform_cylinder(g, centre_mm=(0.0, 0.0, 0.0)))
    assert images.facts["tissues"] is None
    assert images.ct.array[:, 25:35, 25:35] == pytest.approx(0.0, abs=0.1)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="neither was asked for"):
        AnatomicalSettings(ct=None, misregistered=True)
    subject, _ = _images(AnatomicalSettings(ct=CLEAN), _scan(n_z=2))
    scan = _scan(n_z=2)
    affine = scan.affine.copy()
    affine[:3, :3] = np.roll(affine[:3, :3], 1, axis=0)
    with pytest.raises(InputError, match="axial scan"):
        anatomical_images(subject, replace(scan, affine=affine))


def test_simulated_ct_of_a_real_torso_is_near_its_own(shared_data):
    """Organs whose number hardly depends on the patient, within 25 HU; the same labels, their CT left out."""
    from nmsynth.data.families import read_upright
    from nmsynth.physics.materials import hu_from_mu
    from nmsynth.physics.tissue_density import TissueDensities, with_tissue_densities

    labels, spacing = read_upright(shared_data / "torso_ct" / "organ_labels.nii.gz", unit="1", modality="CT")
    real, _ = read_upright(shared_data / "torso_ct" / "ct.nii.gz", unit="HU", modality="CT")
    numbers = labels.astype(np.int32)[30:90]
    real = real[30:90]
    phantom = from_organ_labels(numbers, spacing, seed=0)
    made = hu_from_mu(with_tissue_densities(phantom, TissueDensities.mean()).mu_map)
    for name, members, limit in (("liver", [5], 25), ("spleen", [1], 25), ("aorta", [52], 25), ("vertebrae", [28], 60)):
        mask = ndimage.binary_erosion(np.isin(numbers, members))
        if mask.sum() > 30:
            assert made[mask].mean() == pytest.approx(np.median(real[mask]), abs=limit), name
