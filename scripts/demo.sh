#!/bin/sh
# The demonstration: a simulated patient from scan to report, written to the folder given (default: demo).
set -eu
cd "$(dirname "$0")/.."
exec "${VENV:-.venv}/bin/nmsynth" demo "${1:-demo}" --overwrite
