"""Metrics of images, regions, lesions, noise and agreement: pure functions on arrays, no files, no torch."""
