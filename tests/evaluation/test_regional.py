import json

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.myocardium import segment_number
from nmsynth.core.units import Unit
from nmsynth.evaluation import evaluate
from nmsynth.evaluation.perfusion import HeartWall
from nmsynth.evaluation.regional import regional_measure
from nmsynth.io.nifti import write_nifti
from nmsynth.metrics.perfusion import NormalLimits
from nmsynth.metrics.polar_map import LongAxis, WallRays
from tests.helpers import make_volume
from tests.metrics.test_polar_map import AFFINE, LENGTH, long_axis, ventricle
from tests.metrics.test_polar_map import WALL as THICK

WALL = ventricle(long_axis())[0]


def heart(level_of=lambda height, _: np.ones_like(height), noise=0.0, seed=0):
    """Tomogram of a ventricle with uptake by height and angle."""
    array = ventricle(long_axis(), level_of)[1] + noise * np.random.default_rng(seed).standard_normal(WALL.shape)
    return make_volume(array=array, affine=AFFINE, unit=Unit.RELATIVE, modality="NM")


def with_defect(share):
    """The inferior wall of the middle third takes up a share."""
    return lambda height, angle: np.where((height > 0.33) & (height < 0.67) & (abs(angle - 270) < 35), share, 1.0)


def limits():
    rays = WallRays.through(WALL, AFFINE, LongAxis.of(WALL, AFFINE))
    return NormalLimits.of([rays.map_of(heart(noise=0.05, seed=k).array) for k in range(12)])


def test_a_lost_defect_is_told_by_segments_and_deficit():
    reference, filled = heart(with_defect(0.3)), heart(with_defect(0.9))
    found = evaluate(filled, reference, masks={"wall": WALL}, task="lowcount-mpi", normals=limits())
    assert 45 < found.value("segment error, largest") < 65
    assert found.value("segment error, mean") < 10
    assert found.value("total perfusion deficit error") < -3
    assert found.value("summed score error") <= -2
    same = evaluate(reference, reference, masks={"wall": WALL}, task="lowcount-mpi", normals=limits())
    assert same.value("segment error, largest") == 0
    assert same.value("total perfusion deficit error") == 0
    assert same.value("total perfusion deficit") > 4
    assert not any("category" in item.name for item in same.measurements)
    assert "SUV" not in " ".join(same.warnings)


def test_polar_maps_of_all_images_are_kept_in_percent_of_the_best_part():
    reference, filled = heart(with_defect(0.3)), heart(with_defect(0.9))
    found = evaluate(filled, reference, masks={"wall": WALL}, task="lowcount-mpi", normals=limits())
    told = json.loads(json.dumps(found.to_json()))["polar_maps"]
    assert set(told["maps"]) == {"prediction", "reference"}
    shown, known = (told["maps"][name] for name in ("prediction", "reference"))
    assert known["segments"][9] == pytest.approx(30, abs=12)  # the middle of the inferior wall
    assert shown["segments"][9] == pytest.approx(90, abs=8)
    assert known["segments"][6] == pytest.approx(100, abs=5)
    values = np.array(known["values"], dtype=float)
    assert values.shape == np.shape(told["height"]) == (15, 36)
    assert values[7, 27] < 40 < 90 < values[7, 9]  # 275 and 95 degrees
    assert known["total_perfusion_deficit"] > shown["total_perfusion_deficit"]
    assert known["summed_score"] == found.value("summed score") - found.value("summed score error")
    plain = evaluate(filled, reference, masks={"wall": WALL}, task="lowcount-mpi").to_json()["polar_maps"]
    assert "summed_score" not in plain["maps"]["reference"]
    assert "polar_maps" not in evaluate(filled, reference, task="lowcount-mpi").to_json()


def segments_of(numbers):
    """Mask of some of the 17 segments."""
    index = np.indices(WALL.shape).reshape(3, -1)
    world = (AFFINE[:3, :3] @ index + AFFINE[:3, 3:]).T - np.asarray(long_axis().base_mm)
    along, anterior, lateral = long_axis().directions @ world.T
    angle = np.degrees(np.arctan2(anterior, lateral)) % 360
    number = segment_number(along / (LENGTH - THICK), angle).reshape(WALL.shape)
    return WALL & np.isin(number, numbers)


def perfusion(array, reference, masks, normals=None):
    """What is measured of the wall, by name."""
    wall = HeartWall.of(reference, masks, against="T1", normals=normals)
    measure = regional_measure("perfusion", reference, masks, against="T1", heart=wall)
    return {item.name: item.value for item in measure(array)}


def test_a_filled_defect_and_one_that_is_none_are_told_apart():
    """The mean over 17 segments hides both."""
    inferior, anterior = segments_of([10]), segments_of([7])
    masks = {"wall": WALL, "normal_wall": WALL & ~inferior, "defect": inferior}
    even = heart().array
    reference = heart().with_array(np.where(inferior, 0.5 * even, even))

    filled = perfusion(np.where(inferior, 0.9 * even, even), reference, masks, limits())
    assert filled["segment error, mean"] < 3
    assert 30 < filled["defect bias"] < 42  # of 40 points, less what the neighbours lend the rim of the defect
    assert 0.15 < filled["defect contrast recovery"] < 0.3
    assert (filled["filled defects"], filled["false defects"]) == (1, 0)
    assert "false deficit" not in filled  # which is that of normal hearts
    false = perfusion(np.where(anterior | inferior, 0.5 * even, even), reference, masks)
    assert false["defect bias"] == pytest.approx(0.0, abs=2.0)
    assert (false["filled defects"], false["false defects"]) == (0, 1)
    assert false["defect contrast recovery"] == pytest.approx(1.0, abs=0.1)
    assert false["inferior/anterior error"] > 0.1
    assert false["apex/base error"] == pytest.approx(0.0, abs=0.03)


def test_a_false_deficit_is_that_of_a_normal_heart():
    reference = heart()
    masks = {"wall": WALL, "normal_wall": WALL}
    image = heart(with_defect(0.3))
    found = perfusion(image.array, reference, masks, limits())
    assert found["false deficit"] == found["total perfusion deficit error"]
    assert found["false deficit"] > 3
    assert not {"defect bias", "defect contrast recovery"} & set(found)


def test_noise_is_no_loss_of_perfusion():
    """All maps of one patient are scaled in one part of the wall, so that a noisy one is not darker everywhere."""
    rng = np.random.default_rng(2)
    reference = heart()
    coarse = np.repeat(np.repeat(np.repeat(rng.standard_normal((15, 15, 15)), 4, 0), 4, 1), 4, 2)
    noisy = reference.array * (1 + 0.2 * coarse)
    found = perfusion(noisy, reference, {"wall": WALL, "normal_wall": WALL})
    assert found["false defects"] <= 1
    assert found["segment error, mean"] < 6


def test_specific_binding_is_that_of_the_means():
    labels = np.zeros((12, 30, 30))
    labels[4:8, 5:10, 5:10], labels[4:8, 5:10, 18:23], labels[4:8, 20:26, 10:20] = 1, 2, 3
    array = np.choose(labels.astype(int), [0.5, 5.0, 3.0, 1.0])
    masks = {name: labels == k for k, name in ((1, "putamen_left"), (2, "putamen_right"), (3, "occipital"))}
    reference = make_volume(array=array, spacing_mm=(3.0, 3.0, 3.0), unit=Unit.RELATIVE, modality="NM")
    blurred = reference.with_array(np.where(labels == 1, 4.0, array))
    found = evaluate(blurred, reference, source=reference, masks=masks, task="lowcount-spect")
    assert found.value("specific binding ratio", mask="putamen_left") == pytest.approx(3.0)
    assert found.value("specific binding ratio error", mask="putamen_left") == pytest.approx(-1.0)
    assert found.value("specific binding ratio error", mask="putamen_right") == pytest.approx(0.0)
    assert found.value("specific binding ratio", mask="putamen_left", arm="source") == pytest.approx(4.0)
    without = evaluate(blurred, reference, task="lowcount-spect")
    assert any("masks named 'occipital' and 'putamen'" in w for w in without.warnings)
    trunk = evaluate(blurred, reference, masks={"liver": labels == 3}, task="lowcount-spect")
    assert not any("Nothing regional" in w for w in trunk.warnings)


def test_normal_limits_come_back_from_their_file(tmp_path, capsys):
    path = tmp_path / "normals.json"
    path.write_text(json.dumps(limits().to_json()))
    for name, volume in (("a", heart(with_defect(0.9))), ("b", heart(with_defect(0.3)))):
        write_nifti(volume, tmp_path / f"{name}.nii.gz")
    write_nifti(heart().with_array(WALL.astype(np.float32), unit=Unit.UNITLESS), tmp_path / "wall.nii.gz")
    command = ["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"), "--task", "lowcount-mpi",
               "--mask", f"wall={tmp_path / 'wall.nii.gz'}", "--normals", str(path), "--json"]  # fmt: skip
    assert run(command) == 0
    names = {m["name"] for m in json.loads(capsys.readouterr().out)["measurements"]}
    assert {"total perfusion deficit", "summed score error", "segment error, largest"} <= names
    path.write_text('{"mean": [[1]], "deviation": [[1]], "n_subjects": 3}')
    assert run(command) == 2
    with pytest.raises(InputError, match="this is another file"):
        NormalLimits.from_json({"mean": 3})


def test_correction_is_measured_organ_by_organ():
    labels = np.zeros((12, 30, 30))
    labels[2:10, 3:27, 3:27], labels[4:8, 5:10, 5:10], labels[4:8, 15:20, 5:10] = 1, 2, 3
    expected = np.choose(labels.astype(int), [0.0, 1.0, 4.0, 6.0])
    masks = {"body": labels > 0, "liver": labels == 2, "brain": labels == 3}
    reference = make_volume(array=expected, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.SUV_BODY_WEIGHT, modality="PT")
    wrong = reference.with_array(np.where(labels == 2, 3.6, np.where(labels == 3, 6.36, expected)))
    found = evaluate(wrong, reference, masks=masks, task="nac-to-ac-pet")
    assert found.value("organ error, median") == pytest.approx(0.08)
    assert found.value("organ error, largest") == pytest.approx(0.1)
    assert [found.value(f"voxels beyond {limit} %", mask="brain") for limit in (5, 10, 15)] == [1.0, 0.0, 0.0]
    n = [(labels == k).sum() for k in range(4)]
    assert found.value("error over mean") == pytest.approx(
        (0.4 * n[2] + 0.36 * n[3]) / (n[1] + 4 * n[2] + 6 * n[3]), rel=1e-4
    )
    assert not any("Nothing regional" in warning for warning in found.warnings)
    bare = evaluate(wrong, reference, task="nac-to-ac-pet")
    assert any("takes masks of organs" in warning for warning in bare.warnings)


def brain(changes=None):
    """Ratio image of six slabs, and their masks by name."""
    names = ("frontal", "anterior cingulate", "precuneus", "parietal", "lateral temporal", "occipital")
    levels = dict(zip(names, (1.3, 1.4, 1.5, 1.2, 1.25, 1.1), strict=True)) | (changes or {})
    array, masks = np.zeros((6, 8, 8)), {}
    for k, name in enumerate(names):
        array[k] = levels[name]
        masks[name] = np.zeros(array.shape, dtype=bool)
        masks[name][k] = True
    return make_volume(array=array, unit=Unit.SUVR, modality="PT"), masks


def test_ratios_are_compared_region_by_region_and_as_composites():
    reference, masks = brain()
    found = evaluate(brain({"precuneus": 1.0})[0], reference, masks=masks, task="mr-to-amyloid")
    assert found.value("regional SUVR error, mean") == pytest.approx(0.5 / 6, abs=1e-5)
    assert found.value("regional SUVR error, largest") == pytest.approx(0.5, abs=1e-5)
    assert found.value("composite SUVR error", mask="amyloid cortex") == pytest.approx(-0.1, abs=1e-5)
    assert found.value("composite SUVR error", mask="metabolic cortex") == pytest.approx(-0.5 / 3, abs=1e-5)
    assert found.value("regional SUVR correlation") < 0.5
    assert found.value("composite SUVR", mask="amyloid cortex") == pytest.approx(1.23, abs=1e-5)


def test_tissues_overlap_whatever_the_unit_of_the_mr():
    rng = np.random.default_rng(0)
    array = np.repeat(np.array([100.0, 400.0, 900.0]), 4)[:, None, None] * np.ones((12, 10, 10))
    array += 10 * rng.standard_normal(array.shape)
    reference = make_volume(array=array, unit=Unit.RELATIVE, modality="MR")
    body = np.ones(array.shape, dtype=bool)
    found = evaluate(reference.with_array(3 * array), reference, masks={"body": body}, task="pet-to-mr")
    assert found.value("tissue Dice") == pytest.approx(1.0)
    assert found.value("NRMSE") < 1e-4


def test_the_cortex_is_compared_with_the_cerebellum():
    masks = {name: np.zeros((8, 12, 12), dtype=bool) for name in ("cerebral_cortex", "cerebellar_cortex")}
    masks["cerebral_cortex"][4:], masks["cerebellar_cortex"][:2] = True, True
    expected = np.where(masks["cerebral_cortex"], 3.0, 4.0)
    reference = make_volume(array=expected, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.BQML, modality="NM")
    image = reference.with_array(np.where(masks["cerebral_cortex"], 5.4, 8.0))  # twice the level, a tenth less cortex
    found = evaluate(image, reference, masks=masks, task="lowcount-spect")
    assert found.value("cortex to cerebellum ratio") == pytest.approx(0.675)
    assert found.value("cortex to cerebellum ratio error") == pytest.approx(-0.1)


def test_biases_of_grey_and_white_matter_do_not_cancel():
    grey, white = np.zeros((2, 4, 10, 10), dtype=bool)
    grey[:, :, :5], white[:, :, 5:] = True, True
    reference = make_volume(array=np.where(grey, 4.0, 2.0), unit=Unit.INFLUX, modality="PT")
    image = reference.with_array(np.where(grey, 3.0, 3.0))
    found = evaluate(image, reference, masks={"occipital": grey, "white matter": white}, task="early-to-influx")
    assert found.value("regional bias", mask="occipital") == pytest.approx(-0.25)
    assert found.value("regional bias", mask="white matter") == pytest.approx(0.5)
    assert found.value("regional error, mean") == pytest.approx(0.375)
    assert found.value("regional error, largest") == pytest.approx(0.5)
