"""Units by their names."""

import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit


@pytest.mark.parametrize("unit", list(Unit))
def test_every_unit_is_found_by_its_value_in_any_case(unit):
    assert Unit.parse(unit.value) is unit
    assert Unit.parse(f" {unit.value.upper()} ") is unit
    assert Unit.parse(unit.value.partition(" [")[0]) is unit


@pytest.mark.parametrize("text", ["SUV", "SUVlbm", "g/mL", "", "kBq/mL", "becquerel"])
def test_what_could_be_several_units_is_refused(text):
    with pytest.raises(InputError, match="must be one of Bq/mL"):
        Unit.parse(text)
