"""What is printed where."""

from io import StringIO

import pytest
from rich.console import Console

from nmsynth.apps.cli.terminal import Terminal, _Bar, format_cell


def test_table_keeps_markup_and_control_characters_as_text(capsys):
    Terminal().print_table(("name", "value"), [["[bold]a\x1b[31m", 0.123456]])
    out = capsys.readouterr().out
    assert r"[bold]a\x1b[31m" in out
    assert "0.1235" in out


def test_a_table_of_no_rows_has_its_header(capsys):
    Terminal().print_table(("name", "value"), [])
    assert "name" in capsys.readouterr().out


def test_pairs_without_value_are_left_out(capsys):
    Terminal().print_pairs({"unit": "Bq/mL", "scanner": None}, title="Image")
    assert capsys.readouterr().out == "Image\n  unit  Bq/mL\n"


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        Terminal().print_json({"value": float("nan")})


def test_missing_value_is_a_dash():
    assert format_cell(None) == "-"


def test_a_bar_appears_after_two_seconds_on_a_terminal_only(monkeypatch):
    for is_terminal, shown in ((True, True), (False, False)):
        stream = StringIO()
        bar = _Bar(Console(file=stream, force_terminal=is_terminal), quiet=False)
        bar.told("early", 0.1)
        assert stream.getvalue() == ""
        bar._start -= 3.0
        bar.told("late", 0.5)
        bar.close()
        assert ("late" in stream.getvalue()) is shown


def test_no_bar_when_quiet():
    stream = StringIO()
    bar = _Bar(Console(file=stream, force_terminal=True), quiet=True)
    bar._start -= 3.0
    bar.told("late", 0.5)
    assert stream.getvalue() == ""
