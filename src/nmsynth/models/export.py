"""Models in the formats of other programs: package, ONNX, OpenVINO, MONAI bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, MissingExtraError, NmsynthError
from nmsynth.core.replacement import put_in_place
from nmsynth.models.envelope import printable
from nmsynth.models.installing import export_package
from nmsynth.models.package import read_card
from nmsynth.models.registry import find_model

if TYPE_CHECKING:
    from nmsynth.models.tracing import FloatArray, Step

FORMATS = ("package", "onnx", "openvino", "monai-bundle")
OPSET = 18
"""Version of the operators of an ONNX graph."""
CARD_KEY = "nmsynth.card"
"""Under which a graph carries the card as JSON."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    kind: str
    output: Path
    inputs: tuple[str, ...] = ()
    """Names of the inputs of the graph; none of a package."""
    any_size: bool | None = None
    """Whether the graph takes images of any size; ``None`` of a package."""
    any_batch: bool | None = None
    """Whether it takes any number of images at once; ``None`` of a package."""
    difference: float | None = None
    """Largest relative difference from the network, as it was tried; ``None`` of a package."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "format": self.kind,
            "output": self.output.name,
            "inputs": list(self.inputs),
            "any_size": self.any_size,
            "any_batch": self.any_batch,
            "largest_relative_difference": self.difference,
        }


def export_model(
    name_or_path: str | Path, output: Path | str, *, kind: str = "package", overwrite: bool = False
) -> Exported:
    """Write a model in the format of another program, after it was found to give the same numbers.

    Parameters
    ----------
    name_or_path
        Model.
    output
        A folder or ``.zip`` (package), an ``.onnx`` file, an ``.xml`` file with a ``.bin`` beside it (OpenVINO), or a
        folder (MONAI bundle).
    kind
        One of :data:`FORMATS`.
    overwrite
        Replace an output that exists.

    Raises
    ------
    InputError
        If the format is unknown, or the output exists or has another suffix.
    MissingExtraError
        If a library is not installed.
    NumericalError
        If the graph differs from the network by more than 1e-4 of the largest value.
    """
    if kind not in FORMATS:
        raise InputError(f"A format must be one of {', '.join(FORMATS)}; found {printable(kind)}.")
    path, output = find_model(name_or_path), Path(output)
    if kind == "package":
        export_package(path, output, overwrite=overwrite)
        return Exported(kind, output)
    suffix = {"onnx": ".onnx", "openvino": ".xml", "monai-bundle": ""}[kind]
    if suffix and output.suffix.lower() != suffix:
        raise InputError(
            f"An export as {kind} is a file ending in {suffix}; found {printable(output.name)}. Rename it."
        )
    _check_output(output, suffix=suffix, overwrite=overwrite)
    _need({"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",), "monai-bundle": ()}[kind])
    from nmsynth.models.monai_bundle import write_monai_bundle
    from nmsynth.models.tracing import load_step

    step = load_step(path, read_card(path))
    writers: dict[str, Callable[[Step, Path], float]] = {
        "onnx": _write_onnx,
        "openvino": _write_openvino,
        "monai-bundle": write_monai_bundle,
    }
    try:
        difference = _at_once(output, lambda place: writers[kind](step, place))
    except NmsynthError:
        raise
    except Exception as error:  # whatever another program's library raises is a reason why it cannot be written
        reason = printable(" ".join(str(error).split()), length=200)
        raise InputError(
            f"The model {step.card.name} cannot be written as {kind}: {reason}. Try another format."
        ) from error
    return Exported(kind, output, step.names, step.any_size, step.any_batch, difference)


def _check_output(output: Path, *, suffix: str, overwrite: bool) -> None:
    """Refuse an output that exists, unless it may be replaced by what it is."""
    others = [output.with_suffix(".bin")] if suffix == ".xml" else []
    is_own = output.is_file() if suffix else (output / "configs" / "metadata.json").is_file()
    for path in (output, *others):
        if path.exists() and not (overwrite and (is_own or path in others)):
            raise InputError(
                f"The output {printable(path.name)} must not exist; it does. Choose another or overwrite it."
            )


def _need(modules: tuple[str, ...]) -> None:
    """Refuse where a library is missing, naming the extra that brings it."""
    extras = {"onnx": "export", "onnxruntime": "export", "openvino": "fast"}
    for module in modules:
        if find_spec(module) is None:
            extra = extras[module]
            raise MissingExtraError(
                f"This export needs {module}, of the extra '{extra}': pip install 'nmsynth[{extra}]'."
            )


def _at_once(output: Path, write: Callable[[Path], float]) -> float:
    """Write below a temporary folder beside the output, and move what is there when all is well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    try:
        result = write(staging / output.name)
        for made in staging.iterdir():
            put_in_place(made, (output.parent / made.name).resolve())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return result


def _write_onnx(step: Step, path: Path) -> float:
    """An ONNX file; returns the largest relative difference.

    By the exporter that records TorchScript: the one that is based on ``torch.export`` fixes what depends on the size
    of the image, such as the padding to whole levels.
    """
    import onnx
    import onnxruntime
    import torch

    from nmsynth.models.tracing import check_parity, quiet

    batch = {0: "batch"} if step.any_batch else {}
    dynamic: dict[str, dict[int, str]] = {}
    for name in (*step.names, "answer"):
        sizes = step.spatial_axes if step.any_size and name != "condition" else ()
        prefix = "noise_" if name == "noise" else ""
        dynamic[name] = batch | {2 + k: f"{prefix}{axis}" for k, axis in enumerate(sizes)}
    with quiet():
        torch.onnx.export(
            step.network,
            step.example(),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(step.names),
            output_names=["answer"],
            dynamic_axes=dynamic,
        )
    model = onnx.load(path)
    _count_axes_from_the_front(model)
    onnx.helper.set_model_props(model, {CARD_KEY: step.card.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, FloatArray]) -> FloatArray:
        answer: FloatArray = session.run(None, dict(inputs))[0]
        return answer

    return check_parity(step, run, kind="ONNX graph")


def _count_axes_from_the_front(model: Any) -> None:
    """Correct axes of a transposition that the exporter left negative, which ONNX does not know."""
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Transpose" else ():
            if attribute.name == "perm":
                attribute.ints[:] = [axis % len(attribute.ints) for axis in attribute.ints]


def _write_openvino(step: Step, path: Path) -> float:
    """An OpenVINO graph, ``.xml`` and ``.bin``; returns the largest relative difference."""
    import openvino

    from nmsynth.models.tracing import check_parity, quiet, traced

    graph = traced(step)
    example = step.example()
    shapes = []
    for value in example:
        spatial = [-1] * (value.ndim - 2) if step.any_size else list(value.shape[2:])
        shapes.append(openvino.PartialShape([-1 if step.any_batch else 1, value.shape[1], *spatial]))
    with quiet():
        model = openvino.convert_model(graph, example_input=example, input=shapes)
    for port, name in zip(model.inputs, step.names, strict=True):
        port.get_tensor().set_names({name})
    model.outputs[0].get_tensor().set_names({"answer"})
    model.set_rt_info(step.card.model_dump_json(), CARD_KEY.split("."))
    openvino.save_model(model, path, compress_to_fp16=False)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Mapping[str, FloatArray]) -> FloatArray:
        answer: FloatArray = compiled(dict(inputs))["answer"]
        return answer

    return check_parity(step, run, kind="OpenVINO graph")
