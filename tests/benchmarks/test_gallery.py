"""The gallery shows a task with the first picture of its report, its verdict, and the numbers of its card."""

import base64

import pytest
from benchmarks.gallery import card_rows, section

from benchmarks import gallery
from nmsynth.evaluation.schema import Metrics
from nmsynth.metrics.measurement import Measurement
from nmsynth.models.card import Metric
from nmsynth.workflows.task_demo import TaskDemoResult
from nmsynth.workflows.tasks import Attempt, load_task
from tests.models.method_packages import make_method_card

OTHER = Metric(name="noise", value=0.05, condition="simulated, as trained, n = 20")
METRIC = Metric(
    name="NRMSE", value=0.1234, low=0.1, high=0.15, condition="simulated, as trained, n = 20", baseline=0.2,
    baseline_name="wavelet", verdict="better", ablation=0.13, ablation_verdict="not told apart",
)  # fmt: skip


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A demonstration with a report of two pictures, and the card of its model."""
    card = make_method_card(
        verdict="Does not beat its baselines: NRMSE.", metrics=(OTHER, METRIC), findings=("A finding, a sentence.",)
    )
    monkeypatch.setattr(gallery, "show_model", lambda _: card)
    pictures = [base64.b64encode(data).decode() for data in (b"first", b"second")]
    report = tmp_path / "report.html"
    report.write_text("".join(f'<img src="data:image/png;base64,{data}">' for data in pictures), encoding="utf-8")
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    found = Metrics("lowcount-planar", "counts", "T1", (Measurement("NRMSE", 0.2, "1", "body"),))
    return TaskDemoResult(load_task("lowcount-planar"), found, report, "tiny-method"), tmp_path / "docs"


def test_a_task_is_shown_with_its_picture_verdict_and_numbers(shown):
    result, docs = shown
    text = section(result.task, result, docs)
    assert (docs / "figures" / "gallery-lowcount-planar.png").read_bytes() == b"first"
    lines = text.splitlines()
    assert lines[0] == f"## {result.task.title}"
    assert "**Does not beat its baselines: NRMSE.**" in lines
    assert "(figures/gallery-lowcount-planar.png)" in text
    assert "| synthetic (tiny-method) | 0.2 |" in text
    assert "0.123 (0.1 to 0.15) | 0.2, wavelet | better | 0.13, not told apart |" in text
    assert text.index("0.2, wavelet") < text.index("1 further numbers") < text.index("noise") < text.index("</details>")
    assert lines[-1] == "- A finding, a sentence."
    assert "a baseline" not in text


def test_polar_maps_stand_below_the_first_picture(shown):
    result, docs = shown
    page = result.report.read_text(encoding="utf-8")
    third = base64.b64encode(b"third").decode()
    polar = f'{gallery.POLAR}<img src="data:image/png;base64,{third}">'
    result.report.write_text(page + polar, encoding="utf-8")
    text = section(result.task, result, docs)
    assert (docs / "figures" / "gallery-lowcount-planar.png").read_bytes() == b"first"
    assert (docs / "figures" / "gallery-lowcount-planar-polar.png").read_bytes() == b"third"
    assert text.index("gallery-lowcount-planar.png") < text.index("gallery-lowcount-planar-polar.png")


def test_a_baseline_that_is_the_default_is_called_one(shown):
    result, docs = shown
    attempts = (Attempt(date="2026-01-01", tried="more steps", result="no better", beats_baselines=False),) * 3
    task = result.task.model_copy(update={"model": "tiny-method", "default_is_baseline": True, "attempts": attempts})
    assert "Model `tiny-method`, a baseline: no network beat it." in section(task, result, docs)


def test_numbers_without_interval_baseline_or_ablation_have_empty_cells():
    (row,) = card_rows((Metric(name="noise", value=0.5, unit="Bq/mL"),))
    assert row == {
        "number": "noise [Bq/mL]", "measured on": "", "model": "0.5", "best baseline": "", "against baselines": "",
        "without the idea": "",
    }  # fmt: skip
