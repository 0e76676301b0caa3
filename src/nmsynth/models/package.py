"""A model on disk: a folder with ``weights.safetensors`` and ``card.json``.

Weights are read from safetensors only, after their size, header and sha256 are checked; a pickle is refused unread,
since opening one can run any program. Only network classes named in :data:`NETWORKS` are built.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.replacement import put_in_place, temporary_sibling
from nmsynth.models.card import Card, NetworkSpec
from nmsynth.models.envelope import printable

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.json"
CARD_PAGE = "card.md"

NETWORKS = {"HomogeneousUNet": "nmsynth.models.unet"}
"""Module of each network class that a package may name."""

MAX_CARD_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 16 * 2**20
"""Largest safetensors header that is believed."""
MAX_WEIGHTS_BYTES = 4 * 2**30

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5")
"""Suffixes of formats that are not read, most of which can carry a program."""
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"(dp", b"(lp", b"cbuiltins")


def save_package(
    folder: Path | str, *, network: nn.Module, card: Card, half: bool = True, overwrite: bool = False
) -> Card:
    """Write a model package, at once or not at all.

    Parameters
    ----------
    folder
        Folder to make, usually named as the model.
    network
        Module of the class that ``card.network`` names, with the weights to ship.
    card
        Its ``sha256`` is filled in.
    half
        Store floating-point weights as fp16; they are used as fp32.
    overwrite
        Replace a package that exists.

    Returns
    -------
        The card as written.

    Raises
    ------
    InputError
        If the folder exists and ``overwrite`` is not set, or the network is not what the card names.
    """
    if card.network is None or type(network).__name__ != card.network.name or card.network.name not in NETWORKS:
        named = "no network" if card.network is None else card.network.name
        raise InputError(
            f"The card must name the network's own, registered class; found {named} for "
            f"{type(network).__name__}. Registered: {', '.join(NETWORKS)}."
        )
    return write_package(Path(folder), network.state_dict(), card, half=half, overwrite=overwrite)


def write_package(
    folder: Path, weights: Mapping[str, torch.Tensor], card: Card, *, half: bool, overwrite: bool
) -> Card:
    """Write weights and card as a package, at once or not at all; arguments and errors as of :func:`save_package`."""
    import torch
    from safetensors.torch import save

    check_replaceable(folder, overwrite=overwrite)
    state = {key: _stored(value, torch.float16 if half else None) for key, value in weights.items()}
    weak = [key for key, value in state.items() if not bool(torch.isfinite(value.float()).all())]
    if weak:
        raise InputError(f"Weights must be finite as stored; not so in {printable(weak[0])}. Save with half=False.")
    content = save(state, metadata={"format": "pt"})  # of several entries the order, and with it the hash, is random
    card = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    write_files(folder, content, card)
    return card


def check_replaceable(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that exists, unless it is empty or a package that may be overwritten."""
    if not folder.exists():
        return
    is_own = folder.is_dir() and (not any(folder.iterdir()) or (folder / CARD_FILE).is_file())
    if not (overwrite and is_own):
        raise InputError(
            f"The model folder {printable(folder.name)} must not exist, or hold a package that may be overwritten; "
            "it does. Choose another folder or allow overwriting."
        )


def write_files(folder: Path, weights: bytes, card: Card) -> None:
    """Put the files of a package into a folder, in place of what is there, at once or not at all."""
    folder = folder.resolve()
    staging = temporary_sibling(folder)
    try:
        staging.mkdir(parents=True)
        staging.chmod(0o755)
        (staging / WEIGHTS_FILE).write_bytes(weights)
        (staging / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (staging / CARD_PAGE).write_text(card.to_markdown(), encoding="utf-8")
        put_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_card(folder: Path | str) -> Card:
    """Read and check ``card.json`` of a package; the weights are not opened.

    Raises
    ------
    InputError
        If there is no package.
    UnsafeInputError
        If the path is a checkpoint of another format, or the card does not hold.
    """
    folder = Path(folder)
    name = printable(folder.name)
    if folder.is_file():
        refuse_other_format(folder)
        folder, name = folder.parent, printable(folder.parent.name)
    path = folder / CARD_FILE
    if not path.is_file():
        for other in sorted(folder.iterdir()) if folder.is_dir() else ():
            if other.suffix.lower() in PICKLE_SUFFIXES:
                refuse_other_format(other)
        raise InputError(f"A model package is a folder with {CARD_FILE} and {WEIGHTS_FILE}; {name} has no {CARD_FILE}.")
    if path.stat().st_size > MAX_CARD_BYTES:
        raise UnsafeInputError(f"A model card must be under 4 MiB; that of {name} is larger. Get the package again.")
    return parse_card(path.read_bytes(), name)


def parse_card(content: bytes, name: str) -> Card:
    """Check the content of a ``card.json``; ``name`` is for messages."""
    try:
        return Card.model_validate(json.loads(content.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = printable(".".join(map(str, first["loc"])) or "card")
        raise UnsafeInputError(
            f"The model card of {name} does not hold at '{place}': {printable(first['msg'], length=120)}."
        ) from None
    except (ValueError, RecursionError):
        raise UnsafeInputError(f"The model card of {name} must be JSON; it is not. Get the package again.") from None


def read_weights(folder: Path | str, card: Card) -> bytes:
    """Read the file of weights once, and return its bytes if size, header and sha256 hold.

    Raises
    ------
    UnsafeInputError
        If the file is another format, its header is not believable, or its sha256 is not the card's.
    """
    folder = Path(folder)
    folder = folder.parent if folder.is_file() else folder
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise UnsafeInputError(f"The model {card.name} must have {WEIGHTS_FILE}; it is missing. Get the package again.")
    with path.open("rb") as stream:
        return checked_weights(stream, path.stat().st_size, card)


def checked_weights(stream: IO[bytes], size: int, card: Card) -> bytes:
    """Bytes of a file of weights, read only if they begin as safetensors; errors as of :func:`read_weights`."""
    start = stream.read(16)
    _check_start(start, size, card.name)
    if size > MAX_WEIGHTS_BYTES:
        raise UnsafeInputError(f"Weights must be under 4 GiB; those of {card.name} have {size} bytes.")
    content = start + stream.read(size)
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise UnsafeInputError(
            f"The weights of {card.name} must have the sha256 of its card, {printable(card.sha256[:12])}…; found "
            f"{found[:12]}…. They are damaged or were changed: get the package again."
        )
    return content


def load_network(folder: Path | str, card: Card) -> nn.Module:
    """Build the network of a package with its weights as fp32, in evaluation mode, without gradients.

    Parameters
    ----------
    folder
        Of the package.
    card
        As :func:`read_card` gave it.
    """
    import torch

    if card.network is None:
        raise InputError(f"The model {card.name} is no network of its own but a method. Load it with load_method.")
    state = read_state(folder, card)
    # On the meta device nothing is allocated, whatever sizes the card claims.
    with torch.device("meta"):
        network = build_network(card.network)
    check_fit(state, network.state_dict(), card)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def read_state(folder: Path | str, card: Card) -> dict[str, torch.Tensor]:
    """Weights of a package by name, checked, floating-point ones as fp32.

    Raises
    ------
    UnsafeInputError
        As :func:`read_weights`, or if a weight is not finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_weights(folder, card)
    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UnsafeInputError(
            f"The weights of {card.name} must be safetensors; they are not ({printable(error, length=80)})."
        ) from None
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise UnsafeInputError(f"The weights of {card.name} must be finite; found NaN or infinity.")
    return state


def check_fit(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], card: Card) -> None:
    """Refuse weights whose names or shapes are not those of the model that a card describes."""
    if {key: value.shape for key, value in expected.items()} != {key: value.shape for key, value in state.items()}:
        raise UnsafeInputError(f"The weights of {card.name} must fit the network of its card; names or shapes differ.")


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build a registered network with fresh weights.

    Raises
    ------
    UnsafeInputError
        If the class is not registered or its arguments do not suit it.
    """
    module = NETWORKS.get(spec.name)
    if module is None:
        raise UnsafeInputError(
            f"A model may only name a registered network ({', '.join(NETWORKS)}); found {printable(spec.name)}."
        )
    arguments: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in spec.arguments.items()
    }
    try:
        network: nn.Module = getattr(import_module(module), spec.name)(**arguments)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise UnsafeInputError(
            f"The arguments of network {spec.name} do not suit it ({printable(error, length=120)})."
        ) from None
    return network


def _stored(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """A weight as it is stored."""
    value = value.detach().cpu().contiguous()
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value.clone()


def refuse_other_format(path: Path) -> None:
    """Refuse a file that is not part of a package, by its suffix and first bytes alone."""
    with path.open("rb") as stream:
        start = stream.read(16)
    if path.suffix.lower() in PICKLE_SUFFIXES or start.startswith(PICKLE_STARTS):
        raise UnsafeInputError(
            f"Weights are read from safetensors only; {printable(path.name)} is another format, which can run programs "
            "when opened, and was not read. Export it with the training's own export."
        )
    if path.name not in (CARD_FILE, WEIGHTS_FILE):
        raise InputError(f"A model is a name or a package folder; {printable(path.name)} is neither.")


def _check_start(start: bytes, size: int, name: str) -> None:
    """Refuse a file of weights whose first bytes are not those of a safetensors file of its size."""
    if start.startswith(PICKLE_STARTS):
        raise UnsafeInputError(
            f"The weights of {name} must be safetensors; they begin as a pickle or zip, and were not read."
        )
    header = int.from_bytes(start[:8], "little")
    if len(start) < 10 or header > min(size - 8, MAX_HEADER_BYTES) or start[8:9] != b"{":
        raise UnsafeInputError(
            f"The weights of {name} must be safetensors; the header claims {header} bytes in a file of {size}. "
            "Get the package again."
        )
