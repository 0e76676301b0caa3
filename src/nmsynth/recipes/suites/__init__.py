"""Suites of the benchmark, one TOML file each."""
