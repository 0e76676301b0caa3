"""What runs the network: torch on a CPU or GPU, or OpenVINO on a CPU.

All compute in fp32 unless ``bf16`` is asked for. Measured on the shipped architecture with random weights: OpenVINO
fp32 agrees with torch to 2e-6 of the largest value; bf16 departs by 5e-3 of it, more than the 1e-3 allowed to a tile
seam, so it is never the default.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from nmsynth.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

    from nmsynth.inference.tiling import FloatImage

BACKENDS = ("auto", "torch", "openvino")
PRECISIONS = ("fp32", "bf16")
EXAMPLE_SHAPE = (16, 64, 64)
"""Image on which a network is traced; a multiple of any stride in use. The result holds for every shape."""


class Backend(Protocol):
    """Runs a network on one tile."""

    name: str
    """``torch`` or ``openvino``."""
    device: str
    """As it is recorded, such as ``"cpu"`` or ``"cuda:0"``."""
    precision: str
    tile_voxels: int
    """Voxels of a tile, margin included, unless memory is short; well under 1 GB at work in the shipped network."""

    def __call__(self, window: FloatImage) -> FloatImage:
        """Heads, shape ``(3, z, y, x)``, of a tile, shape ``(z, y, x)``; raises ``MemoryError`` if there is no room."""


def make_backend(
    network: nn.Module,
    *,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
) -> Backend:
    """Choose and prepare a backend.

    Parameters
    ----------
    network
        In evaluation mode.
    backend
        ``"auto"`` takes OpenVINO where it is installed and the device is a CPU, else torch.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: a GPU where torch finds one.
    threads
        Threads of a CPU; all of this process's cores when unset.
    precision
        ``"fp32"`` or ``"bf16"``.

    Raises
    ------
    InputError
        If a value is not one of these, or the device is not there.
    MissingExtraError
        If OpenVINO is asked for and not installed.
    """
    if backend not in BACKENDS or precision not in PRECISIONS:
        raise InputError(
            f"The backend must be {', '.join(BACKENDS)} and the precision {' or '.join(PRECISIONS)}; "
            f"found {backend!r} and {precision!r}."
        )
    device = resolve_device(device)
    installed = find_spec("openvino") is not None
    if backend == "openvino" and not installed:
        raise MissingExtraError("The backend openvino needs the extra 'fast': pip install 'nmsynth[fast]'.")
    if backend == "openvino" and device != "cpu":
        raise InputError(f"The backend openvino runs on the device cpu; found {device}. Use torch there.")
    if backend != "torch" and installed and device == "cpu":
        return OpenVinoBackend(network, threads=threads, precision=precision)
    return TorchBackend(network, device=device, threads=threads, precision=precision)


def resolve_device(device: str) -> str:
    """Device that a name means here.

    Raises
    ------
    InputError
        If there is no such device.
    """
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index.isdecimal() or not index):
        raise InputError(f"The device must be auto, cpu, cuda or cuda:N; found {device!r}.")
    if int(index or 0) >= torch.cuda.device_count():
        raise InputError(f"The device {device!r} is not there: torch finds {torch.cuda.device_count()} GPUs. Use cpu.")
    return f"cuda:{int(index or 0)}"


def fast_precision(device: str, spatial_dims: int = 2) -> Literal["fp32", "bf16"]:
    """``bf16`` where a device multiplies matrices of bfloat16 faster than those of fp32, else ``fp32``.

    GPUs do, and CPUs with Intel's advanced matrix extensions or bfloat16 products of vectors (AVX-512 BF16, as AMD's
    have since Zen 4); others imitate it, slower than fp32. What it brings is measured by ``benchmarks/precision.py``.
    By vectors networks of slices alone are trained in it: of small volumes torch 2.13 gave gradients of NaN there now
    and then.
    """
    import torch

    if device != "cpu":
        return "bf16"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    by_vectors = bool(capabilities.get("avx512_bf16")) and spatial_dims == 2
    return "bf16" if capabilities.get("amx_bf16") or by_vectors else "fp32"


def available_threads() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class TorchBackend:
    """Torch on a CPU, channels last, or on a GPU without reduced-precision products."""

    name = "torch"
    tile_voxels = 3 * 2**19

    def __init__(self, network: nn.Module, *, device: str, threads: int | None, precision: str) -> None:
        import torch

        self.device = device
        self.precision = precision
        self.threads = threads or available_threads()
        self._format = torch.channels_last_3d
        self._network = network.to(device).to(memory_format=self._format)  # type: ignore[call-overload]

    def __call__(self, window: FloatImage) -> FloatImage:
        """Heads of a tile."""
        import torch

        try:
            with torch.inference_mode(), self._setting():
                x = torch.from_numpy(np.require(window, requirements=("C", "W"))).to(self.device)[None, None]
                heads = self._network(x.contiguous(memory_format=self._format))
                result: FloatImage = heads[0].float().cpu().contiguous().numpy()
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise MemoryError(f"no room for a tile of {window.size} voxels") from None
            raise
        return result

    @contextmanager
    def _setting(self) -> Iterator[None]:
        """Threads and precision for one call; torch keeps both for the whole process, so they are put back."""
        import torch

        threads = torch.get_num_threads()
        tf32 = torch.backends.cudnn.allow_tf32
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.allow_tf32 = False
        try:
            with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bf16"):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.allow_tf32 = tf32


class OpenVinoBackend:
    """OpenVINO on a CPU, converted in memory from the torch module and compiled once for each shape of tile."""

    name = "openvino"
    tile_voxels = 2**21
    device = "cpu"

    def __init__(self, network: nn.Module, *, threads: int | None, precision: str) -> None:
        self._network = network
        self.precision = precision
        self.threads = threads or available_threads()
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, window: FloatImage) -> FloatImage:
        """Heads of a tile."""
        try:
            if window.shape not in self._compiled:
                self._compiled.clear()
                self._compiled[window.shape] = self._compile(window.shape)
            request = self._compiled[window.shape]
            # The request owns its output; the next tile overwrites it.
            return np.array(request.infer([np.ascontiguousarray(window)[None, None]])[0][0], dtype=np.float32)
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise MemoryError(f"no room for a tile of {window.size} voxels") from None
            raise

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """Inference request for a tile shape."""
        import openvino
        import torch

        example = torch.zeros(1, 1, *EXAMPLE_SHAPE)
        with torch.inference_mode(), warnings.catch_warnings():
            # OpenVINO traces too; here without the check that runs the network twice more: parity is tested instead.
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(self._network, example, check_trace=False)  # type: ignore[no-untyped-call]
        model = openvino.convert_model(traced, example_input=example, input=[1, 1, *shape])
        # OpenVINO would take bf16 by itself where the processor has it.
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        return openvino.Core().compile_model(model, "CPU", hints).create_infer_request()


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch or OpenVINO means that memory ran out."""
    import torch

    text = str(error).lower()
    words = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "failed to allocate")
    return isinstance(error, torch.OutOfMemoryError) or any(word in text for word in words)
