"""From a study on disk to a synthetic study on disk."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.inference.predictor import Model
    from nmsynth.inference.synthesize import Synthesis, SynthesisSettings

NIFTI_SUFFIXES = (".nii", ".nii.gz")
FILE_SUFFIXES = (".dcm", ".ima", ".zip", ".json", ".gz", ".nrrd", ".mha")
"""Names of files that are no output, so that nobody gets a folder by that name."""

_log = logging.getLogger(__name__)


def synthesize_study(
    input_path: Path | str,
    output_path: Path | str,
    *,
    model: Model | str | Path = "lowcount-pet",
    inputs: Mapping[str, Path | str] | None = None,
    settings: SynthesisSettings | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    series_uid: str | None = None,
    unit: str | None = None,
    modality: str | None = None,
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
    settings
        As :class:`nmsynth.inference.SynthesisSettings`.
    overwrite
        Replace an output that exists.
    series_uid
        Which series, where the input holds several.
    unit, modality
        Of a NIfTI image without a sidecar.
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
    roles = _check_roles(model, inputs or {})
    record_path = check_paths(source_path, output, overwrite=overwrite)
    # Loading torch takes about as long as reading a series, so one is done while the other runs.
    with ThreadPoolExecutor(max_workers=1) as executor:
        preparing = executor.submit(_prepare, model, settings)
        source = read(source_path, series_uid=series_uid, unit=unit, modality=modality)
        sources = {role: read(Path(path), unit=unit, modality=modality) for role, path in roles.items()}
        loaded, chosen = preparing.result()
    _check_format(source, output)
    read_s = time.perf_counter() - started
    synthesis = _synthesize(source, sources, loaded, chosen, progress)
    synthesis.record["times_s"]["read_and_load"] = round(read_s, 3)
    _write(synthesis, output, record_path, started, overwrite=overwrite)
    return synthesis


def _write(synthesis: Synthesis, output: Path, record_path: Path, started: float, *, overwrite: bool) -> None:
    """Write the image, then its record with the times since the start."""
    from nmsynth.io.writing import write

    before = time.perf_counter()
    write(synthesis.image, output, overwrite=overwrite)
    now = time.perf_counter()
    synthesis.record["times_s"] |= {"write": round(now - before, 3), "study": round(now - started, 3)}
    _write_record(synthesis.record, record_path, inside=is_nifti(output), overwrite=overwrite)
    _log.info("synthesised in %.1f s", now - started)


def check_paths(source: Path, output: Path, *, overwrite: bool) -> Path:
    """Return the path of the record, if input and output may be used.

    Raises
    ------
    InputError
        If the input is absent, the output is of another format or exists, or one lies inside the other.
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
    real_source, real_output = source.resolve(), output.resolve()
    if real_output == real_source or real_source in real_output.parents or real_output in real_source.parents:
        raise InputError("Input and output must lie apart, so that the source stays as it is. Choose another output.")
    if record.resolve() == real_source:
        raise InputError(f"The record {_named(record)} would replace the input. Choose another output.")
    return record


def record_path(output: Path) -> Path:
    """Where the record of an output goes: the sidecar of a NIfTI image, a file beside a DICOM folder."""
    if is_nifti(output):
        from nmsynth.io.sidecar import sidecar_path

        return sidecar_path(output)
    return output.with_name(f"{output.name}.json")


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI image."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def _check_roles(model: Model | str | Path, inputs: Mapping[str, Path | str]) -> dict[str, Path | str]:
    """Further inputs by role, if the model takes them; the first role is the input itself."""
    from nmsynth.models.registry import show_model

    card = show_model(model) if isinstance(model, str | Path) else model.card
    known = card.inputs[1:]
    unknown = sorted(set(inputs) - set(known))
    if unknown:
        raise InputError(
            f"The further inputs of {card.name} must be {', '.join(known) or 'none'}; found {', '.join(unknown)}. "
            "Leave them out."
        )
    return dict(inputs)


def _prepare(
    model: Model | str | Path, settings: SynthesisSettings | Mapping[str, Any] | None
) -> tuple[Model, SynthesisSettings]:
    """Model and settings."""
    from nmsynth.inference.predictor import Model, load_model
    from nmsynth.inference.synthesize import resolve_settings

    chosen = resolve_settings(settings)
    return (model if isinstance(model, Model) else load_model(model)), chosen


def _synthesize(
    source: Volume,
    others: Mapping[str, Volume],
    model: Model,
    settings: SynthesisSettings,
    progress: Callable[[int, int], None] | None,
) -> Synthesis:
    """Synthesis from a volume and those of further roles."""
    from nmsynth.inference.synthesize import synthesize

    volumes = {model.card.inputs[0]: source, **others}
    return synthesize(volumes, model, settings=settings, progress=progress)


def _check_format(source: Volume, output: Path) -> None:
    """Refuse DICOM out of an image without DICOM headers, before anything is computed."""
    has_headers = source.source is not None and source.source.format == "dicom"
    if not (is_nifti(output) or has_headers or (source.provenance.simulated and source.modality == "PT")):
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
