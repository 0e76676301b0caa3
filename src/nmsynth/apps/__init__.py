"""Thin applications: parse, call one workflow, print."""
