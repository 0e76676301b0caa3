"""What a model must not be given: another modality, tracer, body part, unit or patient; exits 3, with a reason."""

import json

import nibabel
import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.models.envelope import Tracer
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows.card_text import read_card_text
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


def of_card(name, **fields):
    """A model with the plan of a task, as far as it matters, and the envelope of its card."""
    plan = make_plan(task=name, conditions=(), **fields)
    envelope = envelope_from_plan(plan).model_dump(mode="json") | read_card_text(name)["envelope"]
    return make_method_card(plan, envelope=envelope | {"any_tracer": False})


def heart(name, *, corrected):
    """A model of perfusion SPECT by its card, trained on images that are corrected for attenuation, or on none."""
    spect = ImagePlan(
        name="spect", modality="NM", unit=Unit.COUNTS, normalisation=LEVEL, attenuation_corrected=corrected
    )
    return of_card(name, sources=(spect,), target=spect)


def lowcount_mpi():
    """Of corrected perfusion SPECT."""
    return heart("lowcount-mpi", corrected=True)


def ac_spect():
    """A model that corrects perfusion SPECT for attenuation."""
    return heart("ac-spect", corrected=False)


def lowcount_spect():
    """Of SPECT of the trunk and the brain."""
    spect = ImagePlan(name="spect", modality="NM", unit=Unit.COUNTS, normalisation=LEVEL)
    return of_card("lowcount-spect", sources=(spect,), target=spect)


def lowcount_planar():
    """Of planar views."""
    view = ImagePlan(name="view", modality="NM", unit=Unit.COUNTS, normalisation=LEVEL)
    grid = {"spacing_mm": (1.0, 4.0, 4.0), "dimensions": "2d", "patch": (1, 16, 16)}
    return of_card("lowcount-planar", sources=(view,), target=view, **grid)


def nac_to_ct():
    """CT from FDG PET that is not corrected for attenuation."""
    nac = ImagePlan(name="pet", modality="PT", unit=Unit.RELATIVE, normalisation=LEVEL, attenuation_corrected=False)
    return of_card("nac-to-ct", sources=(nac,), target=CT.model_copy(update={"optional": False}))


def mr_to_ct_by_card():
    """CT from MR."""
    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    return of_card("mr-to-ct", sources=(mr,), target=CT.model_copy(update={"optional": False}))


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


def view(agent="MDP", part=""):
    """A planar view."""
    dataset = make_nm(STORED[:1].astype(np.uint16), kind="STATIC", PixelSpacing=[4.0, 4.0], **IDENTITY)
    dataset.BodyPartExamined = part
    dataset.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = agent
    return [dataset]


def described(datasets, **changes):
    """The same with other attributes."""
    for dataset in datasets:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
    return datasets


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
    "PET with a method of correction in place of one without": (
        nac_to_ct,
        lambda: series(Units="PROPCNTS", CorrectedImage=NAC, AttenuationCorrectionMethod="measured,CT"),
        None, "must not have been applied, found the method measured,CT",
    ),
    "PET that does not say that it is not corrected": (
        nac_to_ct, lambda: series(Units="PROPCNTS", CorrectedImage=None), None, "--set attenuation_corrected=false",
    ),
    "a brain in place of a body": (
        nac_to_ct, lambda: series(Units="PROPCNTS", CorrectedImage=NAC, BodyPartExamined="BRAIN"), None,
        "found BRAIN",
    ),
    "labelled cells in place of the agent": (
        lowcount_spect, lambda: spect("Tc99m HMPAO leukocytes", "ABDOMEN"), None, "tracer must be MDP",
    ),
    "a tracer of the brain in the trunk": (
        lowcount_spect, lambda: spect("Tc99m HMPAO", "ABDOMEN"), None,
        "body part must be HEAD or BRAIN or SKULL, found ABDOMEN",
    ),
    "corrected SPECT in place of one that is not, by its list": (
        ac_spect, lambda: described(spect(), CorrectedImage=["ATTN", "SCAT"]), None, "must not have been applied",
    ),
    "corrected SPECT, by its method": (
        ac_spect, lambda: described(spect(), AttenuationCorrectionMethod="CT-derived"), None, "the method CT-derived",
    ),
    "corrected SPECT, by the words of its series": (
        ac_spect, lambda: described(spect(), SeriesDescription="Stress IRACAC"), None, "words of the series",
    ),
    "uncorrected SPECT in place of one that is": (
        lowcount_mpi, lambda: described(spect(), CorrectedImage=["UNIF", "COR"]), None,
        "(ATTN) must be applied, found UNIF, COR",
    ),
    "a volume in place of planar views": (
        lowcount_planar, lambda: described(spect("MDP", "WHOLEBODY"), SpacingBetweenSlices="2.0"), None,
        "planar views must be given, found a volume of 8 slices",
    ),
    "planar views in place of a volume": (lowcount_spect, view, None, "need a model of planar views"),
    "proton density in place of T1": (
        mr_to_ct_by_card, lambda: series("MR", EchoTime="10", RepetitionTime="5000", ScanningSequence="SE"), None,
        "repetition time without inversion must be at most 1500 ms",
    ),
    "the fat of a Dixon sequence": (
        mr_to_ct_by_card, lambda: series("MR", EchoTime="3", ImageType=["DERIVED", "PRIMARY", "DIXON", "FAT"]), None,
        "found an ImageType of fat",
    ),
    "a knee in place of a body": (
        mr_to_ct_by_card, lambda: series("MR", EchoTime="3", BodyPartExamined="KNEE"), None, "found KNEE",
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
        (nac_to_ct, lambda: series(Units="PROPCNTS", CorrectedImage=NAC, BodyPartExamined="WHOLEBODY"), None),
        (lowcount_mpi, lambda: described(spect(part="CHEST"), CorrectedImage=["ATTN"]), None),
        (ac_spect, lambda: described(spect(), SeriesDescription="Stress NAC"), None),
        (mr_to_ct_by_card, lambda: series("MR", EchoTime="3", RepetitionTime="20", ScanningSequence="GR"), None),
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


def nifti(path, **stated):
    """An FDG PET with a sidecar."""
    values = np.random.default_rng(0).gamma(2.0, 2000.0, (36, 36, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([4.0, 4.0, 4.0, 1.0])), path)
    record = {"Modality": "PT", "Units": "Bq/mL", "TracerName": "FDG", "TracerRadionuclide": "F18"}
    path.with_name("pet.json").write_text(json.dumps(record | stated))
    return path


def test_a_sidecar_that_says_that_nothing_was_corrected_is_believed(tmp_path, capfd):
    source, out = nifti(tmp_path / "pet.nii.gz", AttenuationCorrection="none"), tmp_path / "out.nii.gz"
    assert run(["synthesize", str(source), str(out), "--threads", "1"]) == 3  # of the model lowcount-pet
    assert "attenuation correction (ATTN) must be applied, found the method none" in capfd.readouterr().err
    assert not out.exists()


def test_a_ct_that_is_called_mr_is_refused(tmp_path, capfd):
    values = np.random.default_rng(0).normal(-700.0, 300.0, (20, 20, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([4.0, 4.0, 4.0, 1.0])), tmp_path / "mr.nii")
    model = save_tiny_method(tmp_path / "models", mr_to_ct())
    words = ["--unit", "relative", "--modality", "MR", "--model", str(model), "--threads", "1"]
    assert run(["synthesize", str(tmp_path / "mr.nii"), str(tmp_path / "out.nii"), *words]) == 3
    assert "as of a CT" in capfd.readouterr().err


def test_what_no_dicom_can_hold_is_refused_before_anything_is_computed(tmp_path, capfd, monkeypatch):
    influx = PET.model_copy(update={"name": "influx", "unit": Unit.INFLUX})
    plan = make_plan(target=influx, conditions=(), task="early-to-influx", target_time="an hour")
    model = save_tiny_method(tmp_path / "models", make_method_card(plan))
    monkeypatch.setattr("nmsynth.workflows.synthesis._synthesize", lambda *_: pytest.fail("it was computed"))
    first = save_series(series(), tmp_path / "first")
    assert run(["synthesize", str(first), str(tmp_path / "out"), "--model", str(model), "--threads", "1"]) == 2
    assert "mL/cm3/min. Name an output that ends in .nii.gz." in " ".join(capfd.readouterr().err.split())
