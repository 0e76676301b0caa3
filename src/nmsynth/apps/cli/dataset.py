"""``nmsynth dataset``: make, check and register a dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.errors import InputError

app = typer.Typer(help="Make, check and register a dataset.", no_args_is_help=True)

Patterns = Annotated[list[str] | None, typer.Option(metavar="NAME=PATTERN")]


class How(StrEnum):
    """How images are registered."""

    RIGID = "rigid"
    DEFORMABLE = "deformable"


class By(StrEnum):
    """What is compared in a registration."""

    CONTOUR = "contour"
    INTENSITY = "intensity"
    BOTH = "both"
    SYNTHESIS = "synthesis"


@app.callback()
def dataset() -> None:
    """Make, check and register a dataset."""


@app.command("check")
def check(
    context: typer.Context,
    manifest: Annotated[Path, typer.Argument(metavar="DATASET", help="Manifest, or the folder that holds it.")],
    tolerance_mm: Annotated[
        float, typer.Option("--tolerance-mm", min=0.0, help="Source further than this from its target is told.")
    ] = 8.0,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder for a picture of each case, and a page of them.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="Folder where a training will prepare images; is there room?")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Open every image of DATASET and tell what would spoil a training; exit status 2 where there is an error."""
    from nmsynth.data.sides import sides_in_words
    from nmsynth.workflows.dataset_check import check_dataset

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        result = check_dataset(manifest, tolerance_mm=tolerance_mm, pictures=pictures, work=work, progress=progress)
    findings = result["findings"]
    n_errors = sum(f["level"] == "error" for f in findings)
    if as_json:
        terminal.print_json(result)
    else:
        splits = ", ".join(f"{name} {n}" for name, n in result["splits"].items())
        n_cases = f"{result['cases']} cases"
        if result["sides"]["pair"] < result["cases"]:
            n_cases += f" ({sides_in_words(result['sides'])})"
        terminal.print_line(f"{n_cases}, {result['images']} images, subjects: {splits}")
        if findings:
            terminal.print_table(("level", "case", "role", "name", "what"), [tuple(f.values()) for f in findings])
        else:
            terminal.print_line("Nothing is wrong with it")
    if n_errors:
        raise typer.Exit(2)


@app.command("make")
def make(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A BIDS dataset, or a folder with one for each patient.")],
    output: Annotated[Path | None, typer.Argument(help="CSV file; manifest.csv in FOLDER when left out.")] = None,
    source: Patterns = None,
    target: Patterns = None,
    condition: Patterns = None,
    mask: Patterns = None,
    anatomy: Patterns = None,
    stated: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="NAME=MODALITY,UNIT", help="Of NIfTI without a sidecar: ct=CT,HU."),
    ] = None,
    validation_share: Annotated[float, typer.Option("--validation-share", help="Of the subjects.")] = 0.2,
    test_share: Annotated[float, typer.Option("--test-share", help="Of the subjects.")] = 0.0,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Take patients with a source or a target alone, too.")
    ] = False,
    folds: Annotated[int, typer.Option("--folds", help="Manifests for cross-validation; 0 for a single one.")] = 0,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a manifest of the images in FOLDER: which is a source, which the target, and who is for validation.

    PATTERN is one below each patient's folder, such as '*/low' or 'ct.nii.gz'; of BIDS it is a suffix and entities,
    such as 'pet,rec-low'. Nothing is copied, and patients get pseudonyms.
    """
    from nmsynth.data.sides import sides_in_words
    from nmsynth.workflows.dataset_make import Split, Wanted, make_manifest

    given = {"source": source, "target": target, "condition": condition, "mask": mask, "anatomy": anatomy}
    wanted = [Wanted.parse(role, text) for role, texts in given.items() for text in texts or ()]
    rules = Split(validation_share, test_share, folds, seed)
    result = make_manifest(
        folder, output, wanted, split=rules, stated=_stated(stated), unpaired=unpaired, overwrite=overwrite
    )
    terminal = terminal_of(context)
    if as_json:
        terminal.print_json(result)
        return
    splits = ", ".join(f"{name} {n}" for name, n in result["splits"].items())
    n_cases = f"{result['cases']} cases" + (f" ({sides_in_words(result['sides'])})" if unpaired else "")
    terminal.print_line(f"Wrote {', '.join(result['manifests'])}: {n_cases}, subjects: {splits}")
    for line in result["left_out"]:
        terminal.print_line(line)


def _stated(words: list[str] | None) -> dict[str, tuple[str, str]]:
    """Modality and unit by name or role."""
    found = {}
    for word in words or ():
        name, separator, value = word.partition("=")
        modality, comma, unit = value.partition(",")
        if not (name and separator and modality and comma and unit):
            raise InputError(f"--as must be NAME=MODALITY,UNIT; found '{word}'. Write, for example, --as ct=CT,HU.")
        found[name] = (modality.strip(), unit.strip())
    return found


@app.command("normals")
def normals(
    context: typer.Context,
    manifest: Annotated[Path, typer.Argument(metavar="DATASET", help="Manifest, or the folder that holds it.")],
    output: Annotated[Path, typer.Argument(help="JSON file of the limits.")],
    image: Annotated[str, typer.Option("--image", help="Role or name of the image that is measured.")] = "target",
    wall: Annotated[str, typer.Option("--wall", help="Name of the mask of the wall.")] = "segments",
    scaled_in: Annotated[
        str,
        typer.Option("--scaled-in", help="Role or name of the image that the maps are scaled by; the measured one."),
    ] = "",
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Make normal limits of polar maps from hearts without defects, of one sex and imaged in one way."""
    from nmsynth.workflows.normal_limits import make_normal_limits

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        result = make_normal_limits(
            manifest, output, image=image, wall=wall, scaled_in=scaled_in, overwrite=overwrite, progress=progress
        )
    if as_json:
        terminal.print_json(result)
        return
    sexes = ", ".join(f"{name} {n}" for name, n in result["sexes"].items())
    terminal.print_line(f"Wrote {output.name}: limits of {result['n_subjects']} hearts ({sexes})")
    if len(result["sexes"]) > 1:
        terminal.print_line("warning: limits hold for one sex; these are of several")


@app.command("register")
def register(
    context: typer.Context,
    manifest: Annotated[Path, typer.Argument(metavar="DATASET", help="Manifest, or the folder that holds it.")],
    output: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    to: Annotated[str, typer.Option("--to", help="Role or name of the image that others are laid over.")] = "target",
    how: Annotated[How, typer.Option("--how", help="Six parameters, or a smooth displacement.")] = How.RIGID,
    by: Annotated[
        By | None,
        typer.Option(
            "--by",
            help="What is compared; when unset, contours and mutual information if rigid, else contours. "
            "synthesis: contours, then what the models of --through make of the image.",
        ),
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="Name of a mask that is in place and is not moved.")] = "",
    through: Annotated[
        Path | None,
        typer.Option("--through", help="Output of a training with --folds, for --by synthesis."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes; one for each core when unset.")] = None,
    as_json: options.Json = False,
) -> None:
    """Lay the images of each case over one of them and write a new dataset, as NIfTI, with a record of each."""
    from nmsynth.data.registration import RegistrationSettings
    from nmsynth.workflows.dataset_register import register_dataset

    terminal = terminal_of(context)
    usual = By.BOTH if how is How.RIGID else By.CONTOUR
    settings = RegistrationSettings(how=how.value, by=(by or usual).value)
    with terminal.progress() as progress:
        result = register_dataset(
            manifest, output, settings, to=to, keep=keep, through=through, workers=workers, progress=progress
        )
    if as_json:
        terminal.print_json(result)
        return
    columns = ("case", "image", "taken", "contours before [mm]", "after [mm]", "moved [mm]")
    rows = [
        (case, image, ", ".join(r["taken"]) or "none", f"{r['before']['contour_mean_mm']:.1f}",
         f"{r['after']['contour_mean_mm']:.1f}", f"{r['displacement']['mean_mm']:.1f}")
        for case, records in result["cases"].items()
        for image, r in records.items()
    ]  # fmt: skip
    terminal.print_table(columns, rows)
