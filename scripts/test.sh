#!/bin/sh
# All tests and the examples in docstrings. Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
bin="${VENV:-.venv}/bin"
# One thread a worker: small arrays gain nothing from more, and two workers share the processor.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MKL_NUM_THREADS="${MKL_NUM_THREADS:-1}" MPLBACKEND=Agg
exec "$bin/python" -m pytest -n "${NMSYNTH_TEST_WORKERS:-2}" --dist loadfile "$@"
