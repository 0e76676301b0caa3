"""Run a training: seeded, resumable, with its resolved configuration on disk."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from nmsynth.core.errors import InputError
from nmsynth.data.cohort import open_cohort
from nmsynth.data.patches import Patch, PatchDataset
from nmsynth.training.experiment import Recipe
from nmsynth.training.module import LowCountModule

N_VALIDATION_BATCHES = 24
"""Fixed validation batches, the same at each validation."""


_DECISIVE = ("task", "network", "simulation", "optimisation", "loss")
"""Sections of a recipe that the weights depend on."""


class _FixedPatches(torch.utils.data.Dataset[Patch]):
    """The first patches of a stream, the same each time."""

    def __init__(self, stream: PatchDataset, n_patches: int) -> None:
        self.stream = stream
        self.n_patches = n_patches

    def __len__(self) -> int:
        return self.n_patches

    def __getitem__(self, index: int) -> Patch:
        import numpy as np

        return self.stream.draw(np.random.default_rng((self.stream.seed, index)))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a training folder, or ``None``."""
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None


def _steps_done(checkpoint: Path) -> int:
    """Optimiser steps in a checkpoint that this program wrote."""
    return int(torch.load(checkpoint, map_location="cpu", weights_only=False)["global_step"])


def train(
    network: nn.Module,
    recipe: Recipe,
    cohort: Path,
    folder: Path,
    *,
    resume: bool = True,
    progress_bar: bool = True,
    stop_after: int | None = None,
) -> nn.Module:
    """Train a network and return it with its averaged weights.

    Parameters
    ----------
    network
        Freshly initialised.
    recipe
        The resolved recipe; saved as ``recipe.json``. A folder that holds another one is refused.
    cohort
        Folder of simulated cases.
    folder
        Gets checkpoints, logs and the recipe.
    resume
        Continue from the last checkpoint, with optimiser, schedule and data order as they were.
    progress_bar
        Whether progress is shown.
    stop_after
        Stop at this step, to be resumed later; the schedule stays that of the recipe.

    Raises
    ------
    InputError
        If the folder belongs to another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    o = recipe.optimisation
    torch.set_num_threads(o.threads or os.cpu_count() or 1)
    lightning.seed_everything(o.seed, verbose=False)
    checkpoint = last_checkpoint(folder) if resume else None
    start = _steps_done(checkpoint) * o.batch if checkpoint else 0
    stream = PatchDataset(
        open_cohort(cohort, "train"),
        patch=o.patch,
        seed=o.seed,
        start=start,
        lesion_share=o.lesion_share,
        insertion=o.insertion(),
        count_power=o.count_power,
    )
    held = PatchDataset(open_cohort(cohort, "validation"), patch=o.patch, seed=o.seed + 1, lesion_share=0.6)
    network.train().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    module = LowCountModule(network, o, recipe.loss.weights())
    trainer = lightning.Trainer(
        default_root_dir=folder,
        accelerator="auto",
        devices=1,
        max_steps=min(o.steps, stop_after or o.steps),
        precision="bf16-mixed" if o.precision == "bf16" else "32-true",
        gradient_clip_val=o.gradient_clip,
        val_check_interval=min(o.validate_every, o.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        enable_model_summary=False,
        enable_progress_bar=progress_bar,
        logger=[
            CSVLogger(folder, name="csv", version=f"from-{start // o.batch}"),  # a resumed run keeps what was logged
            TensorBoardLogger(folder, name="tensorboard", version=""),
        ],
        callbacks=[
            ModelCheckpoint(
                folder / "checkpoints",
                filename="{step}",
                save_last=True,
                save_top_k=1,
                monitor=None,
                every_n_train_steps=min(o.validate_every, o.steps),
            ),
            *([TQDMProgressBar(refresh_rate=20)] if progress_bar else []),
        ],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(
            module,
            DataLoader(stream, batch_size=o.batch, num_workers=o.workers),
            DataLoader(_FixedPatches(held, N_VALIDATION_BATCHES * o.batch), batch_size=o.batch),
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=False,
        )
    averaged: nn.Module = module.average.module
    return averaged.eval()


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the resolved recipe, or refuse a folder that holds another one."""
    path = folder / "recipe.json"
    resolved = recipe.model_dump(mode="json")
    if path.is_file():
        found = json.loads(path.read_text())
        differing = sorted(k for k in _DECISIVE if found.get(k) != resolved[k])
        if differing:
            raise InputError(
                f"A training folder belongs to one recipe; the recipe in it differs in: {', '.join(differing)}. "
                "Give another output folder, or the recipe that it was begun with."
            )
        return
    path.write_text(json.dumps(resolved, indent=2) + "\n")
