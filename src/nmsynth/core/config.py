"""Settings from TOML: read, checked against a pydantic model, every mistake named in one line."""

from __future__ import annotations

import difflib
import inspect
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nmsynth.core.errors import InputError

MAX_CONFIG_BYTES = 1_000_000
"""Largest TOML file that is read."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Settings(BaseModel):
    """Base of every group of settings: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word nearest to a mistyped one, or ``None`` where none is near.

    Examples
    --------
    >>> nearest("learning_rat", ["learning_rate", "steps"])
    'learning_rate'
    """
    close = difflib.get_close_matches(word.lower(), sorted(words), n=1, cutoff=0.5)
    return close[0] if close else None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path
        A file of settings.

    Raises
    ------
    InputError
        If there is no such file, or it is not TOML in UTF-8.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InputError(f"Settings must be a file under 1 MB; '{path.name}' is larger. Pass a TOML file.")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"Settings '{path.name}' cannot be read: {error.strerror}. Pass the path of a file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Settings must be TOML in UTF-8; '{path.name}': {reason}. Correct the file.") from error


def resolve(model: type[ModelT], values: Mapping[str, Any], *, where: str = "settings") -> ModelT:
    """Check values against a model and fill in its defaults.

    Parameters
    ----------
    model
        Pydantic model; with ``extra="forbid"`` an unknown key is an error that names the nearest valid one.
    values
        Nested mapping, as from TOML.
    where
        What the message calls the source, such as the name of a file.

    Raises
    ------
    InputError
        For the first key or value that does not fit, in one line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(_message(model, error, where)) from error


def read_config(path: Path, model: type[ModelT], *, overrides: Mapping[str, Any] | None = None) -> ModelT:
    """Read a TOML file as a model; see :func:`read_toml`, :func:`override` and :func:`resolve`."""
    values = read_toml(path)
    if overrides:
        values = override(values, overrides)
    return resolve(model, values, where=f"'{path.name}'")


def override(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with others in their place; the keys of ``changes`` may be dotted.

    Examples
    --------
    >>> override({"optimisation": {"steps": 10, "seed": 1}}, {"optimisation.steps": 20})
    {'optimisation': {'steps': 20, 'seed': 1}}
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for dotted, value in changes.items():
        head, _, rest = dotted.partition(".")
        if rest:
            section = merged.get(head, {})
            if not isinstance(section, Mapping):
                raise InputError(f"'{head}' is a value, not a section; '{dotted}' cannot be set. Set '{head}' itself.")
            merged[head] = override(section, {rest: value})
        else:
            merged[head] = value
    return merged


def parse_override(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``; the value is read as TOML, or as text where it is none.

    Examples
    --------
    >>> parse_override("optimisation.steps=20")
    ('optimisation.steps', 20)
    >>> parse_override("network.name=HomogeneousUNet")
    ('network.name', 'HomogeneousUNet')
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise InputError(
            f"A setting is given as key=value; found '{text}'. Write, for example, optimisation.steps=2000."
        )
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _message(model: type[BaseModel], error: ValidationError, where: str) -> str:
    """One line for the first problem, with how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    dotted = ".".join(location)
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = _keys_at(model, location[:-1])
        close = nearest(location[-1], valid)
        remedy = f"Did you mean '{close}'?" if close else f"Valid keys: {', '.join(sorted(valid))}."
        return f"Unknown key '{dotted}' in {where}. {remedy}{more}"
    if first["type"] == "missing":
        return f"Key '{dotted}' is missing in {where}. Add it.{more}"
    found = repr(first["input"])
    found = found if len(found) <= 60 else f"{found[:57]}..."
    reason = first["msg"].removeprefix("Value error, ")
    return f"Key '{dotted}' in {where} must hold: {reason[:1].lower()}{reason[1:]}; found {found}.{more}"


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Valid keys of the section that a path of keys leads to."""
    for part in path:
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is not None:
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Model inside an annotation such as ``Model``, ``Model | None`` or ``tuple[Model, ...]``."""
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
