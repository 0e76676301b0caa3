"""The CT, the attenuation map and the MR that belong to a simulated scan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.physics.couch import Couch
from nmsynth.physics.ct_image import CtSettings, ct_image
from nmsynth.physics.misregistration import Misregistration
from nmsynth.physics.mr_image import MrSettings, mr_image, mr_signal
from nmsynth.physics.phantom import Grid, Organ, Phantom
from nmsynth.physics.tissue_density import TissueDensities, with_tissue_densities

FloatArray = npt.NDArray[np.float32]
Render = Callable[[Grid], Phantom]

_COARSE_MM = 8.0
"""Voxel of the survey that finds back and diaphragm [mm]."""
_BEYOND_MM = 240.0
"""How far beyond the scan the lungs are looked for, as a displacement by breathing reaches as far [mm]."""
_DOME_MM = 80.0
"""From the lower edge of the lungs, beside the liver, to near the domes of the diaphragm [mm]; chosen."""
_ARM_MM = 115.0
"""Distance from the axis beyond which an arm beside the head lies [mm]."""
_ARM_PLANES = 12
"""Planes of the survey that an arm must lie beside the head, to be one."""
_BLOCK_PLANES = 32
_BODY_MU = 0.02
"""Attenuation at 511 keV above which a voxel is the patient [1/cm]."""


@dataclass(frozen=True, slots=True)
class AnatomicalSettings:
    """Which images are made, and how.

    Attributes
    ----------
    ct, mr
        Settings of a scan, None for none.
    couch
        The couch that lies under the patient in CT and in the scan, moved up to the body; None for none.
    misregistered
        Whether CT and MR are displaced against the scan, each by its own draw.
    tissues
        Whether each organ gets its subject's attenuation; not where the attenuation is given, by a CT or an object.
    """

    ct: CtSettings | None = field(default_factory=CtSettings)
    mr: MrSettings | None = None
    couch: Couch | None = None
    misregistered: bool = False
    tissues: bool = True

    def __post_init__(self) -> None:
        """Refuse a displacement of nothing."""
        if self.misregistered and self.ct is None and self.mr is None:
            raise InputError("A misregistration is one of CT or MR; neither was asked for. Ask for one, or leave it.")


@dataclass(frozen=True, slots=True, eq=False)
class AnatomicalSubject:
    """A subject as CT, MR and scanner see it, on any grid.

    Attributes
    ----------
    render
        Draws the phantom that is scanned: attenuation by organ and subject, couch included.
    patient
        The same without the couch.
    settings, seed
        What it was made from.
    tissues
        None where the attenuation is as painted.
    couch
        None without one.
    diaphragm_mm
        Height of the domes of the diaphragm [mm]; None without lungs near, or where nothing is displaced.
    shoulder_mm
        Height above which arms lie beside the head [mm]; None where there are none, or nothing is displaced.
    """

    render: Render
    patient: Render
    settings: AnatomicalSettings
    seed: int
    tissues: TissueDensities | None
    couch: Couch | None
    diaphragm_mm: float | None
    shoulder_mm: float | None


@dataclass(frozen=True, slots=True, eq=False)
class AnatomicalImages:
    """Images of a subject on one grid, and what is known of them.

    Attributes
    ----------
    ct
        [HU], None where not asked for.
    mu_map
        At 511 keV [1/cm], without noise, in register with the scan.
    mr
        Arbitrary unit, None where not asked for.
    facts
        Settings, tissues, couch, and each displacement with its mean and largest length over the body. JSON values.
    """

    ct: Volume | None
    mu_map: Volume
    mr: Volume | None
    facts: dict[str, Any]


def anatomical_subject(
    render: Render,
    settings: AnatomicalSettings,
    *,
    seed: int,
    z_range_mm: tuple[float, float],
    field_mm: float,
) -> AnatomicalSubject:
    """Give a phantom its subject's tissues and a couch.

    Parameters
    ----------
    render
        Draws the phantom as painted.
    settings
        Which images will be made.
    seed
        Of the subject's tissues.
    z_range_mm
        First and last plane that will be scanned [mm]; the couch is moved up to this part of the body.
    field_mm
        Width that holds the body [mm].
    """
    tissues = TissueDensities.draw(seed) if settings.tissues else None
    low, high = z_range_mm
    couch = None
    if settings.couch is not None:
        couch = settings.couch.under(_survey(render, low, high, field_mm))
    diaphragm = shoulder = None
    if settings.misregistered:
        diaphragm, shoulder = _landmarks(_survey(render, low - _BEYOND_MM, high + _BEYOND_MM, field_mm))

    def patient(grid: Grid) -> Phantom:
        phantom = render(grid)
        return phantom if tissues is None else with_tissue_densities(phantom, tissues)

    def scanned(grid: Grid) -> Phantom:
        return patient(grid) if couch is None else couch.put_under(patient(grid))

    return AnatomicalSubject(scanned, patient, settings, seed, tissues, couch, diaphragm, shoulder)


def _survey(render: Render, low_mm: float, high_mm: float, field_mm: float) -> Phantom:
    """The phantom on coarse voxels from one height to another."""
    n, n_z = max(1, math.ceil(field_mm / _COARSE_MM)), max(1, math.ceil((high_mm - low_mm) / _COARSE_MM))
    return render(Grid.centred((n_z, n, n), (_COARSE_MM,) * 3, low_mm))


def _landmarks(survey: Phantom) -> tuple[float | None, float | None]:
    """Heights of the domes of the diaphragm, and of the shoulders of a patient with the arms up [mm]."""
    z_mm, _, x_mm = survey.grid.axes()
    lung = np.flatnonzero((survey.labels == Organ.LUNG).any(axis=(1, 2)))
    if not lung.size:
        return None, None
    # columns of air between the head and an arm, on both sides, and an arm beyond; shoulders alone are not that high
    across: npt.NDArray[np.bool_] = np.any(survey.mu_map > _BODY_MU, axis=1)
    near, sides = np.abs(x_mm) < _ARM_MM, (x_mm < 0, x_mm > 0)
    beside = np.ones(len(z_mm), dtype=np.bool_)
    for side in sides:
        beside &= ~np.all(across[:, near & side], axis=1) & np.any(across[:, ~near & side], axis=1)
    above = [k for k in range(int(lung[-1]) + 1, len(z_mm) - _ARM_PLANES) if beside[k : k + _ARM_PLANES].all()]
    return float(z_mm[lung[0]]) + _DOME_MM, float(z_mm[above[0]]) if above else None


def anatomical_images(subject: AnatomicalSubject, like: Volume, *, progress: Progress = silent) -> AnatomicalImages:
    """CT, attenuation map and MR of a subject beside a scan of it.

    They share the scan's planes and field of view and have two pixels for each of its, along y and x. Structures are
    drawn on a grid as fine as that in plane and twice as fine along z.

    Parameters
    ----------
    subject
        Whose images.
    like
        The scan, axes ``(z, y, x)``, not oblique.
    """
    settings, seed = subject.settings, subject.seed
    grid = _grid_beside(like)
    patient_mu, signal = _drawn(subject, grid, progress)
    body = patient_mu > _BODY_MU
    table = None if subject.couch is None else subject.couch.mu_map(grid)[None]
    displacements: dict[str, Any] = {}

    def seen(image: FloatArray, name: str, number: int) -> FloatArray:
        """The image as the patient lies in that scan."""
        if not settings.misregistered:
            return image
        motion = _motion(subject, grid, number)
        displacements[name] = {**motion.to_json(), **motion.facts(grid, body)}
        return motion.apply(image, grid)

    def with_table(mu_map: FloatArray) -> FloatArray:
        """The attenuation with the couch, which is where it is in every scan."""
        return mu_map if table is None else np.maximum(mu_map, table)

    ct = mr = None
    if settings.ct is not None:
        mu_of_ct = with_table(seen(patient_mu, "ct", 0))
        array = ct_image(mu_of_ct, grid.spacing_mm, settings.ct, np.random.default_rng((seed, 70)))
        ct = _volume(array, like, grid, Unit.HOUNSFIELD, "CT", {"image": "CT", **asdict(settings.ct)})
    progress("imaging the anatomy", 0.85)
    if settings.mr is not None and signal is not None:
        array = mr_image(seen(signal, "mr", 1), grid, settings.mr, seed)
        mr = _volume(array, like, grid, Unit.RELATIVE, "MR", {"image": "T1-like MR", **asdict(settings.mr)})
    mu = {"image": "mu map", "energy_kev": 511.0}
    mu_map = _volume(with_table(patient_mu), like, grid, Unit.PER_CENTIMETRE, "CT", mu)
    facts = {
        "ct": None if settings.ct is None else asdict(settings.ct),
        "mr": None if settings.mr is None else asdict(settings.mr),
        "tissues": None if subject.tissues is None else subject.tissues.to_json(),
        "couch": None if subject.couch is None else asdict(subject.couch),
        "misregistration": displacements,
    }
    progress("imaging the anatomy", 1.0)
    return AnatomicalImages(ct=ct, mu_map=mu_map, mr=mr, facts=facts)


def _motion(subject: AnatomicalSubject, grid: Grid, number: int) -> Misregistration:
    """How the patient lies in the CT (0) or the MR (1)."""
    z, y, x = (float((axis[0] + axis[-1]) / 2) for axis in grid.axes())
    return Misregistration.draw(
        2 * subject.seed + number,
        centre_mm=(z, y, x),
        diaphragm_mm=subject.diaphragm_mm,
        shoulder_mm=subject.shoulder_mm,
    )


def _grid_beside(like: Volume) -> Grid:
    """Grid of a scan with half its pixels in plane."""
    z, y, x = like.spacing_mm
    expected = np.zeros((3, 3))
    expected[2, 0], expected[1, 1], expected[0, 2] = z, y, x
    if like.axes != ("z", "y", "x") or not np.allclose(like.affine[:3, :3], expected, atol=1e-6):
        raise InputError(f"Anatomical images are made beside an axial scan (z, y, x); found axes {like.axes}.")
    x0, y0, z0 = (float(v) for v in like.affine[:3, 3])
    n_z, n_y, n_x = like.spatial_shape
    return Grid((n_z, 2 * n_y, 2 * n_x), (z, y / 2, x / 2), (z0, y0 - y / 4, x0 - x / 4))


def _drawn(subject: AnatomicalSubject, grid: Grid, progress: Progress) -> tuple[FloatArray, FloatArray | None]:
    """Attenuation of the patient and MR signal, averaged over pairs of fine planes."""
    mr = subject.settings.mr
    mu_map = np.empty(grid.shape, dtype=np.float32)
    signal = np.empty(grid.shape, dtype=np.float32) if mr is not None else None
    dz = grid.spacing_mm[0]
    for first in range(0, grid.shape[0], _BLOCK_PLANES):
        count = min(_BLOCK_PLANES, grid.shape[0] - first)
        fine = replace(
            grid,
            shape=(2 * count, *grid.shape[1:]),
            spacing_mm=(dz / 2, *grid.spacing_mm[1:]),
            origin_mm=(grid.origin_mm[0] + first * dz - dz / 4, *grid.origin_mm[1:]),
        )
        phantom = subject.patient(fine)
        planes = slice(first, first + count)
        if mr is not None and signal is not None:
            signal[planes] = _pairs(mr_signal(phantom, mr, subject.seed))
        mu_map[planes] = _pairs(phantom.mu_map)
        progress("drawing the anatomy", 0.7 * (first + count) / grid.shape[0])
    return mu_map, signal


def _pairs(image: FloatArray) -> FloatArray:
    """Mean of each pair of planes."""
    return np.asarray(0.5 * (image[0::2] + image[1::2]), dtype=np.float32)


def _volume(array: FloatArray, like: Volume, grid: Grid, unit: Unit, modality: str, settings: dict[str, Any]) -> Volume:
    """A simulated image of the subject of a scan."""
    known = like.acquisition
    return Volume(
        array=array,
        affine=grid.affine,
        unit=unit,
        modality=modality,
        acquisition=Acquisition(
            body_mass_kg=known.body_mass_kg,
            height_m=known.height_m,
            sex=known.sex,
            series_time=known.series_time,
            acquisition_times=known.acquisition_times[:1],
            manufacturer=known.manufacturer,
            scanner=f"{modality} of a phantom",
            body_part=known.body_part,
            patient_position=known.patient_position,
            echo_time_ms=settings.get("echo_ms"),
            contrast_agent=False,
        ),
        provenance=Provenance(simulated=True, settings=settings),
    )
