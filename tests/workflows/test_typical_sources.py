"""What the sources of a training are like goes into the card, of MR of heads with their share of fluid."""

from types import SimpleNamespace

import pytest

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.workflows.typical_sources import LEAST_CASES, typical_sources
from tests.helpers import make_volume
from tests.metrics.test_head_fluid import SPACING, ball
from tests.models.method_packages import CT, PET, make_plan

MR = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))


@pytest.mark.parametrize(("source", "of_head"), [(MR, True), (PET, False)])
def test_the_range_of_fluid_is_recorded_for_mr_of_heads(source, of_head, monkeypatch):
    images = [ball(0.1 + 0.02 * k)[0] for k in range(LEAST_CASES)]
    cases = [SimpleNamespace(levels=[0], source=lambda _, image=image: [image], spacing_mm=SPACING) for image in images]

    def volume(case, plan, level):
        affine = affine_from_axes(spacing_mm=SPACING)
        return make_volume(array=case.source(level)[0], affine=affine, modality=source.modality, unit=source.unit)

    monkeypatch.setattr("nmsynth.data.prepared.source_volume", volume)
    plan = make_plan(sources=(source,), target=CT.model_copy(update={"optional": False}), conditions=())
    found = typical_sources(cases, plan)
    assert found.n_images == LEAST_CASES
    if of_head:
        assert found.fluid == pytest.approx((0.1, 0.28), abs=0.02)
    else:
        assert found.fluid is None
