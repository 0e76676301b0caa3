"""Settings: defaults, overrides, and mistakes named in one line."""

from pathlib import Path

import pytest
from pydantic import Field

from nmsynth.core.config import Settings, nearest, override, parse_override, read_config, read_toml, resolve
from nmsynth.core.errors import InputError


class Optimisation(Settings):
    steps: int = Field(default=10, ge=1)
    learning_rate: float = 1e-3


class Recipe(Settings):
    name: str
    optimisation: Optimisation = Optimisation()
    parts: tuple[Optimisation, ...] = ()


def test_defaults_are_filled_in():
    recipe = resolve(Recipe, {"name": "a"})
    assert recipe.optimisation.steps == 10


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        resolve(Recipe, {"name": "a"}).name = "b"  # type: ignore[misc]


def test_unknown_key_names_the_nearest_valid_one():
    with pytest.raises(InputError, match=r"Unknown key 'nam' in settings. Did you mean 'name'\?"):
        resolve(Recipe, {"nam": "a", "name": "b"})


def test_unknown_key_in_a_section_names_the_nearest_of_that_section():
    with pytest.raises(InputError, match=r"'optimisation.learning_rat' in .*Did you mean 'learning_rate'\?"):
        resolve(Recipe, {"name": "a", "optimisation": {"learning_rat": 1}})


def test_unknown_key_near_none_lists_the_valid_ones():
    with pytest.raises(InputError, match="Valid keys: learning_rate, steps"):
        resolve(Recipe, {"name": "a", "optimisation": {"zzzz": 1}})


def test_a_list_of_sections_is_searched_too():
    with pytest.raises(InputError, match=r"'parts.0.stepz' .*Did you mean 'steps'\?"):
        resolve(Recipe, {"name": "a", "parts": [{"stepz": 1}]})


def test_missing_key_is_named():
    with pytest.raises(InputError, match="Key 'name' is missing in settings"):
        resolve(Recipe, {})


def test_value_out_of_range_is_quoted():
    with pytest.raises(InputError, match=r"'optimisation.steps' in settings must hold: .*found 0"):
        resolve(Recipe, {"name": "a", "optimisation": {"steps": 0}})


def test_several_mistakes_are_counted_in_one_line():
    with pytest.raises(InputError, match=r"\(1 more\)") as caught:
        resolve(Recipe, {"name": 3, "zzzz": 1})
    assert "\n" not in str(caught.value)


def test_file_with_overrides(tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\n[optimisation]\nsteps = 5\n')
    recipe = read_config(path, Recipe, overrides={"optimisation.learning_rate": 0.5})
    assert (recipe.optimisation.steps, recipe.optimisation.learning_rate) == (5, 0.5)


def test_file_that_begins_with_a_byte_order_mark(tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text('\ufeffname = "a"\n', encoding="utf-8")
    assert read_toml(path) == {"name": "a"}


def test_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"'none\.toml' cannot be read"):
        read_toml(tmp_path / "none.toml")


def test_broken_toml_names_the_line(tmp_path: Path):
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    with pytest.raises(InputError, match=r"must be TOML.*line 1"):
        read_toml(path)


def test_bytes_that_are_no_text(tmp_path: Path):
    path = tmp_path / "broken.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be TOML in UTF-8"):
        read_toml(path)


def test_override_leaves_its_input_alone():
    values = {"optimisation": {"steps": 1}}
    override(values, {"optimisation.steps": 2})
    assert values == {"optimisation": {"steps": 1}}


def test_override_below_a_value_is_refused():
    with pytest.raises(InputError, match="'name' is a value, not a section"):
        override({"name": "a"}, {"name.inner": 1})


@pytest.mark.parametrize(("text", "value"), [("a=1", 1), ("a=1e-3", 1e-3), ("a=true", True), ("a=x y", "x y")])
def test_override_text_is_read_as_toml_or_text(text, value):
    assert parse_override(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=1"])
def test_override_text_without_key_or_value_is_refused(text):
    with pytest.raises(InputError, match="key=value"):
        parse_override(text)


def test_nearest_is_none_where_none_is_near():
    assert nearest("zzzz", ["steps"]) is None
