import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.scan import ReferenceScan
from nmsynth.data.scan_memory import available_bytes, check_memory, scan_bytes

FINE = ReferenceScan(voxel_mm=1.0, field_mm=600.0)


def test_a_scan_that_does_not_fit_is_refused_with_the_least_voxel():
    with pytest.raises(InputError, match=r"need 14\.2 GB, 4\.0 GB are free. Take voxels of at least 2 mm"):
        check_memory(FINE, 4 * 10**9)
    assert scan_bytes(ReferenceScan(voxel_mm=2.0, field_mm=600.0)) <= 4 * 10**9
    assert scan_bytes(ReferenceScan(voxel_mm=1.75, field_mm=600.0)) > 4 * 10**9


def test_a_scan_that_fits_or_of_which_nothing_is_known_is_let_through():
    check_memory(FINE, 15 * 10**9)
    check_memory(FINE, None)
    check_memory(ReferenceScan(), 10**9)
    found = available_bytes()
    assert found is None or found > 10**6
