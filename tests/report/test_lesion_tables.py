from nmsynth.report.lesion_tables import decision_table


def test_decisions_that_differ_from_the_references_are_marked():
    row = {"lesion": "lesion 1", "diameter_mm": 12.0, "category": 3, "category_reference": 4, "measurable": True}
    rows = [{**row, "arm": "model", "measurable_reference": True, "tlg_fixed": 1.5, "tlg_fixed_reference": 2.0}]
    found = decision_table(rows, ["model"])
    assert found["titles"] == ["TLG SUV 4 [mL × SUV]", "Deauville", "PERCIST measurable"]
    assert found["lines"][0]["cells"] == [
        ("reference", [("2.00", False), ("4", False), ("yes", False)]),
        ("model", [("1.50", False), ("3", True), ("yes", False)]),
    ]
    assert decision_table([{"lesion": "1", "arm": "model"}], ["model"]) is None
