"""What model cards say in words, one TOML file for each card."""
