import zipfile

import numpy as np
import pytest

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.io.interfile import is_interfile, read_interfile

VALUES = np.arange(2 * 3 * 4).reshape(2, 3, 4)
HEADER = """!INTERFILE :=
; a comment := with a separator
!imaging modality := nucmed
!data offset in bytes := 0
!name of data file := image.i33
imagedata byte order := LITTLEENDIAN
!matrix size [1] := 4
!matrix size [2] := 3
!number format := unsigned integer
!number of bytes per pixel := 2
scaling factor (mm/pixel) [1] :=+2.000000+00
scaling factor (mm/pixel) [2] := 2.5
!number of slices := 2
slice thickness (pixels) := 3.0
patient name := SECRET
!END OF INTERFILE :=
"""


def written(folder, header=HEADER, values=None):
    (folder / "image.h33").write_text(header.replace("\n", "\r\n"))
    (folder / "image.i33").write_bytes((VALUES.astype("<u2") if values is None else values).tobytes())
    return folder / "image.h33"


def read(path, **options):
    return read_interfile(path, unit="Bq/mL", **options)


def test_values_axes_and_sizes_are_those_of_the_header(tmp_path):
    volume = read(written(tmp_path), slice_unit="mm")
    assert (volume.array == VALUES).all()
    assert volume.spacing_mm == (3.0, 2.5, 2.0)
    assert (volume.affine @ (0.5, 1.0, 1.5, 1.0))[:3] == pytest.approx((0.0, 0.0, 0.0))
    assert "position" in volume.warnings[0]


def test_slice_thickness_has_two_readings_and_one_must_be_chosen(tmp_path):
    path = written(tmp_path)
    assert read(path, slice_unit="pixels").spacing_mm[0] == 6.0
    with pytest.raises(InputError, match=r"6 mm if it counts pixels.*and 3 mm"):
        read(path)
    same = HEADER.replace(":=+2.000000+00", ":= 1.0")
    assert read(written(tmp_path, same)).spacing_mm == (3.0, 2.5, 1.0)
    stated = HEADER.replace("slice thickness (pixels)", "!scaling factor (mm/pixel) [3]").replace("!scaling", "scaling")
    assert read(written(tmp_path, stated)).spacing_mm[0] == 3.0


@pytest.mark.parametrize(
    ("kind", "n_bytes", "dtype"),
    [
        ("unsigned integer", 1, "u1"), ("signed integer", 2, "i2"), ("signed integer", 4, "i4"),
        ("short float", 4, "f4"), ("long float", 8, "f8"), ("float", 4, "f4"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_number_format_and_byte_order(tmp_path, kind, n_bytes, dtype, order):
    header = HEADER.replace("unsigned integer", kind).replace("per pixel := 2", f"per pixel := {n_bytes}")
    if order == ">":
        header = header.replace("imagedata byte order := LITTLEENDIAN\n", "")  # big endian where none is stated
    volume = read(written(tmp_path, header, VALUES.astype(order + dtype)), slice_unit="mm")
    assert (volume.array == VALUES).all()


def test_voxels_begin_at_the_offset_and_are_scaled(tmp_path):
    header = HEADER.replace("bytes := 0", "bytes := 6").replace("patient", "image scaling factor [1] := 0.5\npatient")
    volume = read(written(tmp_path, header, np.concatenate(([7, 7, 7], VALUES.ravel())).astype("<u2")), slice_unit="mm")
    assert (volume.array == VALUES / 2).all()


def test_a_header_inside_a_zip_is_found(tmp_path):
    archive = tmp_path / "phantoms.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for name in ("a/one.h33", "__MACOSX/a/._one.h33"):
            z.writestr(name, HEADER)
        z.writestr("a/image.i33", VALUES.astype("<u2").tobytes())
    assert (read(archive, slice_unit="mm").array == VALUES).all()
    with zipfile.ZipFile(archive, "a") as z:
        z.writestr("a/two.h33", HEADER)
    assert (read(archive / "a" / "two.h33", slice_unit="mm").array == VALUES).all()
    with pytest.raises(InputError, match="found 2"):
        read(archive)
    with pytest.raises(InputError, match="must hold the header asked for"):
        read(archive / "a" / "three.h33")
    archive.write_bytes(b"no zip")
    with pytest.raises(UnsafeInputError, match="damaged"):
        read(archive)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("!INTERFILE", "!OTHER", "must begin with"),
        ("patient name", "!patient name", "must be understood; 'patient name'"),
        ("patient name := SECRET", "type of data := Dynamic", "'type of data' .* found 'dynamic'"),
        ("patient name := SECRET", "data compression := gzip", "'data compression'"),
        ("patient name := SECRET", "number of time frames := 3", "'number of time frames'"),
        ("patient name := SECRET", "slice orientation := Coronal", "'slice orientation'"),
        ("patient name := SECRET", "data rescale slope[1] := 3", "scaled by"),
        ("patient name := SECRET", "image scaling factor[1] := 0", "above 0"),
        ("patient name := SECRET", "total number of images := 3", "one number of slices"),
        ("unsigned integer", "ASCII", "'ascii' of 2 bytes"),
        ("LITTLEENDIAN", "MIDDLE", "'middle'"),
        ("matrix size [1] := 4", "matrix size [1] := 4.5", "must be whole"),
        ("matrix size [1] := 4", "matrix size [1] := many", "must be a number; found 'many'"),
        ("matrix size [1] := 4", "matrix size [1] := 400000000", "at most"),
        ("matrix size [1] := 4\n", "matrix size [1] := 5\n", "must fill the raw file .*found 48"),
        ("number of slices := 2", "number of slices := 1", "found more"),
        ("!number format := unsigned integer\n", "", "must state 'number format'"),
        ("[2] := 2.5", "[2] := -2.5", "above 0 mm"),
        ("image.i33", "../image.i33", "in its folder"),
    ],
)
def test_what_is_not_understood_is_refused_without_the_patient(tmp_path, old, new, message):
    path = written(tmp_path, HEADER.replace(old, new, 1))
    with pytest.raises(UnsafeInputError, match=message) as caught:
        read(path, slice_unit="mm")
    assert "SECRET" not in str(caught.value)


def test_absent_files_and_not_finite_voxels_are_refused(tmp_path):
    path = written(tmp_path)
    assert is_interfile(path)
    (tmp_path / "image.i33").unlink()
    with pytest.raises(InputError, match="one of them is absent"):
        read(path, slice_unit="mm")
    with pytest.raises(InputError, match="found none at that path"):
        read(tmp_path / "absent.h33")
    header = HEADER.replace("unsigned integer", "float").replace("per pixel := 2", "per pixel := 4")
    with pytest.raises(UnsafeInputError, match="finite"):
        read(written(tmp_path, header, np.full(24, np.nan, "<f4")), slice_unit="mm")


def test_public_phantom_is_read(shared_data):
    archive = shared_data / "spect_phantoms" / "DaT_phantom.zip"
    volume = read(archive / "DaT_Source_120x120x120.h33", slice_unit="mm")
    assert (volume.shape, volume.spacing_mm) == ((120, 120, 120), (2.0, 2.0, 2.0))
    assert set(np.unique(volume.array)) == {0.0, 10.0, 100.0, 800.0}
