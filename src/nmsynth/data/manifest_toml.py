"""A manifest in TOML, for datasets that are written by hand.

::

    split = "train"                   # of cases that state none; may be left out

    [default.source]                  # what all images of a role share
    modality = "CT"
    unit = "HU"

    [[case]]
    id = "p001-1"
    subject = "p001"                  # the id when left out
    split = "validation"
    condition = { age_years = 61 }    # told with each image of the case

    [[case.image]]
    role = "source"
    path = "p001/ct.nii.gz"

    [[case.image]]
    role = "target"
    path = "p001/pet.nii.gz"
    modality = "PT"
    unit = "SUVbw"
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from nmsynth.core.config import Settings, read_config
from nmsynth.core.errors import InputError

CONDITION = "condition."
"""Start of the name of a column that holds a fact of the scan."""


class RoleDefaults(Settings):
    """What the images of a role share."""

    name: str = ""
    count_fraction: float | None = None
    modality: str = ""
    unit: str = ""
    condition: dict[str, float | str] = Field(default_factory=dict)


class TomlImage(RoleDefaults):
    """One image of a case."""

    role: str
    path: str
    view: int | None = None


class TomlCase(Settings):
    """One case with its images."""

    id: str
    subject: str = ""
    split: str | None = None
    condition: dict[str, float | str] = Field(default_factory=dict)
    image: tuple[TomlImage, ...]


class TomlManifest(Settings):
    """The whole file."""

    split: str | None = None
    default: dict[str, RoleDefaults] = Field(default_factory=dict)
    case: tuple[TomlCase, ...]


def read_toml_table(path: Path) -> list[tuple[str, dict[str, str | None]]]:
    """Values of each image as columns of the CSV manifest have them, and what a message calls the image.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown, or some cases state a split and others have none.
    """
    manifest = read_config(path, TomlManifest)
    splits = {case.id: case.split or manifest.split for case in manifest.case}
    without = [case for case, split in splits.items() if split is None]
    if without and len(without) < len(splits):
        raise InputError(
            f"All cases of a manifest state a split, or none does; '{without[0]}' has none. Fill it in, or state one "
            "for all at the top."
        )
    return [
        (f"Image {number} of case '{case.id}'", _values(image, case, manifest, splits[case.id] or "train"))
        for case in manifest.case
        for number, image in enumerate(case.image, 1)
    ]


def _values(image: TomlImage, case: TomlCase, manifest: TomlManifest, split: str) -> dict[str, str | None]:
    """Columns of an image: its own, else those of its role."""
    shared = manifest.default.get(image.role, RoleDefaults())
    own = image.model_dump(exclude_unset=True, exclude={"condition"})
    merged = shared.model_dump(exclude={"condition"}) | own
    conditions = {**shared.condition, **case.condition, **image.condition}
    values = {name: None if value is None else str(value) for name, value in merged.items()}
    told = {CONDITION + name: str(value) for name, value in conditions.items()}
    return {"case": case.id, "subject": case.subject or case.id, "split": split, **values, **told}
