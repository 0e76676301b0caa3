import numpy as np
import pytest

from nmsynth.core import geometry
from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ConditionPlan
from nmsynth.core.units import Unit
from nmsynth.data.fingerprint import take_fingerprint
from nmsynth.data.manifest import ManifestRow
from nmsynth.data.prepared import encode_conditions, open_prepared, prepare_case
from nmsynth.data.resampling import covered, plan_grid, resample
from nmsynth.io.nifti import write_nifti
from tests.helpers import make_volume
from tests.training.methods import image_plan, tiny_plan

SUV = Unit.SUV_BODY_WEIGHT


def ramp(axis, affine, shape):
    """An image of the place of its voxels along an axis of the patient (x, y, z) [mm]."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return geometry.to_world(affine, index)[:, axis].reshape(shape)


@pytest.mark.parametrize("spacing", [(6.0, 6.0, 6.0), (2.0, 3.0, 2.5), (3.3, 4.1, 4.7)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_known_ramp_stays_at_its_place(spacing, axis):
    volume = make_volume((20, 24, 30))
    volume = volume.with_array(ramp(axis, volume.affine, volume.shape).astype(np.float32))
    affine, shape = plan_grid(volume, spacing)
    assert geometry.spacing_of(affine) == pytest.approx(spacing)
    found = resample(volume, affine, shape).array
    inner = tuple(slice(4, -4) for _ in range(3))
    assert np.abs(found - ramp(axis, affine, shape))[inner].max() < 0.05


def test_grid_covers_the_same_field_of_view_about_the_same_centre():
    volume = make_volume((20, 24, 30))
    affine, shape = plan_grid(volume, (4.0, 4.0, 4.0))
    middles = [
        geometry.to_world(a, [[(n - 1) / 2 for n in s]])[0] for a, s in ((volume.affine, volume.shape), (affine, shape))
    ]
    assert middles[0] == pytest.approx(middles[1], abs=1e-9)
    assert shape == (15, 24, 38)


def test_grid_of_the_planned_spacing_is_kept():
    volume = make_volume((20, 24, 30))
    affine, shape = plan_grid(volume, (3.01, 4.0, 5.0))
    assert np.array_equal(affine, volume.affine)
    assert resample(volume, affine, shape) is volume


def test_coarse_voxels_are_means_and_not_samples():
    noisy = make_volume((40, 40, 40), spacing_mm=(1.0, 1.0, 1.0))
    affine, shape = plan_grid(noisy, (4.0, 4.0, 4.0))
    found = resample(noisy, affine, shape).array[2:-2, 2:-2, 2:-2]
    assert found.mean() == pytest.approx(noisy.array.mean(), rel=0.02)
    assert found.std() < 0.25 * noisy.array.std()


def test_field_of_view_is_where_an_image_has_voxels():
    volume = make_volume((4, 4, 4), spacing_mm=(2.0, 2.0, 2.0), origin_mm=(0.0, 0.0, 0.0))
    affine = geometry.affine_from_axes(spacing_mm=(2.0, 2.0, 2.0), origin_mm=(-2.0, 0.0, 0.0))
    inside = covered(volume, affine, (4, 4, 6))
    assert inside.any(axis=(0, 1)).tolist() == [False, True, True, True, True, False]


def pet(seed, **fields):
    array = np.zeros((10, 20, 20), dtype=np.float32)
    array[2:8, 4:16, 4:16] = 2 + np.random.default_rng(seed).random((6, 12, 12))
    fields = {"spacing_mm": (4.0, 4.0, 4.0), "unit": SUV, "array": array} | fields
    return make_volume(**fields)


def rows_of(folder):
    """Two count levels, a CT of half the field of view, lesions and organs."""
    images = {
        "full.nii.gz": pet(0),
        "low.nii.gz": pet(1),
        "target.nii.gz": pet(2),
        "ct.nii.gz": pet(3, unit=Unit.HOUNSFIELD, modality="CT"),
    }
    images["ct.nii.gz"] = images["ct.nii.gz"].with_array(images["ct.nii.gz"].array[:5])
    labels = np.zeros((10, 20, 20), dtype=np.float32)
    labels[3, 5, 5], labels[4, 6, 6] = 1, 2
    images["lesions.nii.gz"] = images["target.nii.gz"].with_array(labels)
    images["organs.nii.gz"] = images["target.nii.gz"].with_array(np.roll(labels, 3, axis=2))
    for path, volume in images.items():
        write_nifti(volume, folder / path)
    told = (("tracer", "FDG"),)
    return [
        ManifestRow("c", "s", "train", "source", "full", "full.nii.gz", 1.0, "PT", SUV.value, told),
        ManifestRow("c", "s", "train", "source", "low", "low.nii.gz", 0.1, "PT", SUV.value, told),
        ManifestRow("c", "s", "train", "condition", "ct", "ct.nii.gz", None, "CT", "HU"),
        ManifestRow("c", "s", "train", "target", "", "target.nii.gz", None, "PT", SUV.value),
        ManifestRow("c", "s", "train", "mask", "lesions", "lesions.nii.gz"),
        ManifestRow("c", "s", "train", "mask", "organs", "organs.nii.gz"),
    ]


CT = image_plan("ct", modality="CT", unit=Unit.HOUNSFIELD, optional=True)
FACTS = (
    ConditionPlan(name="count_fraction", kind="logarithm"),
    ConditionPlan(name="tracer", kind="category", categories=("FDG", "FES")),
)


def prepared(folder, rows, **changes):
    plan = tiny_plan(**({"sources": (image_plan(), CT), "conditions": FACTS, "spacing_mm": (4.0, 4.0, 4.0)} | changes))
    prepare_case("c", rows, folder, plan, folder / "prepared")
    return open_prepared(folder / "prepared")[0]


def test_case_has_every_level_with_what_is_told_of_it(tmp_path):
    case = prepared(tmp_path, rows_of(tmp_path))
    assert [told for _, told in case.levels] == [
        pytest.approx((0.0, 1.0, 0.0, 1.0)),
        pytest.approx((np.log(0.1), 1.0, 0.0, 1.0)),
    ]
    for level, seed in enumerate((0, 1)):
        assert np.allclose(case.source(level)[0], pet(seed).array / 2, atol=1e-6)
    assert np.allclose(case.target_normalisation().invert(case.target), pet(2).array, atol=1e-5)


def spect_rows(folder, unit):
    """A SPECT image, and beside it one of three times the values as the target."""
    source = pet(0, unit=unit, modality="NM", array=200 * pet(0).array)
    write_nifti(source, folder / "spect.nii.gz")
    write_nifti(source.with_array(3 * source.array), folder / "target.nii.gz")
    return [
        ManifestRow("c", "s", "train", "source", "spect", "spect.nii.gz", None, "NM", unit.value),
        ManifestRow("c", "s", "train", "target", "", "target.nii.gz", None, "NM", unit.value),
    ]


@pytest.mark.parametrize(("unit", "ratio"), [(Unit.BQML, 3.0), (Unit.COUNTS, 1.0)])
def test_levels_keep_the_ratio_of_what_is_calibrated_alone(tmp_path, unit, ratio):
    level = Normalisation(kind="level", scale=2.0)
    images = [image_plan(name, modality="NM", unit=unit, normalisation=level) for name in ("spect", "target")]
    case = prepared(tmp_path, spect_rows(tmp_path, unit), sources=(images[0],), target=images[1], conditions=())
    assert np.allclose(case.target, ratio * case.source(0)[0], rtol=1e-5)
    assert case.source(0).max() < 2
    assert np.allclose(case.target_normalisation().invert(case.target), 600 * pet(0).array, rtol=1e-4)


def test_weight_and_labels_say_what_counts(tmp_path):
    case = prepared(tmp_path, rows_of(tmp_path))
    assert set(np.unique(case.weight)) == {np.float32(0.0), np.float32(0.05), np.float32(1.0)}
    assert not case.weight[5:].any()  # the CT has no field of view there
    assert case.weight[3, 10, 10] == 1.0
    assert case.weight[3, 0, 0] == np.float32(0.05)
    assert [case.labels[3, 5, 5], case.labels[4, 6, 6], case.labels[3, 5, 8], case.labels[4, 6, 9]] == [1, 2, 3, 4]


def test_body_where_a_source_has_only_its_fill_does_not_count(tmp_path):
    rows = rows_of(tmp_path)
    ct = pet(3, unit=Unit.HOUNSFIELD, modality="CT")
    filled = np.array(ct.array)
    filled[:, :, 10:] = -1024.0  # turned onto a larger grid
    write_nifti(ct.with_array(filled), tmp_path / "ct.nii.gz", overwrite=True)
    case = prepared(tmp_path, rows)
    assert case.weight[3, 10, 9] == 1.0
    assert not case.weight[3, 10, 10:16].any()
    assert case.weight[3, 0, 15] == np.float32(0.05)  # air stays air


def test_missing_source_is_filled_or_refused(tmp_path):
    rows = [r for r in rows_of(tmp_path) if r.name != "ct"]
    case = prepared(tmp_path, rows)
    assert [told[-1] for _, told in case.levels] == [0.0, 0.0]
    assert np.ptp(case.source(0)[1]) == 0.0
    with pytest.raises(InputError, match="Case 'c' needs the source 'ct'; it has none"):
        prepared(tmp_path, rows, sources=(image_plan(), CT.model_copy(update={"optional": False})))


def test_image_of_another_modality_or_place_is_refused(tmp_path):
    rows = rows_of(tmp_path)
    with pytest.raises(InputError, match="the plan wants MR as pet; the image is PT"):
        prepared(tmp_path, rows, sources=(image_plan(modality="MR"),))
    far = pet(5, origin_mm=(5000.0, 0.0, 0.0))
    write_nifti(far, tmp_path / "full.nii.gz", overwrite=True)
    with pytest.raises(InputError, match="Do both show one place"):
        prepared(tmp_path, rows)


def test_flat_image_in_a_plan_of_volumes_is_refused(tmp_path):
    rows = rows_of(tmp_path)
    write_nifti(pet(2).with_array(pet(2).array[4:5]), tmp_path / "target.nii.gz", overwrite=True)
    with pytest.raises(InputError, match="3D plan needs images of several slices"):
        prepared(tmp_path, rows)


def test_condition_that_is_not_stated_is_asked_for():
    plan = tiny_plan(conditions=FACTS)
    with pytest.raises(InputError, match="needs the condition 'count_fraction'"):
        encode_conditions(plan, {"tracer": "FDG"}, {})


def test_fingerprint_counts_what_is_there(tmp_path):
    found = take_fingerprint(rows_of(tmp_path), tmp_path)
    assert (found.n_cases, found.n_subjects, found.regions) == (1, 1, True)
    assert {name: (s.n_images, s.n_cases) for name, s in found.sources.items()} == {"pet": (2, 1), "ct": (1, 1)}
    assert found.conditions == {"tracer": ["FDG", "FDG"], "count_fraction": ["1", "0.1"]}
    assert found.target.median("shapes") == (10.0, 20.0, 20.0)
    assert 2.0 < found.target.percentile(50.0) < 2.7  # the contour of so small a body is a little wider than it
    assert found.to_json()["target"]["spacings_mm"]["median"] == [4.0, 4.0, 4.0]
