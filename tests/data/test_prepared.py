from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core import geometry
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import AugmentationPlan, ConditionPlan
from nmsynth.core.units import Unit
from nmsynth.data.fingerprint import take_fingerprint
from nmsynth.data.manifest import ManifestRow
from nmsynth.data.method_patches import MethodBatches
from nmsynth.data.orientation import turned
from nmsynth.data.plan_rules import plan_from_fingerprint
from nmsynth.data.prepared import (
    answer_normalisation,
    encode_conditions,
    open_prepared,
    prepare_case,
    source_volume,
    target_gain,
)
from nmsynth.data.resampling import covered, plan_grid, resample
from nmsynth.io.nifti import read_nifti, write_nifti
from tests.data.test_orientation import STORED
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


@pytest.mark.parametrize("turn", STORED.values(), ids=STORED)
@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (5.0, 4.0, 3.0)])
def test_a_case_is_prepared_alike_however_its_images_are_stored(tmp_path, turn, spacing):
    rows = rows_of(tmp_path)
    expected = prepared(tmp_path, rows, spacing_mm=spacing)
    (tmp_path / "other").mkdir()
    for row in rows:
        image = read_nifti(tmp_path / row.path)
        image = image if row.role == "condition" else turned(image, turn)
        write_nifti(image, tmp_path / "other" / row.path)
    case = prepared(tmp_path / "other", rows, spacing_mm=spacing)
    np.testing.assert_allclose(case.record["affine"], expected.record["affine"], atol=1e-9)
    np.testing.assert_allclose(np.asarray(case.layers), np.asarray(expected.layers), rtol=1e-5, atol=1e-5)


def test_the_spacing_of_a_plan_is_that_of_the_axes_that_networks_see(tmp_path):
    rows = rows_of(tmp_path)
    target = pet(2, spacing_mm=(3.0, 4.0, 5.0))
    write_nifti(turned(target, STORED["sagittal"]), tmp_path / "target.nii.gz", overwrite=True)
    assert take_fingerprint(rows, tmp_path).target.median("spacings_mm") == pytest.approx((3.0, 4.0, 5.0))


def spect_rows(folder, unit):
    """A SPECT image, and beside it one of three times the values as the target."""
    source = pet(0, unit=unit, modality="NM", array=200 * pet(0).array)
    write_nifti(source, folder / "spect.nii.gz")
    write_nifti(source.with_array(3 * source.array), folder / "target.nii.gz", overwrite=True)
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


def test_the_level_of_a_source_is_that_of_its_whole_field(tmp_path):
    level = Normalisation(kind="level", scale=2.0)
    images = [image_plan(name, modality="NM", unit=Unit.COUNTS, normalisation=level) for name in ("spect", "target")]
    rows = spect_rows(tmp_path, Unit.COUNTS)
    whole = prepared(tmp_path, rows, sources=(images[0],), target=images[1], conditions=())
    cut = read_nifti(tmp_path / "target.nii.gz")
    write_nifti(cut.with_array(cut.array[:4]), tmp_path / "target.nii.gz", overwrite=True)
    plan = tiny_plan(sources=(images[0],), target=images[1], spacing_mm=(4.0, 4.0, 4.0))
    prepare_case("short", rows, tmp_path, plan, tmp_path / "prepared")
    part = open_prepared(tmp_path / "prepared", ["short"])[0]
    assert part.target.shape[0] == 4 < whole.target.shape[0]
    assert part.record["normalisations"] == whole.record["normalisations"]


def test_levels_without_names_are_normalised_each_by_its_own(tmp_path):
    level = Normalisation(kind="level", scale=2.0)
    images = [image_plan(name, modality="NM", unit=Unit.BQML, normalisation=level) for name in ("nm", "target")]
    rows = spect_rows(tmp_path, Unit.BQML)
    tenth = read_nifti(tmp_path / "spect.nii.gz")
    write_nifti(tenth.with_array(0.1 * tenth.array), tmp_path / "tenth.nii.gz")
    rows[0] = replace(rows[0], name="", count_fraction=1.0)
    rows.insert(1, replace(rows[0], path="tenth.nii.gz", count_fraction=0.1))
    plan = tiny_plan(sources=(images[0],), target=images[1], spacing_mm=(4.0, 4.0, 4.0))
    prepare_case("c", rows, tmp_path, plan, tmp_path / "prepared")
    case = open_prepared(tmp_path / "prepared")[0]
    for k, factor in enumerate((1.0, 0.1)):
        np.testing.assert_allclose(source_volume(case, plan, k).array, factor * 200 * pet(0).array, rtol=1e-4)
    scales = [n["scale"] for n in case.record["normalisations"]]
    assert case.record["target_normalisation"]["scale"] == pytest.approx(np.median(scales))
    assert scales[1] == pytest.approx(0.1 * scales[0])
    whole = case.target_normalisation().invert(case.target)
    for k in (0, 1):  # an answer comes back by its own source's level
        answer = target_gain(plan, case, k) * case.target
        assert answer_normalisation(plan, case, k).scale == pytest.approx(scales[k])
        np.testing.assert_allclose(answer_normalisation(plan, case, k).invert(answer), whole, rtol=1e-5, atol=1e-3)
    whole_patch = plan.model_copy(update={"patch": case.target.shape, "augmentation": AugmentationPlan()})
    batches = MethodBatches([case], whole_patch)
    drawn = {round(float(batches.draw(n)["target"][0].sum() / case.target.sum()), 4) for n in range(12)}
    assert drawn == {round(target_gain(plan, case, k), 4) for k in (0, 1)}


def test_what_stands_alone_is_prepared_on_its_own_grid_and_by_its_own_level(tmp_path):
    level = Normalisation(kind="level", scale=2.0)
    images = [image_plan(name, modality="NM", unit=Unit.BQML, normalisation=level) for name in ("spect", "target")]
    plan = tiny_plan(sources=(images[0],), target=images[1], spacing_mm=(4.0, 4.0, 4.0))
    source, target = spect_rows(tmp_path, Unit.BQML)
    pair = prepared(tmp_path, [source, target], sources=(images[0],), target=images[1], conditions=())
    assert pair.is_pair
    short = read_nifti(tmp_path / source.path)
    write_nifti(short.with_array(short.array[1:9]), tmp_path / source.path, overwrite=True)
    for case, row in (("s", source), ("t", target)):
        prepare_case(case, [replace(row, case=case)], tmp_path, plan, tmp_path / "prepared")
    lone_source, lone_target = open_prepared(tmp_path / "prepared", ["s", "t"])
    assert (lone_source.layers.shape, lone_target.layers.shape) == ((3, 8, 20, 20), (3, 10, 20, 20))
    assert (lone_source.has_source, lone_source.has_target, lone_source.is_pair) == (True, False, False)
    assert (lone_target.has_source, lone_target.has_target, lone_target.levels) == (False, True, ())
    own = lone_target.target_normalisation()
    assert own.scale == pytest.approx(3 * pair.target_normalisation().scale, rel=1e-4)  # as the target is thrice it
    assert np.allclose(own.invert(lone_target.target), 600 * pet(0).array, rtol=1e-4)
    np.testing.assert_allclose(source_volume(lone_source, plan, 0).array, 200 * pet(0).array[1:9], rtol=1e-4)
    with pytest.raises(InputError, match="The target of a case is asked for; 's' has a source alone"):
        _ = lone_source.target


def test_a_lone_side_is_normalised_weighted_and_labelled_as_in_a_pair(tmp_path):
    rows = rows_of(tmp_path)
    pair = prepared(tmp_path, rows)
    folder = tmp_path / "prepared"
    plan = tiny_plan(sources=(image_plan(), CT), conditions=FACTS, spacing_mm=(4.0, 4.0, 4.0))
    prepare_case("s", [replace(r, case="s") for r in rows if r.role != "target"], tmp_path, plan, folder)
    apart = [replace(r, case="t") for r in rows if r.role not in ("source", "condition")]
    prepare_case("t", apart, tmp_path, plan, folder)
    source, target = open_prepared(folder, ["s", "t"])
    assert source.levels == pair.levels
    assert np.array_equal(source.source(1), pair.source(1))
    assert np.array_equal(target.target, pair.target)
    for lone in (source, target):
        assert np.array_equal(lone.labels, pair.labels)
    half = np.asarray(source.weight)[5:]
    assert not half.any()  # where the CT does not reach
    assert np.asarray(target.weight)[5:].any()


def test_a_target_without_the_source_whose_level_it_takes_is_refused(tmp_path):
    level = Normalisation(kind="level", scale=2.0)
    first, other, target = (
        image_plan(name, modality="NM", unit=Unit.BQML, normalisation=level, optional=name == "first")
        for name in ("first", "spect", "target")
    )
    rows = spect_rows(tmp_path, Unit.BQML)
    with pytest.raises(InputError, match="Case 'c' needs the first source, 'first', by whose level"):
        prepared(tmp_path, rows, sources=(first, other), target=target, conditions=())


def test_cases_of_an_earlier_format_are_refused(tmp_path):
    prepared(tmp_path, rows_of(tmp_path))
    record = tmp_path / "prepared" / "c.json"
    record.write_text(record.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(InputError, match=r"format 2; 'c' is of format 1, .* Remove the folder 'prepared'"):
        open_prepared(tmp_path / "prepared")


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
    with pytest.raises(InputError, match="Do its images show one place"):
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


def test_a_condition_that_is_unsaid_is_left_out_or_asked_for_by_case(tmp_path):
    rows = [replace(r, conditions=(("tracer", "NA"),)) if r.role == "source" else r for r in rows_of(tmp_path)]
    fingerprint = take_fingerprint(rows, tmp_path)
    assert "tracer" not in fingerprint.conditions
    assert fingerprint.stated_by["count_fraction"] == ["c", "c"]
    with pytest.raises(InputError, match="Case 'c': The plan needs the condition 'tracer' of each scan"):
        prepared(tmp_path, rows)
    optional = FACTS[1].model_copy(update={"optional": True})
    assert prepared(tmp_path, rows, conditions=(optional,)).levels[0][1][:3] == (0.0, 0.0, 0.0)


def test_what_is_wrong_with_an_image_names_its_case(tmp_path):
    rows = rows_of(tmp_path)
    (tmp_path / "full.json").unlink()
    with pytest.raises(InputError, match=r"Case 'c', source 'full': A NIfTI image needs .*; unit not given"):
        take_fingerprint([replace(rows[0], unit=""), *rows[1:]], tmp_path)
    with pytest.raises(SuvError, match="Case 'c', source 'full': An SUV needs the injected activity"):
        take_fingerprint([replace(rows[0], unit="Bq/mL"), *rows[1:]], tmp_path)
    with pytest.raises(SuvError, match="Case 'c', source 'full': An SUV needs"):
        prepared(tmp_path, [replace(rows[0], unit="Bq/mL"), *rows[1:]])
    level = Normalisation(kind="level", scale=2.0)
    images = [image_plan(name, modality="NM", unit=Unit.BQML, normalisation=level) for name in ("spect", "target")]
    spect = spect_rows(tmp_path, Unit.BQML)
    negative = read_nifti(tmp_path / "spect.nii.gz")
    write_nifti(negative.with_array(-negative.array), tmp_path / "spect.nii.gz", overwrite=True)
    with pytest.raises(InputError, match="Case 'c', source 'spect': An image of activity is normalised by its own"):
        prepared(tmp_path, spect, sources=(images[0],), target=images[1], conditions=())


def test_fingerprint_counts_what_is_there(tmp_path):
    found = take_fingerprint(rows_of(tmp_path), tmp_path)
    assert (found.n_cases, found.n_subjects, found.regions) == (1, 1, True)
    assert {name: (s.n_images, s.n_cases) for name, s in found.sources.items()} == {"pet": (2, 1), "ct": (1, 1)}
    assert found.conditions == {"tracer": ["FDG", "FDG"], "count_fraction": ["1", "0.1"]}
    assert found.target.median("shapes") == (10.0, 20.0, 20.0)
    assert 2.0 < found.target.percentile(50.0) < 2.7  # the contour of so small a body is a little wider than it
    assert found.to_json()["target"]["spacings_mm"]["median"] == [4.0, 4.0, 4.0]


def test_fingerprint_of_one_sided_cases_has_both_sides_and_facts_of_sources_alone(tmp_path):
    rows = rows_of(tmp_path)
    lone = [replace(row, case=case, subject=case) for case in "xyz" for row in rows if row.role == "source"]
    ct = replace(rows[2], case="t", subject="t")
    target = replace(rows[3], case="t", subject="t", conditions=(("tracer", "FES"),))
    found = take_fingerprint([*lone, ct, target], tmp_path)
    assert (found.n_cases, found.n_with_source, found.n_with_target) == (4, 3, 1)
    assert found.to_json()["sides"] == {"pair": 0, "source": 3, "target": 1}
    assert (list(found.sources), found.target.n_cases) == (["pet"], 1)
    assert set(found.conditions["tracer"]) == {"FDG"}
    plan = plan_from_fingerprint(found)
    assert not plan.sources[0].optional
    assert [condition.name for condition in plan.conditions] == ["count_fraction"]
    assert not plan.conditions[0].optional
    assert "sides" not in take_fingerprint(rows, tmp_path).to_json()
