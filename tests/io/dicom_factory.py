"""Small synthetic PT, CT, MR and NM series as pydicom datasets; nothing in them stems from a patient."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PT, CT, MR, NM = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("128", "2", "4", "20"))
SOP_CLASSES = {"PT": PT, "CT": CT, "MR": MR, "NM": NM}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*parts: Any) -> str:
    """Unique identifier that is the same for the same parts."""
    return str(generate_uid(entropy_srcs=["nmsynth-tests", *map(str, parts)]))


def administration(**changes: Any) -> Dataset:
    """Item of RadiopharmaceuticalInformationSequence: 368.08 MBq of FDG at 10:00; ``None`` drops an attribute."""
    item = Dataset()
    item.Radiopharmaceutical = "FDG"
    item.RadiopharmaceuticalStartTime = "100000"
    item.RadionuclideTotalDose = "368080000.0"
    item.RadionuclideHalfLife = "6586.2"
    item.RadionuclidePositronFraction = "0.97"
    item.RadiopharmaceuticalStartDateTime = "20250101100000"
    item.RadionuclideCodeSequence = Sequence([coded("77004003", "SCT", "^18^Fluorine")])
    item.RadiopharmaceuticalCodeSequence = Sequence([coded("35321007", "SCT", "Fluorodeoxyglucose F^18^")])
    update(item, changes)
    return item


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """Item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def update(dataset: Dataset, changes: dict[str, Any]) -> Dataset:
    """Set attributes by keyword; ``None`` drops one."""
    for keyword, value in changes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def stored_pixels(shape: tuple[int, int, int] = (5, 6, 7), *, seed: int = 0) -> np.ndarray:
    """Stored values ``(z, y, x)``, unsigned 15 bit, all voxels different in each slice."""
    return np.random.default_rng(seed).integers(0, 32000, shape).astype(np.int16)


def make_series(
    modality: str = "PT",
    *,
    stored: np.ndarray | None = None,
    slopes: Iterable[float] | float = 0.5,
    spacing_mm: tuple[float, float, float] = (3.0, 4.0, 5.0),
    origin_mm: tuple[float, float, float] = (-20.0, 10.0, 30.0),
    orientation: tuple[float, ...] = AXIAL,
    step_sign: int = 1,
    radiopharmaceutical: dict[str, Any] | None = None,
    series: Any = 0,
    **changes: Any,
) -> list[FileDataset]:
    """Single-frame series of small slices; ``changes`` are attributes by keyword, ``None`` drops one.

    ``stored`` is ``(z, y, x)``; ``spacing_mm`` too. ``origin_mm`` is that of the first slice, and the next one lies
    along the slice normal times ``step_sign``.
    """
    stored = stored_pixels() if stored is None else np.asarray(stored)
    n_z = stored.shape[0]
    slope_list = [float(slopes)] * n_z if np.isscalar(slopes) else [float(slope) for slope in slopes]
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column) * step_sign
    slices = []
    for index in range(n_z):
        dataset = _base(modality, series=series, index=index, n_z=n_z)
        position = np.array(origin_mm) + index * spacing_mm[0] * normal
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
        dataset.ImageOrientationPatient = [f"{value:.10g}" for value in orientation]
        dataset.PixelSpacing = [f"{value:.10g}" for value in spacing_mm[1:]]
        dataset.SliceThickness = f"{spacing_mm[0]:.10g}"
        if modality == "PT":
            _pet(dataset, radiopharmaceutical or {})
        if modality in ("PT", "CT"):
            dataset.RescaleSlope = f"{slope_list[index]:.10g}"
            dataset.RescaleIntercept = "-1024" if modality == "CT" else "0"
        if modality == "CT":
            dataset.RescaleSlope = "1"
        set_pixels(dataset, stored[index])
        slices.append(update(dataset, changes))
    return slices


def _base(modality: str, *, series: Any, index: int, n_z: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[modality]
    meta.MediaStorageSOPInstanceUID = uid(modality, series, index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY"] + ([] if modality == "PT" else ["AXIAL"])
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20250101"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "110000"
    dataset.Modality = modality
    dataset.AccessionNumber = ""
    dataset.Manufacturer = "Synthetic"
    dataset.ManufacturerModelName = "Factory"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Factory study"
    dataset.SeriesDescription = f"Factory {modality}"
    dataset.PatientName = "PHANTOM^Works"
    dataset.PatientID = "FACTORY-1"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "M"
    dataset.PatientWeight = "70"
    dataset.PatientSize = "1.75"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = uid("study")
    dataset.SeriesInstanceUID = uid("series", modality, series)
    dataset.FrameOfReferenceUID = uid("frame")
    dataset.StudyID = "1"
    dataset.SeriesNumber = "3"
    dataset.InstanceNumber = str(index + 1)
    dataset.PositionReferenceIndicator = ""
    if modality == "PT":
        dataset.NumberOfSlices = n_z
        dataset.ImageIndex = index + 1
    return dataset


def _pet(dataset: Dataset, radiopharmaceutical: dict[str, Any]) -> None:
    dataset.Units = "BQML"
    dataset.CountsSource = "EMISSION"
    dataset.SeriesType = ["STATIC", "IMAGE"]
    dataset.CollimatorType = "NONE"
    dataset.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    dataset.DecayCorrection = "START"
    dataset.DecayFactor = "1.0"
    dataset.FrameReferenceTime = "150000.0"
    dataset.ActualFrameDuration = "300000"
    dataset.RadiopharmaceuticalInformationSequence = Sequence([administration(**radiopharmaceutical)])


def set_pixels(dataset: Dataset, stored: np.ndarray) -> None:
    """Pixel description and data of one slice ``(y, x)``, or of frames ``(frame, y, x)``."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    bits = stored.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"


def make_nm(
    stored: np.ndarray | None = None, *, kind: str = "RECON TOMO", spacing_mm: float = 4.0, **changes: Any
) -> FileDataset:
    """Multi-frame NM object of ``(frame, y, x)`` counts; ``spacing_mm`` may be negative."""
    stored = stored_pixels().astype(np.uint16) if stored is None else stored
    n_frames = stored.shape[0]
    dataset = _base("NM", series=kind, index=0, n_z=n_frames)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    set_pixels(dataset, stored)
    dataset.NumberOfFrames = n_frames
    dataset.PixelSpacing = [4.0, 5.0]
    detector = Dataset()
    if kind == "RECON TOMO":
        detector.ImagePositionPatient = [-20.0, 10.0, 30.0]
        detector.ImageOrientationPatient = list(AXIAL)
        dataset.SpacingBetweenSlices = str(spacing_mm)
        dataset.SliceThickness = str(abs(spacing_mm))
        dataset.FrameIncrementPointer = 0x00540080
        dataset.SliceVector = list(range(1, n_frames + 1))
        dataset.NumberOfSlices = n_frames
    else:
        dataset.FrameIncrementPointer = [0x00540010, 0x00540020]
        dataset.EnergyWindowVector = [1] * n_frames
        dataset.DetectorVector = list(range(1, n_frames + 1))
    dataset.NumberOfEnergyWindows = 1
    dataset.DetectorInformationSequence = Sequence([detector])
    item = Dataset()
    item.RadionuclideCodeSequence = Sequence([coded("72454006", "SCT", "^99m^Technetium")])
    dataset.RadiopharmaceuticalInformationSequence = Sequence([item])
    return update(dataset, changes)


def save_series(
    slices: Iterable[Dataset], folder: Path, *, name: Callable[[int], str] = "slice-{:03d}.dcm".format
) -> Path:
    """Write the slices into ``folder``, which is made, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(slices):
        dataset.save_as(folder / name(index), enforce_file_format=True)
    return folder
