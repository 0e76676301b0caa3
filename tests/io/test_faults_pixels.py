"""Faults 19-35 of the list: pixels and their scale."""

import struct
import subprocess
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from nmsynth.core.errors import MissingExtraError, UnsafeInputError
from nmsynth.io import read
from tests.helpers import require_peer
from tests.io.dicom_factory import make_nm, make_series, save_series, set_pixels, stored_pixels


def refuse(folder, slices, match):
    with pytest.raises(UnsafeInputError, match=match):
        read(save_series(slices, folder))


def patch(folder, old: bytes, new: bytes, name="slice-002.dcm"):
    """Replace bytes in one file by as many others."""
    assert len(old) == len(new)
    path = folder / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return folder


def test_fault_19_slope_missing(tmp_path):
    refuse(tmp_path, make_series(RescaleSlope=None), "must state RescaleSlope")


@pytest.mark.parametrize(("number", "slope"), [(20, "0"), (21, "-0.5")])
def test_fault_20_21_slope_not_positive(tmp_path, number, slope):
    refuse(tmp_path, make_series(RescaleSlope=slope), r"RescaleSlope must be positive")


def test_fault_22_one_slice_without_slope(tmp_path):
    slices = make_series()
    del slices[2].RescaleSlope
    refuse(tmp_path, slices, r"slice-002\.dcm must state RescaleSlope")


@pytest.mark.parametrize(
    ("number", "text"), [(23, b"nan "), (23, b"inf "), (23, b"1e99"), (24, b"1,25"), (24, b"1_25")]
)
def test_fault_23_24_slope_not_a_number(tmp_path, number, text):
    folder = patch(save_series(make_series(slopes=1.25), tmp_path), b"1.25", text)
    with pytest.raises(UnsafeInputError, match="finite"):
        read(folder)


def test_fault_25_intercept_not_zero(tmp_path):
    refuse(tmp_path, make_series(RescaleIntercept="-5"), "RescaleIntercept of PET must be 0")


@pytest.mark.parametrize("lost", [2, 40, 200])
def test_fault_26_truncated_pixels(tmp_path, lost):
    folder = save_series(make_series(), tmp_path)
    path = folder / "slice-003.dcm"
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(UnsafeInputError, match=r"slice-003\.dcm must"):
        read(folder)


def test_fault_26_pixels_absent(tmp_path):
    slices = make_series()
    del slices[1].PixelData
    refuse(tmp_path, slices, "must hold pixels")


def test_fault_27_huge_claim_allocates_nothing(tmp_path):
    folder = save_series(make_series(Rows=65535, Columns=65535), tmp_path)
    tracemalloc.start()
    with pytest.raises(UnsafeInputError, match="must hold 8589672450 bytes of pixels; it holds 84"):
        read(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26


def test_fault_27_huge_claim_compressed(tmp_path):
    slices = make_series(Rows=65535, Columns=65535)
    for dataset in slices:
        dataset.PixelData = encapsulate([b"\0" * 64])
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset["PixelData"].VR = "OB"
    refuse(tmp_path, slices, "not decoded")


def test_fault_28_rows_zero(tmp_path):
    refuse(tmp_path, make_series(Rows=0), "rows and columns")


def test_fault_29_number_of_frames(tmp_path):
    dataset = make_nm(NumberOfFrames=2**31 - 1, FrameIncrementPointer=None)
    refuse(tmp_path, [dataset], r"must hold .* bytes of pixels")


def test_fault_29_frames_of_a_single_frame_class(tmp_path):
    refuse(tmp_path, make_series(NumberOfFrames=2**31 - 1), "one frame")


def test_fault_30_all_zero(tmp_path):
    volume = read(save_series(make_series(stored=np.zeros((3, 4, 5), np.int16)), tmp_path))
    assert not volume.array.any()
    assert not volume.to_suv().array.any()
    assert "All voxels are zero." in volume.warnings


def test_fault_31_saturated(tmp_path):
    stored = stored_pixels()
    stored[2, :2] = 32767
    volume = read(save_series(make_series(stored=stored), tmp_path))
    assert any(warning.startswith("14 voxels stand at the largest") for warning in volume.warnings)


def test_one_maximum_a_slice_is_not_saturation(tmp_path):
    stored = stored_pixels()
    stored[:, 0, 0] = 32767
    assert read(save_series(make_series(stored=stored), tmp_path)).warnings == ()


def test_fault_32_rgb_labelled_pt(tmp_path):
    slices = make_series(stored=stored_pixels((3, 6, 21)).astype(np.uint8))
    for dataset in slices:
        dataset.SamplesPerPixel, dataset.Columns, dataset.PhotometricInterpretation = 3, 7, "RGB"
        dataset.PlanarConfiguration = 0
    refuse(tmp_path, slices, "MONOCHROME2")


def test_damaged_compressed_pixels_are_refused_quietly(tmp_path, caplog):
    slices = make_series()
    for dataset in slices:
        dataset.PixelData = encapsulate([b"\xff\xd8" + b"\0" * 64])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises((UnsafeInputError, MissingExtraError), match=r"decoding failed|no decoder"):
        read(save_series(slices, tmp_path))
    assert not caplog.records


def test_fault_34_jpeg_2000_sign_mismatch(tmp_path):
    size = struct.pack(">HHHIIIIIIIIHBBB", 0xFF51, 41, 0, 7, 6, 0, 0, 7, 6, 0, 0, 1, 15, 1, 1)
    slices = make_series()
    for dataset in slices:
        dataset.PixelData = encapsulate([b"\xff\x4f" + size + b"\0" * 32])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    refuse(tmp_path, slices, "agree on the sign")


def test_fault_35_float_pixel_data(tmp_path):
    slices = make_series()
    for dataset in slices:
        del dataset.PixelData
        dataset.FloatPixelData = np.zeros((6, 7), np.float32).tobytes()
        dataset.BitsAllocated = 32
    refuse(tmp_path, slices, "integer pixels")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_stored_kinds(tmp_path, dtype):
    stored = stored_pixels().astype(dtype)
    slices = make_series(stored=stored)
    volume = read(save_series(slices, tmp_path))
    np.testing.assert_allclose(volume.array, stored * 0.5)


def test_twelve_bits_with_overlay_above(tmp_path):
    stored = stored_pixels() % 4096
    slices = make_series(stored=stored)
    for dataset, plane in zip(slices, stored, strict=True):
        set_pixels(dataset, (plane | 0x5000).astype(np.uint16))
        dataset.BitsStored, dataset.HighBit = 12, 11
    np.testing.assert_allclose(read(save_series(slices, tmp_path)).array, stored * 0.5)


def test_slope_of_each_slice(tmp_path):
    stored, slopes = stored_pixels(), [0.1, 0.2, 0.35, 1.7141, 3.0]
    volume = read(save_series(make_series(stored=stored, slopes=slopes), tmp_path))
    np.testing.assert_allclose(volume.array, stored * np.array(slopes)[:, None, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEG2000Lossless, r"nmsynth\[codecs\]"),
        (RLELossless, r"nmsynth\[codecs\]"),
        (JPEGLosslessSV1, r"nmsynth\[codecs\]"),
        (JPEGLSLossless, "pyjpegls"),
        (JPEGBaseline8Bit, "pillow"),
    ],
)
def test_fault_33_no_decoder_names_the_plugin(tmp_path, monkeypatch, syntax, package):
    monkeypatch.setattr("pydicom.pixels.decoders.base.get_decoder", lambda _: SimpleNamespace(is_available=False))
    slices = make_series()
    for dataset in slices:
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(38) + b"\x8f" + bytes(60)])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(MissingExtraError, match=f"Install {package}"):
        read(save_series(slices, tmp_path))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_lossless_compression_keeps_every_voxel(tmp_path, syntax, dtype):
    if not get_encoder(syntax).is_available or not get_decoder(syntax).is_available:
        pytest.skip(f"no codec for {syntax.name}: pip install nmsynth[codecs] pyjpegls")
    stored = stored_pixels((3, 64, 48)).astype(dtype)
    stored[1, :4] = 60000 if dtype is np.uint16 else -300
    slices = make_series(stored=stored)
    for dataset in slices:
        dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read(save_series(slices, tmp_path)).array, stored * np.float32(0.5))


def test_lossless_jpeg_keeps_every_voxel(tmp_path):
    """The old lossless JPEG of many archives, made by dcmtk."""
    if not get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("no decoder for lossless JPEG: pip install nmsynth[codecs]")
    program = require_peer("dcmcjpeg")
    plain = read(save_series(make_series(), tmp_path / "plain"))
    (tmp_path / "jpeg").mkdir()
    for path in (tmp_path / "plain").iterdir():
        subprocess.run([program, "+e1", str(path), str(tmp_path / "jpeg" / path.name)], check=True)
    np.testing.assert_array_equal(read(tmp_path / "jpeg").array, plain.array)
