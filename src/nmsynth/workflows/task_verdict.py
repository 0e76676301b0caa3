"""Whether a model beats the baselines of its task: one rule for all tasks, and the sentence that a card begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmsynth.workflows.tasks import TaskSpec

BETTER, WORSE = "better than all", "worse than one"
"""Verdicts of a number in a test at a level: by intervals of 95 % of paired differences over patients."""
NOT_TOLD, TOO_FEW = "not told apart", "not told apart: too few"
"""Verdicts where nothing is proved: by enough patients, and by fewer than a verdict needs."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from all verdicts."""

    beats_baselines: bool
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"beats_baselines": self.beats_baselines, "sentence": self.sentence}


def judge(task: TaskSpec, verdicts: Sequence[dict[str, Any]]) -> Judgement:
    """Judge a model by the primary numbers of its task.

    A model beats its baselines where every primary number is better than all of them, by the 95 % interval of the
    paired difference over patients, in every test as trained that has the number, at every level. Tests with another
    camera, scanner or image are told beside.

    Parameters
    ----------
    task
        That names its primary numbers and tests.
    verdicts
        Of each ``test``, ``level`` and ``number`` the ``verdict``, as of
        :meth:`nmsynth.workflows.task_proof.TaskProof.verdicts`.
    """
    shifted = {test.name for test in task.tests if test.shifted}
    at_noise = {proof.heading for proof in task.proof if proof.at_equal_noise}
    deciding = {
        number: [row["verdict"] for row in verdicts if row["number"] == number and row["test"] not in shifted]
        for number in task.primary
    }
    names = {number: f"{number} (at equal noise)" if number in at_noise else number for number in deciding}
    beside = _elsewhere(verdicts, names, shifted)
    if all(own and set(own) == {BETTER} for own in deciding.values()):
        n = max(len(own) for own in deciding.values())
        where = "in the test as trained" if n == 1 else f"in all {n} tests and levels as trained"
        return Judgement(True, f"Better than every baseline in {' and '.join(names.values())}, {where}{beside}.")
    parts = [f"{names[number]} {_counted(own)}" for number, own in deciding.items()]
    return Judgement(False, f"Does not beat its baselines: {'; '.join(parts)}{beside}.")


def _counted(own: Sequence[str]) -> str:
    """In how many tests and levels a number has which verdict."""
    if not own:
        return "was not measured"
    few = own.count(TOO_FEW)
    told = {verdict: own.count(verdict) for verdict in (BETTER, WORSE)}
    told[NOT_TOLD] = len(own) - sum(told.values())
    kinds = [f"{verdict} in {n}" for verdict, n in told.items() if n]
    return f"is {', '.join(kinds)} of {len(own)} as trained" + (f", with too few patients in {few}" if few else "")


def _elsewhere(verdicts: Sequence[dict[str, Any]], names: dict[str, str], shifted: set[str]) -> str:
    """What the tests say that are not as trained."""
    own = [row for row in verdicts if row["test"] in shifted and row["number"] in names]
    if not own:
        return ""
    worse = dict.fromkeys(row["test"] for row in own if row["verdict"] == WORSE)
    if worse:
        return f"; worse than one with {', '.join(worse)}"
    better = sum(row["verdict"] == BETTER for row in own)
    tests = list(dict.fromkeys(row["test"] for row in own))
    where = f"with {tests[0]}" if len(tests) == 1 else f"in {len(tests)} tests unlike the training"
    return f"; {where} better in {better} of {len(own)}"
