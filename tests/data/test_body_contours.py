import numpy as np
import pytest

from nmsynth.core.units import Unit
from nmsynth.data.body_contours import field_of_view
from tests.helpers import make_volume


@pytest.mark.parametrize(("modality", "unit", "fill"), [("MR", Unit.RELATIVE, 0.0), ("CT", Unit.HOUNSFIELD, -1024.0)])
def test_fill_around_a_turned_image_is_no_field_of_view(modality, unit, fill):
    y, x = np.mgrid[:40, :40] - 19.5
    turned = (np.abs(y + x) < 20) & (np.abs(y - x) < 20)
    array = np.where(turned, 100.0, fill) * np.ones((3, 1, 1))
    array[1, 15:25, 15:25] = fill  # bone in MR, or air in CT
    volume = make_volume(array=array.astype(np.float32), unit=unit, modality=modality)
    assert (field_of_view(volume) == turned).mean() > 0.97
    assert field_of_view(volume)[1, 20, 20]
    assert not field_of_view(volume)[:, 0, 0].any()


def test_activity_is_seen_everywhere():
    assert field_of_view(make_volume((3, 4, 5))).all()
