"""A manifest for images as they lie: a BIDS dataset, or a folder with a folder for each patient."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, NmsynthError

if TYPE_CHECKING:
    from nmsynth.data.manifest import ManifestRow


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images play a role."""

    role: str
    name: str
    """Empty where the role has one image and needs no name."""
    pattern: str
    """Of BIDS: suffix and entities, ``pet,rec-low``; else a pattern below each patient's folder, ``*/low``."""

    @classmethod
    def parse(cls, role: str, text: str) -> Wanted:
        """Role and ``NAME=PATTERN``, or ``PATTERN`` alone.

        Examples
        --------
        >>> Wanted.parse("source", "low=*/low").name, Wanted.parse("target", "*/full").pattern
        ('low', '*/full')
        """
        name, separator, pattern = text.partition("=")
        if not separator:
            name, pattern = "", text
        if not pattern.strip() or pattern.startswith("/") or ".." in Path(pattern).parts:
            raise InputError(
                f"A {role} is chosen by NAME=PATTERN or PATTERN, below each patient's folder; found '{text}'. "
                "Write, for example, 'ct=ct.nii.gz'."
            )
        return cls(role, name.strip(), pattern.strip())


@dataclass(frozen=True, slots=True)
class Split:
    """How subjects are dealt out."""

    validation_share: float = 0.2
    test_share: float = 0.0
    folds: int = 0
    """Manifests in which each subject that is not for testing is for validation once; 0 makes one manifest."""
    seed: int = 0


def make_manifest(
    folder: Path,
    output: Path | None,
    wanted: Sequence[Wanted],
    *,
    split: Split | None = None,
    stated: Mapping[str, tuple[str, str]] | None = None,
    unpaired: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the manifest of a folder. No image is copied or changed.

    Patients are called ``p001``, ``p002``, … in the order of their folders' names, and their sessions ``p001-1``, ….
    Which split one falls into follows from a hash of its folder's name, so that it does not depend on the order. Those
    with a source alone, with a target alone, and with a pair are dealt out apart, so that each split has its share;
    only pairs are held for validation, as nothing can be compared without.

    Parameters
    ----------
    folder
        A BIDS dataset, or a folder with one for each patient that holds NIfTI files or folders of DICOM.
    output
        CSV file in that folder or above it; ``manifest.csv`` in it when unset. With folds, ``-fold-1`` and so on is
        added to its name.
    wanted
        At least a source and a target.
    stated
        Modality and unit by name, or by role, of NIfTI images without a sidecar.
    unpaired
        Whether cases with a source or a target alone are taken.
    overwrite
        Whether a manifest may be replaced.

    Returns
    -------
        JSON values: ``manifests``, ``cases``, ``sides`` (how many are pairs, sources alone and targets alone),
        ``subjects``, ``splits`` and ``left_out``, a sentence for each case that lacks a source or target.

    Raises
    ------
    InputError
        If nothing fits, a pattern fits several images of a case, or a share is not possible.
    """
    from nmsynth.data.manifest import FILE_NAME, by_case, write_manifest
    from nmsynth.data.sides import SOURCE, TARGET, count_sides, side_of

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("A manifest is made of a folder of images; found none at that path. Check the path.")
    output = folder / FILE_NAME if output is None else Path(output)
    rules = split or Split()
    _check(folder, output, wanted, rules)
    rows, keys, left_out = _rows(folder, output.parent, wanted, dict(stated or {}), unpaired)
    roles = {row.role for row in rows}
    if SOURCE not in roles or TARGET not in roles:
        found = f" {left_out[0]}" if left_out else ""
        needed = "cases with a source and cases with a target" if unpaired else "a case with a source and a target"
        asked = "" if unpaired or not left_out else ", or take what stands alone by --unpaired"
        raise InputError(f"A dataset needs {needed}; none was found.{found} Check the patterns{asked}.")
    cases = by_case(rows)
    sides: dict[str, set[str]] = {}
    for members in cases.values():
        sides.setdefault(members[0].subject, set()).add(side_of(members))
    assigned = _assign(keys, rules, sides)
    manifests = [output]
    if rules.folds:
        manifests = [output.with_name(f"{output.stem}-fold-{k + 1}{output.suffix}") for k in range(rules.folds)]
    if not overwrite and any(path.exists() for path in manifests):
        raise InputError("A manifest is there already. Choose another output or allow overwriting.")
    output.parent.mkdir(parents=True, exist_ok=True)
    for path, splits in zip(manifests, assigned, strict=True):
        write_manifest(path, [replace(row, split=splits[row.subject]) for row in rows])
    counts = {s: list(assigned[0].values()).count(s) for s in ("train", "validation", "test")}
    return {
        "manifests": [path.name for path in manifests],
        "cases": len(cases),
        "sides": count_sides(cases),
        "subjects": len(assigned[0]),
        "splits": {name: n for name, n in counts.items() if n},
        "left_out": left_out,
    }


def _check(folder: Path, output: Path, wanted: Sequence[Wanted], rules: Split) -> None:
    """Refuse what cannot give a manifest."""
    from nmsynth.data.manifest import ROLES

    roles = [w.role for w in wanted]
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise InputError(f"A role must be one of {', '.join(ROLES)}; found '{unknown[0]}'.")
    if "source" not in roles or roles.count("target") != 1:
        raise InputError("A dataset needs at least one --source and exactly one --target. Add what is missing.")
    names = [(w.role, w.name) for w in wanted]
    if len(set(names)) != len(names):
        raise InputError("Images of one role need different names. Write NAME=PATTERN for each.")
    if not folder.resolve().is_relative_to(output.parent.resolve()):
        raise InputError(
            "A manifest must lie in the folder of its images or above it, as its paths are below it; the output does "
            "not. Leave the output out."
        )
    if not (0 <= rules.validation_share < 1 and 0 <= rules.test_share < 1):
        raise InputError("A share of the subjects must lie from 0 to below 1.")
    if rules.validation_share + rules.test_share >= 1:
        raise InputError("Shares for validation and test must leave subjects for training. Lower them.")
    if rules.folds == 1 or rules.folds < 0:
        raise InputError(f"Cross-validation needs at least 2 folds; found {rules.folds}.")


def _rows(
    folder: Path, root: Path, wanted: Sequence[Wanted], stated: dict[str, tuple[str, str]], unpaired: bool
) -> tuple[list[ManifestRow], dict[str, str], list[str]]:
    """Rows without a split, the folder's name of each pseudonym, and what was left out."""
    from nmsynth.data.bids import find_bids_images, is_bids
    from nmsynth.data.manifest import ManifestRow

    found = _bids_cases(folder, wanted) if is_bids(folder) else _folder_cases(folder, wanted)
    named = {image.path: image.modality for image in find_bids_images(folder)} if is_bids(folder) else {}
    pseudonyms = {key: f"p{n:03d}" for n, key in enumerate(sorted({subject for subject, _ in found}), 1)}
    several = {s for s, _ in found if sum(other == s for other, _ in found) > 1}
    rows, left_out, used, counter = [], [], {}, dict.fromkeys(pseudonyms, 0)
    for (subject, _), images in sorted(found.items()):
        counter[subject] += 1
        case = f"{pseudonyms[subject]}-{counter[subject]}" if subject in several else pseudonyms[subject]
        missing = [r for r in ("source", "target") if not any(w.role == r for w in images)]
        if len(missing) > unpaired:
            left_out.append(f"Case '{case}' was left out: it has no {' and no '.join(missing)}.")
            continue
        used[pseudonyms[subject]] = subject
        own = []
        for chosen, path in images.items():
            modality, unit = stated.get(chosen.name) or stated.get(chosen.role) or _header(folder / path)
            modality = modality or named.get(path, "")
            name = chosen.name or ("" if chosen.role in ("source", "target") else chosen.role)
            inside = (folder.resolve() / path).relative_to(root.resolve()).as_posix()
            own.append(ManifestRow(case, pseudonyms[subject], "train", chosen.role, name, inside, None, modality, unit))
        rows += _by_view(own, root)
    return rows, used, left_out


def _by_view(rows: list[ManifestRow], root: Path) -> list[ManifestRow]:
    """Rows of a case; where its images have planar views, those of a case for each view."""
    views = {row.path: _n_views(root / row.path) if row.modality == "NM" else 0 for row in rows}
    counts = {views[row.path] for row in rows if row.role in ("source", "target")}
    if counts == {0} or len(counts) > 1:  # volumes, or images that 'dataset check' will not find alike
        return rows
    return [
        replace(row, case=f"{row.case}-view-{number}", view=number if views[row.path] else None)
        for number in range(1, counts.pop() + 1)
        for row in rows
    ]


def _n_views(path: Path) -> int:
    """Planar views of a DICOM image; 0 where it has none, or cannot be read."""
    from nmsynth.core.volume import PLANAR_AXES
    from nmsynth.io import read
    from nmsynth.io.nifti import is_nifti

    if is_nifti(path):
        return 0
    try:
        image = read(path)
    except NmsynthError:  # told by 'dataset check', with the case
        return 0
    return image.shape[0] if image.axes == PLANAR_AXES else 0


def _bids_cases(folder: Path, wanted: Sequence[Wanted]) -> dict[tuple[str, str], dict[Wanted, Path]]:
    """Images of each subject and session of BIDS."""
    from nmsynth.data.bids import find_bids_images, select

    images = find_bids_images(folder)
    cases: dict[tuple[str, str], dict[Wanted, Path]] = {(i.subject, i.session): {} for i in images}
    for chosen in wanted:
        for image in select(images, chosen.pattern):
            case = cases[image.subject, image.session]
            if chosen in case:
                raise _several(chosen)
            case[chosen] = image.path
    return cases


def _folder_cases(folder: Path, wanted: Sequence[Wanted]) -> dict[tuple[str, str], dict[Wanted, Path]]:
    """Images of each patient's folder; where a pattern starts with a wildcard folder, each such folder is a case."""
    cases: dict[tuple[str, str], dict[Wanted, Path]] = {}
    patients = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    for patient in sorted(patients):
        shared: dict[Wanted, Path] = {}
        sessions: dict[str, dict[Wanted, Path]] = {}
        for chosen in wanted:
            first, *rest = Path(chosen.pattern).parts
            for path in sorted(p for p in patient.glob(chosen.pattern) if _is_image(p)):
                by_session = rest and any(mark in first for mark in "*?[")
                of = sessions.setdefault(path.relative_to(patient).parts[0], {}) if by_session else shared
                if chosen in of:
                    raise _several(chosen)
                of[chosen] = path.relative_to(folder)
        for session, images in (sessions or {"": {}}).items():
            cases[patient.name, session] = {w: p for w in wanted if (p := images.get(w) or shared.get(w))}
    if not cases:
        raise InputError("The folder must hold a folder for each patient; it holds none. Give the folder above them.")
    return cases


def _is_image(path: Path) -> bool:
    """Whether a path may be an image: a folder of DICOM, or a NIfTI file."""
    from nmsynth.io.nifti import is_nifti

    return path.is_dir() or is_nifti(path)


def _several(chosen: Wanted) -> InputError:
    """Explain that a pattern is too wide."""
    return InputError(
        f"A case has one image of each kind; '{chosen.pattern}' fits several for the {chosen.role}. Make it narrower."
    )


def _header(path: Path) -> tuple[str, str]:
    """Modality and unit as a sidecar states them, or the modality of the one DICOM series; empty where neither does."""
    from nmsynth.io import find_series
    from nmsynth.io.sidecar import read_sidecar, sidecar_path

    try:
        if path.is_dir():
            series = find_series(path)
            return (series[0].modality if len(series) == 1 else "", "")
        beside = sidecar_path(path)
        stated = read_sidecar(beside) if beside.is_file() else None
    except NmsynthError:  # told by 'dataset check', with the case
        return "", ""
    if stated is None:
        return "", ""
    return stated.modality or "", stated.unit.value if stated.unit else ""


def _assign(keys: Mapping[str, str], rules: Split, sides: Mapping[str, set[str]]) -> list[dict[str, str]]:
    """Split of each subject, for each manifest; only of those with a pair some are for validation."""
    from nmsynth.data.sides import PAIR, SOURCE, TARGET

    order = sorted(keys, key=lambda p: hashlib.sha256(f"{rules.seed}:{keys[p]}".encode()).hexdigest())
    kinds: dict[tuple[str, ...], list[str]] = {}
    for subject in order:
        kind = (PAIR,) if PAIR in sides[subject] else tuple(sorted(sides[subject]))
        kinds.setdefault(kind, []).append(subject)
    alone = [of for kind, of in kinds.items() if kind != (PAIR,)]
    test_alone = [p for of in alone for p in of[: round(rules.test_share * len(of))]]
    with_pairs = kinds.get((PAIR,), [])
    n_test = round(rules.test_share * len(with_pairs))
    test, rest = [*with_pairs[:n_test], *test_alone], with_pairs[n_test:]
    if rules.folds:
        if rules.folds > len(rest):
            of = " with a pair" if alone else ""
            raise InputError(f"{rules.folds} folds need as many subjects{of}; {len(rest)} are there. Ask for fewer.")
        held_out = [set(rest[k :: rules.folds]) for k in range(rules.folds)]
    else:
        held_out = [set(rest[: round(rules.validation_share * len(with_pairs))])]
        if len(held_out[0]) == len(rest) and not alone:
            raise InputError(
                f"Shares for validation and test must leave a subject for training; of {len(order)} they take {n_test} "
                f"for test and {len(rest)} for validation. Lower them, or add patients."
            )
    left = {side for p in keys if p not in test and p not in held_out[0] for side in sides[p]}
    if PAIR not in left and not {SOURCE, TARGET} <= left:
        raise InputError("Shares for validation and test must leave a source and a target for training. Lower them.")
    return [{p: "test" if p in test else "validation" if p in held else "train" for p in keys} for held in held_out]
