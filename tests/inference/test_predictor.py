"""A model runs tile by tile, in proportion to its input, the same on every backend."""

import importlib.util

import numpy as np
import pytest
import torch

from nmsynth.core.errors import EnvelopeError, InputError, MissingExtraError, NumericalError, RefusalError
from nmsynth.inference import Model, backend, load_model
from nmsynth.models.fusion import fuse
from tests.models.packages import make_card, save_tiny, tiny_network

IMAGE = np.random.default_rng(1).normal(1000.0, 400.0, (40, 40, 44)).astype(np.float32)
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra 'fast'")


def relative(a, b):
    """Largest difference over the largest magnitude."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_tiles_change_nothing(model):
    whole = model.predict(IMAGE, backend="torch", heads=True)
    assert model.last_run["n_tiles"] == 1
    tiled = model.predict(IMAGE, backend="torch", heads=True, max_tile_voxels=40_000)
    assert model.last_run["n_tiles"] > 2
    assert set(whole) == {"image", "mean", "contrast", "evidence"}
    for name, image in whole.items():
        assert relative(tiled[name], image) < 1e-5


def test_tiling_equals_the_network_itself(model):
    image = IMAGE[:, :40, :40]
    z = model.network.margin[0] + model.network.margin[0] % 2
    padded = np.pad(image, ((z, z), (0, 0), (0, 0)), mode="reflect")
    heads = model.network(torch.from_numpy(padded)[None, None])
    expected = fuse(heads, 0.0)[0, 0, z:-z].numpy()
    assert relative(model.predict(image, backend="torch")["image"], expected) < 1e-5


@needs_openvino
def test_openvino_equals_torch(model):
    by_torch = model.predict(IMAGE, backend="torch", heads=True, threads=1)
    by_openvino = model.predict(IMAGE, backend="openvino", heads=True, threads=1, max_tile_voxels=60_000)
    assert model.last_run["backend"] == "openvino"
    for name, image in by_torch.items():
        assert relative(by_openvino[name], image) < 1e-3


@pytest.mark.parametrize("name", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_twice_the_activity_is_exactly_twice_the_output(model, name):
    once = model.predict(IMAGE, backend=name)["image"]
    np.testing.assert_array_equal(model.predict(2 * IMAGE, backend=name)["image"], 2 * once)
    assert relative(model.predict(IMAGE / 3e6, backend=name)["image"] * 3e6, once) < 1e-4


def test_a_hot_bladder_does_not_reach_beyond_the_margin(model):
    hot = IMAGE.copy()
    hot[:4] += 1e6
    reach = 4 + model.network.margin[0]
    cold, with_bladder = (model.predict(x, backend="torch", max_tile_voxels=60_000)["image"] for x in (IMAGE, hot))
    assert relative(with_bladder[reach:], cold[reach:]) < 1e-2
    assert not np.allclose(with_bladder[:4], cold[:4])


def test_a_place_in_the_image_does_not_depend_on_the_tiles(model):
    z = model.network.margin[0]
    shifted = model.predict(IMAGE[2:], backend="torch", max_tile_voxels=40_000)["image"]
    whole = model.predict(IMAGE, backend="torch", max_tile_voxels=60_000)["image"]
    assert relative(shifted[z:], whole[2 + z :]) < 1e-5


@pytest.mark.parametrize("shape", [(1, 9, 11), (3, 40, 7), (17, 23, 31)])
def test_any_size_is_taken(model, shape):
    image = model.predict(IMAGE[: shape[0], : shape[1], : shape[2]], backend="torch")["image"]
    assert image.shape == shape
    assert np.isfinite(image).all()


def test_negative_values_are_neither_refused_nor_clipped(model):
    assert model.predict(-IMAGE, backend="torch", heads=True)["mean"].min() < 0


def test_a_higher_significance_keeps_less_contrast(model):
    outputs = {s: model.predict(IMAGE, backend="torch", significance=s, heads=True) for s in ("low", "high")}
    distance = {s: np.abs(o["image"] - o["mean"]).sum() for s, o in outputs.items()}
    assert distance["high"] < distance["low"]


@pytest.mark.parametrize("significance", ["sure", float("nan")])
def test_an_unknown_significance_is_a_mistake(model, significance):
    with pytest.raises(InputError, match="significance must be"):
        model.predict(IMAGE, significance=significance)


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.full((4, 4, 4), np.nan), np.zeros((0, 4, 4))])
def test_an_image_must_be_three_dimensional_and_finite(model, array):
    with pytest.raises(InputError, match=r"axes \(z, y, x\) and finite"):
        model.predict(array)


def test_a_voxel_size_outside_the_envelope_is_refused(model):
    with pytest.raises(EnvelopeError, match="axial voxel size"):
        model.predict(IMAGE, (20.0, 4.0, 4.0))


class Faulty(torch.nn.Module):
    """Gives NaN, or runs out of memory above a number of voxels."""

    margin, stride = (2, 2, 2), (1, 1, 1)

    def __init__(self, limit=None):
        super().__init__()
        self.limit = limit

    def forward(self, x):
        if self.limit is None:
            return torch.full((1, 3, *x.shape[2:]), torch.nan)
        if x.numel() > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return torch.cat((x, x, x), dim=1)


def test_fault_90_nan_from_the_network_is_an_error():
    with pytest.raises(NumericalError, match="NaN or infinity in tile 1 of 1; nothing was written"):
        Model(make_card(), Faulty()).predict(IMAGE, backend="torch")


def test_fault_79_out_of_memory_takes_smaller_tiles(caplog):
    model = Model(make_card(), Faulty(20_000))
    image = model.predict(IMAGE, backend="torch")["image"]
    np.testing.assert_allclose(image, IMAGE, rtol=1e-6)
    assert model.last_run["n_tiles"] > 3
    assert "not enough memory" in caplog.text


def test_fault_79_out_of_memory_for_the_smallest_tile_is_a_clear_refusal():
    with pytest.raises(RefusalError, match="Memory must hold a tile of 125 voxels"):
        Model(make_card(), Faulty(0)).predict(IMAGE, backend="torch")


def test_other_errors_of_a_network_pass_through(model):
    class Broken(Faulty):
        def forward(self, x):
            raise RuntimeError(f"a real bug at {x.ndim} dimensions")

    with pytest.raises(RuntimeError, match="a real bug"):
        Model(make_card(), Broken()).predict(IMAGE[:4], backend="torch")


def test_progress_is_told_and_threads_are_put_back(model):
    seen = []
    before = torch.get_num_threads()
    model.predict(
        IMAGE,
        backend="torch",
        threads=1,
        max_tile_voxels=60_000,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert torch.get_num_threads() == before


def test_without_openvino_auto_takes_torch_and_a_wish_names_the_extra(model, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda _: None)
    model.predict(IMAGE[:4])
    assert model.last_run["backend"] == "torch"
    with pytest.raises(MissingExtraError, match=r"nmsynth\[fast\]"):
        model.predict(IMAGE[:4], backend="openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be"),
        ({"precision": "int8"}, "precision fp32 or bf16"),
        ({"device": "tpu"}, "device must be auto, cpu"),
        ({"device": "cuda:99"}, "is not there"),
        ({"device": "cuda:x"}, "device must be auto, cpu"),
    ],
)
def test_unknown_options_are_mistakes(model, options, message):
    with pytest.raises(InputError, match=message):
        model.predict(IMAGE[:4], **options)


@pytest.mark.gpu
def test_a_gpu_equals_the_cpu(model):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_cpu = model.predict(IMAGE, backend="torch")["image"]
    on_gpu = Model(model.card, tiny_network()).predict(IMAGE, device="cuda")["image"]
    assert relative(on_gpu, on_cpu) < 1e-3


def test_a_package_loads_as_a_model(tmp_path):
    model = load_model(save_tiny(tmp_path))
    assert (model.name, model.version, len(model.sha256)) == ("tiny", "0.0.1", 64)
    assert model.envelope.modality == ("PT",)
    assert not any(p.requires_grad for p in model.network.parameters())
