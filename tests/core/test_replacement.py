"""A file of text is written whole or not at all."""

import pytest

from nmsynth.core.replacement import replace_text


def test_text_takes_the_place_of_an_older_one_and_leaves_nothing_beside_it(tmp_path):
    for text in ("first\n", "ä second\n"):
        replace_text(tmp_path / "numbers.json", text)
        assert (tmp_path / "numbers.json").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]


def test_text_that_cannot_be_written_leaves_the_older_one(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text("older", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError, match="surrogates"):
        replace_text(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "older"
    assert [found.name for found in tmp_path.iterdir()] == ["numbers.json"]
