"""What importing nmsynth brings with it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nmsynth
from nmsynth.__main__ import BLAS_THREADS, SPIN_COUNT

HEAVY = ("torch", "pydicom", "scipy", "matplotlib", "highdicom", "nibabel", "SimpleITK", "skimage", "lightning")
ROOT = Path(__file__).resolve().parents[1]


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    program = f"import sys\n{code}\nsys.stderr.write(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import nmsynth",
        "from nmsynth.apps.cli.main import run\nrun(['--help'])",
        "from nmsynth.apps.cli.main import run\nrun(['synthesize', '--help'])",
        "from nmsynth.apps.cli.main import run\nrun(['--version'])",
    ],
)
def test_start_loads_nothing_heavy(code):
    assert not loaded_after(code) & set(HEAVY)


def test_errors_and_volume_load_no_torch():
    assert "torch" not in loaded_after("from nmsynth import Volume, InputError, Unit")


@pytest.mark.parametrize("name", nmsynth.__all__)
def test_every_public_name_is_there(name):
    assert getattr(nmsynth, name) is not None
    assert name in dir(nmsynth)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nmsynth.nothing  # noqa: B018


def test_version_is_one_everywhere():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.fullmatch(r"\d+\.\d+\.\d+", nmsynth.__version__)
    assert f"## {nmsynth.__version__}" in changelog
    assert f"version: {nmsynth.__version__}" in citation


def test_python_m_nmsynth_runs():
    done = subprocess.run([sys.executable, "-m", "nmsynth", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"nmsynth {nmsynth.__version__}\n"


def test_constraints_pin_every_dependency_once():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("==")[0] for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert "torch==2.13.0" in lines
    assert "torchvision" not in names


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [SPIN_COUNT, BLAS_THREADS]),
        ({"GOMP_SPINCOUNT": "7", "OPENBLAS_NUM_THREADS": "2"}, [7, 2]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, [None, BLAS_THREADS]),
    ],
)
def test_command_keeps_threads_from_waiting_busily_unless_told_otherwise(given, expected):
    program = (
        "import os, sys\nsys.argv = ['nmsynth', '--version']\nfrom nmsynth.__main__ import main\n"
        "try:\n    main()\nfinally:\n    print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'OPENBLAS_NUM_THREADS')))"
    )
    decide = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"}
    own = {k: v for k, v in os.environ.items() if k not in decide}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=own | given)
    assert done.stdout.split()[-2:] == [str(value) for value in expected]
