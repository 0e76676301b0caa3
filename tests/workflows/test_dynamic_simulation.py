import json

import numpy as np
import pytest

import nmsynth
from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.data.dynamic_scan import scan_head_dynamic
from nmsynth.physics.phantom import LesionPlan, Organ, whole_body_patient
from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, simulate_dynamic

SMALL = SimulateDynamicSettings(frames_s=(60.0,) * 5 + (600.0,) * 6, voxel_mm=6.0, length_mm=120.0, seed=3)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    output = tmp_path_factory.mktemp("dynamic") / "study"
    return output, simulate_dynamic(SMALL, output)


def regions(output):
    organs = nmsynth.read(output / "reference" / "organs.nii.gz").array
    return {name: organs == organ for name, organ in (("grey", Organ.BRAIN_GREY), ("white", Organ.BRAIN_WHITE))}


def test_frames_and_what_is_known_are_written(study):
    output, record = study
    scan = nmsynth.read(output / "scan.nii.gz")
    assert scan.axes == ("frame", "z", "y", "x")
    assert [f.duration_s for f in scan.frames] == list(SMALL.frames_s)
    assert scan.frames[5].start_s == 300.0
    assert scan.provenance.simulated
    influx = nmsynth.read(output / "reference" / "ki_true.nii.gz")
    assert influx.unit.value == "mL/cm3/min"
    assert record["images"]["suvr"]["window_min"] == [30.0, 60.0]
    assert record["reference_images"]["suvr"]["image"] == "SUVR true (T0)"
    assert json.loads((output / "reference" / "simulation.json").read_text()) == json.loads(json.dumps(record))
    assert (output / "plasma.csv").read_text().startswith("minutes,plasma_suv\n")


def test_grey_matter_traps_more_than_white_and_the_images_follow_the_truth(study):
    output, record = study
    truth, noise_free = (nmsynth.read(output / "reference" / f"{n}.nii.gz").array for n in ("truth", "noise_free"))
    masks = regions(output)
    curves = {name: truth[:, mask].mean(1) / record["bqml_per_suv"] for name, mask in masks.items()}
    assert curves["grey"][-1] > 1.5 * curves["white"][-1] > 1.5
    assert (np.diff(curves["grey"][5:]) > 0).all()
    # the total of a frame survives reconstruction at its own decay; blur only moves it about
    assert np.allclose(noise_free.sum((1, 2, 3))[4:], truth.sum((1, 2, 3))[4:], rtol=0.08)


def test_patlak_of_the_scan_is_near_the_influx_less_what_leaves(study):
    output, _ = study
    slope = nmsynth.read(output / "patlak.nii.gz").array
    influx = nmsynth.read(output / "reference" / "ki_true.nii.gz").array
    grey = regions(output)["grey"]
    assert 0.5 * influx[grey].mean() < slope[grey].mean() < influx[grey].mean()


def test_early_frames_are_noisier(study):
    output, _ = study
    scan = nmsynth.read(output / "scan.nii.gz").array
    noise_free = nmsynth.read(output / "reference" / "noise_free.nii.gz").array
    grey = regions(output)["grey"]
    relative = [(scan[k] - noise_free[k])[grey].std() / noise_free[k][grey].mean() for k in (1, 10)]
    assert relative[0] > 2 * relative[1]


def test_early_and_late_images_and_their_ratio_are_written_for_scan_and_truth(study):
    output, record = study
    grey, white = regions(output).values()
    for folder in (output, output / "reference"):
        early, late, ratio = (nmsynth.read(folder / f"{name}.nii.gz") for name in ("early", "late", "suvr"))
        assert early.unit is late.unit is nmsynth.Unit.BQML
        assert ratio.unit is nmsynth.Unit.SUVR
        assert ratio.provenance.settings["reference_region"] == "cerebellar grey"
        with pytest.raises(nmsynth.SuvError, match="this is PT in SUVR"):
            ratio.to_suv()
        # delivery differs less between grey and white matter than what is trapped in the end
        assert late.array[grey].mean() > early.array[grey].mean()
        assert (
            1
            < early.array[grey].mean() / early.array[white].mean()
            < late.array[grey].mean() / late.array[white].mean()
        )
    truth = nmsynth.read(output / "reference" / "truth.nii.gz").array
    late = nmsynth.read(output / "reference" / "late.nii.gz")
    assert np.allclose(late.to_suv().array, late.array / record["bqml_per_suv"], rtol=1e-4)
    late = late.array
    # 30 to 60 minutes of frames from 25, 35, 45 and 55 minutes on
    assert np.allclose(late, (0.5 * truth[7] + truth[8] + truth[9] + 0.5 * truth[10]) / 3, rtol=1e-4)


def test_label_map_and_tracer_come_from_the_command_line(tmp_path, capsys):
    from tests.data.test_dynamic_head import head_map

    labels = nmsynth.Volume(
        array=head_map(), affine=affine_from_axes(spacing_mm=(4.0, 4.0, 4.0), origin_mm=(0.0, 0.0, 0.0)),
        unit=nmsynth.Unit.UNITLESS, modality="MR",
    )  # fmt: skip
    nmsynth.write(labels, tmp_path / "map.nii.gz")
    words = ["--labels", str(tmp_path / "map.nii.gz"), "--voxel-mm", "8", "--frames", "2x300,10x600", "--json"]
    out = tmp_path / "out"
    assert run(["simulate", "dynamic", str(out), "--tracer", "florbetaben", "--severity", "0.8", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["tracer"] == "florbetaben"
    assert record["reference_images"]["bp_true"]["reference_region"] == "cerebellar grey"
    for name in ("r1", "bp", "dvr", "suvr", "early", "late", "reference/bp_true", "reference/dvr_true"):
        image = nmsynth.read(out / f"{name}.nii.gz")
        assert np.isfinite(image.array).all()
        assert image.provenance.simulated
    assert run(["simulate", "dynamic", str(tmp_path / "no"), "--tracer", "water", "--frames", "2x300"]) == 2
    assert "one of FDG, florbetaben" in capsys.readouterr().err


def test_a_drawn_head_has_the_regions_of_a_brain(tmp_path):
    settings = SimulateDynamicSettings(
        head="drawn", frames_s=(150.0,) * 4, voxel_mm=8.0, length_mm=144.0, parts_min=(10.0,), seed=3
    )
    record = simulate_dynamic(settings, tmp_path / "study")
    assert record["settings"]["head"] == "drawn"
    assert "head" not in SMALL.model_dump(exclude=SMALL.unused)
    every, brain = (
        nmsynth.read(tmp_path / "study" / "reference" / f"{name}.nii.gz").array for name in ("regions", "brain_regions")
    )
    names = {record["regions"][str(int(k))] for k in np.unique(brain[brain > 0])}
    assert {"cortex", "white matter", "thalamus", "putamen", "cerebellar grey", "occipital", "brainstem"} <= names
    assert not {"skin", "bone", "other", "csf", "blood"} & names
    assert np.array_equal(brain[brain > 0], every[brain > 0])


def test_impossible_frames_are_refused(capsys, tmp_path):
    with pytest.raises(InputError, match="longer than 0"):
        scan_head_dynamic(whole_body_patient(0, lesions=LesionPlan(count=0)), frames_s=(10.0, 0.0))
    for words in ("6x", "x10", "0x10", "6x-1"):
        assert run(["simulate", "dynamic", str(tmp_path / "out"), "--frames", words]) == 2
        assert "number x seconds" in capsys.readouterr().err


def test_parts_are_seen_up_to_a_time_and_the_whole_is_known_without_noise(tmp_path):
    asked = SMALL.model_copy(update={"parts_min": (10.0, 20.0, 30.0), "seen_min": 20.0, "count_fraction": 0.25})
    record = simulate_dynamic(asked, tmp_path / "study")
    parts = [nmsynth.read(tmp_path / "study" / f"minutes-{name}.nii.gz") for name in ("00-10", "10-20")]
    assert not (tmp_path / "study" / "minutes-20-30.nii.gz").exists()
    frames = nmsynth.read(tmp_path / "study" / "scan.nii.gz").array
    np.testing.assert_allclose(parts[1].array, (frames[5] * 5 + frames[6] * 5) / 10, rtol=1e-3, atol=1.0)
    assert parts[0].to_suv().array.max() > 0
    known = nmsynth.read(tmp_path / "study" / "reference" / "patlak_noise_free.nii.gz")
    assert known.unit.value == "mL/cm3/min"
    assert record["told"]["seen_min"] == 20.0
    assert 20 < record["told"]["plasma_integral"] < 300
    with pytest.raises(InputError, match="need ends that rise"):
        simulate_dynamic(SMALL.model_copy(update={"parts_min": (10.0, 10.0)}), tmp_path / "no")
