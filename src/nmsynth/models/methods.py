"""Families of models by name, and any ``torch.nn.Module`` by its import path."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nmsynth.core.config import nearest
from nmsynth.core.errors import InputError, MissingExtraError
from nmsynth.core.plan import Plan
from nmsynth.models.method import Method, MethodSetting
from nmsynth.models.method_spec import MethodSpec

if TYPE_CHECKING:
    import torch

__all__ = [
    "METHODS",
    "MethodSpec",
    "build_method",
    "learns_from_pairs",
    "load_shipped",
    "setting_of",
    "shipped_state",
]

METHODS = {
    "unet": "nmsynth.models.residual_unet:ResidualUNet",
    "cvae": "nmsynth.models.conditional_vae:ConditionalVAE",
    "subject-vae": "nmsynth.models.subject_vae:SubjectVAE",
    "pix2pix": "nmsynth.models.pix2pix:Pix2Pix",
    "cyclegan": "nmsynth.models.cycle_gan:CycleGAN",
    "ddpm": "nmsynth.models.denoising_diffusion:DenoisingDiffusion",
    "ldm": "nmsynth.models.latent_diffusion:LatentDiffusion",
    "flow": "nmsynth.models.rectified_flow:RectifiedFlow",
    "swin": "nmsynth.models.swin:Swin",
    "cascade": "nmsynth.models.cascade:Cascade",
    "anchored": "nmsynth.models.anchored_unet:AnchoredUNet",
    "gain": "nmsynth.models.gain_unet:GainUNet",
    "learned-gaussian": "nmsynth.models.gaussian_filter:GaussianFilter",
}
"""Class of each family."""


def setting_of(plan: Plan) -> MethodSetting:
    """What a plan decides for every family."""
    return MethodSetting(
        spatial_dims=plan.spatial_dims,
        n_sources=plan.n_source_channels,
        n_conditions=plan.n_conditions,
        channels=plan.channels,
        patch=plan.network_patch,
        context=plan.context,
        residual=plan.residual,
    )


def build_method(spec: MethodSpec, plan: Plan, *, allow_import: bool = False, for_training: bool = True) -> Method:
    """Build a family for a plan, with weights drawn from torch's generator.

    Parameters
    ----------
    spec
        Family and arguments.
    plan
        What goes in and comes out.
    allow_import
        Whether a class may be imported by the path that ``spec`` names: right for a recipe of your own, wrong for a
        package from elsewhere, which could so run any program that is installed.
    for_training
        Whether parts that only training needs are built too, such as discriminators; a class with such parts says so
        by an argument of this name.

    Raises
    ------
    InputError
        If there is no such family, or it does not take the arguments.
    MissingExtraError
        If it needs a library that is not installed.
    """
    setting = setting_of(plan)
    if spec.is_import_path:
        return _imported(spec, setting, allowed=allow_import, for_training=for_training)
    if spec.name not in METHODS:
        close = nearest(spec.name, METHODS)
        remedy = f"Did you mean '{close}'?" if close else f"Families: {', '.join(METHODS)}."
        raise InputError(f"There is no family '{spec.name}'. {remedy}")
    module, _, name = METHODS[spec.name].partition(":")
    try:
        kind = getattr(import_module(module), name)
        method: Method = kind(setting, **_arguments(kind, spec.arguments, for_training))
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The family '{spec.name}' needs the extra 'train'; '{error.name}' is not installed. "
            "Run: pip install 'nmsynth[train]'"
        ) from error
    except TypeError as error:
        raise InputError(f"The family '{spec.name}' does not take these arguments: {error}.") from error
    return method


def learns_from_pairs(spec: MethodSpec) -> bool:
    """Whether a family needs the source and the target of one patient, before it is built.

    A class that takes an argument ``paired`` is as that says. A class of another package is imported; where that does
    not work it counts as one that needs pairs, as building it will say why.

    Examples
    --------
    >>> learns_from_pairs(MethodSpec(name="unet")), learns_from_pairs(MethodSpec(name="cyclegan"))
    (True, False)
    """
    module, _, name = METHODS.get(spec.name, spec.name).partition(":")
    try:
        kind = getattr(import_module(module), name)
        taken = inspect.signature(kind).parameters.get("paired")
    except (ImportError, AttributeError, TypeError, ValueError):
        return True
    usual = getattr(kind, "paired", True) if taken is None else taken.default
    return bool(usual if taken is None else spec.arguments.get("paired", usual))


def _arguments(kind: type, arguments: dict[str, Any], for_training: bool) -> dict[str, Any]:
    """Arguments of a class, with ``for_training`` where it takes that."""
    takes = "for_training" in inspect.signature(kind).parameters
    return arguments | {"for_training": for_training} if takes else arguments


def shipped_state(method: Method) -> dict[str, torch.Tensor]:
    """Weights that an answer needs, by name: what :meth:`Method.shipped` says of the state."""
    prefixes = tuple(method.shipped())
    return {name: value for name, value in method.state_dict().items() if name.startswith(prefixes)}


def load_shipped(method: Method, state: dict[str, torch.Tensor]) -> None:
    """Load weights that were shipped; parts that only training needs stay as they are.

    Raises
    ------
    InputError
        If a weight that an answer needs is missing or of another shape, or one is not of this family.
    """
    wanted = shipped_state(method)
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    unlike = sorted(n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape)
    for names, problem in ((missing, "missing"), (unknown, "not of this family"), (unlike, "of another shape")):
        if names:
            raise InputError(
                f"The weights must be those of the model that the plan and the family describe; {len(names)} are "
                f"{problem}, such as '{names[0]}'. Load them with the plan and the arguments they were trained with."
            )
    method.load_state_dict(state, strict=False)


def _imported(spec: MethodSpec, setting: MethodSetting, *, allowed: bool, for_training: bool) -> Method:
    """A module of the user's own: a :class:`Method`, or any network that is then taught by regression."""
    from torch import nn

    from nmsynth.models.method import Regression

    if not allowed:
        raise InputError(
            f"The model names a class of another package, '{spec.name}', which is only imported on request. "
            "Allow it if you trust that package."
        )
    module, _, name = spec.name.partition(":")
    arguments = dict(spec.arguments)
    loss = str(arguments.pop("loss", "auto"))
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"'{spec.name}' must name a class that can be imported: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"'{spec.name}' must be a class of torch.nn.Module; it is not.")
    try:
        if issubclass(found, Method):
            return found(setting, **_arguments(found, arguments, for_training))
        return Regression(setting, found(**arguments), loss=loss, plain=True)
    except TypeError as error:
        raise InputError(f"'{spec.name}' does not take these arguments: {error}.") from error
