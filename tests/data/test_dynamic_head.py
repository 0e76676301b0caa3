import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.dynamic_head import labelled_head
from nmsynth.data.dynamic_scan import scan_labels_dynamic
from nmsynth.data.families import read_upright
from nmsynth.data.parametric import left_out, parametric_images, static_images, true_images
from nmsynth.data.scan import ReferenceScan
from nmsynth.data.simulation import block_mean

COARSE = ReferenceScan(voxel_mm=6.0, plane_mm=6.0, field_mm=240.0, duration_s=1.0)
SPACING = (4.0, 4.0, 4.0)
FRAMES_S = (60.0,) * 4 + (120.0,) * 3 + (600.0,) * 10
"""110 minutes in 17 frames."""


def head_map():
    """Skin, skull, white matter under cortex, a cerebellum below and two putamina, as a ball of FreeSurfer numbers."""
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 + 0.5 for n in (40, 44, 40)), indexing="ij")
    radius = np.sqrt(z**2 + (y / 1.1) ** 2 + x**2)
    labels = np.zeros(z.shape, dtype=np.int32)
    for outer, number in ((19, 511), (18, 515), (17, 24), (16, 3), (11, 2)):
        labels[radius < outer] = number
    labels[(radius < 16) & (z < -5)] = 7
    labels[(radius < 16) & (z < -6)] = 8
    labels[(np.abs(z) < 4) & (np.abs(y) < 4) & (np.abs(np.abs(x) - 6) < 3)] = 12
    return labels


def scanned(tracer, severity=0.0, **changed):
    options = {"frames_s": FRAMES_S, "reference": COARSE, "length_mm": 168.0, "seed": 4} | changed
    return scan_labels_dynamic(head_map(), SPACING, tracer=tracer, severity=severity, **options)


@pytest.fixture(scope="module")
def amyloid():
    return scanned("florbetaben", 0.9)


def mean_of(study, image, region):
    return float(image.array[study.head.labels == study.head.names.index(region)].mean())


def test_head_holds_its_regions_by_their_volumes():
    head = labelled_head(head_map(), SPACING, reference=COARSE, n=40, length_mm=168.0, seed=1)
    values = np.array([float(name == "cortex") for name in head.names])
    own = values[head.indices] * head.shares
    filled = head.fill(values)
    assert filled.sum() * 3.0**3 == pytest.approx(own.sum() * 4.0**3, rel=1e-4)  # nothing lost between the grids
    assert ((filled > 0.05) & (filled < 0.9)).any()  # borders are shared
    assert block_mean(filled).shape == head.labels.shape
    assert set(np.unique(head.labels)) <= set(range(len(head.names)))
    assert head.mu_map.max() == pytest.approx(0.15, rel=0.05)


def test_every_region_follows_its_own_curve(amyloid):
    cortex, cerebellum = (
        amyloid.truth.array[:, amyloid.head.labels == amyloid.head.names.index(n)].mean(1) / amyloid.bqml_per_suv
        for n in ("putamen", "cerebellar grey")
    )
    assert cortex[4] == pytest.approx(cerebellum[4], rel=0.25)  # both are delivered alike
    assert cortex[-1] > 1.5 * cerebellum[-1]  # and only one retains


def test_binding_images_of_the_true_frames_are_near_the_truth(amyloid):
    found, true = parametric_images(amyloid, amyloid.truth, ""), true_images(amyloid)
    for region in ("cerebellar grey", "putamen"):
        ratio = mean_of(amyloid, true["dvr_true"], region)
        assert mean_of(amyloid, found["dvr"], region) == pytest.approx(ratio, rel=0.1)
        assert 1 + mean_of(amyloid, found["bp"], region) == pytest.approx(ratio, rel=0.16)  # two tissues: too high
        assert mean_of(amyloid, true["bp_true"], region) == pytest.approx(ratio - 1, abs=1e-5)
    assert mean_of(amyloid, found["r1"], "cerebellar grey") == pytest.approx(1.0, abs=0.05)
    assert all(np.isfinite(image.array).all() for image in (*found.values(), *true.values()))


def test_images_of_the_scan_follow_those_of_the_truth(amyloid):
    scan, true = static_images(amyloid, amyloid.scan, ""), static_images(amyloid, amyloid.truth, "")
    assert set(scan) == {"early", "late", "suvr"}
    for name, tolerance in (("early", 0.25), ("late", 0.25), ("suvr", 0.2)):
        assert mean_of(amyloid, scan[name], "cortex") == pytest.approx(
            mean_of(amyloid, true[name], "cortex"), rel=tolerance
        )
    stated = scan["suvr"].provenance.settings
    assert scan["suvr"].unit is Unit.SUVR
    assert stated["reference_region"] == "whole cerebellum"
    assert stated["window_min"] == [90.0, 110.0]
    assert scan["early"].unit is Unit.BQML
    assert scan["suvr"].axes == ("z", "y", "x")


def test_one_seed_is_one_study():
    short = {"frames_s": (60.0, 300.0, 300.0, 300.0, 300.0), "length_mm": 60.0}
    one, again, other = (scanned("FDG", seed=seed, **short) for seed in (1, 1, 2))
    assert np.array_equal(one.scan.array, again.scan.array)
    assert not np.array_equal(one.scan.array, other.scan.array)
    assert not np.array_equal(one.plasma_suv, other.plasma_suv)
    assert one.facts == again.facts


def test_dopa_is_compared_with_what_is_there_of_its_references():
    study = scanned("FDOPA", 0.0, frames_s=(60.0,) * 5 + (600.0,) * 6)
    assert study.reference == "occipital"  # by place, as the map has no parcels
    found, true = parametric_images(study, study.truth, ""), true_images(study)
    assert found["patlak_reference"].unit is Unit.PER_MINUTE
    influx = mean_of(study, true["ki_reference_true"], "putamen")
    assert 0.007 < influx < 0.013
    assert mean_of(study, found["patlak_reference"], "putamen") == pytest.approx(influx, rel=0.25)
    assert "suvr" not in static_images(study, study.truth, "")
    assert "no window" in left_out(study)["suvr"]


def test_real_label_map_is_scanned_with_its_cerebellum(shared_data):
    path = sorted((shared_data / "brain_labels").glob("*.nii.gz"))[0]
    labels, spacing = read_upright(path, unit="1", modality="MR")
    frames = (300.0, 2700.0, 2400.0, 1200.0)
    reference = ReferenceScan(voxel_mm=6.0, plane_mm=6.0, field_mm=240.0, duration_s=1.0)
    study = scan_labels_dynamic(
        labels[::2, ::2, ::2], tuple(2 * s for s in spacing), tracer="florbetaben", severity=0.8, frames_s=frames,
        reference=reference, length_mm=168.0,
    )  # fmt: skip
    late = static_images(study, study.truth, "")["suvr"]
    assert mean_of(study, late, "cortex") > 1.2
    assert mean_of(study, late, "white matter") > mean_of(study, late, "cerebellar grey")


def test_what_cannot_be_scanned_is_refused():
    with pytest.raises(InputError, match="axes"):
        scan_labels_dynamic(np.ones((4, 4)), SPACING)
    with pytest.raises(InputError, match="spacing above 0"):
        scan_labels_dynamic(head_map(), (0.0, 1.0, 1.0), frames_s=FRAMES_S)
    with pytest.raises(InputError, match="one of FDG"):
        scanned("water")
    with pytest.raises(InputError, match="severity 0"):
        scanned("FDG", 0.5)
    with pytest.raises(InputError, match="two frames"):
        scanned("florbetaben", frames_s=(60.0,))
    with pytest.raises(InputError, match="cerebellar grey in the scan; found too little"):
        scanned("florbetaben", length_mm=60.0)


def test_what_a_short_scan_lacks_is_left_out_and_said():
    top = scanned("FDG", length_mm=60.0, frames_s=(60.0,) * 10 + (300.0,) * 10)
    assert set(static_images(top, top.truth, "")) == {"early", "late"}
    assert "less than 1 mL of pons" in left_out(top)["suvr"]
    brief = scanned("FDG", length_mm=60.0, frames_s=(60.0,) * 12)
    assert set(static_images(brief, brief.truth, "")) == {"early"}
    assert set(left_out(brief)) == {"late", "suvr"}


@pytest.mark.parametrize("voxel_mm", [3.0, 6.0])
def test_the_lowest_planes_of_a_head_are_as_the_others(voxel_mm):
    """The white matter goes on below the scan; the filter must find it there."""
    reference = ReferenceScan(
        voxel_mm=6.0, plane_mm=voxel_mm, field_mm=240.0, duration_s=1.0, mismatched=False
    )  # fmt: skip
    study = scanned("FDG", length_mm=84.0, frames_s=(600.0,) * 4, reference=reference)
    white = study.head.names.index("white matter")
    means = np.array([
        [image.array[3, k][study.head.labels[k] == white].mean() for k in range(6)]
        for image in (study.noise_free, study.truth)
    ])  # fmt: skip
    recovered = means[0] / means[1]
    # within 5 %, as each plane has its own share of cortex around; without what lies below, 20 to 30 % were missing
    assert recovered == pytest.approx(np.full(6, recovered.mean()), rel=0.05)
    assert study.truth.array.shape == study.scan.array.shape == (4, *study.head.labels.shape)
    assert study.by_region(np.ones(len(study.head.names))).shape == study.head.labels.shape
