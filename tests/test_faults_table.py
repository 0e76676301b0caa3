"""The page on faults names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]


def test_every_fault_of_reading_synthesising_and_writing_has_a_row():
    numbers = {int(number) for row in ROWS for number in row.split("|")[1].split(",")}
    assert numbers >= {*range(1, 67), 68, 69, *range(71, 76), 79, 90}


def test_every_row_names_tests_that_exist():
    for row in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert f"def {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), (path, name)
