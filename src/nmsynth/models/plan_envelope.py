"""The envelope that follows from a plan: what a trained method may be given."""

from __future__ import annotations

from collections.abc import Sequence

from nmsynth.core.plan import ImagePlan, Plan
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.models.envelope import Envelope, Tracer

FINEST = {"activity": 0.5, "anatomy": 0.1}
"""Smallest voxel over the plan's; a CT or MR is often many times finer, and is smoothed to the plan's grid."""
COARSEST = 2.0
"""Largest voxel over the plan's."""
_FDG = ("fdg", "fluorodeoxyglucose", "fludeoxyglucose")


def planned_units(image: ImagePlan) -> tuple[Unit, ...]:
    """Units in which an image may come: the plan's, and what can be made that, whatever its scale for a level."""
    if image.normalisation.kind == "level":
        return tuple(dict.fromkeys((image.unit, Unit.BQML, Unit.COUNTS, Unit.RELATIVE)))
    return (image.unit, Unit.BQML) if image.unit.is_suv else (image.unit,)


def envelope_from_plan(plan: Plan, *, tracers: Sequence[Tracer] = (), body_regions: Sequence[str] = ()) -> Envelope:
    """Envelope of the first source of a plan.

    Voxels may be half to twice the plan's, those of CT and MR down to a tenth; a grid may be a quarter of a patch. PET
    must be corrected for attenuation, or must not be where no image of the dataset was; SPECT as all images of the
    dataset state, and either way where they differ or do not state it. Images have one slice each, or several, where
    all those of the dataset had.

    Parameters
    ----------
    plan
        By which a method was trained.
    tracers
        That it was trained and tested for, where the first source is ``PT`` or ``NM``; those that the plan found in the
        dataset when left out. Where there are none, every tracer is taken, and each synthesis says that it is not known
        for which the model was trained.
    body_regions
        DICOM body parts that were tested.
    """
    first = plan.sources[0]
    active = first.modality in ACTIVITY_MODALITIES
    tracers = tuple(tracers) or tuple(tracer_of(*stated) for stated in first.tracers)
    low = FINEST["activity" if active else "anatomy"]
    z, y, x = plan.spacing_mm
    least = tuple(min(n, max(4, n // 4)) for n in plan.patch)
    return Envelope(
        modality=(first.modality,),
        units=planned_units(first),
        axial_voxel_mm=(low * z, COARSEST * z),
        in_plane_voxel_mm=(low * min(y, x), COARSEST * max(y, x)),
        tracers=tuple(tracers) if active else (),
        any_tracer=active and not tracers,
        minimum_grid=(least[0], least[1], least[2]),
        single_slices=_single_slices(plan),
        requires_attenuation_correction=active
        and (first.attenuation_corrected is True or (first.modality == "PT" and first.attenuation_corrected is None)),
        refuses_attenuation_correction=first.attenuation_corrected is False,
        body_regions=tuple(body_regions),
    )


def _single_slices(plan: Plan) -> bool | None:
    """Whether all images of the first source had one slice, or none had; ``None`` where that is not known."""
    shapes = plan.fingerprint.get("sources", {}).get(plan.sources[0].name, {}).get("shapes")
    if not shapes:
        return None
    return True if shapes["most"][0] == 1 else False if shapes["least"][0] > 1 else None


def tracer_names(image: ImagePlan) -> tuple[str, ...]:
    """Short names of the tracers of an image of a plan."""
    return tuple(dict.fromkeys(tracer_of(*stated).name for stated in image.tracers))


def tracer_of(radionuclide: str, agent: str) -> Tracer:
    """A tracer as images of a dataset state it; FDG by any of its names."""
    if any(name in agent.lower() for name in _FDG):
        return Tracer(name="FDG", radionuclide=radionuclide, agents=_FDG)
    return Tracer(name=agent, radionuclide=radionuclide, agents=(agent,))
