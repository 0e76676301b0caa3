"""What a synthesis gives, and how it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import SuvKind, Unit
from nmsynth.core.volume import Volume
from nmsynth.inference.settings import SynthesisSettings

if TYPE_CHECKING:
    from nmsynth.inference.method_model import MethodModel
    from nmsynth.inference.predictor import Model

RECORD_SCHEMA_VERSION = 1
CT_KVP = 120
"""Tube voltage by which synthetic CT numbers become an attenuation, as that of the simulated CTs [kVp]."""


@dataclass(frozen=True, slots=True, eq=False)
class Synthesis:
    """What a synthesis gives."""

    image: Volume
    """The synthetic image."""
    images: dict[str, Volume]
    """By role: ``image``, and the heads where they were asked for."""
    samples: tuple[Volume, ...]
    """Samples of a stochastic model, of which the image is the mean; empty for others."""
    interval: tuple[Volume, Volume] | None
    """Lower and upper bound a voxel, where the model's card says how its samples become one."""
    flags: tuple[str, ...]
    """What a reader of the image should know."""
    record: dict[str, Any]
    """How it was made, as JSON values: model, settings, input, run, flags, times."""


def common_record(model: Model | MethodModel, settings: SynthesisSettings, source: Volume) -> dict[str, Any]:
    """What every record says: model, settings, and the first input."""
    return {
        "schema_version": RECORD_SCHEMA_VERSION,
        "nmsynth_version": nmsynth_version(),
        "synthetic": True,
        "intended_use": model.card.intended_use,
        "model": {"name": model.name, "version": model.version, "task": model.card.task, "sha256": model.sha256},
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "input": described(source),
    }


def provenance_of(model: Model | MethodModel, sources: Sequence[Volume], settings: dict[str, Any]) -> Provenance:
    """Provenance of an output.

    Parameters
    ----------
    model
        That made it.
    sources
        From which it was made.
    settings
        Resolved settings that decide the values.
    """
    uids = [(s, s.acquisition.series_uid) for s in sources]
    return Provenance(
        synthetic=True,
        simulated=any(source.provenance.simulated for source in sources),
        model=f"{model.name} {model.version}",
        model_sha256=model.sha256,
        parents=tuple(uid if uid else source.sha256 for source, uid in uids),
        settings={"task": model.card.task, **settings},
        nmsynth_version=nmsynth_version(),
    )


def described(volume: Volume) -> dict[str, Any]:
    """Facts of an input that identify no patient."""
    return {
        "series_uid": volume.acquisition.series_uid,
        "sha256": volume.sha256,
        "shape": list(volume.shape),
        "spacing_mm": [round(s, 6) for s in volume.spacing_mm],
        "unit": volume.unit.value,
        "modality": volume.modality,
        "simulated": volume.provenance.simulated,
    }


def in_unit(volume: Volume, unit: Unit | None, *, energy_kev: float = 511.0) -> Volume:
    """Volume in the unit of the output.

    Of a CT the linear attenuation can be asked for, by the bilinear conversion of
    :func:`~nmsynth.physics.materials.mu_from_hu` at 120 kVp; energy and conversion stand in its provenance.

    Parameters
    ----------
    volume
        What is given.
    unit
        An SUV, or 1/cm of CT numbers; that of the volume when ``None``.
    energy_kev
        Of the photons that an attenuation is of [keV].

    Raises
    ------
    InputError
        If another unit is asked for.
    """
    if unit is None or unit is volume.unit:
        return volume
    if unit is Unit.PER_CENTIMETRE and volume.unit is Unit.HOUNSFIELD:
        return _attenuation(volume, energy_kev)
    if not unit.is_suv:
        raise InputError(
            f"The output's unit must be the source's ({volume.unit.value}), an SUV, or 1/cm of a model that gives CT "
            f"numbers; found {unit.value}. Leave it out."
        )
    return volume.to_suv(next(kind for kind in SuvKind if kind.unit is unit))


def _attenuation(ct: Volume, energy_kev: float) -> Volume:
    """The linear attenuation of CT numbers [1/cm]."""
    from nmsynth.data.known_attenuation import MU_ENERGY
    from nmsynth.physics.materials import mu_from_hu

    mu = mu_from_hu(ct.array, energy_kev=energy_kev, kvp=CT_KVP)
    told = {
        MU_ENERGY: energy_kev,
        "attenuation_from": f"HU, bilinear at {CT_KVP} kVp (Carney 2006), water and bone by NIST tables",
    }
    provenance = replace(ct.provenance, settings={**ct.provenance.settings, **told})
    return ct.with_array(mu, unit=Unit.PER_CENTIMETRE, provenance=provenance)


def nmsynth_version() -> str:
    """Version of nmsynth."""
    from nmsynth import __version__

    return __version__
