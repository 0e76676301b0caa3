"""Answers of a trained network in windows of its training patch, beside those by whole slices.

    python -m benchmarks.answer_windows runs/mr-to-ct/model --out benchmarks/results/answer_windows

The same weights answer the validation patients of a run (`nmsynth train`, `benchmarks.task_model`) both ways. RUN's
model is told by its name: OUT/NAME.json has, for each patient and over all, the mean absolute error in the body, the
bias, the error of the means of labelled regions, and the error beside the body, each over the mean absolute target of
the body.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from nmsynth.core.plan import read_plan
from nmsynth.core.replacement import replace_text
from nmsynth.data.prepared import open_prepared
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.training.validation import predict_case

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.method import Method

WINDOWS = ("slice", "patch")


def main() -> None:
    """Answer, measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, help="how many validation patients; all when unset")
    given = parser.parse_args()
    package = next((given.run / "package").iterdir()).name
    cases = validation_cases(given.run)[: given.cases]
    plan = read_plan(given.run / "plan.toml")
    method = trained(given.run, plan)
    found = [measured(method, plan, case) for case in cases]
    names = dict.fromkeys(name for of in found for name in of[WINDOWS[0]])
    over_all = {way: {n: float(np.mean([f[way][n] for f in found if n in f[way]])) for n in names} for way in WINDOWS}
    given.out.mkdir(parents=True, exist_ok=True)
    patients = {case.case_id: of for case, of in zip(cases, found, strict=True)}
    record = {"model": package, "over all": over_all, "patients": patients}
    replace_text(given.out / f"{package}.json", json.dumps(record, indent=1) + "\n")
    for way, numbers in over_all.items():
        print(f"{package}, {way}: " + ", ".join(f"{name} {100 * value:.2f} %" for name, value in numbers.items()))


def validation_cases(run: Path) -> list[PreparedCase]:
    """Prepared validation cases of a run."""
    split = json.loads((run / "training" / "split.json").read_text())["validation"]
    prepared = run / "prepared"
    names = sorted(path.stem for path in prepared.glob("*.npy"))
    return [case for case in open_prepared(prepared, names) if case.subject in split]


def measured(method: Method, plan: Plan, case: PreparedCase) -> dict[str, dict[str, float]]:
    """Errors of one patient, at the first of its levels, by the way it is answered."""
    found = {}
    for way in WINDOWS:
        image, target = predict_case(method, plan.model_copy(update={"windows": way}), case, 0)
        found[way] = errors(image - target, target, case)
    return found


def trained(run: Path, plan: Plan) -> Method:
    """The network of a run, with its best weights."""
    import torch

    torch.set_num_threads(1)
    spec = MethodSpec(**json.loads((run / "training" / "method.json").read_text())["method"])
    method = build_method(spec, plan)
    best = sorted((run / "training").glob("*/best.pt"))[-1]
    method.load_state_dict(torch.load(best, weights_only=True))
    return method.eval()


def errors(difference: np.ndarray, target: np.ndarray, case: PreparedCase) -> dict[str, float]:
    """Errors over the mean absolute target of the body."""
    body = np.asarray(case.weight) >= 1.0
    scale = float(np.abs(target[body]).mean())
    found = {"body": np.abs(difference)[body].mean(), "bias": difference[body].mean()}
    labels = np.asarray(case.labels)
    numbers = np.unique(labels[labels > 0])
    if len(numbers):
        found["regions"] = np.mean(np.abs(ndimage.mean(difference, labels, numbers)))
    found["beside the body"] = np.abs(difference)[~body].mean()
    return {name: float(value) / scale for name, value in found.items()}


if __name__ == "__main__":
    main()
