"""Options that several commands share, and the reading of ``name=value``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.core.config import parse_override
from nmsynth.core.errors import InputError

EXAMPLES = {
    "--input": ("PATH", "ct=ct.nii.gz"),
    "--mask": ("PATH", "lesions=labels.nii.gz"),
    "--baseline": ("PATH", "gaussian=filtered.nii.gz"),
    "--input-unit": ("UNIT", "ct=HU"),
    "--condition": ("VALUE", "count_fraction=0.25"),
    "--data": ("PATH", "ct-pet=FOLDER"),
}
"""What may be written after an option that takes a name and something of that name, and an example."""


class OutputFormat(StrEnum):
    """How images are written."""

    DICOM = "dicom"
    NIFTI = "nifti"


class ReferenceKind(StrEnum):
    """What a reference is."""

    TRUTH = "T0"
    NOISE_FREE = "T1"
    ONE_SCAN = "T2"


class CompanionName(StrEnum):
    """What a phantom is scanned with."""

    CT = "ct"
    MR = "mr"
    MR_RANDOMISED = "mr-randomised"
    COUCH = "couch"
    MISREGISTRATION = "misregistration"


SeriesUid = Annotated[
    str | None, typer.Option("--series-uid", help="Series to take where INPUT holds several; 'info' lists them.")
]
UnitOption = Annotated[
    str | None, typer.Option("--unit", help="Unit of a NIfTI image without a sidecar: 'Bq/mL', 'SUVbw', …")
]
Modality = Annotated[
    str | None, typer.Option("--modality", help="Modality of a NIfTI image without a sidecar: PT, CT, MR or NM.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn at random.")]
ReferenceKindOption = Annotated[
    ReferenceKind,
    typer.Option("--reference-kind", help="T0 true activity, T1 noise-free reconstruction, T2 one noisy scan."),
]
SourceImage = Annotated[
    Path | None, typer.Option("--source", help="Image it was made from; it and its Gaussians stand beside it.")
]
Normals = Annotated[
    Path | None, typer.Option(help="Normal limits of polar maps (JSON), for a total perfusion deficit.")
]
FullCounts = Annotated[
    Path | None,
    typer.Option(
        "--full-counts", help="A full-count scan that is not the reference; it stands beside it, filtered too."
    ),
]
Masks = Annotated[
    list[str] | None,
    typer.Option("--mask", metavar="NAME=PATH", help="body, liver, blood_pool, lesions, or an organ; repeatable."),
]
Resample = Annotated[
    bool, typer.Option("--resample", help="Bring images and masks on other grids to the reference's first.")
]
With = Annotated[
    list[CompanionName] | None,
    typer.Option(
        "--with",
        help="Beside the scan of a phantom: its CT, a T1-like MR (of random contrast); the couch under it; CT and MR "
        "displaced against the scan. Repeatable. Organs then get their subject's own attenuation.",
    ),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be given several times.")
]


def named_values(words: Iterable[str] | None, *, option: str) -> dict[str, str]:
    """Values by name from words like ``name=value``.

    Examples
    --------
    >>> named_values(["count_fraction=0.25"], option="--condition")
    {'count_fraction': '0.25'}
    """
    values: dict[str, str] = {}
    for word in words or ():
        name, separator, value = word.partition("=")
        kind, example = EXAMPLES.get(option, ("PATH", "name=image.nii.gz"))
        if not separator or not name or not value:
            raise InputError(f"{option} must be NAME={kind}; found '{word}'. Write, for example, {option} {example}.")
        if name in values:
            raise InputError(f"{option} must name each {kind.lower()} once; '{name}' is given twice. Leave one out.")
        values[name] = value
    return values


def named_paths(words: Iterable[str] | None, *, option: str) -> dict[str, Path]:
    """Paths by name from words like ``name=path``.

    Examples
    --------
    >>> named_paths(["ct=scan.nii.gz"], option="--input")["ct"].name
    'scan.nii.gz'
    """
    return {name: Path(path) for name, path in named_values(words, option=option).items()}


def assignments(words: Iterable[str] | None) -> dict[str, Any]:
    """Settings from words like ``key=value``."""
    return dict(parse_override(word) for word in words or ())
