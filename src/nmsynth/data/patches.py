"""Random patches of a simulated cohort, for training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset

from nmsynth.core.errors import InputError
from nmsynth.data.cohort import CohortCase
from nmsynth.data.inserted import InsertionRanges, insert_in_patch

Patch = dict[str, torch.Tensor]


class PatchDataset(IterableDataset[Patch]):
    """Endless random patches: a case, a count level, a place (half of them at a lesion), flips and a transpose.

    The stream is a function of the seed, the worker and the number of patches drawn before, so a resumed training
    sees what an unbroken one would.

    Parameters
    ----------
    cases
        Cases of one split.
    patch
        Size along ``(z, y, x)``.
    seed
        Seed of the stream.
    start
        Patches already drawn, to resume.
    lesion_share
        Share of patches centred near a lesion.
    insertion
        Lesions added to patches; none when unset.
    count_power
        A count level is drawn in proportion to this power of its count fraction; 0 draws all alike.

    Raises
    ------
    InputError
        If lesions are to be inserted and a case does not state its resolution.
    """

    def __init__(
        self,
        cases: list[CohortCase],
        *,
        patch: tuple[int, int, int],
        seed: int,
        start: int = 0,
        lesion_share: float = 0.4,
        insertion: InsertionRanges | None = None,
        count_power: float = 0.0,
    ) -> None:
        if insertion is not None and any(case.record["resolution_mm"] is None for case in cases):
            raise InputError(
                "Lesions are put into patches at the resolution of the image, which the true activity tells; a case "
                "has none. Add images of the role 'truth', or set inserted_lesions to 0."
            )
        self.cases = cases
        self.patch = patch
        self.seed = seed
        self.start = start
        self.lesion_share = lesion_share
        self.insertion = insertion
        self.count_power = count_power
        self._voxels: dict[str, list[npt.NDArray[np.int64]]] = {}

    def __iter__(self) -> Iterator[Patch]:
        """Patches with ``source``, ``target``, ``labels`` and ``focal``, each ``(1, z, y, x)``."""
        worker = torch.utils.data.get_worker_info()
        index, step = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while True:
            yield self.draw(np.random.default_rng((self.seed, index)))
            index += step

    def draw(self, rng: np.random.Generator) -> Patch:
        """One patch."""
        case = self.cases[int(rng.integers(len(self.cases)))]
        level = 2 + self._count_level(case, rng)
        corner = self._corner(case, rng)
        window = tuple(slice(c, c + n) for c, n in zip(corner, self.patch, strict=True))
        stack = np.stack([case.images[level][window], case.images[0][window]]).astype(np.float32)
        labels = np.array(case.labels[(slice(None), *window)])
        if self.insertion is not None and (
            self.insertion.patch_share >= 1 or rng.random() < self.insertion.patch_share
        ):
            insert_in_patch(
                stack[0],
                stack[1],
                labels[0],
                spacing_mm=tuple(case.record["spacing_mm"]),
                resolution_mm=tuple(case.record["resolution_mm"]),
                ranges=self.insertion,
                rng=rng,
            )
        stack, labels = self._augment(stack, labels, rng)
        return {
            "source": torch.from_numpy(stack[0:1].copy()),
            "target": torch.from_numpy(stack[1:2].copy()),
            "labels": torch.from_numpy(labels[0:1].astype(np.int64)),
            "focal": torch.from_numpy(labels[1:2].astype(np.float32)),
        }

    def _count_level(self, case: CohortCase, rng: np.random.Generator) -> int:
        """Which of the scans of a case."""
        if self.count_power == 0:
            return int(rng.integers(case.images.shape[0] - 2))
        odds = np.asarray(case.record["fractions"]) ** self.count_power
        return int(rng.choice(len(odds), p=odds / odds.sum()))

    def _lesion_voxels(self, case: CohortCase) -> list[npt.NDArray[np.int64]]:
        """Voxels of each lesion of a case, found once."""
        if case.case_id not in self._voxels:
            labels = np.asarray(case.labels[0])
            self._voxels[case.case_id] = [np.argwhere(labels == n) for n in np.unique(labels[labels > 0])]
        return self._voxels[case.case_id]

    def _corner(self, case: CohortCase, rng: np.random.Generator) -> tuple[int, int, int]:
        """Where the patch starts, near a lesion or anywhere in the body."""
        shape = case.images.shape[1:]
        room = [max(0, s - n) for s, n in zip(shape, self.patch, strict=True)]
        if rng.random() < self.lesion_share and case.record["n_lesions"]:
            lesions = self._lesion_voxels(case)
            places = lesions[int(rng.integers(len(lesions)))]
            centre = places[int(rng.integers(len(places)))]
            jitter = [int(rng.integers(-n // 4, n // 4 + 1)) for n in self.patch]
            corner = [
                int(np.clip(c + j - n // 2, 0, r)) for c, j, n, r in zip(centre, jitter, self.patch, room, strict=True)
            ]
        else:
            corner = [int(rng.integers(0, r + 1)) for r in room]
        return corner[0], corner[1], corner[2]

    def _augment(
        self, stack: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pad to the patch, flip each axis, transpose the plane."""
        missing = [n - s for n, s in zip(self.patch, stack.shape[1:], strict=True)]
        if any(m > 0 for m in missing):
            width = [(0, 0), *((0, max(0, m)) for m in missing)]
            stack, labels = np.pad(stack, width), np.pad(labels, width)
        for axis in (1, 2, 3):
            if rng.random() < 0.5:
                stack, labels = np.flip(stack, axis), np.flip(labels, axis)
        if self.patch[1] == self.patch[2] and rng.random() < 0.5:
            stack, labels = stack.swapaxes(2, 3), labels.swapaxes(2, 3)
        return stack, labels
