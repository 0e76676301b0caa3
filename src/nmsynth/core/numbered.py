"""Names of the images of a study that differ in counts or views alone: the first, and further ones with a number."""

from __future__ import annotations

import re


def numbered(image: str, number: int) -> str:
    """Name of an image at the first level of a study, and at further ones.

    >>> numbered("scan", 0), numbered("scan", 2)
    ('scan', 'scan_2')
    """
    return f"{image}_{number}" if number else image


def unnumbered(name: str) -> str:
    """Name of the first image of a kind; any other name as it is.

    >>> unnumbered("scan_2"), unnumbered("sparse_1"), unnumbered("mu_map")
    ('scan', 'sparse', 'mu_map')
    """
    return re.sub(r"^(scan|sparse)_\d+$", r"\1", name)
