"""Recipes: one TOML file for each task and published method. Data, not code."""
