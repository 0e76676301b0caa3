"""The images of a BIDS dataset, by subject, session, suffix and entities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nmsynth.core.errors import InputError

_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9]+)")
_MODALITIES = {"pet": "PT", "ct": "CT", "nm": "NM", "spect": "NM"}
"""Of images by their suffix; everything else in ``anat`` is MR."""


@dataclass(frozen=True, slots=True)
class BidsImage:
    """One image, named as BIDS has it: ``sub-01_ses-2_rec-low_pet.nii.gz``."""

    path: Path
    """Relative to the dataset."""
    subject: str
    session: str
    """Empty where the subject has no sessions."""
    suffix: str
    entities: tuple[tuple[str, str], ...]
    """Those after subject and session, such as ``("rec", "low")``."""

    @property
    def modality(self) -> str:
        """Modality that suffix and folder say; empty where they do not."""
        known = _MODALITIES.get(self.suffix.lower(), "")
        return known or ("MR" if self.path.parent.name == "anat" else "")


def is_bids(folder: Path) -> bool:
    """Whether a folder says that it is a BIDS dataset, or is laid out as one."""
    return (folder / "dataset_description.json").is_file() or any(folder.glob("sub-*/"))


def find_bids_images(folder: Path) -> list[BidsImage]:
    """NIfTI images below ``sub-*/`` or ``sub-*/ses-*/``, one folder of a data type further down; by path.

    Raises
    ------
    InputError
        If there is none.
    """
    paths = [
        path
        for pattern in ("sub-*/*/*.nii*", "sub-*/ses-*/*/*.nii*")
        for path in folder.glob(pattern)
        if path.name.endswith((".nii", ".nii.gz"))
    ]
    images = [_parsed(path.relative_to(folder)) for path in sorted(set(paths))]
    if not images:
        raise InputError(
            "A BIDS dataset must hold images such as 'sub-01/pet/sub-01_pet.nii.gz'; none was found. Check the folder."
        )
    return images


def _parsed(path: Path) -> BidsImage:
    """Entities and suffix of a name; subject and session from the folders."""
    *parts, suffix = path.name.split(".")[0].split("_")
    pairs = [match.groups() for part in parts if (match := _ENTITY.fullmatch(part))]
    session = path.parts[1].removeprefix("ses-") if path.parts[1].startswith("ses-") else ""
    entities = tuple((str(k), str(v)) for k, v in pairs if k not in ("sub", "ses"))
    return BidsImage(path, path.parts[0].removeprefix("sub-"), session, suffix, entities)


def select(images: list[BidsImage], wanted: str) -> list[BidsImage]:
    """Images by suffix and entities.

    Parameters
    ----------
    wanted
        The suffix, then entities, with commas: ``pet,rec-low``. What is not named may be anything.

    Examples
    --------
    >>> low = _parsed(Path("sub-01/pet/sub-01_rec-low_pet.nii.gz"))
    >>> select([low], "pet,rec-low") == [low], select([low], "pet,rec-full"), select([low], "T1w")
    (True, [], [])
    """
    suffix, *rest = [part.strip() for part in wanted.split(",")]
    pairs = [_ENTITY.fullmatch(part) for part in rest]
    if not suffix or None in pairs:
        raise InputError(f"Images of BIDS are chosen by suffix and entities, such as 'pet,rec-low'; found '{wanted}'.")
    needed = {match.groups() for match in pairs if match}
    return [image for image in images if image.suffix == suffix and needed <= set(image.entities)]
