"""Options of brains, which PET and SPECT share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli.terminal import Terminal

PANEL = "A brain: --phantom brain, or --labels"


class PetTracer(StrEnum):
    """What is injected for PET."""

    FDG = "FDG"
    FLORBETAPIR = "florbetapir"
    EARLY_FLORBETAPIR = "early-florbetapir"
    FLORTAUCIPIR = "flortaucipir"
    FDOPA = "FDOPA"


class DiseaseName(StrEnum):
    """Pattern of disease."""

    NORMAL = "normal"
    ALZHEIMER = "alzheimer"
    PARKINSON = "parkinson"


class CouplingName(StrEnum):
    """How atrophy and uptake hang together."""

    NONE = "none"
    PUBLISHED = "published"
    STRONG = "strong"


BrainLabels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        rich_help_panel=PANEL,
        help="A NIfTI brain label image, FreeSurfer numbers, with HMPAO or ioflupane, instead of a phantom.",
    ),
]
PetTracerOption = Annotated[
    PetTracer | None,
    typer.Option(
        "--tracer",
        rich_help_panel=PANEL,
        help="Tracer, with its activity, uptake time and duration.",
        show_default="FDG",
    ),
]
DiseaseOption = Annotated[
    DiseaseName | None, typer.Option("--disease", rich_help_panel=PANEL, help="Pattern of uptake.")
]
Severity = Annotated[
    float | None,
    typer.Option(
        "--severity", min=0.0, max=1.0, rich_help_panel=PANEL, help="Of the disease, 0 to 1.", show_default="drawn"
    ),
]
Atrophy = Annotated[
    float | None,
    typer.Option(
        "--atrophy", min=0.0, max=1.0, rich_help_panel=PANEL, help="Of the brain, 0 to 1.", show_default="by --coupling"
    ),
]
CouplingOption = Annotated[
    CouplingName | None,
    typer.Option(
        "--coupling",
        rich_help_panel=PANEL,
        help="Draw the atrophy: none by itself, published with a correlation of 0.42, strong as the severity.",
        show_default="no atrophy",
    ),
]


def print_brain(terminal: Terminal, record: dict[str, Any]) -> None:
    """Say what the brain of a simulation has, where it is one with a tracer of its own."""
    brain = record.get("brain")
    if brain is None:
        return
    terminal.print_line(
        f"  {brain['tracer']}, {brain['disease']}, severity {brain['severity']:.2f}, atrophy {brain['atrophy']:.2f}"
    )
    if brain["disease"] != "normal" and not brain["disease_changes_uptake"]:
        terminal.print_line(f"  note: the uptake of {brain['tracer']} is that of health; its change is not modelled.")
