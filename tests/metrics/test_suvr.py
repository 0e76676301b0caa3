import numpy as np
import pytest

from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.metrics.suvr import SUVR_RULES, region_ratios, suvr, suvr_rule

IMAGE = np.full((4, 4, 4), 2.0)
IMAGE[:2] = 6.0
REFERENCE = np.zeros((4, 4, 4), dtype=bool)
REFERENCE[2:] = True


def test_ratio_is_one_in_the_reference_whatever_the_unit():
    for scale in (1.0, 5000.0):
        ratio = suvr(IMAGE * scale, REFERENCE, voxel_volume_ml=0.1)
        assert ratio[REFERENCE].mean() == pytest.approx(1.0)
        assert ratio[0, 0, 0] == pytest.approx(3.0)


def test_regions_have_the_ratio_of_their_means():
    labels = np.where(REFERENCE, 1, 2)
    found = region_ratios(IMAGE, labels, {1: "cerebellum", 2: "cortex", 3: "absent"}, REFERENCE, voxel_volume_ml=0.1)
    assert found == pytest.approx({"cerebellum": 1.0, "cortex": 3.0})


def test_reference_that_cannot_bear_a_ratio_is_refused():
    with pytest.raises(InputError, match="at least 1 mL; found 0 mL"):
        suvr(IMAGE, np.zeros_like(REFERENCE), voxel_volume_ml=0.1)
    with pytest.raises(InputError, match=r"at least 1 mL; found 0\.32 mL"):
        suvr(IMAGE, REFERENCE, voxel_volume_ml=0.01)
    with pytest.raises(InputError, match="mean above 0"):
        suvr(np.zeros_like(IMAGE), REFERENCE, voxel_volume_ml=0.1)
    with pytest.raises(InputError, match="mean above 0"):
        suvr(np.full_like(IMAGE, np.nan), REFERENCE, voxel_volume_ml=0.1)
    with pytest.raises(InputError, match="share a grid"):
        suvr(IMAGE, REFERENCE[:2], voxel_volume_ml=0.1)


def test_every_tracer_has_its_own_window_and_region():
    assert (suvr_rule("FLORBETABEN").start_min, suvr_rule("florbetaben").end_min) == (90, 110)
    assert suvr_rule("florbetapir").references == ("whole cerebellum",)
    assert suvr_rule("flortaucipir").references == ("inferior cerebellar grey",)
    assert suvr_rule("FDG").references[0] == "pons"
    assert all(rule.end_min > rule.start_min and rule.source for rule in SUVR_RULES.values())
    with pytest.raises(InputError, match="defined for FDG, PiB"):
        suvr_rule("HMPAO")


def test_no_suv_follows_from_a_ratio():
    image = Volume(array=np.ones((2, 2, 2)), affine=np.diag([2.0, 2.0, 2.0, 1.0]), unit=Unit.SUVR, modality="PT")
    assert not image.unit.is_suv
    with pytest.raises(SuvError, match="this is PT in SUVR"):
        image.to_suv()
