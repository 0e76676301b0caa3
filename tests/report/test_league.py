import json

import numpy as np
from benchmarks.league_table import END, insert, markdown, short

from nmsynth.evaluation.league_table import league_table
from nmsynth.report.league import write_league_page
from tests.evaluation.league_results import FALLING, run_result

PATIENTS = ("a", "b", "c", "d")


def ranked_table(*, title="CT to PET"):
    def values(*mae):
        return dict(zip(PATIENTS, ({"mae": m, "ssim": 1 - m, "region_error": 2 * m} for m in mae), strict=True))

    results = [
        run_result("tissue-lookup", "baseline", errors=values(0.5, 0.6, 0.7, 0.5)),
        run_result("unet", errors=values(0.4, 0.5, 0.65, 0.45)),
        run_result("ddpm", errors=values(0.3, 0.4, 0.5, 0.4), converged=False, curve=FALLING),
    ]
    return league_table(
        results,
        tasks=[{"name": "ct-pet", "title": title, "score": "mae", "aims": {"mae": 0.45}, "data": "given"}],
        planned={("ct-pet", r.method): 1 for r in results},
        suite={
            "name": "league", "title": "t", "purpose": "quoted", "steps": None, "cpu_minutes": 30.0, "run_folds": [],
            "folds": 3, "seeds": [1], "version": "0",
        },
        rank=True,
        n_bootstrap=100,
    )  # fmt: skip


def test_page_ranks_what_converged_and_says_why_not_of_the_rest(tmp_path):
    example = tmp_path / "unet.npz"
    slices = {
        f"{n}_{v}": np.ones((12, 16), np.float32)
        for n in ("source", "target", "prediction")
        for v in ("axial", "coronal")
    }
    np.savez(example, spacing_mm=np.array([4.0, 4.0, 4.0]), affine=np.eye(4)[[2, 1, 0, 3]], **slices)  # fmt: skip
    page = write_league_page(tmp_path / "index.html", ranked_table(), {("ct-pet", "unet"): example}).read_text()
    assert "not ranked: still improving" in page
    assert '<span class="place">1</span>' in page
    assert page.count("<svg") == 2
    assert page.count("<img") == 2
    assert "aim 0.450" in page
    assert "On the means of regions unet, ddpm beat the best baseline" in page


def test_uptake_that_is_made_of_another_image_is_shown_as_it_is_for_each_patient(tmp_path):
    def table(*others):
        """Tumours of 4 and 8 SUV, of which the model says half; an older run did not keep them."""
        cases = {
            s: {"mae": 0.5, "region_error": t / 2, "region_bias": -t / 2, "region_mean": t / 2, "region_truth": t}
            for s, t in (("a", 4.0), ("b", 8.0))
        }
        older = {s: {k: v for k, v in m.items() if k not in ("region_mean", "region_truth")} for s, m in cases.items()}
        results = [run_result("unet", errors=cases), run_result("constant", "baseline", errors=older)]
        results += [run_result(name, "baseline", errors=older) for name in others]
        return league_table(
            results, tasks=[{"name": "ct-pet", "title": "", "score": "mae", "aims": {}, "data": "given"}],
            planned={("ct-pet", r.method): 1 for r in results},
            suite={
                "name": "sts", "title": "t", "purpose": "quoted", "steps": None, "cpu_minutes": 30.0, "run_folds": [],
                "folds": 1, "seeds": [1], "version": "0",
            },
            rank=True, n_bootstrap=100,
        )  # fmt: skip

    found = table()
    assert found["tasks"][0]["region_means"] == [
        {"subject": "a", "truth": 4.0, "methods": {"unet": 2.0}},
        {"subject": "b", "truth": 8.0, "methods": {"unet": 4.0}},
    ]
    page = write_league_page(tmp_path / "index.html", found, {}).read_text()
    assert "Mean of regions of each patient [SUVbw]" in page
    assert '<th scope="row">b</th><td class="n">8.00</td><td class="n">4.00</td>' in page
    head = markdown(found).splitlines()[2]
    assert "| region error | region bias | mean of regions | true mean of regions |" in head
    assert "region bias" not in markdown(table("input")).splitlines()[2]  # of which it would be a bias of noise


def test_titles_cannot_bring_markup(tmp_path):
    table = ranked_table(title="<script>alert(1)</script>")
    assert "<script>" not in write_league_page(tmp_path / "index.html", table, {}).read_text()


def test_markdown_goes_between_its_marks():
    table = json.loads(json.dumps(ranked_table()))
    text = markdown(table)
    assert "| unet | 1 | 0.500 (" in text
    assert "| ddpm | still improving |" in text
    page = insert(f"before\n<!-- table league -->\nold\n{END}\nafter", "league", text)
    assert "old" not in page
    assert page.startswith("before")
    assert page.endswith("after")


def test_short_table_has_families_by_tasks_and_marks_what_had_not_converged():
    lines = short(ranked_table()).splitlines()
    assert lines[0] == "| family | ct-pet: MAE [SUVbw] | minus tissue-lookup |"
    assert lines[2].startswith("| unet | 0.500 (")
    assert "†" not in lines[2]
    assert " † | −0.175 (" in lines[3]
    assert lines[-1].startswith("ct-pet: 4 patients, 3 of 3 runs.")
