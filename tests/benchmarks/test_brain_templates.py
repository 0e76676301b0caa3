"""Answers of a model are averaged where they lie in the brain, and told beside the phantoms that taught it."""

import numpy as np
import pytest
from benchmarks.brain_templates import OF_MODEL, TEMPLATES, agreement, model_average, placed_in_image

from benchmarks import brain_templates
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.inference.synthesis import Synthesis
from nmsynth.io.nifti import write_nifti
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion, brain_frame, brain_regions
from tests.helpers import make_volume
from tests.physics.brain_map import SPACING, head


def test_an_index_of_the_map_is_found_in_an_image_with_the_coordinates_of_the_phantom():
    # planes of 4 mm from z = 0, columns of 2 mm centred at 0: the fifth voxel of nine is at 0 along y and x
    image = make_volume((10, 20, 20), spacing_mm=(2.0, 4.0, 4.0), origin_mm=(-38.0, -38.0, 6.0))
    found = placed_in_image(np.array([[2.0, 4.0, 5.0]]), (6, 9, 9), (4.0, 2.0, 2.0), image)
    assert found == pytest.approx(np.array([[1.0, 9.5, 10.0]]))


def test_a_model_that_knows_the_phantom_has_its_ratios_in_the_space_of_the_averages(tmp_path, monkeypatch):
    labels, _ = head()
    affine = np.array([[0, 0, 4.0, -94], [0, 4.0, 0, -112], [4.0, 0, 0, -120], [0, 0, 0, 1]])
    path = tmp_path / "labels" / "head.nii.gz"
    path.parent.mkdir()
    write_nifti(Volume(array=labels.astype(np.float32), affine=affine, unit=Unit.UNITLESS, modality="MR"), path)
    asked = []

    def the_truth(study, model, output, *, seed):
        """What a perfect model would say."""
        asked.append((model, sorted(row.name for row in study.rows if row.role == "source")))
        return Synthesis(study.target, {}, (), None, (), {}), study.target

    monkeypatch.setattr(brain_templates, "synthesize_task_study", the_truth)
    coarse = brain_templates.plan_task_studies
    monkeypatch.setattr(
        brain_templates, "plan_task_studies", lambda *a: coarse(*a[:3], {**a[3], "settings.voxel_mm": 6.0})
    )
    regions = brain_regions(labels, SPACING) % RIGHT
    frame, means = brain_frame(labels, SPACING), {}
    wanted = (BrainRegion.CEREBRAL_WHITE, BrainRegion.CEREBELLAR_CORTEX, BrainRegion.PONS, BrainRegion.THALAMUS)
    places = [np.argwhere(regions == region) for region in wanted]
    points = np.concatenate([frame.coordinates(place, SPACING) for place in places])
    found = model_average(tmp_path / "labels", points, "mr-to-fdg", "any")
    ends = np.cumsum([len(place) for place in places])
    for region, own in zip(wanted, np.split(found, ends[:-1]), strict=True):
        means[region] = own.mean()
    assert asked == [("any", ["mr"])]
    assert means[BrainRegion.PONS] == pytest.approx(1.0, rel=0.12)
    assert means[BrainRegion.THALAMUS] > 1.1 * means[BrainRegion.PONS]


def test_agreement_is_of_ratios_and_a_model_stands_beside_one_average():
    assert agreement(np.array([1.0, 2.0, 4.0]), np.array([1.1, 2.2, 4.4])) == {
        "mean absolute difference": 0.1, "correlation": 1.0,
    }  # fmt: skip
    assert set(OF_MODEL.values()) <= set(TEMPLATES)
