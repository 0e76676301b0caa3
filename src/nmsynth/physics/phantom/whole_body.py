"""A procedural whole-body patient: analytic anatomy, any grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.body import body_layers, inner_layers
from nmsynth.physics.phantom.bone_lesions import place_bone_lesions
from nmsynth.physics.phantom.bone_sites import degenerative_layers, site_layers
from nmsynth.physics.phantom.clutter import clutter_layers, injection_site, random_layers
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.grid import Grid, Phantom
from nmsynth.physics.phantom.head import head_layers
from nmsynth.physics.phantom.heart import HEART_LAYERS, Heart, HeartSettings, draw_heart
from nmsynth.physics.phantom.layers import Fields, Layer, Painter, PointSampler
from nmsynth.physics.phantom.lesions import LesionPlan, PlacedLesion, paint_lesions, place_lesions
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.phantom.pelvis import bladder_layers
from nmsynth.physics.phantom.skeleton import bone_layers
from nmsynth.physics.phantom.torso import torso_layers
from nmsynth.physics.phantom.tracers import ABDOMINAL, scaled_uptakes, tracer_named


@dataclass(frozen=True, slots=True)
class WholeBodySettings:
    """What patients are drawn from.

    Attributes
    ----------
    height_m, bmi
        Ranges of stature [m] and body mass index [kg/m^2].
    sex
        ``"F"``, ``"M"`` or None for either.
    arms
        ``"up"``, ``"down"`` or ``"random"``.
    uptake_spread
        Factor on the spread of every organ's uptake.
    texture
        Range of the relative standard deviation of uptake within an organ.
    warp_mm
        Range of the standard deviation of the smooth displacement of all coordinates [mm].
    breathing_mm
        Range of the width of the breathing blur at the diaphragm [mm].
    injection_site_probability
        Share of patients with a hot spot in one arm.
    clutter
        Range of the number of benign small structures: vessels, marrow islands, nodes, hot and cold spots.
    random_structures
        Range of the number of implausible blobs, tubes and shells, for training only.
    degenerative
        Range of the number of worn joints with more uptake than other bone, for bone scans.
    """

    height_m: tuple[float, float] = (1.50, 1.95)
    bmi: tuple[float, float] = (17.0, 42.0)
    sex: str | None = None
    arms: str = "random"
    uptake_spread: float = 1.0
    texture: tuple[float, float] = (0.05, 0.15)
    warp_mm: tuple[float, float] = (3.0, 6.0)
    breathing_mm: tuple[float, float] = (0.0, 12.0)
    injection_site_probability: float = 0.15
    clutter: tuple[int, int] = (10, 40)
    random_structures: tuple[int, int] = (0, 0)
    degenerative: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Refuse impossible ranges."""
        limits = {
            "height_m": (1.2, 2.2),
            "bmi": (13.0, 60.0),
            "texture": (0.0, 0.5),
            "warp_mm": (0.0, 12.0),
            "breathing_mm": (0.0, 30.0),
            "clutter": (0, 500),
            "random_structures": (0, 500),
            "degenerative": (0, 50),
        }
        for name, (low, high) in limits.items():
            a, b = getattr(self, name)
            if not low <= a <= b <= high:
                raise InputError(f"WholeBodySettings.{name} must be a range within [{low}, {high}], found ({a}, {b}).")
        if self.arms not in ("up", "down", "random"):
            raise InputError(f"WholeBodySettings.arms must be 'up', 'down' or 'random', found {self.arms!r}.")
        if self.sex not in ("F", "M", None):
            raise InputError(f"WholeBodySettings.sex must be 'F', 'M' or None, found {self.sex!r}.")
        if not 0 < self.uptake_spread <= 4 or not 0 <= self.injection_site_probability <= 1:
            raise InputError("WholeBodySettings needs 0 < uptake_spread <= 4 and a probability between 0 and 1.")

    @classmethod
    def training(cls) -> WholeBodySettings:
        """Wider than plausible, so that a network relies on little of what it has seen."""
        return cls(
            uptake_spread=1.8,
            texture=(0.02, 0.25),
            warp_mm=(3.0, 8.0),
            breathing_mm=(0.0, 16.0),
            injection_site_probability=0.3,
            clutter=(10, 80),
            random_structures=(0, 60),
        )


@dataclass(frozen=True, eq=False)
class WholeBodyPatient:
    """Analytic anatomy of one patient, independent of any grid.

    Attributes
    ----------
    seed
        Number that made the patient.
    frame
        Habitus and landmarks.
    fields
        Random fields for shape and texture.
    layers
        Structures in painting order.
    lesions
        Lesions with their shapes.
    heart
        Heart for perfusion imaging, in place of the plain one of the layers.
    """

    seed: int
    frame: Frame = field(repr=False)
    fields: Fields = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    lesions: tuple[PlacedLesion, ...] = ()
    heart: Heart | None = None

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Height of mid-thigh and of the vertex [mm]."""
        return 0.0, self.frame.z(1.0) + 10.0

    @property
    def diaphragm_mm(self) -> float:
        """Height of the dome of the diaphragm [mm]."""
        return self.frame.z(0.725)

    @property
    def trunk_half_width_mm(self) -> float:
        """Half the width of the chest at that height, to the skin; what lies beyond are the arms [mm]."""
        outline = self.frame.outline()
        return float(np.interp(self.diaphragm_mm, outline.z_mm, outline.half_width))

    @property
    def body_mass_kg(self) -> float:
        """Body mass [kg]."""
        return self.frame.bmi * self.frame.height_m**2

    def render(self, grid: Grid, *, gate: int | None = None) -> Phantom:
        """Rasterise on a grid; equal voxels get equal values whatever slab they are in.

        Parameters
        ----------
        grid
            Any grid; parts outside the patient are air.
        gate
            Part of the heart's beat, 0 to 7 from end diastole on; None for all of it. Only a heart for perfusion beats.

        Returns
        -------
            Edges are smooth over about a voxel, lesions are exact averages over voxels.
        """
        painter = Painter(grid, self.fields)
        segments = None
        if self.heart is None:
            painter.paint(self.layers)
        else:
            first = next(i for i, layer in enumerate(self.layers) if layer.name in HEART_LAYERS)
            body = [layer for layer in self.layers[:first] if layer.name not in HEART_LAYERS]
            rest = [layer for layer in self.layers[first:] if layer.name not in HEART_LAYERS]
            painter.paint(body, also_needed={layer.inside for layer in rest})
            segments = self.heart.paint(painter, gate)
            painter.paint(rest)
        lesion_labels, found = paint_lesions(grid, painter.activity, painter.mu_map, self.lesions)
        np.maximum(painter.activity, 0.0, out=painter.activity)
        return Phantom(
            grid=grid,
            activity=painter.activity,
            mu_map=painter.mu_map,
            labels=painter.labels,
            lesion_labels=lesion_labels,
            lesions=found,
            body_mass_kg=self.body_mass_kg,
            height_m=self.frame.height_m,
            sex=self.frame.sex,
            seed=self.seed,
            family="whole_body",
            segment_labels=segments,
        )

    def grid(self, spacing_mm: tuple[float, float, float], *, width_mm: float = 600.0) -> Grid:
        """Grid over the whole patient from mid-thigh to vertex."""
        if not width_mm > 0 or not min(spacing_mm) > 0:
            raise InputError(f"Grid width and spacing must be positive, found {width_mm} and {spacing_mm} mm.")
        n_z = int(np.ceil((self.extent_mm[1] - self.extent_mm[0]) / spacing_mm[0]))
        n_y, n_x = (int(np.ceil(width_mm / s)) for s in spacing_mm[1:])
        return Grid.centred((n_z, n_y, n_x), spacing_mm)


def whole_body_patient(
    seed: int,
    *,
    lesions: LesionPlan | None = None,
    settings: WholeBodySettings | None = None,
    tracer: str = "FDG",
    heart: HeartSettings | None = None,
) -> WholeBodyPatient:
    """Draw a patient.

    Parameters
    ----------
    seed
        Non-negative number; the same seed and arguments give the same patient.
    lesions
        How many lesions of which kind; None draws 0 to 25, none at all in a fifth of the patients.
        ``LesionPlan(count=0)`` gives a lesion-free patient.
    settings
        What to draw from; None for plausible adults.
    tracer
        One of :data:`nmsynth.physics.phantom.tracers.TRACERS`; the anatomy of a seed does not depend on it.
    heart
        What the heart is drawn from; None for the plain one, which has no segments and no defects. The anatomy around
        it does not depend on it.

    Returns
    -------
        Render it on any grid. Limits: no disease of whole organs, no implants, no contrast agent, no pregnancy.

    Examples
    --------
    >>> patient = whole_body_patient(3, lesions=LesionPlan(count=0))
    >>> patient.render(patient.grid((20.0, 20.0, 20.0))).lesions
    ()
    """
    if seed < 0:
        raise InputError(f"A phantom seed must not be negative, found {seed}.")
    settings = settings or WholeBodySettings()
    anatomy, field_rng, lesion_rng, extra = (np.random.default_rng([seed, k]) for k in range(4))
    uptakes = tracer_named(tracer).uptake
    if heart is not None:
        uptakes = scaled_uptakes(uptakes, ABDOMINAL, heart.abdominal_activity)
    frame = replace(_draw_frame(anatomy, settings), uptakes=uptakes)
    fields = _draw_fields(field_rng, settings)
    layers = [
        *body_layers(frame),
        *inner_layers(frame),
        *torso_layers(frame),
        *bone_layers(frame),
        *head_layers(frame),
        *bladder_layers(frame),
    ]
    frame_extra = replace(frame, rng=extra)
    layers += clutter_layers(frame_extra, layers, fields, int(extra.integers(*settings.clutter, endpoint=True)))
    layers += random_layers(frame_extra, int(extra.integers(*settings.random_structures, endpoint=True)))
    if extra.random() < settings.injection_site_probability:
        layers.append(injection_site(frame_extra))
    if settings.degenerative[1]:
        worn = np.random.default_rng([seed, 6])
        layers += degenerative_layers(worn, frame, int(worn.integers(*settings.degenerative, endpoint=True)))
    box = ((0.0, frame.z(1.0)), (-120.0, 120.0), (-210.0, 210.0))
    plan, sample = lesions or LesionPlan(), PointSampler(layers, fields)
    if plan.sites is None:
        placed = place_lesions(lesion_rng, sample, plan, box)
    else:
        sites = site_layers(layers, frame)
        placed = place_bone_lesions(
            lesion_rng, sample, PointSampler(sites, fields), partial(_labels_on, sites, fields), plan, box
        )
    drawn = None if heart is None else draw_heart(seed, frame, fields, heart)
    if drawn is not None:
        layers = [n for n in layers if not (n.label == Organ.CLUTTER and drawn.covers(n))]
    return WholeBodyPatient(seed, frame, fields, tuple(layers), placed, drawn)


def _labels_on(layers: list[Layer], fields: Fields, grid: Grid) -> NDArray[np.uint8]:
    """Labels of layers on a grid."""
    painter = Painter(grid, fields)
    painter.paint(layers)
    return painter.labels


def _draw_frame(rng: np.random.Generator, settings: WholeBodySettings) -> Frame:
    """Habitus; women are shorter on average."""
    sex = settings.sex or ("F" if rng.random() < 0.5 else "M")
    low, high = settings.height_m
    height = float(np.clip(rng.normal(1.64 if sex == "F" else 1.77, 0.075), low, high))
    bmi = float(np.clip(np.exp(rng.normal(np.log(26.0), 0.19)), *settings.bmi))
    arms = settings.arms == "up" or (settings.arms == "random" and rng.random() < 0.65)
    breathing = float(rng.uniform(*settings.breathing_mm))
    return Frame(rng, height, bmi, sex, bool(arms), settings.uptake_spread, settings.texture, breathing)


def _draw_fields(rng: np.random.Generator, settings: WholeBodySettings) -> Fields:
    """Displacement of about 10 cm wavelength and textures of several lengths."""
    pitch = float(rng.uniform(70.0, 110.0))
    warp = tuple(SmoothField.random(rng, pitch, 16) for _ in range(3))
    lengths = (rng.uniform(4, 8), rng.uniform(8, 16), rng.uniform(16, 30), rng.uniform(30, 60), rng.uniform(9, 12))
    textures = tuple(SmoothField.random(rng, float(length)) for length in lengths)
    return Fields((warp[0], warp[1], warp[2]), float(rng.uniform(*settings.warp_mm)), textures)
