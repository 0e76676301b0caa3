"""Entry point: ``python -m nmsynth`` and the ``nmsynth`` command."""

from __future__ import annotations

import os
import sys

SPIN_COUNT = 2000
"""Turns that a thread of torch waits for the others before it sleeps. By default it keeps a core busy for milliseconds:
beside one other busy program on two cores a training step took 60 times as long as alone, and 4 times with this."""


def main() -> None:
    """Run the command line and exit with its status."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))  # read by GNU OpenMP when torch is first imported
    from nmsynth.apps.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
