"""Recipes of published methods, one TOML file each."""
