"""Published reference objects and a real scan, from ../shared/data."""

import numpy as np
import pytest

from nmsynth.core.units import Unit
from nmsynth.io import read

EXPECTED = {
    "DRO_0_0": (Unit.BQML, "a", "START"),
    "DRO_2_0": (Unit.SUV_BODY_WEIGHT, "none", "none needed"),
    "DRO_2_1": (Unit.SUV_LEAN_BODY_MASS_JAMES, "none", "none needed"),
    "DRO_2_2": (Unit.SUV_IDEAL_BODY_WEIGHT, "none", "none needed"),
    "DRO_2_3": (Unit.SUV_BODY_SURFACE_AREA, "none", "none needed"),
    "DRO_2_5": (Unit.BQML, "a", "START"),
    "DRO_3_0": (Unit.BQML, "a", "START"),
    "DRO_3_1": (Unit.BQML, "none", "ADMIN"),
    "DRO_3_2": (Unit.BQML, "c", "START"),
    "DRO_3_4": (Unit.BQML, "none", "NONE"),
    "DRO_4_0": (Unit.BQML, "a", "START"),
    "DRO_4_1": (Unit.BQML, "a", "START"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_reference_objects(shared_data, name):
    """Digital reference objects of OncoRay (CC BY 4.0): cold 0.20, background 1.00, hot 4.00."""
    volume = read(shared_data / "suv_dro" / name / "PT")
    unit, time_rule, decay_rule = EXPECTED[name]
    assert (volume.unit, volume.suv_rule.time_rule, volume.suv_rule.decay_rule) == (unit, time_rule, decay_rule)
    suv = volume.to_suv().array
    if name == "DRO_2_3":
        np.testing.assert_array_equal(np.unique(np.round(suv.astype(np.float64), 3)), [0.0, 0.189, 0.985, 3.977])
    else:
        np.testing.assert_array_equal(np.unique(np.round(suv.astype(np.float64), 2)), [0.0, 0.2, 1.0, 4.0])


def test_real_whole_body_scan(shared_data):
    """Maximum stated with the data: SUVbw 25.4123 in the lowest 59 slices."""
    volume = read(shared_data / "pet_wholebody_ge")
    assert volume.shape == (267, 128, 128)
    assert volume.suv_rule.time_rule == "a"
    assert volume.to_suv().array[:59].max() == pytest.approx(25.4123, abs=1e-4)
    assert len(volume.warnings) == 1
    assert "do not agree on a back-computed decay reference" in volume.warnings[0]


def test_real_whole_body_scan_is_that_of_simpleitk(shared_data):
    sitk = pytest.importorskip("SimpleITK")
    folder = shared_data / "pet_wholebody_ge"
    volume = read(folder)
    for index in (0, 43, 44, 150, 266):
        (path,) = [path for path in folder.iterdir() if path.name == f"1-{267 - index:03d}.dcm"]
        plane = sitk.ReadImage(str(path), sitk.sitkFloat64)
        np.testing.assert_allclose(volume.array[index], sitk.GetArrayFromImage(plane)[0], rtol=1e-6)
        assert (volume.affine @ (index, 0, 0, 1))[2] == pytest.approx(plane.GetOrigin()[2], abs=0.1)


def test_spect_stored_as_pt(shared_data):
    volume = read(shared_data / "spect_lu177")
    assert (volume.modality, volume.unit, volume.suv_rule.decay_rule) == ("NM", Unit.BQML, "ADMIN")
    assert volume.acquisition.radionuclide == "Lu-177"


def test_planar_counts(shared_data):
    """The header states 1 596 488 accumulated counts."""
    volume = read(shared_data / "planar_static")
    assert (volume.shape, volume.axes, volume.unit) == ((2, 256, 256), ("view", "y", "x"), Unit.COUNTS)
    assert volume.array.sum(dtype=np.float64) == 1_596_488
