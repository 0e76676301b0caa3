"""Phantoms with known truth: procedural patients, label maps and quality objects."""

from nmsynth.physics.phantom.cold_defects import ColdDefect, with_defects
from nmsynth.physics.phantom.grid import Grid, Lesion, Phantom
from nmsynth.physics.phantom.heart import Heart, HeartSettings
from nmsynth.physics.phantom.labels import from_brain_labels, from_organ_labels
from nmsynth.physics.phantom.lesions import LesionPlan
from nmsynth.physics.phantom.myocardial_segments import PerfusionDefect
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.phantom.quality import image_quality, uniform_cylinder
from nmsynth.physics.phantom.rods import derenzo, jaszczak
from nmsynth.physics.phantom.whole_body import WholeBodyPatient, WholeBodySettings, whole_body_patient

__all__ = [
    "ColdDefect",
    "Grid",
    "Heart",
    "HeartSettings",
    "Lesion",
    "LesionPlan",
    "Organ",
    "PerfusionDefect",
    "Phantom",
    "WholeBodyPatient",
    "WholeBodySettings",
    "derenzo",
    "from_brain_labels",
    "from_organ_labels",
    "image_quality",
    "jaszczak",
    "uniform_cylinder",
    "whole_body_patient",
    "with_defects",
]
