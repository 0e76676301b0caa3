"""Pictures of the cases of a dataset, and a page with them and what a check has found."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from nmsynth.core.volume import Volume
from nmsynth.report.pictures import Panel, Scale, panel_rows
from nmsynth.report.projections import VIEWS, Image, Upright, cut, marks, nearest_voxel, pixel_mm, upright, upright_like
from nmsynth.report.scene import AIR_SHARE, CT_WINDOW_HU
from nmsynth.report.text import printable

TEMPLATES = Path(__file__).parent / "templates"
INDEX = "index.html"


def picture_name(case: str) -> str:
    """Name of the picture's file: the case where it makes one, else a hash of it."""
    plain = all(c.isalnum() or c in "-_." for c in case) and case.strip(".")
    return f"{case if plain else hashlib.sha256(case.encode()).hexdigest()[:16]}.png"


def case_picture(images: Sequence[tuple[str, Volume]], target: Volume, mask: Volume | None = None) -> bytes:
    """Axial, coronal and sagittal planes of each image, in the space of the target, as PNG.

    The planes go through the middle of the mask, or through the middle of the field of view. Images are shown on the
    grid of the target, so that what lies elsewhere is seen to, and those of its kind in its window.

    Parameters
    ----------
    images
        Name and volume, axes ``(z, y, x)``.
    target
        Volume whose grid is shown.
    mask
        Labels whose outline is drawn.
    """
    grid = upright(target)
    outline = None if mask is None else upright_like(mask, grid).array > 0.5
    point = _point(grid, outline)
    rows = []
    for name, volume in images:
        shown = upright_like(volume, grid)
        alike = (volume.modality, volume.unit) == (target.modality, target.unit)
        scale = _window(target, grid.array) if alike else _window(volume, shown.array)
        rows.append([_panel(shown.array, view, point, scale, name, grid, outline) for view in VIEWS])
    synthetic = any(v.provenance.synthetic or v.provenance.simulated for _, v in images)
    return panel_rows(rows, max_height=340, banner=synthetic)


def _panel(
    array: Image,
    view: Any,
    point: tuple[int, int, int],
    scale: Scale,
    name: str,
    grid: Upright,
    outline: npt.NDArray[np.bool_] | None,
) -> Panel:
    """One plane of one image."""
    edge = None if outline is None else cut(outline.astype(np.float32), view, point) > 0.5
    title = name if view == "axial" else view
    return Panel(cut(array, view, point), pixel_mm(grid.spacing_mm, view), scale, title, marks(view), outline=edge)


def _point(grid: Upright, outline: npt.NDArray[np.bool_] | None) -> tuple[int, int, int]:
    """Voxel that the planes go through."""
    if outline is None or not outline.any():
        z, y, x = (n / 2 for n in grid.array.shape)
    else:
        z, y, x = (float(np.median(axis)) for axis in np.nonzero(outline))
    return nearest_voxel(grid, (z, y, x))


def _window(volume: Volume, array: Image) -> Scale:
    """Window by modality: CT in HU, others from 0 to a percentile of the body, noise in the air left out."""
    if volume.modality == "CT":
        return Scale(*CT_WINDOW_HU, volume.unit.value, "gray")
    body = array[array > AIR_SHARE * np.percentile(array, 99.9)]
    top = float(f"{np.percentile(body, 98):.2g}") if body.size and body.max() > 0 else 1.0
    return Scale(0.0, top, volume.unit.value, "gray" if volume.modality == "MR" else "gray_r")


def write_index(folder: Path, result: Mapping[str, Any], cases: Sequence[str]) -> Path:
    """Write a page that holds the pictures in a folder, and the findings by case; it needs no other file.

    Parameters
    ----------
    folder
        Of the pictures, named by :func:`picture_name`.
    result
        Of a check: ``cases``, ``images``, ``splits`` and ``findings``.
    cases
        In the order shown; those with findings come first.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, finalize=printable,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    shown = []
    for case in cases:
        path = folder / picture_name(case)
        # Markup is not cut to the length of a text
        data = Markup(base64.b64encode(path.read_bytes()).decode("ascii")) if path.is_file() else ""
        shown.append({"name": case, "data": data, "findings": [f for f in result["findings"] if f["case"] == case]})
    general = [f for f in result["findings"] if f["case"] not in set(cases)]
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    page = environment.get_template("dataset.html.j2").render(
        result=result, cases=sorted(shown, key=lambda c: -len(c["findings"])), general=general, style=style
    )
    output = folder / INDEX
    output.write_text(page.lstrip(), encoding="utf-8")
    return output
