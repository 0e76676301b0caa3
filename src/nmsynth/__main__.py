"""Entry point: ``python -m nmsynth`` and the ``nmsynth`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from nmsynth.apps.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
