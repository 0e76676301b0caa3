"""Normal limits of polar maps from a dataset of hearts without defects."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.workflows.bundled import bundled_folder

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.metrics.perfusion import NormalLimits

FOLDER = "normals"
"""Folder of the limits that come with nmsynth; ``python -m benchmarks.heart_normals`` makes them."""
MANY = 20
"""Subjects below which limits are said to be of few."""


def limits_document(
    limits: NormalLimits, *, sexes: Mapping[str, int], attenuation_corrected: bool, **further: Any
) -> dict[str, Any]:
    """What a file of limits holds: the maps, whom they are of, and how those were imaged. JSON values."""
    return {
        **limits.to_json(),
        "sexes": dict(sorted(sexes.items())),
        "attenuation_corrected": attenuation_corrected,
        **further,
    }


def fitting_limits(names: Sequence[str], image: Volume) -> tuple[NormalLimits | None, tuple[str, ...]]:
    """The limits among those that come with nmsynth that fit an image, and what must be said of them.

    They must be of the image's sex, with the same attenuation correction, scanner and reconstruction; what the image
    does not state fits none.

    Parameters
    ----------
    names
        Of the files in ``recipes/normals``.
    image
        That is compared with them.

    Raises
    ------
    InputError
        If there is no file of a name.
    """
    from nmsynth.metrics.perfusion import NormalLimits

    about = image.acquisition
    stated = {
        "sexes": {about.sex}, "attenuation_corrected": _is_corrected(image), "scanner": about.scanner,
        "reconstruction": about.reconstruction,
    }  # fmt: skip
    for name in names:
        document = _bundled(name)
        if stated == {**{key: document[key] for key in stated}, "sexes": set(document["sexes"])}:
            limits = NormalLimits.from_json(document)
            few = (
                f"Normal limits are of {limits.n_subjects} simulated hearts, which is few: read deficits as errors, "
                "not as findings."
            )
            return limits, (few,) if limits.n_subjects < MANY else ()
    wanted = ", ".join(
        (
            f"sex {about.sex or 'not stated'}",
            "corrected for attenuation" if _is_corrected(image) else "not corrected for attenuation",
            about.scanner or "no scanner stated",
            about.reconstruction or "no reconstruction stated",
        )
    )
    return None, (f"No normal limits fit this heart ({wanted}): no perfusion deficit was measured.",)


def misfits(document: Mapping[str, Any], image: Volume) -> list[str]:
    """In what limits do not fit an image, in words; what either does not state is not compared.

    Parameters
    ----------
    document
        Of a file of limits.
    image
        That is compared with them.
    """
    about, found = image.acquisition, []
    sexes = set(document.get("sexes", ())) - {"not stated"}
    if sexes and about.sex and sexes != {about.sex}:
        found.append(f"they are of sex {' and '.join(sorted(sexes))}, the heart is of sex {about.sex}")
    corrected = document.get("attenuation_corrected")
    own = about.is_attenuation_corrected
    if corrected is not None and own is not None and bool(corrected) != own:
        words = ("not corrected for attenuation", "corrected for attenuation")
        found.append(f"they are {words[bool(corrected)]}, the heart is {words[_is_corrected(image)]}")
    for fact in ("scanner", "reconstruction"):
        stated, own = document.get(fact), getattr(about, fact)
        if stated and own and stated != own:
            found.append(f"they are of another {fact}")
    return found


def _is_corrected(image: Volume) -> bool:
    """Whether an image states that attenuation was corrected."""
    return image.acquisition.is_attenuation_corrected is True


def normals_digest(names: Sequence[str]) -> str:
    """Hash of what the limits of some names say."""
    return hashlib.sha256(json.dumps([_bundled(name) for name in names], sort_keys=True).encode()).hexdigest()


def _bundled(name: str) -> dict[str, Any]:
    """The file of a name."""
    file = bundled_folder(FOLDER) / f"{name}.json"
    if not file.is_file():
        raise InputError(f"Normal limits must be those of nmsynth; found the name '{name:.60}'. Correct the task.")
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def make_normal_limits(
    manifest: Path,
    output: Path,
    *,
    image: str = "target",
    wall: str = "segments",
    scaled_in: str = "",
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Make normal limits of the hearts of a dataset and write them as JSON.

    Limits hold for one sex and one way of imaging; the file says which sexes are in it.

    Parameters
    ----------
    manifest
        Of people without defects, one case each.
    output
        A ``.json`` file.
    image
        Role or name of the image whose polar map is taken.
    wall
        Name of the mask of the left ventricle's wall; where it has labels, all count.
    scaled_in
        Role or name of the image in which the best perfused part of the wall is found, such as one without noise; the
        measured one itself when empty, in which noise makes that part too bright.

    Returns
    -------
        What the file holds: the limits, and ``sexes`` and ``attenuation_corrected``.

    Raises
    ------
    InputError
        If there are fewer than ten cases, one has no image or wall, or some are corrected for attenuation and some not.
    """
    from nmsynth.data.manifest import by_case, manifest_file, read_manifest
    from nmsynth.data.manifest_images import read_image
    from nmsynth.io.atomic import atomic_file
    from nmsynth.metrics.perfusion import NormalLimits, best_part
    from nmsynth.metrics.polar_map import LongAxis, WallRays

    if output.suffix != ".json":
        raise InputError(f"Normal limits are written as .json; found '{output.name}'. Rename it.")
    path = manifest_file(manifest)
    cases = by_case(read_manifest(path))
    wanted = (image, wall, scaled_in or image)
    chosen = {case: [_one(case, rows, name) for name in wanted] for case, rows in cases.items()}
    maps, parts, sexes, corrected = [], [], Counter[str](), set()
    for number, (of_image, of_wall, of_scale) in enumerate(chosen.values()):
        volume = read_image(of_image, path.parent)
        mask = read_image(of_wall, path.parent)
        mask = mask.with_array(mask.array > 0).resample_to(volume, order=0)
        axis = LongAxis.of(mask.array, mask.affine)
        rays = WallRays.through(mask.array, mask.affine, axis)
        maps.append(rays.map_of(volume.array))
        shown = read_image(of_scale, path.parent).resample_to(volume) if scaled_in else volume
        parts.append(best_part(rays.map_of(shown.array)))
        sexes[volume.acquisition.sex or "not stated"] += 1
        corrected.add(_is_corrected(volume))
        progress("measuring", (number + 1) / len(chosen))
    if len(corrected) > 1:
        raise InputError(
            "Normal limits hold for one way of imaging; some images are corrected for attenuation and some are not. "
            "Give those of one kind."
        )
    limits = NormalLimits.of(maps, parts)
    document = limits_document(limits, sexes=sexes, attenuation_corrected=corrected == {True})
    with atomic_file(output, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
    return document


def _one(case: str, rows: Sequence[ManifestRow], wanted: str) -> ManifestRow:
    """The image of a role or name of a case."""
    found = [row for row in rows if wanted in (row.role, row.name)]
    if len(found) != 1:
        raise InputError(f"Each case needs one image of role or name '{wanted}'; case '{case}' has {len(found)}.")
    return found[0]
