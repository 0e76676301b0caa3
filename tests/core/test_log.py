"""Logging: one line a record, nothing forged, never stdout."""

import logging
from io import StringIO
from pathlib import Path

import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.log import configure_logging, escape


@pytest.fixture(autouse=True)
def _restored_logger():
    logger = logging.getLogger("nmsynth")
    state = (logger.level, logger.propagate, list(logger.handlers))
    yield
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(state[0])
    logger.propagate = state[1]


def test_control_characters_are_escaped():
    assert escape("a\nb\x1b[31m\u202ec\x9b") == r"a\nb\x1b[31m\u202ec\x9b"


def test_letters_of_all_languages_stay():
    assert escape("Größe µm 患者") == "Größe µm 患者"


def test_a_record_is_one_line():
    stream = StringIO()
    configure_logging(stream=stream)
    logging.getLogger("nmsynth.io").warning("series '%s'", "x\nerror: forged\x1b[2J")
    assert stream.getvalue() == "warning: series 'x\\nerror: forged\\x1b[2J'\n"


@pytest.mark.parametrize(("verbosity", "quiet", "n_lines"), [(0, False, 2), (1, False, 3), (2, False, 4), (0, True, 1)])
def test_verbosity_chooses_what_is_shown(verbosity, quiet, n_lines):
    stream = StringIO()
    configure_logging(verbosity=verbosity, quiet=quiet, stream=stream)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("nmsynth").log(level, "text")
    assert len(stream.getvalue().splitlines()) == n_lines


def test_the_file_gets_information_even_when_quiet(tmp_path: Path):
    path = tmp_path / "log.txt"
    configure_logging(quiet=True, log_file=path, stream=StringIO())
    logging.getLogger("nmsynth").info("a fact")
    assert "info: a fact" in path.read_text()


def test_a_log_file_that_cannot_be_opened_is_a_mistake_of_the_user(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be opened"):
        configure_logging(log_file=tmp_path, stream=StringIO())


def test_a_traceback_is_escaped_too():
    stream = StringIO()
    configure_logging(stream=stream)
    try:
        raise ValueError("a\x1b[31m")
    except ValueError:
        logging.getLogger("nmsynth").exception("failed")
    assert "\x1b" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()
