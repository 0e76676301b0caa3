"""A training recipe: what is simulated, which network, how it is trained and calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.data.inserted import InsertionRanges
from nmsynth.training.losses import LossWeights


class _Section(BaseModel):
    """A part of a recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkRecipe(_Section):
    """The network by its registered name and its arguments."""

    name: str = "HomogeneousUNet"
    """Registered network."""
    channels: tuple[int, ...] = (32, 64, 96)
    """Width of each level, finest first."""
    n_blocks: int = Field(default=1, ge=1)
    """Residual blocks a level, in the encoder and in the decoder."""
    planes: Literal[1, 3] = 3
    """Planes each kernel spans: 3 for 3D, 1 for slices."""
    context: int = Field(default=3, ge=1)
    """Planes the first kernel spans; 5 with ``planes = 1`` is 2.5D."""

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the network."""
        return self.model_dump(exclude={"name"})


class SimulationRecipe(_Section):
    """The simulated cohort."""

    families: dict[str, int] = {"whole-body": 40}
    """Cases for each patient family, training and validation together."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of subjects held for validation."""
    planes: int = Field(default=32, ge=8)
    """Planes of a slab."""
    grids: tuple[int, ...] = (96, 128, 160)
    """Matrix sizes drawn from."""
    data: Path | None = None
    """Folder of real data for the families that need it: ``brain_labels``, ``torso_ct``, ``sts_triples``; families
    whose data is absent are left out, and the record says so."""
    body_motion: bool = True
    """Whether attenuation maps of procedural patients are wrong by breathing and arms too, drawn for each."""
    seed: int = 1


class OptimisationRecipe(_Section):
    """How the weights are found."""

    steps: int = Field(default=10_000, ge=1)
    """Optimiser steps."""
    batch: int = Field(default=4, ge=1)
    patch: tuple[int, int, int] = (32, 64, 64)
    """Voxels along (z, y, x)."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """``muon`` orthogonalises the updates of hidden kernels and takes a third of the learning rate elsewhere."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Largest learning rate; warmed up over ``warmup`` steps, then cosine to a hundredth."""
    warmup: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the exponential average of the weights, which is what ships."""
    lesion_share: float = Field(default=0.4, ge=0, le=1)
    """Share of patches centred near a lesion."""
    count_power: float = Field(default=0.0, ge=0)
    """A count level is drawn in proportion to this power of its count fraction; 0 draws all alike."""
    inserted_lesions: float = Field(default=0.0, ge=0)
    """Mean number of lesions added to a patch."""
    inserted_patch_share: float = Field(default=1.0, ge=0, le=1)
    """Share of patches to which they are added: where all hold lesions, the least error keeps noise that looks so."""
    inserted_diameter_mm: tuple[float, float] = (7.0, 30.0)
    """Range of their equivalent diameter [mm], drawn log-uniformly."""
    inserted_contrast: tuple[float, float] = (1.5, 8.0)
    """Range of lesion over background, drawn log-uniformly."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the network while training; weights stay fp32."""
    validate_every: int = Field(default=1000, ge=1)
    """Steps between validations and checkpoints."""
    workers: int = Field(default=0, ge=0)
    """Processes that load patches."""
    threads: int | None = None
    """Threads of torch; all cores when unset."""
    seed: int = 1

    def insertion(self) -> InsertionRanges | None:
        """What lesions are added to patches, as the data set takes it; ``None`` where there are none."""
        if not self.inserted_lesions:
            return None
        return InsertionRanges(
            mean_count=self.inserted_lesions,
            diameter_mm=self.inserted_diameter_mm,
            contrast=self.inserted_contrast,
            patch_share=self.inserted_patch_share,
        )


class LossRecipe(_Section):
    """Weights of the loss; see :class:`nmsynth.training.losses.LossWeights`."""

    mean: float = 1.0
    """Error of the mean head."""
    contrast: float = 1.0
    """Error of the contrast head."""
    lesion: float = 8.0
    """Weight of a lesion's voxel in the contrast head."""
    focal: float = 8.0
    """Weight of a voxel of another focal structure in the contrast head."""
    evidence_of_lesions_only: bool = False
    """Whether evidence means a lesion, or any focal structure."""
    lesion_mean: float = 0.3
    """Error of the mean of each lesion in the contrast head."""
    evidence: float = 0.3
    """Cross-entropy of the evidence."""
    regional: float = 0.5
    """Error of the activity of regions in the mean head."""
    activity: float = Field(default=0.0, ge=0)
    """Squared error of the activity of large blocks in the mean head."""
    noise_power: float = Field(default=0.5, ge=0, le=1)
    """A patch weighs as the error of its input to minus this power."""
    scale: Literal["source", "target"] = "source"
    """Whether errors are relative to the activity of the source, or of the target, which lowers the doubtful."""

    def weights(self) -> LossWeights:
        """As the loss takes them."""
        return LossWeights(**self.model_dump())


class RefinementRecipe(_Section):
    """A further training that starts from the averaged weights of the one before."""

    optimisation: OptimisationRecipe
    loss: LossRecipe


class CalibrationRecipe(_Section):
    """The level of structure at each significance, by false structures on patients of the reference protocol."""

    count_fractions: tuple[float, ...] = (0.25, 0.1, 0.05)
    """Counts of the scans that are measured."""
    false_structures_per_100_slices: dict[str, tuple[float, ...]] = {
        "low": (4.0, 16.0, 60.0),
        "standard": (1.0, 4.0, 15.0),
        "high": (0.3, 1.0, 4.0),
    }
    """Allowed at each significance, one for each count fraction."""
    patients: int = Field(default=6, ge=1, le=6)
    """Simulated patients, apart from those of training and reporting."""

    def limits(self) -> dict[str, dict[float, float]]:
        """False structures allowed per 100 slices, by significance and count fraction."""
        return {
            level: dict(zip(self.count_fractions, values, strict=True))
            for level, values in self.false_structures_per_100_slices.items()
        }


class PackageRecipe(_Section):
    """What the model package says of itself."""

    name: str = "lowcount-pet"
    version: str = "0.1.0"
    card: str = "lowcount-pet"
    """Name of the card text in ``nmsynth.recipes.cards``."""


class Recipe(_Section):
    """A whole recipe, as in the TOML files of :mod:`nmsynth.recipes`."""

    schema_version: Literal[1] = 1
    name: str
    """Name of the recipe."""
    task: Literal["lowcount-pet"] = "lowcount-pet"
    network: NetworkRecipe = NetworkRecipe()
    simulation: SimulationRecipe = SimulationRecipe()
    optimisation: OptimisationRecipe = OptimisationRecipe()
    loss: LossRecipe = LossRecipe()
    refinements: tuple[RefinementRecipe, ...] = ()
    """Further trainings with other patches and weights, in their order."""
    calibration: CalibrationRecipe = CalibrationRecipe()
    package: PackageRecipe = PackageRecipe()

    def refined(self) -> list[Recipe]:
        """The recipe of each further training."""
        return [self.model_copy(update={"optimisation": r.optimisation, "loss": r.loss}) for r in self.refinements]
