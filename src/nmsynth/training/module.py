"""The Lightning module of a low-count model, and its average of weights."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from nmsynth.data.patches import Patch
from nmsynth.models.fusion import fuse
from nmsynth.training.experiment import OptimisationRecipe
from nmsynth.training.learning_rate import learning_rate_factor
from nmsynth.training.losses import LossWeights, low_count_loss
from nmsynth.training.muon import Muon


class LowCountModule(lightning.LightningModule):
    """Trains the three heads; keeps an exponential average of the weights in the checkpoint.

    Parameters
    ----------
    network
        Takes ``(batch, 1, z, y, x)``, returns ``(batch, 3, z, y, x)``.
    optimisation, weights
        As in the recipe.
    """

    def __init__(self, network: nn.Module, optimisation: OptimisationRecipe, weights: LossWeights) -> None:
        super().__init__()
        self.network = network
        self.optimisation = optimisation
        self.weights = weights
        decay = optimisation.average_decay
        self.average = torch.optim.swa_utils.AveragedModel(
            network,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay),  # type: ignore[no-untyped-call]
        )

    def training_step(self, batch: Patch, _index: int) -> torch.Tensor:
        """Loss of one batch."""
        source = batch["source"]
        outputs = self.network(source)
        terms = low_count_loss(outputs, batch["target"], source, batch["labels"], batch["focal"], self.weights)
        for name, value in terms.items():
            self.log(f"train/{name}", value, prog_bar=name == "total")
        return terms["total"]

    def on_train_batch_end(self, _outputs: Any, _batch: Any, _index: int) -> None:
        """Update the average of the weights."""
        self.average.update_parameters(self.network)

    def validation_step(self, batch: Patch, _index: int) -> None:
        """Loss of the averaged weights, their error relative to the input's, and lesion recovery."""
        outputs = self.average(batch["source"]).float()
        target, source, labels = batch["target"], batch["source"], batch["labels"]
        terms = low_count_loss(outputs, target, source, labels, batch["focal"], self.weights)
        for name, value in terms.items():
            self.log(f"val/{name}", value, batch_size=target.shape[0])
        fused = fuse(outputs, 0.0)
        error = (fused - target).square().mean().sqrt() / (source - target).square().mean().sqrt()
        self.log("val/error_ratio", error, batch_size=target.shape[0], prog_bar=True)
        inside = labels > 0
        if bool(inside.any()):
            for name, image in (("mean", outputs[:, :1]), ("contrast", outputs[:, 1:2]), ("fused", fused)):
                self.log(
                    f"val/lesion_level_{name}", image[inside].sum() / target[inside].sum(), batch_size=target.shape[0]
                )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Muon or AdamW, with warm-up and cosine."""
        o = self.optimisation
        optimiser: torch.optim.Optimizer
        if o.optimiser == "muon":
            optimiser = Muon(
                self.network,
                learning_rate=o.learning_rate,
                other_learning_rate=o.learning_rate / 3,
                weight_decay=o.weight_decay,
            )
        else:
            optimiser = torch.optim.AdamW(
                self.network.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay, betas=(0.9, 0.98)
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, steps=o.steps, warmup=o.warmup)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
