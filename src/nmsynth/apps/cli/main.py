"""The ``nmsynth`` command: its options for all commands, its exit status, its one-line errors."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nmsynth import __version__
from nmsynth.apps.cli import (
    benchmark,
    dataset,
    demo,
    evaluate,
    info,
    models,
    plan,
    recipes,
    reconstruct,
    report,
    simulate,
    synthesize,
    tasks,
    train,
)  # fmt: skip
from nmsynth.apps.cli.terminal import Terminal
from nmsynth.core.errors import NmsynthError
from nmsynth.core.log import configure_logging

EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_FLAGS_ANYWHERE = frozenset({"-v", "-vv", "--verbose", "-q", "--quiet"})
"""Options of all commands that may also stand after the command."""
_LOGGER = logging.getLogger(__name__)

app = typer.Typer(
    name="nmsynth",
    help="Synthesise nuclear medicine images. Research use only, not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("info")(info.info)
app.add_typer(simulate.app, name="simulate")
app.add_typer(dataset.app, name="dataset")
app.add_typer(recipes.app, name="recipes")
app.command("plan")(plan.plan)
app.command("train")(train.train)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("synthesize")(synthesize.synthesize)
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(benchmark.benchmark)
app.command("report")(report.report)
app.add_typer(models.app, name="models")
app.command("tasks")(tasks.tasks)
app.command("demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        sys.stdout.write(f"nmsynth {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for everything.", show_default=False)
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say errors only; no progress.")] = False,
    log_file: Annotated[Path | None, typer.Option("--log-file", help="Append the log to this file.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Synthesise nuclear medicine images. Research use only, not for diagnosis."""
    del version
    configure_logging(verbosity=verbose, quiet=quiet, log_file=log_file)
    context.obj = Terminal(quiet=quiet)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status.

    Parameters
    ----------
    arguments
        Words after the name of the program; those of the process by default.

    Returns
    -------
        0; 2 for a user's mistake; 3 for a refusal; 1 for the unexpected; 130 when interrupted.
    """
    words = _hoist(sys.argv[1:] if arguments is None else list(arguments))
    traceback_wanted = any(word in {"-v", "-vv", "--verbose"} for word in words)
    _silence_other_packages()
    configure_logging()
    command = typer.main.get_command(app)
    try:
        status = command.main(args=words or ["--help"], prog_name="nmsynth", standalone_mode=False)
        sys.stdout.flush()
    except NmsynthError as error:
        return _fail(str(error), error.exit_code, traceback_wanted)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Interrupted.", EXIT_INTERRUPTED, False)
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone; nothing is flushed at exit
        return EXIT_UNEXPECTED
    except MemoryError:
        return _fail(
            "Not enough memory for this image. Close other programs, or use a machine with more.",
            EXIT_UNEXPECTED,
            traceback_wanted,
        )
    except Exception as error:  # noqa: BLE001 - the border of the program: everything becomes one line
        if hasattr(error, "format_message"):
            return _fail_usage(error)
        return _fail(_describe(error, traceback_wanted), EXIT_UNEXPECTED, traceback_wanted)
    if status == EXIT_INTERRUPTED:
        return _fail("Interrupted.", EXIT_INTERRUPTED, False)
    return status if isinstance(status, int) else 0


def _describe(error: Exception, traceback_shown: bool) -> str:
    """One line for an error that nmsynth did not raise."""
    if isinstance(error, OSError) and error.strerror:
        text = f"The operating system refused: {error.strerror}."
    elif "out of memory" in str(error).lower() or "can't allocate memory" in str(error):
        return "Not enough memory for this image. Close other programs, use --device cpu, or a machine with more."
    else:
        text = f"Unexpected {type(error).__name__}; this is a fault of nmsynth or of its installation."
    return text if traceback_shown else f"{text} Run again with -v for the traceback."


def _fail(message: str, status: int, traceback_wanted: bool) -> int:
    """Log one line, with the traceback where it is wanted, and hand the status back."""
    _LOGGER.error("%s", " ".join(message.split()), exc_info=traceback_wanted)
    return status


def _fail_usage(error: Exception) -> int:
    """Log what is wrong with the words of the command line; help that was asked for by giving none says it itself."""
    message = getattr(error, "format_message", str)().strip()
    if message and type(error).__name__ != "NoArgsIsHelpError":
        place = getattr(getattr(error, "ctx", None), "command_path", "nmsynth")
        _fail(f"{message} See {place} --help.", EXIT_USAGE, False)
    return EXIT_USAGE


def _hoist(words: list[str]) -> list[str]:
    """Words with the options of all commands in front, wherever they stood before ``--``."""
    end = words.index("--") if "--" in words else len(words)
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < end:
        word = words[position]
        if word in _FLAGS_ANYWHERE or word.startswith("--log-file="):
            front.append(word)
        elif word == "--log-file" and position + 1 < end:
            front += words[position : position + 2]
            position += 1
        else:
            rest.append(word)
        position += 1
    return [*front, *rest, *words[end:]]


def _silence_other_packages() -> None:
    """Keep warnings and logs of other packages off the terminal: they may quote what stands in a header."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
