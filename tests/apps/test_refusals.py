"""What a model must not be given: another modality, tracer, body part, unit or patient; exits 3, with a reason."""

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.models.envelope import Tracer
from nmsynth.models.plan_envelope import envelope_from_plan
from tests.apps.test_faults import FORBIDDEN, IDENTITY
from tests.io.dicom_factory import coded, make_nm, make_series, save_series, uid
from tests.models.method_packages import CT, FDG, PET, make_method_card, make_plan, save_tiny_method

STORED = np.random.default_rng(0).integers(1, 30000, (8, 16, 16)).astype(np.int16)
LEVEL = Normalisation(kind="level", scale=3.0)
MIBI = Tracer(name="sestamibi", radionuclide="Tc-99m", agents=("sestamibi",))
NAC = ["NORM", "DTIM", "DECY", "RAN"]


def pet_with_ct():
    """A model of FDG PET and CT."""
    return make_method_card(make_plan(sources=(PET, CT.model_copy(update={"optional": False})), conditions=()))


def spect_of_the_heart():
    """A model of perfusion SPECT of the heart alone."""
    spect = ImagePlan(name="spect", modality="NM", unit=Unit.COUNTS, normalisation=LEVEL)
    plan = make_plan(sources=(spect,), target=spect, conditions=(), task="lowcount-mpi")
    heart = envelope_from_plan(plan, tracers=(MIBI,), body_regions=("HEART",))
    return make_method_card(plan, envelope=heart.model_copy(update={"refuses_other_body_regions": True}))


def correction():
    """A model that corrects FDG PET for attenuation."""
    nac = ImagePlan(name="pet", modality="PT", unit=Unit.RELATIVE, normalisation=LEVEL, attenuation_corrected=False)
    plan = make_plan(
        sources=(nac,), target=nac.model_copy(update={"attenuation_corrected": True}), conditions=(),
        task="nac-to-ac-pet", same_calibration=True,
    )  # fmt: skip
    return make_method_card(plan, envelope=envelope_from_plan(plan, tracers=(FDG,)))


def mr_to_ct():
    """A model of MR to CT."""
    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    target = CT.model_copy(update={"optional": False})
    return make_method_card(make_plan(sources=(mr,), target=target, conditions=(), task="mr-to-ct"))


def brain_mr_to_pet():
    """A model of the brain's T1-weighted MR to PET of amyloid."""
    card = mr_to_ct()
    target = PET.model_copy(update={"unit": Unit.SUVR, "references": (("florbetapir", "whole cerebellum"),)})
    plan = make_plan(sources=card.plan.sources, target=target, conditions=(), task="mr-to-amyloid")
    limits = {
        "largest_echo_time_ms": 30.0, "refuses_contrast_agent": True, "body_regions": ("BRAIN", "HEAD"),
        "refuses_other_body_regions": True,
    }  # fmt: skip
    return make_method_card(plan, envelope=envelope_from_plan(plan).model_copy(update=limits))


def series(modality="PT", *, spacing_mm=(4.0, 4.0, 4.0), **changes):
    """A series that the models take, of a patient whom nobody may name."""
    return make_series(modality, stored=STORED, spacing_mm=spacing_mm, **(IDENTITY | changes))


def spect(agent="Tc-99m sestamibi", part="HEART", *, code=("72454006", "SCT", "^99m^Technetium")):
    """A reconstructed SPECT."""
    dataset = make_nm(STORED.astype(np.uint16), spacing_mm=4.0, PixelSpacing=[4.0, 4.0], **IDENTITY)
    dataset.BodyPartExamined = part
    administered = dataset.RadiopharmaceuticalInformationSequence[0]
    administered.Radiopharmaceutical, administered.RadionuclideCodeSequence[0] = agent, coded(*code)
    return [dataset]


GALLIUM = {
    "Radiopharmaceutical": "PSMA-11",
    "RadiopharmaceuticalCodeSequence": None,
    "RadionuclideHalfLife": "4062.6",
    "RadionuclideCodeSequence": [coded("80751004", "SCT", "^68^Gallium")],
}
REFUSED = {
    "another modality": (mr_to_ct, lambda: series("CT"), None, "modality must be MR, found CT"),
    "another modality, of SPECT": (spect_of_the_heart, series, None, "modality must be NM, found PT"),
    "another tracer": (
        pet_with_ct, lambda: series(radiopharmaceutical=GALLIUM), lambda: series("CT"), "tracer must be",
    ),
    "another agent of the same radionuclide": (
        spect_of_the_heart, lambda: spect("Tc-99m HMPAO"), None, "tracer must be sestamibi (Tc-99m), found",
    ),
    "another radionuclide of the same agent": (
        spect_of_the_heart, lambda: spect(code=("1368003", "SCT", "^131^Iodine")), None, "tracer must be sestamibi",
    ),
    "another body part": (
        spect_of_the_heart, lambda: spect(part="BRAIN"), None, "body part must be HEART, found BRAIN",
    ),
    "another unit": (pet_with_ct, lambda: series(Units="PROPCNTS"), lambda: series("CT"), "unit must be"),
    "larger voxels": (
        pet_with_ct, lambda: series(spacing_mm=(9.0, 4.0, 4.0)), lambda: series("CT"), "voxel size must be 2 to 8 mm",
    ),
    "a CT of another patient": (
        pet_with_ct, series, lambda: series("CT", PatientID="ZYX-0815-ID"), "must be of one patient",
    ),
    "a CT in another frame of reference": (
        pet_with_ct, series, lambda: series("CT", FrameOfReferenceUID=uid("other")), "share the frame of reference",
    ),
    "a CT of another place": (pet_with_ct, series, lambda: moved(series("CT")), "fields of view do not meet"),
    "an MR in the role of the CT": (pet_with_ct, series, lambda: series("MR"), "input ct must be CT; found MR"),
    "swapped roles": (pet_with_ct, lambda: series("CT"), series, "modality must be PT, found CT"),
    "another sequence than T1": (
        brain_mr_to_pet, lambda: series("MR", EchoTime="95"), None, "echo time must be at most 30 ms",
    ),
    "an MR with contrast agent": (
        brain_mr_to_pet, lambda: series("MR", EchoTime="3", ContrastBolusAgent="Gadovist"), None, "no contrast agent",
    ),
    "a body in place of a brain": (
        brain_mr_to_pet, lambda: series("MR", EchoTime="3", BodyPartExamined="ABDOMEN"), None, "body part must be",
    ),
    "corrected PET in place of one that is not": (
        correction, lambda: series(Units="PROPCNTS"), None, "must not have been applied",
    ),
    "uncorrected PET in place of one that is": (
        pet_with_ct, lambda: series(CorrectedImage=NAC), lambda: series("CT"), "(ATTN) must be applied",
    ),
}  # fmt: skip


def moved(slices):
    """A series a metre away."""
    for dataset in slices:
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 1000.0]
    return slices


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_input_is_refused_with_a_reason(what, tmp_path, capfd):
    card, make_first, make_second, reason = REFUSED[what]
    model = save_tiny_method(tmp_path / "models", card())
    words = ["synthesize", save_series(make_first(), tmp_path / "first"), tmp_path / "out.nii.gz", "--model", model]
    if make_second is not None:
        words += ["--input", f"ct={save_series(make_second(), tmp_path / 'second')}"]
    assert run([str(word) for word in (*words, "--threads", "1")]) == 3
    said = " ".join("".join(capfd.readouterr()).split())
    assert reason in said
    assert not any(word in said.lower() for word in (*FORBIDDEN, "0815"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "second") == ["first", "models"]


@pytest.mark.parametrize(
    ("card", "first", "second"),
    [
        (pet_with_ct, series, lambda: series("CT")),
        (spect_of_the_heart, spect, None),
        (correction, lambda: series(Units="PROPCNTS", CorrectedImage=NAC), None),
        (mr_to_ct, lambda: series("MR"), None),
        (
            brain_mr_to_pet,
            lambda: series("MR", EchoTime="3", ContrastBolusAgent="NONE", BodyPartExamined="BRAIN"),
            None,
        ),
    ],
)
def test_right_input_is_taken(card, first, second, tmp_path, capfd):
    model = save_tiny_method(tmp_path / "models", card())
    words = ["synthesize", save_series(first(), tmp_path / "first"), tmp_path / "out.nii.gz", "--model", model]
    words += [] if second is None else ["--input", f"ct={save_series(second(), tmp_path / 'second')}"]
    assert run([str(word) for word in (*words, "--threads", "1")]) == 0, capfd.readouterr().err
