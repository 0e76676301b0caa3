"""Headers of the slices of a derived PET series, encoded; what all slices share is encoded once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from nmsynth.core.errors import UnsafeInputError
from nmsynth.io.dicom_administration import Administration
from nmsynth.io.dicom_encoding import encode_elements, encode_file
from nmsynth.io.dicom_identifiers import new_uid
from nmsynth.io.dicom_marks import Marks
from nmsynth.io.dicom_pet_module import DROPPED, PET_IMAGE_STORAGE, complete_pet
from nmsynth.io.dicom_quantise import QuantisedStack, decimal_string

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset


_COUNTS = ("PrimaryPromptsCountsAccumulated", "SecondaryCountsAccumulated", "CountsAccumulated")
"""Of the source's measurement, and not of one that was simulated from it."""
_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Value representations whose bytes depend on SpecificCharacterSet."""
_DROPPED_TAGS = frozenset(Tag(keyword) for keyword in DROPPED)


@dataclass(frozen=True, slots=True)
class DerivedSeries:
    """What all slices of the output share."""

    series_uid: str
    series_number: int
    marks: Marks
    administration: Administration
    pixels: QuantisedStack
    source_images: dict[int, bytes]
    """Encoded SourceImageSequence; the same on every slice, and long, so it is encoded once."""
    unit_changed: bool


def encode_series(headers: list[Dataset], series: DerivedSeries) -> list[bytes]:
    """Files of a derived series, one a header.

    The first header is derived whole. Of the others only those elements are decoded that differ from it; what the
    writer sets, and what does not differ, is taken over encoded.
    """
    first = headers[0]
    # Before anything is decoded: a decoded element and one that is not cannot be compared.
    differing = [_differing(first, header) for header in headers]
    before = encode_elements(copy_public(first))
    derived = encode_elements(_derive(first, len(headers), series))
    shared = {**derived, **series.source_images}
    written = {tag for tag in before.keys() | shared.keys() if before.get(tag) != shared.get(tag)}
    written |= {int(element.tag) for element in _series_level(first, series)}
    written |= {int(Tag(keyword)) for keyword in series.administration.top}
    files = []
    for index, header in enumerate(headers):
        absent = {int(tag) for tag in first.keys() if tag not in header}  # noqa: SIM118
        elements = {tag: code for tag, code in shared.items() if tag in written or tag not in absent}
        if index:
            own = encode_elements(copy_public(header, only=differing[index]), character_set=_charset(header))
            elements |= {tag: code for tag, code in own.items() if tag not in written}
        _follow_decay(elements, header, series.administration, index)
        instance_uid = new_uid(f"{series.series_uid} {index}")
        elements |= encode_elements(_slice_level(header, series, index, instance_uid))
        files.append(encode_file(elements, class_uid=PET_IMAGE_STORAGE, instance_uid=instance_uid))
    return files


def _charset(header: Dataset) -> object:
    """SpecificCharacterSet of a header."""
    return header.get("SpecificCharacterSet", None)


def _differing(first: Dataset, header: Dataset) -> frozenset[int]:
    """Tags of a header whose values, decoded or not, are not those of the first slice."""
    everything = _charset(first) != _charset(header)
    return frozenset(
        int(tag)
        for tag in header.keys()  # noqa: SIM118
        if everything or tag not in first or not _same(first.get_item(tag), header.get_item(tag))
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two elements, decoded or not, have one value."""
    return bool(type(one) is type(other) and one.VR == other.VR and one.value == other.value)


def _derive(header: Dataset, n_slices: int, series: DerivedSeries) -> Dataset:
    """Header of the first slice of the output, without its own identity and pixels."""
    dataset = copy_public(header)
    dataset.update(_series_level(header, series))
    series.administration.apply(dataset)
    if series.unit_changed:
        for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"):
            dataset.pop(keyword, None)
    if series.marks.provenance.simulated:
        for keyword in _COUNTS:
            dataset.pop(keyword, None)
    complete_pet(dataset, index=0, n_slices=n_slices)
    return dataset


def _series_level(header: Dataset, series: DerivedSeries) -> Dataset:
    """Identity, time of creation and marks: the same on every slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword in ("SeriesDescription", "ImageComments", "ContributingEquipmentSequence"):
        if keyword in header:
            setattr(dataset, keyword, header[keyword].value)
    created = series.marks.created
    dataset.SOPClassUID = PET_IMAGE_STORAGE
    dataset.SeriesInstanceUID = series.series_uid
    dataset.SeriesNumber = series.series_number
    dataset.ContentDate = dataset.InstanceCreationDate = created.strftime("%Y%m%d")
    dataset.ContentTime = dataset.InstanceCreationTime = created.strftime("%H%M%S.%f")
    mark(dataset, series.marks)
    dataset.LossyImageCompression = header.get("LossyImageCompression", None) or "00"
    return dataset


def _follow_decay(elements: dict[int, bytes], header: Dataset, administration: Administration, index: int) -> None:
    """Let DecayFactor and FrameReferenceTime of a slice follow values that were decay corrected to another time."""
    from pydicom.dataset import Dataset

    factors, changed = administration.decay_factors, Dataset()
    if factors is not None:
        elements.pop(int(Tag("DecayFactor")), None)
        if factors:
            changed.DecayFactor = decimal_string(factors[index % len(factors)])
    elif administration.moved_s:
        for keyword, factor, shift in (
            ("DecayFactor", administration.scale, 0.0),
            ("FrameReferenceTime", 1.0, 1000.0 * administration.moved_s),
        ):
            if elements.pop(int(Tag(keyword)), None) is not None and header.get(keyword, None) not in (None, ""):
                setattr(changed, keyword, decimal_string(float(header[keyword].value) * factor + shift))
    elements |= encode_elements(changed)


def _slice_level(header: Dataset, series: DerivedSeries, index: int, instance_uid: str) -> Dataset:
    """Identity and pixels of one slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPInstanceUID = instance_uid
    for keyword in ("ImageIndex", "InstanceNumber"):
        if header.get(keyword, None) in (None, ""):
            setattr(dataset, keyword, index + 1)
    set_pixels(dataset, series.pixels, index)
    return dataset


def copy_public(header: Dataset, *, only: Collection[int] | None = None) -> Dataset:
    """Elements of a header that a derived image keeps: no private ones at any depth, no overlays and curves."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for tag in sorted(header.keys() if only is None else only):
        tag = Tag(tag)
        if tag.is_private or tag.group <= 2 or tag.group & 0xFF00 in (0x5000, 0x6000) or tag in _DROPPED_TAGS:
            continue
        raw = header.get_item(tag)
        element = header[tag]
        if element.VR == "SQ":
            _strip_private(element)
        dataset.add(element)
        value = None if raw is None or element.VR not in _TEXT else raw.value
        if isinstance(value, bytes) and not _is_encodable(element, value, header.get("SpecificCharacterSet", None)):
            # decoded and encoded it would be another text; the header keeps the bytes for the next copy
            header[tag] = dataset[tag] = _as_bytes(element, value)
    return dataset


def _is_encodable(element: DataElement, value: bytes, character_set: Any) -> bool:
    """Whether a decoded text is encoded to the bytes that it was decoded from."""
    from pydicom.dataset import Dataset

    if value.isascii() and b"\x1b" not in value:
        return True
    alone = Dataset()
    alone.add(element)
    try:
        (code,) = encode_elements(alone, character_set=character_set).values()
    except (UnicodeError, LookupError):
        return False
    n_before = 12 if element.VR in ("UC", "UT") else 8  # tag, VR and length
    return code[n_before:].rstrip(b" \0") == value.rstrip(b" \0")


def _as_bytes(element: DataElement, value: bytes) -> RawDataElement:
    """Element that is written with the bytes of its source."""
    padded = value + b" " * (len(value) % 2)
    return RawDataElement(element.tag, element.VR, len(padded), padded, 0, False, True)


def _strip_private(sequence: DataElement, *, depth: int = 0) -> None:
    """Remove private elements from the items of a sequence."""
    if depth > 32:
        raise UnsafeInputError("Sequences of the source must not nest deeper than 32; these do. Export it again.")
    sequence.is_undefined_length = False
    for item in sequence.value:
        for element in list(item):
            if element.tag.is_private:
                del item[element.tag]
            elif element.VR == "SQ":
                _strip_private(element, depth=depth + 1)


def mark(dataset: Dataset, marks: Marks) -> None:
    """Say what the image is, wherever a viewer or an archive may look."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    if marks.is_artificial:
        dataset.SyntheticData = "YES"
    dataset.SeriesDescription = marks.series_description(dataset.get("SeriesDescription", ""))
    dataset.ImageComments = marks.image_comments(dataset.get("ImageComments", ""))
    dataset.DerivationDescription = marks.derivation_description()
    dataset.ContributingEquipmentSequence = [
        *(dataset.get("ContributingEquipmentSequence", None) or []),
        marks.equipment(),
    ]
    dataset.BurnedInAnnotation = "NO"
    dataset.QualityControlImage = "NO"


def set_pixels(dataset: Dataset, pixels: QuantisedStack, index: int) -> None:
    """Put a quantised slice into a header, with an explicit VR where the sign decides it."""
    kind = "SS" if pixels.is_signed else "US"
    dataset.Rows, dataset.Columns = pixels.codes.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(pixels.is_signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = pixels.slopes[index], "0"
    dataset.add_new("SmallestImagePixelValue", kind, pixels.smallest[index])
    dataset.add_new("LargestImagePixelValue", kind, pixels.largest[index])
    dataset.add_new("PixelData", "OW", pixels.codes[index].tobytes())
