"""What scripts beside the proof write becomes metrics and sentences of a card."""

import json

import numpy as np
import pytest
from benchmarks.card_findings import kind_of
from benchmarks.card_metrics import findings_of_file
from benchmarks.closed_loop import summary as loop_summary
from benchmarks.guide import record_of
from benchmarks.real_planar import summary as planar_summary
from benchmarks.real_spect import compare

from tests.benchmarks.test_closed_loop import subject
from tests.benchmarks.test_real_planar import rows as planar_rows
from tests.benchmarks.test_real_spect import series

MODEL = {"name": "m", "sha256": "abc"}


def findings(tmp_path, table, task=""):
    """Of a JSON as it lies on the disk, for the card of these weights."""
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    return findings_of_file(path, "abc", task)


def test_a_closed_loop_stands_beside_the_best_of_the_other_maps(tmp_path):
    arms = {"synthetic": 0.001, "water": 0.003, "uncorrected": 0.02}
    subjects = [
        {"case": f"c{k}", "arms": {arm: subject(scale)["arms"]["synthetic"] for arm, scale in arms.items()}}
        for k in range(2)
    ]
    table = {"asked": MODEL, "scanner": "another", "summary": loop_summary(subjects), "subjects": subjects}
    found = {m.name: m for m in findings(tmp_path, table).metrics}
    error = found["PET after reconstruction: organ error median"]
    assert (error.value, error.baseline, error.baseline_name) == pytest.approx((0.0105, 0.0315, "water"))
    assert error.low is not None
    assert error.condition == "closed loop on simulated patients, scanner another, n = 2"
    assert not any("organ 1" in name for name in found)
    assert all("Closed loop, scanner another: " in told for told in findings(tmp_path, table).sentences)
    with pytest.raises(SystemExit, match="other weights"):
        findings(tmp_path, table | {"asked": {"sha256": "other"}})


def test_detection_of_defects_is_told_with_both_differences(tmp_path):
    table = {
        "model": MODEL,
        "camera": "as trained",
        "hearts": {"with a defect": 250, "without": 250},
        "auc": {"full": [0.9, 0.88, 0.92], "input 0.25": [0.8, 0.77, 0.83], "model 0.25": [0.82, 0.79, 0.85]},
        "model at 0.25": {"less input": [0.02, 0.0, 0.04], "less full counts": [-0.08, -0.1, -0.06]},
    }
    verdicts = {"model at 0.25": {"less input": "not worse", "less full counts": "worse"}}
    found = findings(tmp_path, table | {"verdicts": verdicts, "schema_version": 2})
    area, gain, loss = found.metrics
    assert (gain.verdict, loss.verdict) == ("not told apart", "worse")
    assert found.sentences[0] == "Detection of defects at 1/4 of the counts, less input: not worse."
    assert (area.value, area.baseline, area.baseline_name) == (0.82, 0.8, "the source as it is")
    assert "1/4 of the counts" in area.condition
    assert (gain.name, gain.low) == ("AUC for defects, model less input", 0.0)
    assert (loss.value, loss.high) == (-0.08, -0.06)


def test_measured_views_are_better_only_than_both(tmp_path):
    table = {"model": MODEL, "tracer": "MAA", "summary": planar_summary(planar_rows()), "rows": planar_rows()}
    found = findings(tmp_path, table)
    assert [m.verdict for m in found.metrics] == ["better"]
    assert found.metrics[0].baseline == pytest.approx(found.metrics[0].value + 0.02)
    assert found.sentences == ("Counts of measured views at 1/4 of the counts change by +0.0% to +0.0%.",)
    line = table["summary"][0] | {"synthetic less best Gaussian": [0.02, -0.01, 0.04]}
    assert findings(tmp_path, table | {"summary": [line]}).metrics[0].verdict == "not told apart"


def test_a_measured_series_tells_activity_noise_and_edges(tmp_path):
    source, smooth, spacing_mm = series()
    table = {"model": MODEL, "tracer": "DOTATATE", **compare(source, smooth, spacing_mm)}
    found = {m.name: m for m in findings(tmp_path, table).metrics}
    assert found["noise"].value < found["noise"].baseline
    assert abs(found["change of an organ's activity, largest"].value) < 0.05
    assert found["width of edges"].baseline_name == "Gaussian of equal noise"


def test_every_coupling_is_told_by_the_numbers_that_there_are(tmp_path):
    entry = {"model": MODEL, "subjects": 60, "coverage": [0.9, 0.88, 0.92], "AUC": None, "composite": "cortex"}
    entry |= {"verdicts": {"coverage": "nominal 0.90 within the interval", "collapse": "collapses to the mean"}}
    other = entry | {"model": {"name": "n", "sha256": "none"}, "AUC": [0.5, 0.4, 0.6]}
    table = {"task": "mr-to-amyloid", "couplings": {"published": entry, "none": other}}
    found = findings(tmp_path, table)
    assert found.sentences[1] == (
        "Coupling none: coverage: nominal 0.90 within the interval; collapse: collapses to the mean."
    )
    assert [(m.name, m.condition) for m in found.metrics] == [
        ("coverage", "simulated, coupling published, n = 60"),
        ("coverage", "simulated, coupling none, n = 60"),
        ("AUC", "simulated, coupling none, n = 60"),
    ]


def guide_table():
    """A guide that helps by 0.01, and without which its network is worse than one trained without."""
    rng = np.random.default_rng(0)

    def patient():
        level = 0.2 + 0.01 * rng.standard_normal()
        errors = {"prediction": level, "guide missing": level + 0.03, "trained without": level + 0.01, "source": 0.5}
        return {arm: {"NRMSE": error, "false structures": float(error > 0.21)} for arm, error in errors.items()}

    return record_of("ct", {"guided": "g", "plain": "p"}, {"tested": 20}, {0.1: [patient() for _ in range(20)]})


def test_what_a_missing_guide_costs_is_said_in_the_cards_of_its_task(tmp_path):
    table = guide_table()
    found = findings(tmp_path, table, task="lowcount-pet")
    assert found.sentences == (
        "Trained without a CT rather than with one, NRMSE changes by +0.0100 (+0.0100 to +0.0100) at 1/10 of the "
        "counts.",
        "Where the network that was trained with a CT has to do without it, NRMSE changes by +0.0300 (+0.0300 to "
        "+0.0300) at 1/10 of the counts.",
    )
    error = found.metrics[0]
    assert (error.name, error.verdict, error.baseline_name) == ("NRMSE, guided by CT", "better", "trained without")
    with pytest.raises(SystemExit, match="other weights"):
        findings(tmp_path, table, task="lowcount-mpi")


def test_tables_of_other_scripts_are_none_of_these():
    assert kind_of({"levels": [], "model": MODEL}) is None
    assert kind_of({"rows": [], "sha256": "abc"}) is None
