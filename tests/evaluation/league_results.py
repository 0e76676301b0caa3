"""Results of a benchmark that are known on paper."""

from nmsynth.evaluation.league import CaseResult, RunResult

FLAT = tuple({"step": s, "score": 1.0} for s in range(1, 10))
FALLING = tuple({"step": s, "score": 1.0 / s} for s in range(1, 10))


def run_result(method="unet", kind="model", *, errors, fold=0, seed=1, task="ct-pet", **facts):
    """A run with one image a patient; ``errors`` are their MAE, or all their measures."""
    cases = tuple(
        CaseResult(subject=s, case=s, metrics=m if isinstance(m, dict) else {"mae": m}) for s, m in errors.items()
    )
    if kind == "model":
        facts = {"converged": True, "curve": FLAT, "steps": 9, "parameters": 1000, **facts}
    values = {
        "settings_sha256": "s", "data_sha256": "d", "unit": "SUVbw [g/mL]", "modality": "PT", "data_range": 5.0,
        "cpu_s": 60.0, "wall_s": 70.0, "predict_s": 0.5, **facts,
    }  # fmt: skip
    return RunResult(task=task, method=method, kind=kind, fold=fold, seed=seed, cases=cases, **values)
