import csv
import io

from nmsynth.evaluation.schema import Metrics, escape_cell, rows_to_csv
from nmsynth.metrics.measurement import Measurement


def test_texts_that_look_like_formulas_are_escaped_and_numbers_are_not():
    rows = [{"name": text, "value": -1.5} for text in ('=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\tx", "liver")]
    read = list(csv.DictReader(io.StringIO(rows_to_csv(rows))))
    assert [row["name"] for row in read] == ['\'=HYPERLINK("x")', "'+1", "'-1", "'@SUM(A1)", "'\tx", "liver"]
    assert {row["value"] for row in read} == {"-1.5"}


def test_headers_are_escaped_too_and_missing_values_are_empty():
    text = rows_to_csv([{"=a": 1}, {"b": None}])
    assert text.splitlines() == ["'=a,b", "1,", ","]
    assert escape_cell(None) is None


def test_a_mask_named_like_a_formula_is_harmless_in_the_csv_of_metrics():
    metrics = Metrics("lowcount-pet", "SUV", "T1", (Measurement("NRMSE", 0.1, "1", "=cmd|' /C calc'!A0", "T1"),))
    assert "'=cmd|" in metrics.to_csv()
    assert metrics.to_json()["schema_version"] == 1


def test_values_are_found_by_name_mask_and_arm():
    items = (Measurement("a", 1.0, "1", "body"), Measurement("a", 2.0, "1", "liver", arm="source"))
    metrics = Metrics("lowcount-pet", "SUV", "T1", items)
    assert metrics.value("a") == 1.0
    assert metrics.value("a", arm="source") == 2.0
    assert metrics.value("a", mask="liver") is None
    assert metrics.arms == ("prediction", "source")
