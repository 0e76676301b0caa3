"""What an evaluation measures for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nmsynth.core.errors import InputError


@dataclass(frozen=True, slots=True)
class TaskEvaluation:
    """How the images of a task are compared."""

    name: str
    images: Literal["activity", "ct", "planar"]
    """``activity``: PET or SPECT, with lesions, organs and noise; ``ct``: Hounsfield units and what follows of them;
    ``planar``: counts of views."""
    scaled: bool = False
    """Whether images of an unknown scale are brought to the reference's, by least squares where that is positive."""
    noise: Literal["sphere", "residual"] = "sphere"
    """What a Gaussian is made to equal: the spread in the liver sphere, or against a noise-free reference what differs
    from it in the homogeneous region, which neither an organ's edge nor its slope adds to."""
    regional: tuple[
        Literal["perfusion", "binding", "cerebellar", "correction", "ratio", "regions", "tissues"], ...
    ] = ()
    """What is measured besides where the masks of it are given."""


TASKS = {
    task.name: task
    for task in (
        TaskEvaluation("lowcount-pet", "activity"),
        TaskEvaluation("lowcount-spect", "activity", noise="residual", regional=("binding", "cerebellar")),
        TaskEvaluation("sparse-spect", "activity", noise="residual", regional=("binding", "cerebellar")),
        TaskEvaluation("lowcount-mpi", "activity", noise="residual", regional=("perfusion",)),
        TaskEvaluation("ac-spect", "activity", scaled=True, regional=("perfusion", "binding")),
        TaskEvaluation("lowcount-planar", "planar", noise="residual"),
        TaskEvaluation("nac-to-ac-pet", "activity", scaled=True, regional=("correction",)),
        TaskEvaluation("mr-to-ct", "ct"),
        TaskEvaluation("nac-to-ct", "ct"),
        TaskEvaluation("ct-to-pet", "activity", regional=("correction",)),
        TaskEvaluation("pet-to-ct", "ct"),
        TaskEvaluation("pet-to-mr", "activity", scaled=True, regional=("tissues",)),
        TaskEvaluation("early-to-late", "activity", regional=("regions",)),
        TaskEvaluation("early-to-influx", "activity", regional=("regions",)),
        TaskEvaluation("mr-to-fdg", "activity", regional=("ratio",)),
        TaskEvaluation("mr-to-amyloid", "activity", regional=("ratio",)),
        TaskEvaluation("tracer-to-tracer", "activity", regional=("ratio",)),
    )
}
"""By name, the default first."""


def task_evaluation(name: str | None) -> TaskEvaluation:
    """The evaluation of a task; the first where none is named.

    Raises
    ------
    InputError
        If it is not defined.
    """
    if name is None:
        return next(iter(TASKS.values()))
    if name not in TASKS:
        raise InputError(f"The task of an evaluation must be one of {', '.join(TASKS)}; found '{name}'.")
    return TASKS[name]
