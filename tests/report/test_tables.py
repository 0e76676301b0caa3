from nmsynth.core.acquisition import Acquisition
from nmsynth.report.tables import (
    acquisition_lines,
    cell,
    collect,
    lesion_rows,
    metric_tables,
    order_methods,
    verdict,
)
from tests.report.scenes import body, volume

ROWS = [
    {"name": "NRMSE", "value": 0.2, "unit": "1", "mask": "body", "reference": "T1", "arm": "prediction"},
    {"name": "PSNR", "value": 30.0, "unit": "dB", "mask": "body", "reference": "T1", "data_range": 7.0},
    {"name": "NRMSE", "value": 0.4, "unit": "1", "mask": "body", "reference": "T1", "arm": "source"},
    {"name": "recovery", "value": 0.5, "unit": "1", "mask": "lesions 10-18 mm", "lower": 0.4, "upper": 0.6},
    {"name": "COV", "value": None, "unit": "1", "mask": "liver", "reason": "no liver"},
    {"name": "SUVmean", "value": 2.5, "unit": "SUVbw [g/mL]", "mask": "liver"},
]


def test_rows_are_found_anywhere_and_split_by_arm():
    found = collect({"model": {"deep": {"measurements": ROWS}}, "gaussian": {"rows": ROWS[:1]}})
    assert list(found) == ["model", "source", "gaussian"]
    assert found["source"] == [ROWS[2]]


def test_cells_print_ratios_as_per_cent_and_bounds_apart():
    assert cell(ROWS[0]) == ("20.0 %", "")
    assert cell(ROWS[3]) == ("0.50", "(0.40 to 0.60)")
    assert cell(ROWS[4]) == ("–", "")
    assert cell({"name": "SUVpeak bias", "value": -0.05, "unit": "1"})[0] == "−5.0 %"


def test_tables_print_data_range_mask_unit_and_reference():
    tables = metric_tables(collect({"model": {"measurements": ROWS}}), "model")
    line = next(line for table in tables for line in table.lines if line.name == "PSNR")
    assert (line.data_range, line.mask, line.unit, line.reference) == ("7.00", "body", "dB", "T1")
    assert any("no liver" in note for table in tables for note in table.notes)


def test_verdict_holds_the_main_measures_and_is_absent_without_any():
    table = verdict(collect({"model": {"measurements": ROWS}}), "model")
    assert [line.name for line in table.lines][:2] == ["NRMSE", "PSNR"]
    assert table.lines[0].cells["source"] == ("40.0 %", "")
    assert verdict({}, None) is None


def test_lesion_rows_of_a_metrics_document_take_the_name_of_the_method():
    document = {"lesions": [{"arm": "prediction", "lesion": "1"}, {"arm": "source", "lesion": "1"}]}
    assert [row["arm"] for row in lesion_rows({"model": document})] == ["model", "source"]


def test_acquisition_shows_no_time_and_no_identifier():
    from datetime import datetime

    acquisition = Acquisition(
        radionuclide="F-18",
        injection_time=datetime(2019, 5, 4, 9, 7),
        reference_time=datetime(2019, 5, 4, 10, 7),
        injected_activity_bq=3e8,
        study_uid="1.2.3.4",
        series_uid="1.2.3.5",
    )
    lines = dict(acquisition_lines(volume(body(), acquisition=acquisition)))
    assert lines["Injected activity"] == "300 MBq"
    assert lines["Injection to decay reference"] == "60.0 min"
    assert not any("2019" in text or "1.2.3" in text for text in lines.values())


def test_bounds_of_one_lesion_are_left_out_and_percentages_are_short():
    row = {"name": "SUVpeak bias", "value": -0.254, "unit": "1", "lower": -0.404, "upper": 0.0213, "n": 4}
    assert cell(row) == ("−25.4 %", "(−40 to +2.1)")
    assert cell({**row, "n": 1}) == ("−25.4 %", "")


def test_lines_of_one_measure_stand_together_and_name_the_number_of_lesions():
    rows = [
        {"name": "recovery", "value": 0.5, "unit": "1", "mask": "lesions", "interval": "quartiles", "n": 3},
        {"name": "omissions", "value": 1.0, "unit": "lesions", "mask": "lesions", "n": 3},
        {"name": "recovery", "value": 0.4, "unit": "1", "mask": "lesions <10 mm", "interval": "quartiles", "n": 2},
    ]
    (table,) = metric_tables(collect({"model": {"measurements": rows}}), "model")
    assert [(line.name, line.mask, line.again) for line in table.lines] == [
        ("recovery", "lesions, n = 3", False),
        ("recovery", "lesions <10 mm, n = 2", True),
        ("omissions", "lesions, n = 3", False),
    ]


def test_controls_stand_between_the_source_and_the_reference():
    names = ["reference", "full counts", "wavelet", "best Gaussian of the source", "source", "model"]
    assert order_methods(names, "model") == [
        "model", "source", "best Gaussian of the source", "wavelet", "full counts", "reference",
    ]  # fmt: skip
