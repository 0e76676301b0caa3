"""Models by name: those that ship, those in the user's folders, and those in the local cache of a hub."""

from __future__ import annotations

import difflib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from nmsynth.core.errors import InputError, RefusalError
from nmsynth.models.card import NAME_PATTERN, Card
from nmsynth.models.envelope import printable
from nmsynth.models.hub import HUB_PREFIX, find_in_hub_cache
from nmsynth.models.installing import import_package
from nmsynth.models.package import CARD_FILE, read_card, read_weights

SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the packages that ship."""

MODELS_VARIABLE = "NMSYNTH_MODELS"
"""Environment variable with further folders of packages, separated as in ``PATH``."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A package that was found."""

    name: str
    """Name of its folder, by which it is loaded."""
    path: Path
    shipped: bool
    card: Card | None
    """``None`` where the card does not hold."""
    problem: str | None = None
    """Why the card does not hold."""

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def model_folders() -> tuple[Path, ...]:
    """Folders that are searched for packages, in order; the shipped ones come first and cannot be replaced."""
    return (SHIPPED_MODELS, *_named_folders(), data_folder())


def user_folder() -> Path:
    """Where models are imported to: the first folder of ``NMSYNTH_MODELS`` that is no package itself, or the user's."""
    return next((f for f in _named_folders() if not (f / CARD_FILE).is_file()), data_folder())


def data_folder() -> Path:
    """Folder of models among the user's data, as the platform has it."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nmsynth" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "nmsynth" / "models"
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "nmsynth" / "models"


def _named_folders() -> list[Path]:
    """Folders of the environment variable."""
    return [Path(part) for part in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if part]


def list_models() -> tuple[ModelEntry, ...]:
    """Packages by name, the first of each name; only cards are read.

    A folder of ``NMSYNTH_MODELS`` may hold packages or be one.
    """
    entries: dict[str, ModelEntry] = {}
    for folder in model_folders():
        candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
        for path in candidates:
            if path.is_dir() and (path / CARD_FILE).is_file() and path.name not in entries:
                entries[path.name] = _entry(path, shipped=folder == SHIPPED_MODELS)
    return tuple(entries.values())


def find_model(name_or_path: str | Path) -> Path:
    """Folder of a model.

    Parameters
    ----------
    name_or_path
        Name of a shipped or user model, ``hub:OWNER/NAME[@REVISION]`` of one in the local cache of a hub, or the path
        of a package; anything else with a path separator is a path.

    Raises
    ------
    InputError
        If there is none; the message gives the nearest names.
    """
    text = str(name_or_path)
    if text.startswith(HUB_PREFIX):
        return find_in_hub_cache(text)
    if isinstance(name_or_path, Path) or "/" in text or os.sep in text or not NAME_PATTERN.fullmatch(text):
        path = Path(name_or_path)
        if path.exists():
            return path
        raise InputError(f"A model must be a name or a package folder; {printable(path.name)} does not exist.")
    entries = {entry.name: entry.path for entry in list_models()}
    if text in entries:
        return entries[text]
    near = difflib.get_close_matches(text, entries, n=3, cutoff=0.4) or sorted(entries)
    missing = f"None is installed; set {MODELS_VARIABLE} to a folder of packages, or import one."
    hint = f"Known: {', '.join(near)}." if near else missing
    raise InputError(f"There is no model named {printable(text)}. {hint}")


def show_model(name_or_path: str | Path) -> Card:
    """Card of a model; its weights are not opened."""
    return read_card(find_model(name_or_path))


def verify_model(name_or_path: str | Path) -> Card:
    """Card of a model whose weights are there, are safetensors, and have the card's sha256.

    Raises
    ------
    UnsafeInputError
        If any of this does not hold.
    """
    path = find_model(name_or_path)
    card = read_card(path)
    read_weights(path, card)
    return card


def install_model(path: Path | str, *, name: str | None = None, overwrite: bool = False) -> ModelEntry:
    """Check a package from elsewhere and put it into the user's folder of models.

    Parameters
    ----------
    path
        Folder or zip of a package.
    name
        By which it is loaded; that of its card by default.
    overwrite
        Replace a model of that name.

    Raises
    ------
    InputError
        If there is none, or the name is taken.
    UnsafeInputError
        If it is a pickle, damaged or changed.
    """
    return _entry(
        import_package(path, user_folder(), name=name, taken=_shipped_names(), overwrite=overwrite), shipped=False
    )


def _shipped_names() -> frozenset[str]:
    """Names that a user's model cannot have, as it would not be found."""
    return frozenset(path.name for path in SHIPPED_MODELS.iterdir()) if SHIPPED_MODELS.is_dir() else frozenset()


def _entry(path: Path, *, shipped: bool) -> ModelEntry:
    """What is found in the folder of a package."""
    try:
        return ModelEntry(path.name, path, shipped, read_card(path))
    except RefusalError as error:
        return ModelEntry(path.name, path, shipped, None, str(error))
