"""From a study on disk to a synthetic study on disk."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.inference.method_model import MethodModel
    from nmsynth.inference.predictor import Model
    from nmsynth.inference.synthesize import Synthesis, SynthesisSettings
    from nmsynth.models.card import Card

NIFTI_SUFFIXES = (".nii", ".nii.gz")
FILE_SUFFIXES = (".dcm", ".ima", ".zip", ".json", ".gz", ".nrrd", ".mha")
"""Names of files that are no output, so that nobody gets a folder by that name."""

_SAMPLE = re.compile(r"(sample-\d+|lower|upper)\.(nii\.gz|json)")
_log = logging.getLogger(__name__)


def synthesize_study(
    input_path: Path | str,
    output_path: Path | str,
    *,
    model: Model | MethodModel | str | Path = "lowcount-pet",
    inputs: Mapping[str, Path | str] | None = None,
    input_units: Mapping[str, str] | None = None,
    settings: SynthesisSettings | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    series_uid: str | None = None,
    unit: str | None = None,
    modality: str | None = None,
    samples_path: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Read a scan, synthesise, and write the result with its record; nothing is written if anything fails.

    A DICOM output is a folder that holds only DICOM files, with the record beside it as ``OUTPUT.json``; a NIfTI
    output has its record under ``synthesis`` in its JSON sidecar.

    Parameters
    ----------
    input_path
        DICOM folder, zip or file, or NIfTI image.
    output_path
        A new folder for DICOM, or a file ending in ``.nii`` or ``.nii.gz``.
    model
        A loaded model, its name, or the folder of its package.
    inputs
        Further inputs by role, for models that take several.
    input_units
        Unit of a further NIfTI input without a sidecar, by role. Its modality is the role's: naming it ``ct`` says so.
    settings
        As :class:`nmsynth.inference.SynthesisSettings`.
    overwrite
        Replace an output that exists; of the records beside outputs only one of nmsynth's own.
    series_uid
        Which series, where the input holds several.
    unit, modality
        Of a NIfTI image without a sidecar; of ``input_path`` alone.
    samples_path
        A new folder for the samples of a stochastic model and the bounds of its intervals, as NIfTI.
    progress
        Told how many of how many tiles are done.

    Raises
    ------
    InputError
        If an option is wrong or the output is already there; before anything is read.
    RefusalError
        If the input is not safe to use or outside the model's envelope.
    """
    from nmsynth.io import read

    started = time.perf_counter()
    source_path, output = Path(input_path), Path(output_path)
    card = _card_of(model)
    roles = _check_roles(card, inputs or {}, input_units or {})
    given = (source_path, *map(Path, roles.values()))
    record_path = check_paths(source_path, output, others=given[1:], overwrite=overwrite)
    folder = _check_samples(samples_path, output, given, overwrite=overwrite)
    # Loading torch takes about as long as reading a series, so one is done while the other runs.
    with ThreadPoolExecutor(max_workers=1) as executor:
        preparing = executor.submit(_prepare, model, settings)
        source = read(source_path, series_uid=series_uid, unit=unit, modality=modality)
        sources = {role: _read_further(path, role, card, (input_units or {}).get(role)) for role, path in roles.items()}
        _check_one_patient({card.inputs[0]: source_path, **{role: Path(path) for role, path in roles.items()}})
        loaded, chosen = preparing.result()
    _check_format(source, output, card, chosen)
    if folder is not None and not getattr(loaded, "is_stochastic", False):
        raise InputError(f"The model {card.name} draws no samples: a scan has one answer. Leave out their folder.")
    read_s = time.perf_counter() - started
    synthesis = _synthesize(source, sources, loaded, chosen, progress)
    synthesis.record["times_s"]["read_and_load"] = round(read_s, 3)
    with _samples_written(synthesis, folder, overwrite=overwrite):
        _write(synthesis, output, record_path, started, overwrite=overwrite)
    return synthesis


def _check_samples(folder: Path | str | None, output: Path, inputs: Sequence[Path], *, overwrite: bool) -> Path | None:
    """Folder of samples, if it may be written."""
    if folder is None:
        return None
    folder = Path(folder)
    if folder.resolve() == output.resolve() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"Samples need a folder of their own; {_named(folder)} is none. Choose another.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"The folder of samples {_named(folder)} must be new or empty; it is not. Choose another.")
    _check_apart(inputs, folder)
    return folder


@contextmanager
def _samples_written(synthesis: Synthesis, folder: Path | None, *, overwrite: bool) -> Iterator[None]:
    """Samples as NIfTI, numbered, and the bounds of the interval, in a folder that appears when all is written."""
    from nmsynth.io.atomic import atomic_directory
    from nmsynth.io.nifti import write_nifti

    if folder is None:
        yield
        return
    with atomic_directory(folder, overwrite=overwrite, may_replace=_holds_samples) as temporary:
        for number, sample in enumerate(synthesis.samples, start=1):
            write_nifti(sample, temporary / f"sample-{number:03d}.nii.gz")
        for name, bound in zip(("lower", "upper"), synthesis.interval or (), strict=False):
            write_nifti(bound, temporary / f"{name}.nii.gz")
        yield


def _holds_samples(folder: Path) -> bool:
    """Whether a folder holds samples and nothing else, so that it may be replaced."""
    return all(_SAMPLE.fullmatch(path.name) for path in folder.iterdir())


def _write(synthesis: Synthesis, output: Path, record_path: Path, started: float, *, overwrite: bool) -> None:
    """Write the image, then its record with the times since the start."""
    from nmsynth.io.writing import write

    before = time.perf_counter()
    write(synthesis.image, output, overwrite=overwrite)
    now = time.perf_counter()
    synthesis.record["times_s"] |= {"write": round(now - before, 3), "study": round(now - started, 3)}
    _write_record(synthesis.record, record_path, inside=is_nifti(output), overwrite=overwrite)
    _log.info("synthesised in %.1f s", now - started)


def check_paths(source: Path, output: Path, *, others: Sequence[Path] = (), overwrite: bool) -> Path:
    """Return the path of the record, if inputs and output may be used.

    Parameters
    ----------
    source, others
        The first input, and those of further roles.
    output
        Where the image goes.
    overwrite
        Whether an output is replaced; of records beside it only one that nmsynth wrote for such an output.

    Raises
    ------
    InputError
        If the input is absent, the output is of another format or exists, it lies in the folder of an input or holds
        one, or its record would replace what belongs to an input or to another image.
    """
    if not source.exists():
        raise InputError(f"The input must exist; {_named(source)} does not. Check the path.")
    if not is_nifti(output) and output.suffix.lower() in FILE_SUFFIXES:
        raise InputError(
            f"An output is a folder for DICOM, or a .nii or .nii.gz file; found {_named(output)}. Rename it."
        )
    record = record_path(output)
    for path in (output, record):
        if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"The output {_named(path)} must not exist; it does. Choose another or allow overwriting.")
    if record.is_dir() or (is_nifti(output) and output.is_dir()):
        raise InputError(f"The output {_named(record)} must be a file; a folder is at that path. Choose another.")
    _check_apart((source, *others), output)
    _check_record(record, output, (source, *others))
    return record


def _check_apart(inputs: Sequence[Path], output: Path) -> None:
    """Refuse an output that is an input, lies where one is read from, or holds one."""
    from nmsynth.io.source_place import source_place

    target = output.resolve()
    for path in inputs:
        place = source_place(path)
        if _is_one_file(place, target) or place in target.parents or target in place.parents:
            raise InputError(
                f"Inputs and output must lie apart, so that no source changes; {_named(output)} lies with an input or "
                "holds it. Choose another output, in another folder."
            )


def _check_record(record: Path, output: Path, inputs: Sequence[Path]) -> None:
    """Refuse a record that is an input, belongs to one or to another image, or is not of nmsynth."""
    from nmsynth.io.sidecar import sidecar_path

    for path in inputs:
        owned = [path, *(sidecar_path(image) for image in (path, path.resolve()) if is_nifti(image))]
        if any(_is_one_file(record, other) for other in owned):
            raise InputError(
                f"The record {_named(record)} would replace an input or its sidecar. Choose another output."
            )
    for ending in NIFTI_SUFFIXES:
        image = record.with_name(record.name.removesuffix(".json") + ending)
        if image.exists() and not _is_one_file(image, output):
            raise InputError(
                f"The record {_named(record)} would be the sidecar of another image, {_named(image)}. Choose another "
                "output."
            )
    if record.exists() and not _is_own_record(record, inside=is_nifti(output)):
        raise InputError(
            f"Only a record that nmsynth wrote for such an output is replaced; {_named(record)} is something else. "
            "Choose another output, or move that file."
        )


def _is_one_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to one place."""
    return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


def _is_own_record(path: Path, *, inside: bool) -> bool:
    """Whether a file is a record of a synthesis or, of a NIfTI image, a sidecar that nmsynth wrote."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    wanted = {"nmsynth"} if inside else {"schema_version", "nmsynth_version", "synthetic", "model"}
    return isinstance(found, dict) and wanted <= found.keys()


def record_path(output: Path) -> Path:
    """Where the record of an output goes: the sidecar of a NIfTI image, a file beside a DICOM folder."""
    if is_nifti(output):
        from nmsynth.io.sidecar import sidecar_path

        return sidecar_path(output)
    return output.with_name(f"{output.name}.json")


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI image."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def _card_of(model: Model | MethodModel | str | Path) -> Card:
    """Card of a model that is loaded or not."""
    from nmsynth.models.registry import show_model

    return show_model(model) if isinstance(model, str | Path) else model.card


def _check_roles(card: Card, inputs: Mapping[str, Path | str], units: Mapping[str, str]) -> dict[str, Path | str]:
    """Further inputs by role, if the model takes them; the first role is the input itself."""
    known = card.inputs[1:]
    unknown = sorted(set(inputs) - set(known))
    if unknown:
        raise InputError(
            f"The further inputs of {card.name} must be {', '.join(known) or 'none'}; found {', '.join(unknown)}. "
            "Leave them out."
        )
    stray = sorted(set(units) - set(inputs))
    if stray:
        raise InputError(
            f"A unit is stated of the input '{stray[0]}', which is not given. Give it, or leave its unit out."
        )
    return dict(inputs)


def _read_further(path: Path | str, role: str, card: Card, unit: str | None) -> Volume:
    """Read an input beside the first; its modality is that of its role, which the caller stated by naming it."""
    from nmsynth.io import read

    planned = {source.name: source for source in card.plan.sources} if card.plan is not None else {}
    modality = planned[role].modality if role in planned and is_nifti(Path(path)) else None
    return read(Path(path), unit=unit, modality=modality)


def _check_one_patient(paths: Mapping[str, Path]) -> None:
    """Refuse DICOM inputs whose patients differ; nothing of a patient is said."""
    from nmsynth.core.errors import EnvelopeError
    from nmsynth.io.dicom_patient import patient_digest

    if len(paths) < 2:
        return
    found = {role: patient_digest(path) for role, path in paths.items() if not is_nifti(path)}
    stated = {role: digest for role, digest in found.items() if digest is not None}
    if len(set(stated.values())) > 1:
        raise EnvelopeError(
            f"The inputs must be of one patient; the PatientIDs of {', '.join(stated)} differ. Give those of one."
        )


def _prepare(
    model: Model | MethodModel | str | Path, settings: SynthesisSettings | Mapping[str, Any] | None
) -> tuple[Model | MethodModel, SynthesisSettings]:
    """Model and settings."""
    from nmsynth.inference.predictor import load_model
    from nmsynth.inference.synthesize import resolve_settings

    chosen = resolve_settings(settings)
    return (load_model(model) if isinstance(model, str | Path) else model), chosen


def _synthesize(
    source: Volume,
    others: Mapping[str, Volume],
    model: Model | MethodModel,
    settings: SynthesisSettings,
    progress: Callable[[int, int], None] | None,
) -> Synthesis:
    """Synthesis from a volume and those of further roles."""
    from nmsynth.inference.synthesize import synthesize

    volumes = {model.card.inputs[0]: source, **others}
    return synthesize(volumes, model, settings=settings, progress=progress)


def _check_format(source: Volume, output: Path, card: Card, settings: SynthesisSettings) -> None:
    """Refuse DICOM that cannot be written, before anything is computed."""
    from nmsynth.core.units import Unit
    from nmsynth.core.volume import ACTIVITY_MODALITIES
    from nmsynth.inference.imitation import imitation_of
    from nmsynth.io.dicom_translated import may_be_imitated

    if is_nifti(output):
        return
    if settings.unit is Unit.PER_CENTIMETRE:
        raise InputError(
            "A DICOM CT holds HU, which every reader of one expects; an attenuation in 1/cm was asked for. Name an "
            "output that ends in .nii.gz, or leave the unit out."
        )
    plan = card.plan
    has_headers = source.source is not None and source.source.format == "dicom"
    imitates = plan is not None and plan.target.modality == "PT" and imitation_of(plan, {}) is not None
    if plan is not None and imitates and not may_be_imitated(plan.target.unit):
        raise InputError(
            "A DICOM of PET that nobody injected or scanned holds a ratio, an imitated SUV or relative values; "
            f"{card.name} gives {plan.target.unit.value}. Name an output that ends in .nii.gz."
        )
    if plan is not None and (plan.target.modality in ("CT", "MR") or imitates) and has_headers:
        return  # a new series in the study of the input
    if plan is not None and (
        plan.target.modality not in ACTIVITY_MODALITIES
        or (plan.sources[0].modality, plan.sources[0].unit) != (plan.target.modality, plan.target.unit)
    ):
        raise InputError(
            "A DICOM output is PET or NM of an input of that kind and unit, or CT, MR or PET of another tracer of a "
            f"DICOM input, in whose study it is written; {card.name} gives {plan.target.modality} in "
            f"{plan.target.unit.value} of {plan.sources[0].modality}. Name an output that ends in .nii.gz."
        )
    if not (has_headers or (source.provenance.simulated and source.modality == "PT")):
        raise InputError(
            f"A DICOM output needs a DICOM input, whose headers it continues; the input is NIfTI and the output "
            f"{_named(output)} is not. Name an output that ends in .nii.gz."
        )


def _write_record(record: dict[str, Any], path: Path, *, inside: bool, overwrite: bool) -> None:
    """Write the record as JSON, or into the sidecar that the image's writer left."""
    from nmsynth.io.atomic import atomic_file

    content = record
    if inside:
        sidecar = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        content = {**sidecar, "synthesis": record}
    with atomic_file(path, overwrite=overwrite or inside) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _named(path: Path) -> str:
    """Base name of a path, escaped."""
    return repr(path.name)
