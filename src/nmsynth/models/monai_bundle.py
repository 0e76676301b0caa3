"""A model as a MONAI bundle: a folder with metadata, an inference configuration and the network.

After the bundle specification (docs.monai.io, ``mb_specification``). The specification wants ``models/model.pt``, a
dictionary of tensors as torch saves it; nmsynth itself never reads one. The configuration takes ``models/model.ts``,
the network as TorchScript, so that a bundle runs where nmsynth is not installed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nmsynth.core.plan import ImagePlan
from nmsynth.models.card import Card
from nmsynth.models.package import CARD_FILE
from nmsynth.models.tracing import FloatArray, Step, check_parity, traced

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""Schema that the metadata names, as bundles of MONAI's model zoo do; it is not fetched here."""
LEAST_MONAI = "1.5.0"
"""Version of MONAI that is named where none is installed."""


def write_monai_bundle(step: Step, folder: Path) -> float:
    """Write a bundle into a new folder; returns the largest relative difference from the network.

    Raises
    ------
    NumericalError
        If the TorchScript differs from the network by more than 1e-4 of the largest value.
    """
    configs, models, docs = (folder / name for name in ("configs", "models", "docs"))
    for part in (configs, models, docs):
        part.mkdir(parents=True)
    card = step.card
    (configs / "metadata.json").write_text(json.dumps(bundle_metadata(step), indent=2) + "\n", encoding="utf-8")
    (configs / "inference.json").write_text(json.dumps(inference_config(step), indent=2) + "\n", encoding="utf-8")
    (docs / "README.md").write_text(card.to_markdown(), encoding="utf-8")
    (docs / "license.txt").write_text(f"Weights: {card.licence}\n{card.intended_use}\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    torch.save({key: value.clone() for key, value in step.network.state_dict().items()}, models / "model.pt")
    torch.jit.save(traced(step), models / "model.ts")
    graph = torch.jit.load(models / "model.ts")  # type: ignore[no-untyped-call]

    def run(inputs: Mapping[str, FloatArray]) -> FloatArray:
        with torch.no_grad():
            answer: FloatArray = graph(*(torch.from_numpy(value) for value in inputs.values())).numpy()
        return answer

    try:
        return check_parity(step, run, kind="TorchScript")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def bundle_metadata(step: Step) -> dict[str, Any]:
    """Content of ``metadata.json``: the mandatory keys of the specification, and the card's facts."""
    card = step.card
    return {
        "schema": SCHEMA,
        "version": card.version,
        "changelog": {card.version: "exported by nmsynth"},
        "monai_version": _version("monai") or LEAST_MONAI,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "name": card.name,
        "task": card.task,
        "description": card.summary or card.task,
        "authors": "the authors of the model, as its card says",
        "authorship": "the authors of the model, as its card says",
        "copyright": f"weights under {card.licence}",
        "intended_use": card.intended_use,
        "data_source": "; ".join(f"{d.use}: {d.name} ({d.licence})" for d in card.data),
        "network_data_format": {"inputs": _inputs(step), "outputs": {"pred": _answer(step)}},
        "nmsynth": {"sha256": card.sha256, "plan": None if card.plan is None else card.plan.model_dump(mode="json")},
    }


def inference_config(step: Step) -> dict[str, Any]:
    """Content of ``inference.json``: how to load the network and slide it over one image that is larger than a patch.

    A network that takes noise is given the whole image, since MONAI's inferer does not cut noise along with it.
    """
    patch = list(step.sizes) if step.card.plan is None else list(step.card.plan.network_patch)
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.to(@device).eval()",
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": patch, "sw_batch_size": 1, "overlap": 0.5},
        "evaluate": "$lambda *inputs: @network(*inputs)"
        if "noise" in step.names
        else "$lambda *inputs: @inferer(inputs[0], @network, *inputs[1:])",
    }


def _inputs(step: Step) -> dict[str, Any]:
    """Format of each input of the network; the image is called so, as the specification's tools expect."""
    card = step.card
    if step.method is None or card.plan is None:
        image = _tensor("PT", 1, _any_sizes(step, card), {"0": "image, any unit"}, "magnitude")
        return {"image": image}
    sources, context = card.plan.sources, card.plan.context
    channels = [_channel(source, k, context) for source in sources for k in range(context)]
    found = {
        "image": _tensor(_modality(sources), len(channels), _any_sizes(step, card), _numbered(channels), "magnitude")
    }
    if "condition" in step.names:
        told = [f"{c.name} {part}".strip() for c in card.plan.conditions for part in (c.categories or ("",))]
        told += [f"{source.name} is there" for source in sources if source.optional]
        found["condition"] = _tensor("n/a", len(told), [], _numbered(told), "latent") | {"type": "tuples"}
    if "noise" in step.names:
        n = step.method.noise_channels
        found["noise"] = _tensor("n/a", n, ["*"] * len(step.sizes), _numbered(["standard normal"] * n), "latent")
    return found


def _answer(step: Step) -> dict[str, Any]:
    """Format of the network's answer."""
    plan = step.card.plan
    if plan is None:
        heads = ("mean", "contrast", "evidence")
        return _tensor("PT", len(heads), _any_sizes(step, step.card), _numbered(heads), "magnitude")
    channel = _channel(plan.target, 0, 1)
    return _tensor(plan.target.modality, 1, _any_sizes(step, step.card), {"0": channel}, "magnitude")


def _tensor(
    modality: str, n_channels: int, spatial_shape: Sequence[int | str], channels: dict[str, str], kind: str
) -> dict[str, Any]:
    """A format specifier with all keys that the specification wants."""
    return {
        "type": "image",
        "format": kind,
        "modality": modality,
        "num_channels": n_channels,
        "spatial_shape": list(spatial_shape),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": channels,
    }


def _any_sizes(step: Step, card: Card) -> list[int | str]:
    """Sizes that the network takes: any, multiples of its stride, or those of the example."""
    if card.plan is None:
        return [f"{int(stride)}*n" for stride in step.network.stride]  # type: ignore[union-attr]
    return ["*"] * len(step.sizes) if step.any_size else list(step.sizes)


def _channel(image: ImagePlan, place: int, context: int) -> str:
    """What a channel holds, with the normalisation that it must have."""
    scale = image.normalisation.typical().to_json()
    slice_ = f", slice {place - context // 2:+d}" if context > 1 else ""
    return f"{image.name} in {image.unit.value}{slice_}, normalised by {json.dumps(scale)}"


def _modality(sources: Sequence[ImagePlan]) -> str:
    """Modalities of the sources, each once."""
    return "+".join(dict.fromkeys(source.modality for source in sources))


def _numbered(names: Sequence[str]) -> dict[str, str]:
    """Names by the number of their channel."""
    return {str(k): name for k, name in enumerate(names)}


def _version(package: str) -> str | None:
    """Version of a package, read without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
