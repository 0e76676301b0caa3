"""Entry point: ``python -m nmsynth`` and the ``nmsynth`` command."""

from __future__ import annotations

import os
import sys

SPIN_COUNT = 2000
"""Turns that a thread of torch waits for the others before it sleeps. By default it keeps a core busy for milliseconds:
beside one other busy program on two cores a training step took 60 times as long as alone, and 4 times with this."""

BLAS_THREADS = 1
"""Of numpy, whose products are small here: to draw the texture of a phantom took 2 ms with one, 7 to 18 ms with two,
and up to 560 ms with two beside other busy programs. torch has threads of its own."""


def main() -> None:
    """Run the command line and exit with its status."""
    # read when torch and numpy are first imported
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(BLAS_THREADS))
    from nmsynth.apps.cli.main import run
    from nmsynth.core.allocator import keep_freed_memory

    keep_freed_memory()
    sys.exit(run())


if __name__ == "__main__":
    main()
