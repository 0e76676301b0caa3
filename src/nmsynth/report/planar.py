"""One page on synthetic planar views: each view by every image in one window of counts, differences, numbers, model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.volume import Volume
from nmsynth.evaluation.planar import count_ratio
from nmsynth.io.atomic import check_output
from nmsynth.report.figures import Picture
from nmsynth.report.html import embedded, write_page
from nmsynth.report.pictures import Panel, Scale, nice_limit, panel_rows
from nmsynth.report.projections import Image, Upright
from nmsynth.report.scene import Scene
from nmsynth.report.tables import REFERENCE_NAMES

SHOWN = ("source", "synthetic", "reference")
"""Images that are shown side by side."""
BRIGHT = 99.5
"""Percentile of the pixels with counts that the window ends at."""
MOST_DIFFERENCE = 0.3
"""Of the window: end of the scale of differences."""


def write_planar_report(
    path: str | Path,
    *,
    images: Mapping[str, Volume],
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    card: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    title: str = "Synthetic planar views",
    reference_kind: str | None = None,
    claim: str = "The images show synthetic views beside their source; they support no claim of accuracy.",
    flags: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write one HTML page with everything embedded.

    Parameters
    ----------
    path
        File to write; written whole or not at all.
    images
        By name: ``source``, ``synthetic``, ``reference``; axes ``("view", "y", "x")``, or one view as a slice. All are
        shown at the counts of the synthetic one, by the count fractions that they state.
    metrics, card, record, title, reference_kind, claim, flags, overwrite
        As in :func:`nmsynth.report.html.write_report`.

    Returns
    -------
        The path.
    """
    target = check_output(Path(path), overwrite=overwrite, is_directory=False)
    scene = _scene(images)
    reference_name = REFERENCE_NAMES["source"]
    if scene.has_truth:
        names = {"T1": "T1, the expected counts", "T2": "T2, counts with noise of their own"}
        reference_name = names.get(str(reference_kind), "the reference")
    pictures: dict[str, Any] = {"planes_title": "Views", "planes": embedded(_views(scene, images))}
    if scene.reference:
        pictures["differences"] = [embedded(_differences(scene, images, reference_name))]
    return write_page(
        target, scene, images, pictures, metrics=metrics, card=card, record=record, title=title,
        reference_kind=reference_kind, reference_name=reference_name, claim=claim, flags=flags, overwrite=overwrite,
    )  # fmt: skip


def _scene(images: Mapping[str, Volume]) -> Scene:
    """Views at the counts of the synthetic image, in one window."""
    main = images["synthetic"]
    arrays: dict[str, Image] = {
        name: np.asarray(volume.array * np.float32(count_ratio(main, volume)), dtype=np.float32)
        for name, volume in images.items()
    }
    shown = arrays.get("reference", arrays.get("source", arrays["synthetic"]))
    positive = shown[shown > 0]
    high = nice_limit(float(np.percentile(positive, BRIGHT))) if positive.size else 1.0
    scale = Scale(0.0, high, main.unit.value)
    reference = next((name for name in ("reference", "source") if name in images), None)
    return Scene(
        images=arrays,
        grid=Upright(main.array, np.asarray(main.affine), interpolated=False),
        unit=main.unit.value,
        window=high,
        scales=dict.fromkeys(images, scale),
        alike=tuple(images),
        body_level=0.0,
        main="synthetic",
        reference=reference,
        synthetic=frozenset(name for name, v in images.items() if name == "synthetic" or v.provenance.synthetic),
        lesions=(),
        point=(0, 0, 0),
        point_name="",
        notes=(),
    )


def _view_name(volume: Volume, number: int) -> tuple[str, tuple[str, str]]:
    """Name of a view, and the letters at its sides where its place in the patient is known.

    A view as a slice says by its columns whether it is seen from the front; of a camera's frames that is not read.
    """
    if volume.axes[0] == "view":
        return f"view {number + 1}", ("", "")
    return ("anterior", ("R", "L")) if volume.affine[0, 2] > 0 else ("posterior", ("L", "R"))


def _views(scene: Scene, images: Mapping[str, Volume]) -> Picture:
    """Each view by every image, side by side."""
    first = images["synthetic"]
    pixel = (first.spacing_mm[1], first.spacing_mm[2])
    panels = []
    for number in range(first.shape[0]):
        view, marks = _view_name(first, number)
        panels += [
            Panel(
                scene.images[name][number], pixel, scene.scales[name], f"{name}, {view}", marks, name in scene.synthetic
            )
            for name in SHOWN
            if name in images
        ]
    caption = (
        f"Views in inverse linear grey, {scene.unit} 0–{scene.window:g}, the same in every panel, at the counts of the "
        "synthetic image. Posterior views are not mirrored. Look for foci that appear in the synthetic image alone, "
        "and for faint ones that it lost."
    )
    return Picture(panel_rows([panels]), caption, "Planar views")


def _differences(scene: Scene, images: Mapping[str, Volume], reference_name: str) -> Picture:
    """Each view less the reference."""
    first = images["synthetic"]
    pixel = (first.spacing_mm[1], first.spacing_mm[2])
    limit = nice_limit(MOST_DIFFERENCE * scene.window)
    scale = Scale(-limit, limit, f"difference, {scene.unit}", "RdBu_r")
    panels = []
    for number in range(first.shape[0]):
        view, marks = _view_name(first, number)
        for name in ("source", "synthetic"):
            if name in images and name != scene.reference:
                difference = scene.images[name][number] - scene.images[str(scene.reference)][number]
                title = f"{name} − {scene.reference}, {view}"
                panels.append(Panel(difference, pixel, scale, title, marks, name in scene.synthetic))
    caption = (
        f"Image − {reference_name}. Red is too high, blue too low. A map that shows the outline of bones or lesions "
        "means that signal was lost or added, not only noise."
    )
    return Picture(panel_rows([panels]), caption, "Differences of planar views")
