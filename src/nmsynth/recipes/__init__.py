"""Training recipes, one TOML file each: data, not code."""
