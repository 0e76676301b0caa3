"""The independent test set: reproducible, free of the training simulator, and true to what it records."""

import ast
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from benchmarks.independent import IndependentCase, load_case, make_case, save_case
from benchmarks.independent.case import liver_cov
from benchmarks.independent.reconstruction import system_matrix
from benchmarks.independent.scanner import project_by_rotation

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "independent"
TINY = {"n_slices": 16, "n_pixels": 48}


@pytest.fixture(scope="module")
def case() -> IndependentCase:
    return make_case(3, fractions=(0.25, 0.1), n_realisations=2, target_cov=0.03, **TINY)


@pytest.fixture(scope="module")
def lesion_free() -> IndependentCase:
    return make_case(3, fractions=(), lesions=False, target_cov=0.03, **TINY)


def test_imports_nothing_of_the_package():
    allowed = {"__future__", "argparse", "benchmarks", "collections", "dataclasses", "json", "numpy", "pathlib"}
    allowed |= {"scipy", "skimage", "time", "torch", "typing"}
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
    assert {name.split(".")[0] for name in found} <= allowed
    assert all(name.startswith("benchmarks.independent") for name in found if name.startswith("benchmarks"))


def test_same_seed_same_case_and_more_realisations_keep_the_first(case):
    again = make_case(3, fractions=(0.1,), target_cov=0.03, **TINY)
    for name in ("truth", "noise_free", "full", "lesion_labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(case, name))
    np.testing.assert_array_equal(again.scans[0.1][0], case.scans[0.1][0])
    assert not np.array_equal(case.scans[0.1][0], case.scans[0.1][1])
    assert again.lesions == case.lesions


def test_another_seed_is_another_patient(case):
    other = make_case(4, fractions=(), target_cov=0.03, **TINY)
    assert not np.array_equal(other.truth, case.truth)


def test_arrays_share_shape_and_type(case):
    shape = (TINY["n_slices"], TINY["n_pixels"], TINY["n_pixels"])
    for image in (case.truth, case.noise_free, case.full, *case.scans[0.25], *case.scans[0.1]):
        assert image.shape == shape
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
    assert case.liver_mask.dtype == case.body_mask.dtype == bool
    assert case.lesion_labels.dtype == np.uint8
    assert (case.liver_mask & ~case.body_mask).sum() == 0


def test_recorded_contrast_is_that_of_the_truth(case, lesion_free):
    assert case.lesions
    for lesion in case.lesions:
        mask = case.lesion_labels == lesion["index"]
        assert mask.any()
        distance = scipy.ndimage.distance_transform_edt(~mask, sampling=case.spacing_mm)
        ring = (distance >= 7) & (distance <= 14)
        background = lesion_free.truth[ring].mean()
        # The brightest voxel is wholly inside a lesion of 10 mm or more.
        if lesion["diameter_mm"] > 10:
            assert case.truth[mask].max() / background == pytest.approx(lesion["contrast"], rel=0.12)
        assert lesion["suv"] == pytest.approx(lesion["contrast"] * lesion["background_suv"])
        assert 2.5 <= lesion["contrast"] <= 6


def test_lesion_has_the_volume_of_its_diameter(case):
    voxel = np.prod(case.spacing_mm)
    for lesion in case.lesions:
        if lesion["diameter_mm"] > 10:
            volume = (case.lesion_labels == lesion["index"]).sum() * voxel
            assert volume == pytest.approx(np.pi / 6 * lesion["diameter_mm"] ** 3, rel=0.3)


def test_lesion_centres_lie_in_their_labels(case):
    for lesion in case.lesions:
        found = scipy.ndimage.center_of_mass(case.lesion_labels == lesion["index"])
        offset_mm = (np.array(found) - lesion["centre"]) * case.spacing_mm
        assert np.linalg.norm(offset_mm) < max(3.0, 0.2 * lesion["diameter_mm"])


def test_lesion_free_arm_differs_only_in_lesions(case, lesion_free):
    assert lesion_free.lesions == ()
    assert not lesion_free.lesion_labels.any()
    changed = np.abs(case.truth - lesion_free.truth) > 1e-5
    near = scipy.ndimage.binary_dilation(case.lesion_labels > 0, iterations=3)
    assert changed.any()
    assert not (changed & ~near).any()


def test_noise_grows_as_one_over_root_of_the_counts(case):
    def noise(image):
        return (image - case.noise_free)[case.liver_mask].std()

    full = noise(case.full)
    for fraction, images in case.scans.items():
        measured = np.sqrt(np.mean([noise(image) ** 2 for image in images]))
        assert measured / full == pytest.approx(fraction**-0.5, rel=0.2)


def test_full_count_noise_is_the_wanted_one(case):
    difference = (case.full - case.noise_free)[case.liver_mask]
    assert difference.std() / case.noise_free[case.liver_mask].mean() == pytest.approx(0.03, rel=0.35)
    assert liver_cov(case, case.full) > liver_cov(case, case.noise_free)


def test_noise_free_liver_is_quantitative(case):
    core = scipy.ndimage.binary_erosion(case.liver_mask, iterations=2)
    assert case.noise_free[core].mean() == pytest.approx(case.truth[core].mean(), rel=0.12)


def test_centred_disc_projects_to_chords_in_every_view():
    n, pixel_mm, radius_mm = 64, 2.0, 40.0
    axis = (np.arange(n) - (n - 1) / 2) * pixel_mm
    disc = (np.hypot(axis[:, None], axis) <= radius_mm).astype(np.float32)[None]
    lines = project_by_rotation(disc, pixel_mm=pixel_mm, n_views=7, radius_mm=60.0)[:, 0]
    chords = 2 * np.sqrt(np.maximum(radius_mm**2 - axis**2, 0))
    assert np.abs(lines - chords)[:, np.abs(axis) < 35].max() < 2.5 * pixel_mm


@pytest.mark.parametrize("footprint", ["joseph", "spline"])
def test_both_projectors_agree_on_an_off_centre_blob(footprint):
    n, pixel_mm = 48, 4.0
    axis = (np.arange(n) - (n - 1) / 2) * pixel_mm
    blob = np.exp(-((axis[:, None] - 30) ** 2 + (axis + 20) ** 2) / (2 * 12.0**2)).astype(np.float32)
    rotated = project_by_rotation(blob[None], pixel_mm=pixel_mm, n_views=12, radius_mm=100.0)[:, 0]
    matrix = system_matrix(np.ones((n, n), bool), n_views=12, bin_mm=pixel_mm, footprint=footprint)
    driven = (matrix @ blob.ravel()).reshape(12, n)
    np.testing.assert_allclose(driven.sum(axis=1), rotated.sum(axis=1), rtol=0.01)
    assert np.abs(driven - rotated).max() < 0.06 * rotated.max()


def test_saved_case_reads_back(case, tmp_path):
    save_case(case, tmp_path / "case.npz")
    back = load_case(tmp_path / "case.npz")
    assert (back.case_id, back.spacing_mm) == (case.case_id, case.spacing_mm)
    assert [lesion["diameter_mm"] for lesion in back.lesions] == [lesion["diameter_mm"] for lesion in case.lesions]
    np.testing.assert_array_equal(back.scans[0.1][1], case.scans[0.1][1])
    np.testing.assert_array_equal(back.liver_mask, case.liver_mask)
    assert [path.name for path in tmp_path.iterdir()] == ["case.npz"]
