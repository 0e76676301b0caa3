#!/bin/sh
# Lint, format, types and layers. Runs in the repository root; VENV names the environment.
set -eu
cd "$(dirname "$0")/.."
bin="${VENV:-.venv}/bin"
paths="src tests scripts"
for extra in benchmarks examples; do
    if [ -d "$extra" ]; then paths="$paths $extra"; fi
done
echo "ruff check"
"$bin/ruff" check $paths
echo "ruff format"
"$bin/ruff" format --check $paths
echo "mypy"
"$bin/mypy"
echo "import-linter"
"$bin/lint-imports" --no-cache
