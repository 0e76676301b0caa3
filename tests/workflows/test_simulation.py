"""Simulation to disk: what an output may replace."""

import pytest

from nmsynth.core.errors import InputError
from nmsynth.workflows import simulation
from nmsynth.workflows.simulation import SimulatePetSettings, simulate_pet
from tests.io.dicom_factory import make_series, save_series


@pytest.fixture
def quick(monkeypatch):
    """The scan itself replaced by an empty study."""

    def scan(settings, work, progress):
        (work / "reference").mkdir(parents=True)
        (work / "reference" / "simulation.json").write_text("{}")
        return {}

    monkeypatch.setattr(simulation, "_scan_phantom", scan)
    monkeypatch.setattr(simulation, "_reduce_series", scan)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_simulation_replaces_its_own_output_only_when_asked(quick, tmp_path):
    simulate_pet(SimulatePetSettings(), tmp_path / "out")
    with pytest.raises(InputError, match="must not exist; it does"):
        simulate_pet(SimulatePetSettings(), tmp_path / "out")
    simulate_pet(SimulatePetSettings(), tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("is_file", [False, True])
def test_what_a_simulation_did_not_write_is_never_replaced(quick, tmp_path, is_file):
    kept = tmp_path / "thesis"
    if not is_file:
        kept.mkdir()
        kept /= "chapter.txt"
    kept.write_text("years of work")
    with pytest.raises(InputError, match="'thesis' is another"):
        simulate_pet(SimulatePetSettings(), tmp_path / "thesis", overwrite=True)
    assert kept.read_text() == "years of work"


@pytest.mark.parametrize("name", ["study", "study/low", "."])
def test_a_source_is_never_replaced_by_its_simulation(quick, tmp_path, name):
    study = save_series(make_series(), tmp_path / "study")
    before = contents(study)
    with pytest.raises(InputError, match="must lie apart"):
        simulate_pet(SimulatePetSettings(source=study), tmp_path / name, overwrite=True)
    assert contents(study) == before
