"""Planar views go through a model of single slices one by one."""

from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import EnvelopeError, InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES
from nmsynth.inference import synthesize
from nmsynth.io import read
from nmsynth.io.dicom_nm_new import write_new_planar
from nmsynth.io.nifti import write_nifti
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows.report import report_study
from nmsynth.workflows.synthesis import synthesize_study
from tests.helpers import make_volume
from tests.io.test_dicom_nm import ACQUISITION, CAMERA, SERIES, SIMULATED
from tests.models.method_packages import make_method_card, make_plan, save_tiny_method, tiny_model

SETTINGS = {"threads": 1}
VIEW = ImagePlan(name="view", modality="NM", unit=Unit.COUNTS, normalisation=Normalisation(kind="level", scale=3.0))


def card_of(**changes):
    fields = {"sources": (VIEW,), "target": VIEW, "conditions": (), "spacing_mm": (1.0, 4.0, 4.0), "dimensions": "2d"}
    plan = make_plan(**(fields | {"patch": (1, 16, 16)} | changes))
    return make_method_card(plan, envelope=envelope_from_plan(plan))


def planar(n_views=2):
    """A body in counts, brighter from behind."""
    y, x = np.ogrid[-1:1:32j, -1:1:24j]
    body = np.exp(-3 * (y**2 + x**2))
    array = np.stack([np.random.default_rng(k).poisson(20 * (k + 1) * body) for k in range(n_views)])
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -4.0, 4.0, 1.0
    return make_volume(array=array, affine=affine, axes=PLANAR_AXES, modality="NM", unit=Unit.COUNTS)


def test_views_keep_counts_grid_and_order():
    source = planar()
    result = synthesize(source, tiny_model(card_of(residual=True), silent=True), settings=SETTINGS)
    np.testing.assert_allclose(result.image.array, source.array, rtol=1e-4, atol=1e-3)
    assert (result.image.axes, result.image.unit) == (PLANAR_AXES, Unit.COUNTS)
    assert result.image.provenance.synthetic
    assert result.record["output"]["shape"] == [2, 32, 24]
    assert set(result.record["checks"]) == {"view 1", "view 2"}


def test_a_view_is_synthesised_as_if_it_were_alone():
    source, model = planar(), tiny_model(card_of())
    both = synthesize(source, model, settings=SETTINGS).image
    for k in range(2):
        alone = synthesize(source.with_array(source.array[k : k + 1]), model, settings=SETTINGS).image
        np.testing.assert_allclose(both.array[k : k + 1], alone.array, rtol=1e-5, atol=1e-5)


def test_an_empty_view_stays_empty():
    source = planar()
    source = source.with_array(source.array * np.array([1, 0]).reshape(2, 1, 1))
    image = synthesize(source, tiny_model(card_of()), settings=SETTINGS).image
    assert not image.array[1].any()
    assert image.array[0].any()


def test_samples_are_of_all_views():
    card = make_method_card(card_of().plan, family="ddpm", envelope=card_of().envelope)
    settings = {**SETTINGS, "n_samples": 2, "sampling_steps": 2}
    result = synthesize(planar(), tiny_model(card), settings=settings)
    assert [sample.shape for sample in result.samples] == [(2, 32, 24)] * 2
    np.testing.assert_allclose(
        result.image.array, np.mean([s.array for s in result.samples], axis=0), rtol=1e-4, atol=1e-3
    )


def test_a_model_of_volumes_is_refused():
    model = tiny_model(card_of(dimensions="3d", patch=(8, 16, 16)))
    with pytest.raises(EnvelopeError, match=r"need a model of planar views; found tiny-method, .* Give it a recon"):
        synthesize(planar(), model, settings=SETTINGS)


def test_a_volume_is_refused_by_a_model_of_views_and_views_by_one_that_had_none():
    card = card_of()
    of_views = card.model_copy(update={"envelope": card.envelope.model_copy(update={"single_slices": True})})
    affine = np.array([[0, 0, 4.0, 0], [0, 4.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    volume = make_volume(array=np.ones((8, 32, 24)), affine=affine, modality="NM", unit=Unit.COUNTS)
    with pytest.raises(EnvelopeError, match="planar views must be given, found a volume of 8 slices"):
        synthesize(volume, tiny_model(of_views), settings=SETTINGS)
    assert synthesize(planar(), tiny_model(of_views), settings=SETTINGS).image.axes == PLANAR_AXES
    of_volumes = card.model_copy(update={"envelope": card.envelope.model_copy(update={"single_slices": False})})
    with pytest.raises(EnvelopeError, match="need a model of planar views"):
        synthesize(planar(), tiny_model(of_volumes), settings=SETTINGS)


def test_views_have_no_place_in_nifti_and_the_message_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="Name a folder without an ending, for a DICOM output"):
        write_nifti(planar(), tmp_path / "views.nii.gz")


def test_a_planar_object_is_derived_from_its_source(tmp_path):
    source = replace(planar(), acquisition=ACQUISITION, provenance=SIMULATED)
    write_new_planar(source, tmp_path / "scan", camera=CAMERA, series=SERIES, faces_mm=(150.0, 160.0))
    package = save_tiny_method(tmp_path / "models", card_of())
    result = synthesize_study(tmp_path / "scan", tmp_path / "out", model=package, settings=SETTINGS)
    written = read(tmp_path / "out")
    assert (written.axes, written.unit) == (PLANAR_AXES, Unit.COUNTS)
    assert written.provenance.synthetic
    np.testing.assert_allclose(written.array, result.image.array, atol=float(result.image.array.max()) / 3e4)


def test_a_report_shows_the_views_beside_their_source_and_a_reference(tmp_path):
    source = replace(planar(), acquisition=ACQUISITION, provenance=SIMULATED)
    write_new_planar(source, tmp_path / "scan", camera=CAMERA, series=SERIES, faces_mm=(150.0, 160.0))
    package = save_tiny_method(tmp_path / "models", card_of())
    synthesize_study(tmp_path / "scan", tmp_path / "out", model=package, settings=SETTINGS)
    bare = report_study(tmp_path / "out", tmp_path / "bare.html", source=tmp_path / "scan").read_text(encoding="utf-8")
    assert "<h2>Views</h2>" in bare
    assert "supports no claim of accuracy" in bare
    paths = {"source": tmp_path / "scan", "reference": tmp_path / "scan"}
    page = report_study(tmp_path / "out", tmp_path / "page.html", **paths, title="Two views").read_text(
        encoding="utf-8"
    )
    assert "hot spots missed" in page
    assert "Two views" in page
    assert "data:image/png" in page
