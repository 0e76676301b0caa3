"""Normal limits of polar maps from a dataset of hearts without defects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    from nmsynth.data.manifest import ManifestRow


def make_normal_limits(
    manifest: Path,
    output: Path,
    *,
    image: str = "target",
    wall: str = "segments",
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
    from nmsynth.metrics.perfusion import NormalLimits
    from nmsynth.metrics.polar_map import LongAxis, WallRays

    if output.suffix != ".json":
        raise InputError(f"Normal limits are written as .json; found '{output.name}'. Rename it.")
    path = manifest_file(manifest)
    cases = by_case(read_manifest(path))
    chosen = {case: (_one(case, rows, image), _one(case, rows, wall)) for case, rows in cases.items()}
    maps, sexes, corrected = [], Counter[str](), set()
    for number, (of_image, of_wall) in enumerate(chosen.values()):
        volume = read_image(of_image, path.parent)
        mask = read_image(of_wall, path.parent)
        mask = mask.with_array(mask.array > 0).resample_to(volume, order=0)
        axis = LongAxis.of(mask.array, mask.affine)
        maps.append(WallRays.through(mask.array, mask.affine, axis).map_of(volume.array))
        sexes[volume.acquisition.sex or "not stated"] += 1
        corrected.add("ATTN" in volume.acquisition.corrections)
        progress("measuring", (number + 1) / len(chosen))
    if len(corrected) > 1:
        raise InputError(
            "Normal limits hold for one way of imaging; some images are corrected for attenuation and some are not. "
            "Give those of one kind."
        )
    document = {
        **NormalLimits.of(maps).to_json(),
        "sexes": dict(sorted(sexes.items())),
        "attenuation_corrected": corrected == {True},
    }
    with atomic_file(output, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
    return document


def _one(case: str, rows: Sequence[ManifestRow], wanted: str) -> ManifestRow:
    """The image of a role or name of a case."""
    found = [row for row in rows if wanted in (row.role, row.name)]
    if len(found) != 1:
        raise InputError(f"Each case needs one image of role or name '{wanted}'; case '{case}' has {len(found)}.")
    return found[0]
