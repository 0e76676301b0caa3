"""Batches drawn while the network computes, by a thread or by worker processes, and the time spent waiting for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmsynth.data.method_patches import Batch, MethodBatches

AHEAD = 3
"""Batches that are drawn before they are asked for."""


class Feed(Iterable["Batch"]):
    """Batches in their order, whoever draws them.

    Parameters
    ----------
    batches
        Which; they are the same for every number of workers.
    count
        How many are given.
    workers
        Processes that draw; a thread of this process where 0.
    pin
        Whether batches are put where a GPU reads them fastest.
    """

    def __init__(self, batches: MethodBatches, count: int, *, workers: int = 0, pin: bool = False) -> None:
        self.batches = batches
        self.count = count
        self.workers = workers
        self.pin = pin
        self.waited_s = 0.0
        """Time that the training has waited for batches [s]."""

    def __len__(self) -> int:
        """Batches in all."""
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        """Each batch once."""
        drawn = self._by_workers() if self.workers else self._by_thread()
        try:
            for _ in range(self.count):
                started = time.perf_counter()
                batch = next(drawn)
                self.waited_s += time.perf_counter() - started
                yield batch
        finally:
            drawn.close()

    def _by_workers(self) -> Generator[Batch, None, None]:
        """Batches of torch's worker processes."""
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self.batches,
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.pin,
            prefetch_factor=AHEAD,
        )
        yield from loader

    def _by_thread(self) -> Generator[Batch, None, None]:
        """Batches of a thread, which numpy and torch let run beside the network."""
        drawn: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        stop = threading.Event()
        thread = threading.Thread(target=self._draw, args=(drawn, stop), name="batches", daemon=True)
        thread.start()
        try:
            while True:
                item = drawn.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while thread.is_alive():
                _empty(drawn)  # the thread may wait for room
                thread.join(0.01)

    def _draw(self, drawn: queue.Queue[Batch | BaseException], stop: threading.Event) -> None:
        """Draw until told to stop; an error is handed to whom asks for a batch."""
        try:
            for number in range(self.batches.start, self.batches.start + self.count):
                batch = self.batches.draw(number)
                if stop.is_set():
                    return
                drawn.put({k: v.pin_memory() for k, v in batch.items()} if self.pin else batch)
                if stop.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - raised again where the batch is asked for
            drawn.put(error)


def _empty(drawn: queue.Queue[Batch | BaseException]) -> None:
    """Throw away what is drawn."""
    while True:
        try:
            drawn.get_nowait()
        except queue.Empty:
            return
