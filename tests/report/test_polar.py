import numpy as np
import pytest

from nmsynth.core.myocardium import segment_number
from nmsynth.report import polar
from nmsynth.report.html import write_report
from nmsynth.report.polar import SIDE, disc, polar_picture
from tests.report.scenes import images

HEIGHT = np.repeat(np.linspace(0.02, 1.1, 15)[:, None], 36, axis=1)
ANGLE = np.broadcast_to((np.arange(36) + 0.5) * 10.0, HEIGHT.shape)


def maps(**values):
    """Polar maps of an evaluation."""
    told = {name: {"values": rows, "segments": [50.0] * 16 + [None]} for name, rows in values.items()}
    return {"synthetic": {"polar_maps": {"height": HEIGHT.tolist(), "angle_deg": ANGLE[0].tolist(), "maps": told}}}


def test_the_disc_has_every_segment_where_it_is_usually_drawn():
    picture = disc(segment_number(HEIGHT, ANGLE).astype(float), HEIGHT)
    middle = SIDE // 2

    def at(radius, angle_deg):
        """Segment at a place of the disc."""
        right, up = radius * np.cos(np.radians(angle_deg)), radius * np.sin(np.radians(angle_deg))
        return picture[round(middle - up * middle), round(middle + right * middle)]

    assert at(0.0, 0) == 17
    assert [at(0.37, a) for a in (90, 180, 270, 2)] == [13, 14, 15, 16]
    assert [at(0.9, a) for a in (90, 150, 210, 270, 330, 30)] == [1, 2, 3, 4, 5, 6]
    assert [at(0.62, a) for a in (90, 150, 210, 270, 330, 30)] == [7, 8, 9, 10, 11, 12]


def test_what_no_ray_meets_is_filled_from_its_neighbours_and_an_angle_without_any_stays_empty():
    values = np.full(HEIGHT.shape, 80.0)
    values[3, 9], values[:, 20] = np.nan, np.nan
    picture = disc(values, HEIGHT)
    assert picture[8, SIDE // 2] == 80
    angle = np.radians(205)
    place = (round(SIDE / 2 - 70 * np.sin(angle)), round(SIDE / 2 + 70 * np.cos(angle)))
    assert np.isnan(picture[place])


def test_numbers_stand_in_their_own_segments():
    places = polar._middles()
    assert len(places) == 17
    assert places[16] == (0.0, 0.0)
    assert places[0][1] > 0.8  # basal anterior: up, at the rim
    assert places[9][1] < -0.6  # mid inferior: down
    assert places[15][0] > 0.3  # apical lateral: right


def test_source_synthetic_reference_and_their_difference_are_drawn(monkeypatch):
    drawn = []
    paint = polar._paint
    monkeypatch.setattr(polar, "_paint", lambda ax, title, *a, **k: drawn.append(title) or paint(ax, title, *a, **k))
    rows = (100 * np.ones(HEIGHT.shape)).tolist()
    picture = polar_picture(maps(prediction=rows, source=rows, reference=rows, wavelet=rows), "T1")
    assert drawn == ["source", "synthetic", "reference", "synthetic − reference"]
    assert picture.png.startswith(b"\x89PNG")
    assert "against T1" in picture.caption
    assert polar_picture({"synthetic": {"measurements": []}}, "T1") is None
    assert polar_picture(None, "T1") is None


@pytest.mark.parametrize("with_maps", [True, False])
def test_the_page_has_polar_maps_where_the_evaluation_has(tmp_path, with_maps):
    rows = (100 * np.ones(HEIGHT.shape)).tolist()
    metrics = maps(prediction=rows, reference=rows) if with_maps else None
    path = write_report(tmp_path / "report.html", images=images(), metrics=metrics)
    assert ('id="polar"' in path.read_text(encoding="utf-8")) is with_maps
