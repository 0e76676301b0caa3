"""Options of a myocardial perfusion study."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nmsynth.core.config import parse_override
from nmsynth.core.errors import InputError

_PANEL = "A heart (--phantom heart)"

Rest = Annotated[
    bool | None,
    typer.Option(
        "--rest/--stress",
        rich_help_panel=_PANEL,
        help="State of the heart; a seed has the same anatomy in both.",
        show_default="stress",
    ),
]
Defect = Annotated[
    list[str] | None,
    typer.Option(
        "--defect",
        rich_help_panel=_PANEL,
        metavar="SEGMENT[,KEY=VALUE…]",
        help="A perfusion defect in the middle of a segment, 1 to 17: severity (0.6), extent_deg (70), transmural (1), "
        "reversible (0); repeatable.",
    ),
]
Defects = Annotated[
    int | None,
    typer.Option(
        "--defects",
        min=0,
        max=8,
        rich_help_panel=_PANEL,
        help="Defects drawn by the seed; 0 for none.",
        show_default="drawn too",
    ),
]
Gate = Annotated[
    int | None,
    typer.Option(
        "--gate",
        min=0,
        max=7,
        rich_help_panel=_PANEL,
        help="One of eight parts of the beat, 0 at end diastole; it gets an eighth of the counts.",
        show_default="all of them",
    ),
]
AbdominalActivity = Annotated[
    float | None,
    typer.Option(
        "--abdominal-activity",
        min=0.0,
        max=20.0,
        rich_help_panel=_PANEL,
        help="Factor on liver, gallbladder, bowel and stomach.",
        show_default="1",
    ),
]


def heart_values(
    *,
    rest: bool | None,
    defect: list[str] | None,
    defects: int | None,
    gate: int | None,
    abdominal_activity: float | None,
) -> dict[str, Any] | None:
    """What was given of a heart, as the settings take it; None where nothing was."""
    given = {
        "state": None if rest is None else "rest" if rest else "stress",
        "defects": [defect_values(words) for words in defect] if defect else None,
        "n_defects": defects,
        "gate": gate,
        "abdominal_activity": abdominal_activity,
    }
    values = {name: value for name, value in given.items() if value is not None}
    return values or None


def defect_values(words: str) -> dict[str, Any]:
    """Settings of a defect from its segment and ``key=value``, separated by commas.

    Examples
    --------
    >>> defect_values("10,severity=0.5")
    {'segment': 10, 'severity': 0.5}
    """
    segment, *rest = words.split(",")
    if not segment.strip().isdigit():
        raise InputError(
            f"--defect begins with a segment, 1 to 17; found '{words}'. Write, for example, --defect 10,severity=0.5."
        )
    return {"segment": int(segment), **dict(parse_override(word) for word in rest)}
