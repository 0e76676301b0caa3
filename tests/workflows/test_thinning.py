import json

import numpy as np
import pytest
from pydantic import ValidationError

import nmsynth
from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.io.dicom_reader import read_nm_counts
from nmsynth.workflows.thinning import ThinSettings, thin_series
from tests.io.dicom_factory import make_nm, save_series


@pytest.fixture
def source(tmp_path):
    counts = np.random.default_rng(0).poisson(12.0, (2, 64, 64)).astype(np.uint16)
    return counts, save_series([make_nm(counts, kind="STATIC")], tmp_path / "source")


def test_both_parts_add_up_to_the_source(source, tmp_path):
    counts, folder = source
    record = thin_series(ThinSettings(source=folder, count_fraction=0.25, seed=5), tmp_path / "o")
    kept, removed = (nmsynth.read(tmp_path / "o" / n).array for n in ("scan", "reference/complement"))
    assert (kept + removed == counts).all()
    assert record["counts_of_source"] == counts.sum((1, 2)).tolist()
    assert record["counts_kept"] == kept.sum((1, 2)).tolist()
    assert record["counts_of_complement"] == removed.sum((1, 2)).tolist()
    assert record["scale_of_complement"] == pytest.approx(1 / 3)
    assert record["warnings"] == []
    assert json.loads((tmp_path / "o" / "reference" / "simulation.json").read_text()) == record
    said = nmsynth.read(tmp_path / "o" / "reference" / "complement").acquisition.series_description
    assert said == "SYNTHETIC, RESEARCH ONLY: simulated complement 0.75, Factory NM"


def test_thinned_counts_are_poisson_and_independent_of_the_complement(source, tmp_path):
    _, folder = source
    thin_series(ThinSettings(source=folder, count_fraction=0.25), tmp_path / "o")
    kept, removed = (
        nmsynth.read(tmp_path / "o" / n).array.ravel().astype(float) for n in ("scan", "reference/complement")
    )
    n = len(kept)
    assert kept.mean() == pytest.approx(3.0, abs=4 * np.sqrt(3 / n))
    assert kept.var() == pytest.approx(3.0, abs=4 * 3 * np.sqrt(2 / n))
    assert removed.var() == pytest.approx(9.0, abs=4 * 9 * np.sqrt(2 / n))
    assert abs(np.corrcoef(kept, removed)[0, 1]) < 4 / np.sqrt(n)


def test_what_was_thinned_may_be_thinned_again(source, tmp_path):
    _, folder = source
    thin_series(ThinSettings(source=folder, count_fraction=0.5), tmp_path / "one")
    record = thin_series(ThinSettings(source=tmp_path / "one" / "scan", count_fraction=0.5), tmp_path / "two")
    assert record["count_fraction_in_all"] == 0.25
    again = nmsynth.read(tmp_path / "two" / "scan")
    assert again.acquisition.simulated_count_fraction == 0.25
    assert again.acquisition.series_description.count("thinned") == 2


def test_raw_projections_are_thinned_too(tmp_path):
    counts = np.random.default_rng(0).poisson(12.0, (8, 6, 6)).astype(np.uint16)
    folder = save_series([make_nm(counts, kind="TOMO")], tmp_path / "source")
    assert thin_series(ThinSettings(source=folder, count_fraction=0.5), tmp_path / "o")["kind"] == "TOMO"
    kept = read_nm_counts(tmp_path / "o" / "scan").counts
    removed = read_nm_counts(tmp_path / "o" / "reference" / "complement").counts
    assert (kept + removed == counts).all()


def test_one_seed_gives_one_file_and_names_no_path(source, tmp_path):
    _, folder = source
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        thin_series(ThinSettings(source=folder, count_fraction=0.25, seed=seed), tmp_path / name)
    one, same, other = ((tmp_path / n / "scan" / "00001.dcm").read_bytes() for n in "abc")
    assert one == same != other
    assert str(folder) not in (tmp_path / "a" / "reference" / "simulation.json").read_text()


def test_a_smoothed_image_is_told(tmp_path):
    counts = np.random.default_rng(0).poisson(200.0, (1, 40, 41))
    smoothed = ((counts[..., 1:] + counts[..., :-1]) // 2).astype(np.uint16)
    folder = save_series([make_nm(smoothed, kind="STATIC")], tmp_path / "source")
    (warning,) = thin_series(ThinSettings(source=folder, count_fraction=0.5), tmp_path / "o")["warnings"]
    assert "smoothed, resampled or scaled" in warning


def test_an_empty_source_gives_empty_parts(tmp_path):
    folder = save_series([make_nm(np.zeros((1, 4, 4), np.uint16), kind="STATIC")], tmp_path / "source")
    record = thin_series(ThinSettings(source=folder, count_fraction=0.5), tmp_path / "o")
    assert (record["counts_kept"], record["variance_over_mean_of_neighbours"]) == ([0], None)


def test_what_cannot_be_thinned_leaves_no_output(source, tmp_path):
    _, folder = source
    volume = save_series([make_nm()], tmp_path / "volume")
    with pytest.raises(UnsafeInputError, match="RECON TOMO"):
        thin_series(ThinSettings(source=volume, count_fraction=0.5), tmp_path / "o")
    with pytest.raises(InputError, match="must lie apart"):
        thin_series(ThinSettings(source=folder, count_fraction=0.5), folder / "o")
    with pytest.raises(InputError, match="must exist"):
        thin_series(ThinSettings(source=tmp_path / "none", count_fraction=0.5), tmp_path / "o")
    with pytest.raises(ValidationError, match="less than 1"):
        ThinSettings(source=folder, count_fraction=1.0)
    assert not (tmp_path / "o").exists()


def test_the_real_planar_series_loses_no_count(shared_data, tmp_path):
    settings = ThinSettings(source=shared_data / "planar_static", count_fraction=0.25, seed=1)
    record = thin_series(settings, tmp_path / "o")
    assert sum(record["counts_of_source"]) == 1_596_488
    kept, removed = (nmsynth.read(tmp_path / "o" / n).array for n in ("scan", "reference/complement"))
    assert kept.sum(dtype=float) + removed.sum(dtype=float) == 1_596_488
    assert abs(kept.sum(dtype=float) - 0.25 * 1_596_488) < 4 * np.sqrt(0.25 * 0.75 * 1_596_488)
