"""Exported graphs give what the network gives, at sizes other than the recorded one too."""

import json

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError, NumericalError
from nmsynth.models.export import CARD_KEY, export_model
from nmsynth.models.method_package import load_method
from nmsynth.models.package import load_network, read_card
from nmsynth.models.tracing import LARGEST_DIFFERENCE, check_parity, load_step, relative_difference
from tests.models.method_packages import CT, PET, make_method_card, make_plan, save_tiny_method
from tests.models.packages import save_tiny
from tests.renames import refuse_once

FLAT = {"dimensions": "2.5d", "context": 3, "patch": (1, 16, 16), "spacing_mm": (4.0, 4.0, 4.0)}
CARDS = {
    "unet": make_method_card(make_plan(sources=(PET, CT))),
    "flat": make_method_card(
        make_plan(**FLAT, conditions=()), method={"name": "unet", "arguments": {"attention": "gates"}}
    ),
    "flow": make_method_card(method={"name": "flow", "arguments": {"sampling_steps": 2}}),
    "swin": make_method_card(family="swin"),
}
SIZES = {"unet": (9, 18, 23), "flat": (21, 30), "flow": (9, 18, 23), "swin": (8, 16, 16)}


def inputs_of(method, sizes, batch=2):
    """Inputs of a method, by name."""
    rng = np.random.default_rng(0)
    given = {"source": (batch, method.setting.n_sources, *sizes)}
    if method.setting.n_conditions:
        given["condition"] = (batch, method.setting.n_conditions)
    if method.stochastic:
        given["noise"] = (batch, *method.noise_shape(sizes))
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in given.items()}


def answer_of(method, given):
    """What the method itself gives."""
    source = torch.from_numpy(given["source"])
    condition = torch.from_numpy(given.get("condition", np.zeros((2, 0), dtype=np.float32)))
    noise = torch.from_numpy(given["noise"]) if "noise" in given else None
    with torch.no_grad():
        return method(source, condition, noise).numpy()


@pytest.mark.parametrize("name", list(CARDS))
def test_onnx_gives_what_a_method_gives(tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = save_tiny_method(tmp_path, CARDS[name])
    done = export_model(folder, tmp_path / "model.onnx", kind="onnx")
    assert done.any_size == (name != "swin")  # which cuts its windows by the size of the image
    assert done.any_batch == (name not in ("swin", "flow"))
    assert done.difference is not None
    assert done.difference < LARGEST_DIFFERENCE
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map[CARD_KEY])
    assert card["sha256"] == read_card(folder).sha256
    method = load_method(folder, read_card(folder))
    given = inputs_of(method, SIZES[name], batch=2 if done.any_batch else 1)
    assert tuple(i.name for i in session.get_inputs()) == tuple(given) == done.inputs
    assert relative_difference(session.run(None, given)[0], answer_of(method, given)) < LARGEST_DIFFERENCE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "tiny-method"]


def test_openvino_gives_what_a_method_gives(tmp_path):
    openvino = pytest.importorskip("openvino")
    folder = save_tiny_method(tmp_path, CARDS["flat"])
    done = export_model(folder, tmp_path / "model.xml", kind="openvino")
    assert done.any_size
    compiled = openvino.Core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    method = load_method(folder, read_card(folder))
    given = inputs_of(method, SIZES["flat"])
    assert relative_difference(compiled(given)["answer"], answer_of(method, given)) < LARGEST_DIFFERENCE
    assert (tmp_path / "model.bin").is_file()


def test_the_homogeneous_network_is_exported_too(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = save_tiny(tmp_path)
    assert export_model(folder, tmp_path / "model.onnx", kind="onnx").inputs == ("image",)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 1, 12, 24, 40), dtype=np.float32)
    with torch.no_grad():
        expected = load_network(folder, read_card(folder))(torch.from_numpy(image)).numpy()
    assert relative_difference(session.run(None, {"image": image})[0], expected) < LARGEST_DIFFERENCE


def test_a_monai_bundle_is_parsed_by_monai_and_its_network_runs(tmp_path):
    bundle = pytest.importorskip("monai.bundle")
    folder = save_tiny_method(tmp_path, CARDS["unet"])
    out = tmp_path / "bundle"
    assert export_model(folder, out, kind="monai-bundle").difference < LARGEST_DIFFERENCE
    parser = bundle.ConfigParser()
    parser.read_config(str(out / "configs" / "inference.json"))
    parser.read_meta(str(out / "configs" / "metadata.json"))
    parser["bundle_root"] = str(out)
    facts = parser.get("_meta_")
    mandatory = {"version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task"}
    assert mandatory | {"description", "authors", "copyright", "network_data_format"} <= set(facts)
    for tensor in (*facts["network_data_format"]["inputs"].values(), *facts["network_data_format"]["outputs"].values()):
        assert set(tensor) == {
            "type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data",
            "channel_def",
        }  # fmt: skip
        assert len(tensor["channel_def"]) == tensor["num_channels"]
    network = parser.get_parsed_content("network")
    method = load_method(folder, read_card(folder))
    given = inputs_of(method, SIZES["unet"])
    with torch.no_grad():
        found = network(*(torch.from_numpy(value) for value in given.values()))
        slid = parser.get_parsed_content("evaluate")(*(torch.from_numpy(value[:1]) for value in given.values()))
    assert relative_difference(found, answer_of(method, given)) < LARGEST_DIFFERENCE
    assert slid.shape == found[:1].shape
    assert torch.isfinite(slid).all()
    weights = torch.load(out / "models" / "model.pt", weights_only=True)
    assert weights.keys() == network.state_dict().keys()


def test_a_graph_that_differs_is_not_accepted(tmp_path):
    folder = save_tiny(tmp_path)
    step = load_step(folder, read_card(folder))

    def wrong(inputs):
        with torch.no_grad():
            return 1.001 * step.network(torch.from_numpy(inputs["image"])).numpy()

    with pytest.raises(NumericalError, match=r"differs by 1\.0e-03"):
        check_parity(step, wrong, kind="graph")


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        ("model.onnx", "tflite", "must be one of package"),
        ("model.bin", "onnx", "ending in .onnx"),
        ("there.onnx", "onnx", "must not exist"),
        ("there", "monai-bundle", "must not exist"),
    ],
)
def test_an_export_that_cannot_be_is_a_mistake(tmp_path, output, kind, message):
    (tmp_path / "there.onnx").touch()
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=message):
        export_model(save_tiny(tmp_path), tmp_path / output, kind=kind)


def test_the_old_bundle_comes_back_when_the_last_move_fails(tmp_path, monkeypatch):
    metadata = tmp_path / "bundle" / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("old")

    def write_new(step, place):
        (place / "configs").mkdir(parents=True)
        return 0.0

    monkeypatch.setattr("nmsynth.models.monai_bundle.write_monai_bundle", write_new)
    refuse_once(monkeypatch, tmp_path / "bundle")
    with pytest.raises(InputError, match="refused"):
        export_model(save_tiny(tmp_path), tmp_path / "bundle", kind="monai-bundle", overwrite=True)
    assert metadata.read_text() == "old"
