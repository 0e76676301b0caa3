"""What a model was trained and tested for, and the refusal of everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nmsynth.core.errors import EnvelopeError
from nmsynth.core.geometry import is_orthogonal
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES, PLANAR_AXES, SPATIAL_AXES, Volume
from nmsynth.models.stated_attenuation import HOW_TO_STATE, attenuation_statements
from nmsynth.models.t1_weighting import t1_contradictions, t1_doubts

_CELLS = re.compile(
    r"leu[kc]ocyt|granulocyt|neutrophil|lymphocyt|erythrocyt|thrombocyt|platelet|wbc|rbc|(white|red)(blood)?cell"
)
"""Words of cells, which go elsewhere than the agent that labels them."""
_LABELLED = re.compile(r"labell?ed")
_NUCLIDE_ALONE = re.compile(r"(with|by)?([0-9]+m?[a-z]{1,2}|[a-z]{1,2}[0-9]+m?)")
"""Bare text after "labelled" that names no more than what labels."""


class Tracer(BaseModel):
    """A class of tracers: one radionuclide and the agents that carry it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Short name, such as ``"FDG"``."""
    radionuclide: str
    """Such as ``"F-18"``."""
    agents: tuple[str, ...] = Field(min_length=1)
    """Words, any of which in the radiopharmaceutical's name means this tracer; case and punctuation are ignored."""
    body_regions: tuple[str, ...] = ()
    """DICOM body parts that were tested with this tracer; those of the envelope, with its doubtful ones, when empty."""
    doubtful_body_regions: tuple[str, ...] = ()
    """Further ones, as of an envelope, of a tracer that names its own."""

    def matches(self, radionuclide: str | None, radiopharmaceutical: str | None) -> bool:
        """Whether a stated administration belongs to this class.

        The agent decides; a radionuclide, where stated, must agree. A radionuclide alone names no tracer. What an agent
        labels, such as cells of the blood, is another tracer than the agent.

        Examples
        --------
        >>> fdg = Tracer(name="FDG", radionuclide="F-18", agents=("FDG", "fluorodeoxyglucose"))
        >>> fdg.matches("F-18", "Fluorodeoxyglucose F^18^"), fdg.matches("F-18", None), fdg.matches("C-11", "FDG")
        (True, False, False)
        >>> fdg.matches("F-18", "FDG-labelled leukocytes"), fdg.matches("F-18", "F-18 labelled FDG")
        (False, True)
        >>> fdg.matches("F-18", "FDG labelled with F-18"), fdg.matches("F-18", "FDG-labelled nanoparticles")
        (True, False)
        """
        if not radiopharmaceutical:
            return False
        if radionuclide and _nuclide(radionuclide) != _nuclide(self.radionuclide):
            return False
        stated, agents = _bare(radiopharmaceutical), [_bare(agent) for agent in self.agents]
        if _CELLS.search(stated) and not any(map(_CELLS.search, agents)):
            return False
        # what stands before "labelled" labels what stands after it, unless that is no more than a nuclide
        *before, after = _LABELLED.split(stated)
        named = before[-1] if before and _NUCLIDE_ALONE.fullmatch(after) else after
        return any(agent in named for agent in agents)


class Envelope(BaseModel):
    """Bounds outside which a model refuses.

    Sizes are checked along the array axes ``(z, y, x)``, with one range for the axis and one for the plane.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: tuple[str, ...] = ("PT",)
    """DICOM modalities."""
    units: tuple[Unit, ...] = (Unit.BQML, Unit.SUV_BODY_WEIGHT)
    """Units of the values."""
    axial_voxel_mm: tuple[float, float]
    """Smallest and largest distance of slices [mm]."""
    in_plane_voxel_mm: tuple[float, float]
    """Smallest and largest pixel in the plane [mm]."""
    tracers: tuple[Tracer, ...] = ()
    """Tracers; an unknown one is refused. ``PT`` and ``NM`` need one, unless any is taken; CT and MR have none."""
    any_tracer: bool = False
    """Whether any tracer is taken, with a flag, as it is not known which the model was trained for."""
    minimum_grid: tuple[int, int, int] = (8, 32, 32)
    """Fewest voxels along ``(z, y, x)``."""
    single_slices: bool | None = None
    """Whether images have one slice each, as planar views do, or never; either where unset."""
    requires_attenuation_correction: bool = True
    """Whether what is stated of attenuation correction must be that it was applied."""
    refuses_attenuation_correction: bool = False
    """Whether it must be that it was not: of models that correct for attenuation. Of PET it must then be stated."""
    largest_echo_time_ms: float | None = Field(default=None, gt=0)
    """Longest echo of an MR where it is stated: T1-weighted images have short ones [ms]. Where set, whatever else
    contradicts T1 weighting is refused too; see :mod:`nmsynth.models.t1_weighting`."""
    refuses_contrast_agent: bool = False
    """Whether a CT or MR that states a contrast agent is refused."""
    body_regions: tuple[str, ...] = ()
    """DICOM body parts that were tested."""
    doubtful_body_regions: tuple[str, ...] = ()
    """Further ones that are taken with a flag where others are refused, as they may show what was tested."""
    refuses_other_body_regions: bool = False
    """Whether another body part, where stated, is refused; else it is a flag, as scanners often state it wrongly."""

    @field_validator("axial_voxel_mm", "in_plane_voxel_mm")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        """Refuse a range that is not positive and rising."""
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"a voxel range must be 0 < low <= high [mm]; found {bounds}")
        return bounds

    @model_validator(mode="after")
    def _traced(self) -> Envelope:
        """Refuse an envelope of images of activity without a tracer."""
        if not (self.tracers or self.any_tracer) and set(self.modality) & set(ACTIVITY_MODALITIES):
            raise ValueError("an envelope of PT or NM names the tracers that were tested; found none")
        return self

    def violations(
        self, volume: Volume, *, tracer: str | None = None, attenuation_corrected: bool | None = None
    ) -> tuple[str, ...]:
        """Every bound that a volume breaks, each as what must hold and what was found.

        Parameters
        ----------
        volume
            Image to be synthesised from.
        tracer
            Radiopharmaceutical as the caller states it, used only where the volume states none.
        attenuation_corrected
            Whether it is corrected for attenuation, as the caller states it, used only where the volume does not.
        """
        found: list[str] = []
        if volume.modality not in self.modality:
            found.append(f"modality must be {_any(self.modality)}, found {printable(volume.modality)}")
        if volume.unit not in self.units:
            found.append(f"unit must be {_any(u.value for u in self.units)}, found {volume.unit.value}")
        if volume.axes == PLANAR_AXES:
            found.append("a volume must be given, found planar views")
        elif volume.axes != SPATIAL_AXES:
            found.append(f"axes must be (z, y, x), found ({', '.join(printable(a) for a in volume.axes)})")
        else:
            found += self._grid_violations(volume)
        found += self._tracer_violations(volume, tracer)
        found += self._attenuation_violations(volume, attenuation_corrected)
        found += self._sequence_violations(volume)
        regions, doubtful = self._regions(volume, tracer)
        taken = (*regions, *doubtful) if regions else ()
        if self.refuses_other_body_regions and _is_elsewhere(volume, taken):
            found.append(f"body part must be {_any(regions)}, found {printable(volume.acquisition.body_part)}")
        return tuple(found)

    def _sequence_violations(self, volume: Volume) -> list[str]:
        """Bounds of sequence and contrast agent that a volume breaks."""
        found = []
        if self.largest_echo_time_ms is not None:
            found += t1_contradictions(volume.acquisition, largest_echo_time_ms=self.largest_echo_time_ms)
        if self.refuses_contrast_agent and volume.acquisition.contrast_agent:
            found.append("no contrast agent must have been given, found one stated")
        return found

    def _regions(self, volume: Volume, tracer: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Body parts that were tested with the tracer of a volume, and those that are doubtful."""
        stated = volume.acquisition
        agent = stated.radiopharmaceutical or tracer
        own = [t for t in self.tracers if t.body_regions and t.matches(stated.radionuclide, agent)]
        if not own:
            return self.body_regions, self.doubtful_body_regions
        parts = (
            [part for t in own for part in t.body_regions],
            [part for t in own for part in t.doubtful_body_regions],
        )
        return tuple(dict.fromkeys(parts[0])), tuple(dict.fromkeys(parts[1]))

    def _grid_violations(self, volume: Volume) -> list[str]:
        """Bounds of the grid that a volume breaks."""
        found = spacing_violations(self, volume.spacing_mm)
        if any(n < least for n, least in zip(volume.spatial_shape, self.minimum_grid, strict=True)):
            found.append(f"grid must have at least {self.minimum_grid} voxels (z, y, x), found {volume.spatial_shape}")
        n_slices = volume.spatial_shape[0]
        if self.single_slices and n_slices > 1:
            found.append(f"planar views must be given, found a volume of {n_slices} slices")
        if self.single_slices is False and n_slices == 1:
            found.append("a volume must be given, found a single slice")
        if not is_orthogonal(volume.affine):
            found.append("axes of the grid must be at right angles, found an oblique stack")
        return found

    def _tracer_violations(self, volume: Volume, tracer: str | None) -> list[str]:
        """Bounds of the tracer that a volume breaks."""
        acquisition = volume.acquisition
        agent = acquisition.radiopharmaceutical or tracer
        if self.tracers and not any(t.matches(acquisition.radionuclide, agent) for t in self.tracers):
            known = _any(f"{t.name} ({t.radionuclide})" for t in self.tracers)
            stated = " ".join(printable(text) for text in (acquisition.radionuclide, agent) if text) or "none stated"
            return [f"tracer must be {known}, found {stated}"]
        return []

    def _attenuation_violations(self, volume: Volume, stated: bool | None) -> list[str]:
        """Bounds of attenuation correction that a volume breaks; what is stated both ways breaks each."""
        known, modality = volume.acquisition, volume.modality
        said = attenuation_statements(known, modality=modality, stated=stated)
        found = []
        for asked, wrong, must in (
            (self.requires_attenuation_correction, False, "must be applied"),
            (self.refuses_attenuation_correction, True, "must not have been applied"),
        ):
            if asked and wrong in said:
                found.append(f"attenuation correction (ATTN) {must}, found {printable(said[wrong], length=120)}")
        if self.refuses_attenuation_correction and not said and modality == "PT":
            found.append(f"that attenuation correction was not applied must be stated, found nothing; {HOW_TO_STATE}")
        return found

    def flags(
        self, volume: Volume, *, tracer: str | None = None, attenuation_corrected: bool | None = None
    ) -> tuple[str, ...]:
        """What cannot be checked or is doubtful, without being a reason to refuse.

        Parameters
        ----------
        volume, tracer, attenuation_corrected
            As in :meth:`violations`.
        """
        flags = []
        said = attenuation_statements(volume.acquisition, modality=volume.modality, stated=attenuation_corrected)
        if self.requires_attenuation_correction and not said:
            flags.append("the source does not state whether it is corrected for attenuation; the model needs it")
        if self.refuses_attenuation_correction and not said:
            flags.append("the source does not state whether it is corrected for attenuation; it must not be")
        if self.largest_echo_time_ms is not None:
            flags += t1_doubts(volume.acquisition)
        if self.refuses_contrast_agent and volume.acquisition.contrast_agent is None:
            flags.append("the source does not state whether a contrast agent was given; none must have been")
        if self.any_tracer:
            flags.append("it is not stated for which tracers the model was trained")
        (regions, _), part = self._regions(volume, tracer), volume.acquisition.body_part
        if _is_elsewhere(volume, regions):
            flags.append(f"body part {printable(part)} is not among those tested: {', '.join(regions)}")
        elif self.refuses_other_body_regions and regions and not part:
            flags.append(f"the source does not state its body part; it must be {_any(regions)}")
        return tuple(flags)

    def check(
        self,
        volume: Volume,
        *,
        tracer: str | None = None,
        attenuation_corrected: bool | None = None,
        model: str = "this model",
    ) -> tuple[str, ...]:
        """Return the flags of a volume inside the envelope.

        Parameters
        ----------
        volume, tracer, attenuation_corrected
            As in :meth:`violations`.
        model
            Name for the message.

        Raises
        ------
        EnvelopeError
            If any bound is broken; the message lists every one.
        """
        found = self.violations(volume, tracer=tracer, attenuation_corrected=attenuation_corrected)
        if found:
            raise EnvelopeError(
                f"The input is outside what {model} was tested for: {'; '.join(found)}. "
                "Use an input within these bounds or another model."
            )
        return self.flags(volume, tracer=tracer, attenuation_corrected=attenuation_corrected)


def _is_elsewhere(volume: Volume, regions: tuple[str, ...]) -> bool:
    """Whether a volume states a body part that is none of those tested."""
    part = volume.acquisition.body_part
    return bool(regions and part) and _bare(str(part)) not in {_bare(region) for region in regions}


def spacing_violations(envelope: Envelope, spacing_mm: tuple[float, float, float]) -> list[str]:
    """Bounds on the voxel size that a spacing along ``(z, y, x)`` [mm] breaks."""
    found = []
    tolerance = 1e-3
    for axis, size, (low, high) in (
        ("axial", spacing_mm[:1], envelope.axial_voxel_mm),
        ("in-plane", spacing_mm[1:], envelope.in_plane_voxel_mm),
    ):
        if min(size) < low - tolerance or max(size) > high + tolerance:
            sizes = " x ".join(f"{s:.3g}" for s in size)
            found.append(f"{axis} voxel size must be {low:g} to {high:g} mm, found {sizes} mm")
    return found


def printable(text: object, *, length: int = 40) -> str:
    """Text of a file made safe for one line of a message: printable characters only, shortened."""
    clean = "".join(character if character.isprintable() else "?" for character in str(text))
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _bare(text: str) -> str:
    """Letters and digits only, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _nuclide(text: str) -> tuple[str, str]:
    """Element and mass number of a radionuclide, however they are ordered: ``F-18`` or ``18F``."""
    bare = _bare(text)
    return re.sub(r"[0-9]", "", bare), re.sub(r"[a-z]", "", bare)


def _any(items: Iterable[str]) -> str:
    """Join alternatives with "or"."""
    return " or ".join(items)
