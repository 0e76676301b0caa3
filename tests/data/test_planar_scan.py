import math
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.planar_scan import scan_planar, view_image
from nmsynth.data.planar_study import PlanarStudy
from nmsynth.physics.gamma_camera import GammaCamera
from nmsynth.physics.materials import linear_attenuation
from nmsynth.physics.phantom import Lesion, Phantom
from nmsynth.physics.phantom.tracers import tracer_named

CAMERA = GammaCamera(scatter_fraction=0.0)
STUDY = PlanarStudy(
    tracer_named("MDP"), CAMERA, pixel_mm=8.0, n_columns=40, n_rows=30, field_mm=(160.0, 240.0), seconds=100.0
)
THICK_MM = 96.0
LESION = Lesion(1, "muscle", (20.0, -20.0, 60.0), 32.0, 5.0, 5.0, 1.0, "sphere")


def slab(*, suv=1.0, lesion_suv=0.0):
    """A box of water, 96 mm deep and 400 mm wide, with a hot cube on the patient's left."""

    def render(grid):
        z, y, x = np.meshgrid(*grid.axes(), indexing="ij")
        inside = (np.abs(y) < THICK_MM / 2) & (np.abs(x) < 200)
        hot = (np.abs(z - 20) < 16) & (np.abs(y + 20) < 16) & (np.abs(x - 60) < 16)
        labels = (hot & (lesion_suv > 0)).astype(np.uint8)
        activity = np.where(labels > 0, lesion_suv, suv * inside).astype(np.float32)
        mu = (linear_attenuation("water", 511.0) * inside).astype(np.float32)
        return Phantom(
            grid, activity, mu, inside.astype(np.uint8), labels, (LESION,) if labels.any() else (), 70.0, 1.7, "O", 0,
            "box",
        )  # fmt: skip

    return render


def scan(render, study=STUDY, **changes):
    given = {
        "study": study, "body_mass_kg": 70.0, "height_m": 1.7, "sex": "O", "z_range_mm": (-80.0, 80.0),
        "fractions": (1.0,), "seed": 1,
    } | changes  # fmt: skip
    return scan_planar(render, **given)


def test_a_slab_of_water_gives_its_attenuated_activity():
    """``C S T A (1 - exp(-mu L)) / mu`` a pixel, times what the table lets pass behind."""
    found = scan(slab())
    half_life, mu = 21624.0, linear_attenuation("water", 140.5) / 10.0
    concentration = 600e6 * 2.0 ** (-3 * 3600 / half_life) / 70000.0  # [Bq/mL] at the start
    lasting = math.log(2) * 100.0 / half_life
    seen_mm = (1 - math.exp(-mu * THICK_MM)) / mu
    expected = concentration * 0.064 * seen_mm * CAMERA.counts_per_decay("Tc-99m") * 100.0
    expected *= -math.expm1(-lasting) / lasting
    front, back = found.noise_free.array[:, 15, 20]
    assert front == pytest.approx(expected, rel=0.01)
    assert back == pytest.approx(0.93 * expected, rel=0.01)
    assert found.activity.array[:, 15, 20] == pytest.approx(concentration * 0.064 * THICK_MM, rel=0.01)
    assert found.activity.unit is Unit.BECQUEREL
    # the box has the label 1, and is 400 mm wide
    right, left = found.organ_activity_bq["fat"]
    assert right == pytest.approx(left)
    assert left == pytest.approx(concentration * 20.0 * 16.0 * 9.6, rel=0.01)


def test_counts_are_poisson_of_the_expectation_and_follow_the_fraction():
    found = scan(slab(), fractions=(1.0, 0.25))
    full, quarter = (s.array for s in found.scans)
    expected = found.noise_free.array
    seen = expected > 0.5 * expected.max()
    assert (full == np.round(full)).all()
    assert full[seen].sum() == pytest.approx(expected[seen].sum(), rel=4 / math.sqrt(expected[seen].sum()))
    residual = (full - expected)[seen] ** 2 / expected[seen]
    assert residual.mean() == pytest.approx(1.0, abs=4 * math.sqrt(2 / seen.sum()))
    assert quarter.sum() == pytest.approx(0.25 * expected.sum(), rel=0.02)
    assert found.scans[1].acquisition.simulated_count_fraction == 0.25


def test_outside_the_field_no_pixel_counts():
    array = scan(slab()).noise_free.array
    assert array.shape == (2, 30, 40)
    assert not array[:, :5].any()
    assert not array[:, 25:].any()
    assert not array[:, :, :5].any()
    assert array[:, 5:25, 5:35].all()


def test_left_is_right_in_front_and_left_from_behind():
    found = scan(slab(lesion_suv=20.0))
    front, back = (np.unravel_index(v.argmax(), v.shape) for v in found.noise_free.array)
    assert (front[0], back[0]) == (12, 12)  # 20 mm up from the middle of 30 rows of 8 mm
    assert front[1] in (26, 27, 28)  # 60 mm to the left of the middle of 40 columns
    assert back[1] == 39 - front[1]
    labels = found.lesion_labels
    assert set(np.unique(labels)) == {0, 1}
    assert (labels[1] == labels[0][:, ::-1]).all()
    assert labels[0][12, 27] == 1
    assert found.lesions == (LESION,)
    assert found.body[0].sum() == 20 * 30


def test_an_image_of_one_view_keeps_the_place_of_every_pixel():
    found = scan(slab(lesion_suv=20.0))
    for index in (0, 1):
        image = view_image(found.noise_free, index)
        assert image.shape == (1, 30, 40)
        peak = np.unravel_index(image.array.argmax(), image.shape)
        x, _, z = (image.affine @ (*peak, 1.0))[:3]
        assert (x, z) == (pytest.approx(60.0, abs=8.1), pytest.approx(20.0, abs=4.1))


def test_a_sweep_sees_the_feet_later():
    moving = replace(STUDY, n_rows=None, scan_speed_mm_s=0.01)
    array = scan(slab(), moving).noise_free.array[0]
    assert array.shape == (20, 40)
    top, bottom = array[0, 20], array[19, 20]
    assert bottom / top == pytest.approx(2.0 ** (-152.0 / 0.01 / 21624.0), rel=0.01)


def test_scatter_has_its_share_and_reaches_beyond_the_primaries():
    study = replace(STUDY, camera=GammaCamera(scatter_fraction=0.3))
    found = scan(slab(suv=0.0, lesion_suv=20.0), study)
    whole, primary = found.noise_free.array, found.primaries.array
    far = primary < 1e-3 * primary.max()
    assert whole[far].sum() > 100 * primary[far].sum()
    assert whole[:, 5:25, 5:35].all()  # beside the body too
    assert 0.15 < 1 - primary.sum() / whole.sum() < 0.3  # some scatter leaves the field


def test_no_activity_gives_empty_whole_numbers():
    found = scan(slab(suv=0.0))
    assert not found.scans[0].array.any()
    assert found.noise_free.array.max() == 0.0


def test_one_seed_gives_one_image():
    one, same, other = (scan(slab(), seed=s).scans[0].array for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_what_no_camera_can_do_is_refused():
    with pytest.raises(InputError, match="not negative"):
        scan(slab(suv=-1.0))
    with pytest.raises(InputError, match="Count fractions"):
        scan(slab(), fractions=(0.0,))
    with pytest.raises(InputError, match="at least one row"):
        scan(slab(), z_range_mm=(0.0, 1.0))
    with pytest.raises(InputError, match="must fit 30 rows"):
        scan(slab(), z_range_mm=(-200.0, 200.0))
    with pytest.raises(InputError, match="some of anterior, posterior"):
        replace(STUDY, views=("oblique",))
    with pytest.raises(InputError, match="longer than 0 s"):
        replace(STUDY, seconds=0.0)
    with pytest.raises(InputError, match="scan speed"):
        replace(STUDY, scan_speed_mm_s=0.0)

    def air(grid):
        return replace(slab()(grid), mu_map=np.zeros(grid.shape, np.float32))

    with pytest.raises(InputError, match="none lies in the field"):
        scan(air)
