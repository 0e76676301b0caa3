"""What a model was trained and tested for, and the refusal of everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nmsynth.core.acquisition import ATTENUATION
from nmsynth.core.errors import EnvelopeError
from nmsynth.core.geometry import is_orthogonal
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES, SPATIAL_AXES, Volume


class Tracer(BaseModel):
    """A class of tracers: one radionuclide and the agents that carry it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Short name, such as ``"FDG"``."""
    radionuclide: str
    """Such as ``"F-18"``."""
    agents: tuple[str, ...] = Field(min_length=1)
    """Words, any of which in the radiopharmaceutical's name means this tracer; case and punctuation are ignored."""

    def matches(self, radionuclide: str | None, radiopharmaceutical: str | None) -> bool:
        """Whether a stated administration belongs to this class.

        The agent decides; a radionuclide, where stated, must agree. A radionuclide alone names no tracer.

        Examples
        --------
        >>> fdg = Tracer(name="FDG", radionuclide="F-18", agents=("FDG", "fluorodeoxyglucose"))
        >>> fdg.matches("F-18", "Fluorodeoxyglucose F^18^"), fdg.matches("F-18", None), fdg.matches("C-11", "FDG")
        (True, False, False)
        """
        if not radiopharmaceutical:
            return False
        if radionuclide and _nuclide(radionuclide) != _nuclide(self.radionuclide):
            return False
        stated = _bare(radiopharmaceutical)
        return any(_bare(agent) in stated for agent in self.agents)


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
    requires_attenuation_correction: bool = True
    """Whether CorrectedImage, where stated, must hold ATTN."""
    refuses_attenuation_correction: bool = False
    """Whether CorrectedImage, where stated, must not hold ATTN: of models that correct for attenuation."""
    largest_echo_time_ms: float | None = Field(default=None, gt=0)
    """Longest echo of an MR where it is stated: T1-weighted images have short ones [ms]."""
    refuses_contrast_agent: bool = False
    """Whether a CT or MR that states a contrast agent is refused."""
    body_regions: tuple[str, ...] = ()
    """DICOM body parts that were tested."""
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

    def violations(self, volume: Volume, *, tracer: str | None = None) -> tuple[str, ...]:
        """Every bound that a volume breaks, each as what must hold and what was found.

        Parameters
        ----------
        volume
            Image to be synthesised from.
        tracer
            Radiopharmaceutical as the caller states it, used only where the volume states none.
        """
        found: list[str] = []
        if volume.modality not in self.modality:
            found.append(f"modality must be {_any(self.modality)}, found {printable(volume.modality)}")
        if volume.unit not in self.units:
            found.append(f"unit must be {_any(u.value for u in self.units)}, found {volume.unit.value}")
        if volume.axes != SPATIAL_AXES:
            found.append(f"axes must be (z, y, x), found ({', '.join(printable(a) for a in volume.axes)})")
        else:
            found += self._grid_violations(volume)
        found += self._administration_violations(volume, tracer)
        found += self._sequence_violations(volume)
        if self.refuses_other_body_regions and self._is_elsewhere(volume):
            stated = printable(volume.acquisition.body_part)
            found.append(f"body part must be {_any(self.body_regions)}, found {stated}")
        return tuple(found)

    def _sequence_violations(self, volume: Volume) -> list[str]:
        """Bounds of echo time and contrast agent that a volume breaks."""
        found = []
        echo, longest = volume.acquisition.echo_time_ms, self.largest_echo_time_ms
        if longest is not None and echo is not None and echo > longest:
            found.append(f"echo time must be at most {longest:g} ms, as of T1-weighted MR, found {echo:g} ms")
        if self.refuses_contrast_agent and volume.acquisition.contrast_agent:
            found.append("no contrast agent must have been given, found one stated")
        return found

    def _is_elsewhere(self, volume: Volume) -> bool:
        """Whether a volume states a body part that was not tested."""
        part = volume.acquisition.body_part
        return bool(self.body_regions and part) and _bare(str(part)) not in {_bare(r) for r in self.body_regions}

    def _grid_violations(self, volume: Volume) -> list[str]:
        """Bounds of the grid that a volume breaks."""
        found = spacing_violations(self, volume.spacing_mm)
        if any(n < least for n, least in zip(volume.spatial_shape, self.minimum_grid, strict=True)):
            found.append(f"grid must have at least {self.minimum_grid} voxels (z, y, x), found {volume.spatial_shape}")
        if not is_orthogonal(volume.affine):
            found.append("axes of the grid must be at right angles, found an oblique stack")
        return found

    def _administration_violations(self, volume: Volume, tracer: str | None) -> list[str]:
        """Bounds of tracer and corrections that a volume breaks."""
        found = []
        acquisition = volume.acquisition
        agent = acquisition.radiopharmaceutical or tracer
        if self.tracers and not any(t.matches(acquisition.radionuclide, agent) for t in self.tracers):
            known = _any(f"{t.name} ({t.radionuclide})" for t in self.tracers)
            stated = " ".join(printable(text) for text in (acquisition.radionuclide, agent) if text) or "none stated"
            found.append(f"tracer must be {known}, found {stated}")
        corrections = acquisition.corrections
        if self.requires_attenuation_correction and corrections and ATTENUATION not in corrections:
            stated = ", ".join(map(printable, corrections))
            found.append(f"attenuation correction (ATTN) must be applied, found {stated}")
        if self.refuses_attenuation_correction and ATTENUATION in corrections:
            found.append("attenuation correction (ATTN) must not have been applied, found it among the corrections")
        return found

    def flags(self, volume: Volume) -> tuple[str, ...]:
        """What cannot be checked or is doubtful, without being a reason to refuse."""
        flags = []
        if self.requires_attenuation_correction and not volume.acquisition.corrections:
            flags.append("the source does not state whether it is corrected for attenuation; the model needs it")
        if self.refuses_attenuation_correction and not volume.acquisition.corrections:
            flags.append("the source does not state whether it is corrected for attenuation; it must not be")
        if self.largest_echo_time_ms is not None and volume.acquisition.echo_time_ms is None:
            flags.append("the source does not state its echo time; it must be T1-weighted")
        if self.refuses_contrast_agent and volume.acquisition.contrast_agent is None:
            flags.append("the source does not state whether a contrast agent was given; none must have been")
        if self.any_tracer:
            flags.append("it is not stated for which tracers the model was trained")
        if not self.refuses_other_body_regions and self._is_elsewhere(volume):
            part = printable(volume.acquisition.body_part)
            flags.append(f"body part {part} is not among those tested: {', '.join(self.body_regions)}")
        return tuple(flags)

    def check(self, volume: Volume, *, tracer: str | None = None, model: str = "this model") -> tuple[str, ...]:
        """Return the flags of a volume inside the envelope.

        Raises
        ------
        EnvelopeError
            If any bound is broken; the message lists every one.
        """
        found = self.violations(volume, tracer=tracer)
        if found:
            raise EnvelopeError(
                f"The input is outside what {model} was tested for: {'; '.join(found)}. "
                "Use an input within these bounds or another model."
            )
        return self.flags(volume)


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
