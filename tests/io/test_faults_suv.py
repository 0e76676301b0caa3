"""Faults 1-18 and 91, 94 of the list: what a PT header can get wrong about its SUV."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from nmsynth.core.errors import SuvError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.io import read
from nmsynth.io.writing import write
from tests.io.dicom_factory import administration, coded, make_series, save_series

ONE_HOUR = 2.0 ** (-3600.0 / 6586.2)
FACTOR = 70000.0 / (368.08e6 * ONE_HOUR)
"""SUV by body weight of 1 Bq/mL in the factory's series."""


def load(folder: Path, edit=None, *, radiopharmaceutical=None, **changes) -> Volume:
    """Read a series made by the factory, each slice edited."""
    slices = make_series(radiopharmaceutical=radiopharmaceutical, **changes)
    for dataset in slices:
        if edit is not None:
            edit(dataset)
    return read(save_series(slices, folder))


def assert_suv(volume: Volume, factor: float = FACTOR) -> None:
    np.testing.assert_allclose(volume.to_suv().array, volume.array * factor, rtol=1e-5)


def assert_refused(volume: Volume, match: str, unit: Unit = Unit.BQML) -> None:
    """The image is there, the SUV is not, and both the error and a warning say why."""
    assert volume.unit is unit
    assert volume.array.any()
    with pytest.raises(SuvError, match=match):
        volume.to_suv()
    assert any(volume.suv_rule.reason == warning for warning in volume.warnings)


def test_sound_series_has_suv_without_warnings(tmp_path):
    volume = load(tmp_path)
    assert volume.unit is Unit.BQML
    assert volume.warnings == ()
    assert (volume.suv_rule.time_rule, volume.suv_rule.decay_rule) == ("a", "START")
    assert_suv(volume)


@pytest.mark.parametrize("weight", [None, "0", ""])
def test_fault_01_02_no_weight(tmp_path, weight):
    assert_refused(load(tmp_path, PatientWeight=weight), "weight")


def test_fault_03_weight_in_gram_is_flagged(tmp_path):
    volume = load(tmp_path, PatientWeight="70000")
    assert volume.acquisition.body_mass_kg == 70.0
    assert any("taken as g" in warning for warning in volume.warnings)
    assert_suv(volume)


@pytest.mark.parametrize("dose", [None, "0"])
def test_fault_04_dose_missing(tmp_path, dose):
    assert_refused(load(tmp_path, radiopharmaceutical={"RadionuclideTotalDose": dose}), "injected activity")


def test_fault_05_dose_in_mbq_is_flagged(tmp_path):
    volume = load(tmp_path, radiopharmaceutical={"RadionuclideTotalDose": "368.08"})
    assert any("taken as MBq" in warning for warning in volume.warnings)
    assert_suv(volume)


def test_fault_05_ambiguous_dose_is_refused(tmp_path):
    volume = load(tmp_path, radiopharmaceutical={"RadionuclideTotalDose": "10"})
    assert_refused(volume, "injected activity")
    assert any("MBq or mCi" in warning for warning in volume.warnings)


@pytest.mark.parametrize("half_life", [None, "0"])
def test_fault_06_half_life_from_the_radionuclide(tmp_path, half_life):
    volume = load(tmp_path, radiopharmaceutical={"RadionuclideHalfLife": half_life})
    assert volume.acquisition.half_life_s == 6586.2
    assert any("half-life is not stated" in warning for warning in volume.warnings)
    assert_suv(volume)


def test_fault_06_half_life_unknown_is_refused(tmp_path):
    drop = dict.fromkeys(("RadionuclideHalfLife", "RadionuclideCodeSequence", "RadiopharmaceuticalCodeSequence"))
    assert_refused(load(tmp_path, radiopharmaceutical=drop), "half-life")


def test_fault_07_injection_after_scan(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": "20250101120000", "RadiopharmaceuticalStartTime": None}
    assert_refused(load(tmp_path, radiopharmaceutical=changes), "before the scan")


def test_fault_07_time_shortly_after_scan_is_not_taken_as_the_previous_day(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "110500"}
    assert_refused(load(tmp_path, radiopharmaceutical=changes), "before the scan")


def test_fault_08_midnight_crossing(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "233000"}
    times = {f"{name}Date": "20250102" for name in ("Series", "Acquisition")}
    times |= {f"{name}Time": "003000" for name in ("Series", "Acquisition")}
    volume = load(tmp_path, radiopharmaceutical=changes, **times)
    assert any("previous day" in warning for warning in volume.warnings)
    assert_suv(volume)


def test_fault_09_zone_of_the_injection_is_honoured(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": "20250101090000+0000"}
    assert_suv(load(tmp_path, radiopharmaceutical=changes, TimezoneOffsetFromUTC="+0100"))


def test_fault_09_zones_in_conflict(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": "20250101100000+0000"}
    volume = load(tmp_path, radiopharmaceutical=changes, TimezoneOffsetFromUTC="+0100")
    assert_refused(volume, "time zone")


def test_fault_10_start_time_and_datetime_disagree(tmp_path):
    volume = load(tmp_path, radiopharmaceutical={"RadiopharmaceuticalStartTime": "093000"})
    assert any("disagree" in warning for warning in volume.warnings)
    assert_suv(volume)


@pytest.mark.parametrize("units", ["PROPCNTS", "PROPCPS", "CPS"])
def test_fault_11_not_quantitative(tmp_path, units):
    assert_refused(load(tmp_path, Units=units), "quantitative", Unit.RELATIVE)


def philips(factor=None, activity=None, *, creator="Philips PET Private Group", block=0x10):
    def edit(dataset):
        dataset.Units = "CNTS"
        dataset.Manufacturer = "Philips Medical Systems"
        dataset.add_new((0x7053, block), "LO", creator)
        if block != 0x10:
            dataset.add_new((0x7053, 0x10), "LO", "Somebody else")
            dataset.add_new((0x7053, 0x1000), "DS", "17")
        if factor is not None:
            dataset.add_new((0x7053, block << 8), "DS", factor)
        if activity is not None:
            dataset.add_new((0x7053, block << 8 | 9), "DS", activity)

    return edit


def test_fault_12_cnts_without_factors(tmp_path):
    assert_refused(load(tmp_path, philips()), "private factor", Unit.RELATIVE)


def test_cnts_with_activity_factor_is_bq_per_ml(tmp_path):
    plain, volume = load(tmp_path / "a"), load(tmp_path / "b", philips(activity="2.5"))
    assert volume.unit is Unit.BQML
    np.testing.assert_allclose(volume.array, 2.5 * plain.array, rtol=1e-6)
    assert_suv(volume)


def test_cnts_with_suv_factor_gives_that_suv(tmp_path):
    plain, volume = load(tmp_path / "a"), load(tmp_path / "b", philips("0.001"))
    assert volume.unit is Unit.BQML
    np.testing.assert_allclose(volume.to_suv().array, 0.001 * plain.array, rtol=1e-5)


def test_cnts_with_suv_factor_without_dose_is_suv(tmp_path):
    volume = load(tmp_path, philips("0.001"), radiopharmaceutical={"RadionuclideTotalDose": None})
    assert volume.unit is Unit.SUV_BODY_WEIGHT
    assert volume.to_suv() is volume


def test_cnts_with_factors_in_conflict_keeps_the_suv_factor(tmp_path):
    plain, volume = load(tmp_path / "a"), load(tmp_path / "b", philips("0.001", "2.5"))
    np.testing.assert_allclose(volume.to_suv().array, 0.001 * plain.array, rtol=1e-5)
    assert any("SUV factor holds" in warning for warning in volume.warnings)


def test_fault_13_suv_factor_zero_falls_back_to_activity(tmp_path):
    assert_suv(load(tmp_path, philips("0", "2.5")))


def test_fault_13_both_factors_zero(tmp_path):
    assert_refused(load(tmp_path, philips("0", "0")), "private factor", Unit.RELATIVE)


def test_fault_14_wrong_private_creator(tmp_path):
    assert_refused(load(tmp_path, philips("0.001", creator="Another Group")), "private factor", Unit.RELATIVE)


def test_fault_15_creator_in_block_11(tmp_path):
    plain, volume = load(tmp_path / "a"), load(tmp_path / "b", philips("0.001", block=0x11))
    np.testing.assert_allclose(volume.to_suv().array, 0.001 * plain.array, rtol=1e-5)


def test_fault_16_decy_absent(tmp_path):
    assert_refused(load(tmp_path, CorrectedImage=["ATTN", "SCAT", "RAN", "NORM", "DTIM"]), "contradict")


def test_fault_16_decy_present_but_decay_correction_none(tmp_path):
    assert_refused(load(tmp_path, DecayCorrection="NONE"), "contradict")


@pytest.mark.parametrize("value", ["SCAN", None])
def test_fault_17_unknown_decay_correction(tmp_path, value):
    assert_refused(load(tmp_path, DecayCorrection=value), "DecayCorrection")


def ge(text="20250101110000.00", block=0x10):
    def edit(dataset):
        dataset.Manufacturer = "GE MEDICAL SYSTEMS"
        dataset.add_new((0x0009, block), "LO", "GEMS_PETD_01")
        dataset.add_new((0x0009, block << 8 | 0x0D), "DT", text)

    return edit


def test_fault_18_ge_private_time_holds_where_series_time_is_later(tmp_path):
    volume = load(tmp_path, ge(block=0x12), SeriesTime="114500", AcquisitionTime="112000")
    assert volume.suv_rule.time_rule == "b"
    assert_suv(volume)


def test_fault_18_ge_private_time_conflicts_with_series_time(tmp_path):
    volume = load(tmp_path, ge("20250101111000.00"))
    assert volume.suv_rule.time_rule == "a"
    assert any("private decay time differ by 600 s" in warning for warning in volume.warnings)
    assert_suv(volume)


def test_earliest_acquisition_is_taken_last_and_said(tmp_path):
    volume = load(tmp_path, SeriesTime="114500", FrameReferenceTime=None)
    assert volume.suv_rule.time_rule == "d"
    assert any("rule d" in warning for warning in volume.warnings)
    assert_suv(volume)


def test_delay_of_many_half_lives_is_refused(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": "20241230100000", "RadiopharmaceuticalStartTime": None}
    assert_refused(load(tmp_path, radiopharmaceutical=changes), "half-lives apart")


@pytest.mark.parametrize(
    ("suv_type", "unit"),
    [
        (None, Unit.SUV_BODY_WEIGHT), ("BW", Unit.SUV_BODY_WEIGHT), ("LBM", Unit.SUV_LEAN_BODY_MASS_JAMES),
        ("LBMJAMES128", Unit.SUV_LEAN_BODY_MASS_JAMES), ("LBMJANMA", Unit.SUV_LEAN_BODY_MASS_JANMAHASATIAN),
        ("IBW", Unit.SUV_IDEAL_BODY_WEIGHT),
    ],
)  # fmt: skip
def test_gml_kinds(tmp_path, suv_type, unit):
    volume = load(tmp_path, Units="GML", SUVType=suv_type, radiopharmaceutical={"RadionuclideTotalDose": None})
    assert volume.unit is unit
    assert volume.to_suv().array.max() > 0
    assert any("LBM does not say" in warning for warning in volume.warnings) == (suv_type == "LBM")


def test_lean_body_mass_without_sex_is_refused(tmp_path):
    volume = load(tmp_path, Units="GML", SUVType="LBMJAMES128", PatientSex=None)
    with pytest.raises(SuvError, match="sex"):
        volume.to_suv()


def test_fault_91_attn_absent_is_relative(tmp_path):
    assert_refused(load(tmp_path, CorrectedImage=["DECY", "NORM"]), "attenuation", Unit.RELATIVE)


def test_fault_92_no_administration_no_suv(tmp_path):
    def edit(dataset):
        dataset.RadiopharmaceuticalInformationSequence = []

    assert_refused(load(tmp_path, edit), "injected activity")


def test_several_administrations_are_refused(tmp_path):
    def edit(dataset):
        dataset.RadiopharmaceuticalInformationSequence.append(Dataset())

    assert_refused(load(tmp_path, edit), "several")


def test_slices_with_different_administrations_are_refused(tmp_path):
    slices = make_series()
    slices[2].RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "100000000"
    with pytest.raises(UnsafeInputError, match=r"one administration; file slice-00"):
        read(save_series(slices, tmp_path))


def test_fault_94_spect_stored_as_pt(tmp_path):
    changes = {
        "RadionuclideCodeSequence": [coded("C-101ED", "99SDM", "177 Lutetium")],
        "RadionuclideHalfLife": "574300",
    }
    volume = load(tmp_path, radiopharmaceutical=changes)
    assert volume.modality == "NM"
    assert any("Lu-177" in warning for warning in volume.warnings)


def test_malformed_weight_leaves_the_image(tmp_path):
    folder = save_series(make_series(PatientWeight="70.5"), tmp_path)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"70.5", b"70,5"))
    assert_refused(read(folder), "weight")


def test_counts_without_attenuation_correction_are_not_called_becquerels(tmp_path):
    volume = load(tmp_path, philips("0.001", "0.5"), Units="CNTS", CorrectedImage=["DECY"])
    assert_refused(volume, "ATTN", Unit.RELATIVE)
    assert not any("Bq/mL" in warning for warning in volume.warnings)


def test_fault_05_dose_in_kbq_is_refused(tmp_path):
    volume = load(tmp_path, radiopharmaceutical={"RadionuclideTotalDose": "368080"})
    assert_refused(volume, "injected activity")
    assert any("could be kBq" in warning for warning in volume.warnings)


def uncorrected(**changes):
    """Changes of a series that is not decay corrected."""
    return {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN", "SCAT", "RAN", "NORM", "DTIM"], **changes}


def test_uncorrected_slice_without_its_time_is_not_given_that_of_another(tmp_path):
    slices = make_series(**uncorrected())
    assert read(save_series(slices, tmp_path / "whole")).suv_rule.reason is None
    slices[3].AcquisitionTime = ""
    assert_refused(read(save_series(slices, tmp_path / "part")), "times and frame durations")


def test_corrected_slices_of_which_one_lacks_its_time_keep_the_earliest(tmp_path):
    slices = make_series()
    for index, dataset in enumerate(slices):
        dataset.AcquisitionTime = f"11{50 - 10 * index:02d}00"
    slices[1].AcquisitionTime = ""
    volume = read(save_series(slices, tmp_path))
    assert [time.minute for time in volume.acquisition.acquisition_times] == [10]
    assert_suv(volume)


@pytest.mark.parametrize(("start_time", "is_refused"), [("100000", False), ("090000", True), (None, True)])
def test_fault_09_zone_of_the_injection_alone(tmp_path, start_time, is_refused):
    changes = {
        "RadiopharmaceuticalStartDateTime": "20250101100000.00+0100",
        "RadiopharmaceuticalStartTime": start_time,
    }
    volume = load(tmp_path, radiopharmaceutical=changes)
    if not is_refused:
        assert_suv(volume)
        return
    assert_refused(volume, "time zone")
    assert_refused(read(write(volume, tmp_path / "out")), "time zone")


def test_fault_09_zone_of_an_injection_that_no_suv_needs_is_no_reason(tmp_path):
    changes = {
        "RadiopharmaceuticalStartDateTime": "20250101100000.00+0100",
        "RadiopharmaceuticalStartTime": None,
    }
    assert load(tmp_path / "a", DecayCorrection="ADMIN", radiopharmaceutical=changes).to_suv().array.any()
    assert load(tmp_path / "b", Units="GML", radiopharmaceutical=changes).to_suv().array.any()


def test_fault_09_zone_of_the_private_time_alone(tmp_path):
    later = {"SeriesTime": "114500", "AcquisitionTime": "112000", "FrameReferenceTime": None}
    volume = load(tmp_path / "a", ge("20250101110000.00+0000"), **later)
    assert_refused(volume, "private decay time")
    again = read(write(volume, tmp_path / "out"))
    assert_refused(again, "time of the scan")
    assert_refused(read(write(again, tmp_path / "again")), "time of the scan")
    assert_suv(load(tmp_path / "b", ge("20250101090000.00+0000")))


def test_fault_08_midnight_between_slices_without_a_date(tmp_path):
    start = {"RadiopharmaceuticalStartDateTime": "20250101225000", "RadiopharmaceuticalStartTime": "225000"}
    slices = make_series(SeriesTime="235000", AcquisitionDate="", radiopharmaceutical=start)
    for dataset, time in zip(slices, ("235000", "235500", "000000", "000500", "001000"), strict=True):
        dataset.AcquisitionTime = time
    volume = read(save_series(slices, tmp_path))
    assert [time.day for time in volume.acquisition.acquisition_times] == [1, 1, 2, 2, 2]
    assert any("next day" in warning for warning in volume.warnings)
    assert volume.suv_rule.time_rule == "a"
    assert_suv(volume)


def test_series_that_was_written_in_the_evening_is_not_of_the_next_day(tmp_path):
    volume = load(tmp_path, SeriesTime="235000", AcquisitionDate="", FrameReferenceTime=None)
    assert volume.acquisition.acquisition_times[0].day == 1
    assert volume.suv_rule.time_rule == "d"
    assert_suv(volume)


def test_injection_of_a_tracer_that_lives_for_days_needs_its_date(tmp_path):
    changes = {
        "RadionuclideCodeSequence": None, "RadiopharmaceuticalCodeSequence": None, "Radiopharmaceutical": "Zr-89",
        "RadionuclideHalfLife": "282240", "RadiopharmaceuticalStartDateTime": None,
    }  # fmt: skip
    volume = load(tmp_path, radiopharmaceutical=changes)
    assert_refused(volume, r"date of the injection for a half-life of 78\.4 h")
    assert_refused(read(write(volume, tmp_path / "out")), "date of the injection")
    dated = changes | {"RadiopharmaceuticalStartDateTime": "20241229100000"}
    volume = load(tmp_path / "dated", radiopharmaceutical=dated)
    assert_suv(volume, 70000.0 / (368.08e6 * 2.0 ** (-73 * 3600 / 282240)))


def test_date_of_the_injection_is_joined_with_its_time(tmp_path):
    changes = {"RadiopharmaceuticalStartDateTime": "20241231", "RadiopharmaceuticalStartTime": "230000"}
    volume = load(tmp_path, radiopharmaceutical=changes)
    assert volume.acquisition.injection_time == datetime(2024, 12, 31, 23)
    assert_suv(volume, 70000.0 / (368.08e6 * 2.0 ** (-12 * 3600 / 6586.2)))
    again = read(write(volume, tmp_path / "out"))
    assert again.acquisition.injection_time == volume.acquisition.injection_time
    item = dcmread(tmp_path / "out" / "00001.dcm").RadiopharmaceuticalInformationSequence[0]
    assert str(item.RadiopharmaceuticalStartDateTime).startswith("20241231230000")


@pytest.mark.parametrize(("units", "suv_type"), [("GML", "BSA"), ("CM2ML", "BW"), ("CM2ML", "IBW")])
def test_units_and_suv_type_that_contradict_each_other_are_refused(tmp_path, units, suv_type):
    volume = load(tmp_path, Units=units, SUVType=suv_type)
    assert_refused(volume, f"Units {units} and SUVType {suv_type} contradict", Unit.RELATIVE)


@pytest.mark.parametrize("suv_type", [None, "BSA"])
def test_units_of_the_body_surface(tmp_path, suv_type):
    assert load(tmp_path, Units="CM2ML", SUVType=suv_type).unit is Unit.SUV_BODY_SURFACE_AREA


@pytest.mark.parametrize("second", [{"Radiopharmaceutical": "FLT"}, {"Radiopharmaceutical": "Ga-68 PSMA"}])
def test_of_two_tracers_neither_is_that_of_the_image(tmp_path, second):
    def edit(dataset):
        other = administration(**second, RadiopharmaceuticalCodeSequence=None)
        dataset.RadiopharmaceuticalInformationSequence.append(other)

    acquisition = load(tmp_path, edit).acquisition
    assert (acquisition.radionuclide, acquisition.radiopharmaceutical) == (None, None)


def test_one_tracer_given_twice_is_that_of_the_image(tmp_path):
    def edit(dataset):
        dataset.RadiopharmaceuticalInformationSequence.append(administration())

    acquisition = load(tmp_path, edit).acquisition
    assert (acquisition.radionuclide, acquisition.radiopharmaceutical) == ("F-18", "FDG")


def test_cnts_with_both_factors_without_dose_is_suv(tmp_path):
    plain = load(tmp_path / "a")
    volume = load(tmp_path / "b", philips("0.001", "2.5"), radiopharmaceutical={"RadionuclideTotalDose": None})
    assert volume.unit is Unit.SUV_BODY_WEIGHT
    np.testing.assert_allclose(volume.to_suv().array, 0.001 * plain.array, rtol=1e-5)


def test_cnts_with_both_factors_that_are_not_decay_corrected_stay_becquerels(tmp_path):
    volume = load(tmp_path, philips("0.001", "2.5"), **uncorrected())
    assert volume.unit is Unit.BQML
    assert volume.suv_rule.decay_rule == "NONE"


def test_suv_factor_of_philips_does_not_settle_several_administrations(tmp_path):
    def edit(dataset):
        philips("0.001")(dataset)
        dataset.RadiopharmaceuticalInformationSequence.append(administration(Radiopharmaceutical="FLT"))

    assert_refused(load(tmp_path, edit), "several", Unit.SUV_BODY_WEIGHT)
