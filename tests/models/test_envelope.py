"""A model refuses what it was not tested for, and says every reason at once."""

import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest

from nmsynth.core.errors import EnvelopeError
from nmsynth.core.units import Unit
from nmsynth.models.envelope import Envelope, Tracer, printable
from tests.models.packages import FDG, make_card, make_pet

ENVELOPE = make_card().envelope


def test_a_suitable_scan_is_taken_without_flags():
    assert ENVELOPE.check(make_pet()) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "CT"}, "modality must be PT, found CT"),
        ({"unit": Unit.RELATIVE}, "unit must be .* found relative"),
        ({"spacing_mm": (9.0, 4.0, 4.0)}, "axial voxel size must be 1.5 to 6 mm, found 9 mm"),
        ({"spacing_mm": (3.0, 1.0, 4.0)}, "in-plane voxel size must be 1.5 to 6 mm, found 1 x 4 mm"),
        ({"acquisition": replace(FDG, radiopharmaceutical="PSMA-1007")}, "tracer must be FDG .* found F-18 PSMA-1007"),
        ({"acquisition": replace(FDG, radiopharmaceutical=None)}, "tracer must be FDG .* found F-18"),
        ({"acquisition": replace(FDG, radionuclide="Lu-177")}, "tracer must be FDG .* found Lu-177"),
        ({"acquisition": replace(FDG, corrections=("DECY",))}, "attenuation correction .* found DECY"),
    ],
)
def test_fault_74_a_scan_outside_is_refused(changes, reason):
    with pytest.raises(EnvelopeError, match=reason):
        ENVELOPE.check(make_pet(**changes))


def test_every_violation_is_listed_in_one_line():
    scan = make_pet(modality="NM", unit=Unit.COUNTS, acquisition=replace(FDG, radionuclide="Tc-99m"))
    with pytest.raises(EnvelopeError, match=r"modality.*unit.*tracer") as caught:
        ENVELOPE.check(scan)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_small_grid_is_refused():
    with pytest.raises(EnvelopeError, match=r"at least \(4, 8, 8\) voxels"):
        ENVELOPE.check(make_pet((2, 24, 20)))


def test_a_sheared_grid_is_refused():
    scan = make_pet()
    affine = scan.affine.copy()
    affine[1, 0] = 1.0
    with pytest.raises(EnvelopeError, match="right angles"):
        ENVELOPE.check(replace(scan, affine=affine))


def test_a_tracer_may_be_stated_where_the_source_states_none_but_not_against_it():
    silent = make_pet(acquisition=replace(FDG, radionuclide=None, radiopharmaceutical=None))
    ENVELOPE.check(silent, tracer="FDG")
    with pytest.raises(EnvelopeError, match="found F-18 Florbetapir"):
        ENVELOPE.check(make_pet(acquisition=replace(FDG, radiopharmaceutical="Florbetapir")), tracer="FDG")


def test_doubts_are_flags():
    doubtful = make_pet(acquisition=replace(FDG, corrections=(), body_part="BRAIN"))
    assert [flag[:20] for flag in ENVELOPE.check(doubtful)] == ["the source does not ", "body part BRAIN is n"]


def test_another_body_part_is_refused_where_the_model_says_so():
    strict = ENVELOPE.model_copy(update={"refuses_other_body_regions": True})
    with pytest.raises(EnvelopeError, match="body part must be WHOLEBODY, found BRAIN"):
        strict.check(make_pet(acquisition=replace(FDG, body_part="BRAIN")))
    assert not any("body part" in f for f in strict.check(make_pet(acquisition=replace(FDG, body_part="Whole Body"))))
    assert strict.check(make_pet()) == ("the source does not state its body part; it must be WHOLEBODY",)


def test_a_doubtful_body_part_is_flagged_where_others_are_refused():
    changes = {"refuses_other_body_regions": True, "doubtful_body_regions": ("CHEST",)}
    strict = ENVELOPE.model_copy(update=changes)
    assert strict.check(make_pet(acquisition=replace(FDG, body_part="CHEST"))) == (
        "body part CHEST is not among those tested: WHOLEBODY",
    )
    with pytest.raises(EnvelopeError, match="body part must be WHOLEBODY, found KNEE"):
        strict.check(make_pet(acquisition=replace(FDG, body_part="KNEE")))


def test_a_tracer_may_have_body_parts_of_its_own():
    other = Tracer(name="FES", radionuclide="F-18", agents=("FES",), body_regions=("BREAST",))
    changes = {"refuses_other_body_regions": True, "tracers": (*ENVELOPE.tracers, other)}
    strict = ENVELOPE.model_copy(update=changes)
    breast = replace(FDG, body_part="BREAST")
    assert strict.check(make_pet(acquisition=replace(breast, radiopharmaceutical="FES"))) == ()
    with pytest.raises(EnvelopeError, match="body part must be WHOLEBODY, found BREAST"):
        strict.check(make_pet(acquisition=breast))


def test_volumes_and_single_slices_are_told_apart_where_the_model_says_so():
    views = ENVELOPE.model_copy(update={"single_slices": True, "minimum_grid": (1, 8, 8)})
    assert views.check(make_pet((1, 24, 20))) == ()
    with pytest.raises(EnvelopeError, match="planar views must be given, found a volume of 10 slices"):
        views.check(make_pet())
    volumes = views.model_copy(update={"single_slices": False})
    with pytest.raises(EnvelopeError, match="a volume must be given, found a single slice"):
        volumes.check(make_pet((1, 24, 20)))


@pytest.mark.parametrize(
    ("agent", "is_it"),
    [
        ("Tc99m HMPAO", True), ("Tc-99m labelled HMPAO", True), ("HMPAO leukocytes", False), ("HMPAO-WBC", False),
        ("leucocytes (HMPAO)", False), ("HMPAO white cells", False), ("HMPAO labeled platelets", False),
        ("HMPAO-labelled", False), ("HMPAO red blood cells", False), ("RBC HMPAO", False),
    ],
)  # fmt: skip
def test_what_an_agent_labels_is_another_tracer(agent, is_it):
    assert Tracer(name="HMPAO", radionuclide="Tc-99m", agents=("HMPAO",)).matches("Tc-99m", agent) is is_it
    cells = Tracer(name="cells", radionuclide="Tc-99m", agents=("leukocytes",))
    assert cells.matches("Tc-99m", "HMPAO labelled leukocytes")


@pytest.mark.parametrize("nuclide", ["F-18", "18F", "F18", "^18^F", None])
def test_a_radionuclide_is_known_however_it_is_written(nuclide):
    assert Tracer(name="FDG", radionuclide="F-18", agents=("FDG",)).matches(nuclide, "[18F]-FDG")


def test_text_of_a_file_cannot_break_the_line_or_colour_the_terminal():
    hostile = "\x1b[31mred\nline" + 100 * "x"
    with pytest.raises(EnvelopeError, match="tracer must be") as caught:
        ENVELOPE.check(make_pet(acquisition=replace(FDG, radiopharmaceutical=hostile)))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(printable(hostile)) == 40


def test_a_range_must_rise():
    with pytest.raises(ValueError, match="0 < low <= high"):
        Envelope(axial_voxel_mm=(6.0, 1.0), in_plane_voxel_mm=(1.0, 6.0), tracers=ENVELOPE.tracers)


def test_doubtful_body_parts_are_those_of_the_tracer_that_names_its_own():
    own = Tracer(
        name="FDG", radionuclide="F-18", agents=("fluorodeoxyglucose",), body_regions=("HEAD",),
        doubtful_body_regions=("NECK",),
    )  # fmt: skip
    strict = ENVELOPE.model_copy(
        update={"tracers": (own,), "doubtful_body_regions": ("ABDOMEN",), "refuses_other_body_regions": True}
    )
    assert any("body part" in flag for flag in strict.check(make_pet(acquisition=replace(FDG, body_part="NECK"))))
    with pytest.raises(EnvelopeError, match="ABDOMEN"):
        strict.check(make_pet(acquisition=replace(FDG, body_part="ABDOMEN")))


@pytest.mark.parametrize("name", ["nac-to-ac-pet", "nac-to-ct", "pet-to-ct", "pet-to-mr", "ct-to-pet", "mr-to-ct"])
def test_whole_body_models_take_parts_as_scanners_name_them(name):
    text = (files("nmsynth.recipes") / "cards" / f"{name}.toml").read_text(encoding="utf-8")
    envelope = tomllib.loads(text)["envelope"]
    assert {"CHESTABDPELVIS", "NECKCHESTABDPELV"} <= {*envelope["body_regions"], *envelope["doubtful_body_regions"]}
