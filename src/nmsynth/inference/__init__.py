"""From a model and a volume to a synthesis."""

from nmsynth.inference.method_model import MethodModel
from nmsynth.inference.predictor import Model, load_model
from nmsynth.inference.synthesize import Synthesis, SynthesisSettings, synthesize

__all__ = ["MethodModel", "Model", "Synthesis", "SynthesisSettings", "load_model", "synthesize"]
