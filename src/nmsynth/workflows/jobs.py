"""Many independent computations over processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from nmsynth.core.allocator import keep_freed_memory
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent

Argument = TypeVar("Argument")

_WATCH = "owner"
"""Name of the thread that looks for the owner of a process."""
_WATCH_S = 1.0
"""How often it does [s]."""


def run_jobs(
    job: Callable[[Argument], None],
    arguments: Sequence[Argument],
    *,
    workers: int | None = None,
    stage: str = "",
    done: int = 0,
    progress: Progress = silent,
) -> None:
    """Call a function once for each argument, over processes, in any order.

    Each call has one thread, so that its result does not depend on the number of workers. Where one fails, no further
    ones are begun, and its error is raised; a job that writes its result whole or not at all can be taken up again.
    Where this process is killed, the others end within a second.

    The processes are those of joblib: inside ``with joblib.parallel_config(backend="dask")``, or another backend that
    is registered with it, the same call runs on a cluster.

    Parameters
    ----------
    job
        A function of a module, and with it everything it needs, can be pickled.
    arguments
        One for each call.
    workers
        Processes; one for each core when unset.
    stage, done
        What progress calls the work, and how many calls an earlier run has completed.
    progress
        Told after each call.

    Raises
    ------
    InputError
        If there is not at least one worker.
    """
    if workers is not None and workers < 1:
        raise InputError(f"Jobs need at least one worker; found {workers}. Leave it unset for one for each core.")
    if not arguments:
        return
    import joblib

    total = done + len(arguments)
    parallel = joblib.Parallel(
        n_jobs=min(workers or os.cpu_count() or 1, len(arguments)), return_as="generator_unordered"
    )
    owner = os.getpid()
    for _ in parallel(joblib.delayed(_one_thread)(job, argument, owner) for argument in arguments):
        done += 1
        progress(stage, done / total)


def _one_thread(job: Callable[[Argument], None], argument: Argument, owner: int) -> None:
    """One call with one thread, in a process that ends with its owner."""
    if os.getppid() == owner and not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(owner,), name=_WATCH, daemon=True).start()
        keep_freed_memory()
    with single_thread():
        job(argument)


def _end_with(owner: int) -> None:
    """End this process when the one that began it has gone, killed perhaps, so that nobody works on unasked."""
    while os.getppid() == owner:
        time.sleep(_WATCH_S)
    os._exit(1)


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for torch and for the linear algebra of numpy, and the numbers before when the block ends.

    A sum over several threads is rounded in another order, so that the last bits of a result depend on their number.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
