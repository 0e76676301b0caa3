"""From a model and a volume to a synthesis."""

from nmsynth.inference.predictor import Model, load_model
from nmsynth.inference.synthesize import Synthesis, SynthesisSettings, synthesize

__all__ = ["Model", "Synthesis", "SynthesisSettings", "load_model", "synthesize"]
