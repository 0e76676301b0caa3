import json

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.data.manifest_images import read_image
from nmsynth.data.registration import RegistrationSettings
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.dataset_register import register_dataset
from tests.data.test_registration import limb


@pytest.fixture
def folder(tmp_path):
    ct, pet, tumour = limb()[0], limb(bend_mm=6.0)[1], limb()[2]
    rows = []
    for role, name, volume in (("source", "ct", ct), ("target", "", pet), ("mask", "tumour", tumour)):
        write_nifti(volume, tmp_path / f"{role}.nii.gz")
        rows.append(ManifestRow("p001", "p001", "train", role, name, f"{role}.nii.gz"))
    (tmp_path / "curve.tsv").write_text("t\n")
    write_manifest(tmp_path / "manifest.csv", [*rows, ManifestRow("p001", "p001", "train", "data", "", "curve.tsv")])
    return tmp_path


def test_a_registered_dataset_is_a_dataset(folder, capsys):
    new = folder / "registered"
    command = ["dataset", "register", str(folder), str(new), "--how", "deformable", "--by", "contour", "--keep",
               "tumour", "--workers", "1"]  # fmt: skip
    assert run(command) == 0
    assert "contour" in capsys.readouterr().out
    rows = {row.role: row for row in read_manifest(new)}
    source, target = read_image(rows["source"], new), read_image(rows["target"], new)
    assert source.has_grid_of(target)
    assert source.modality == "CT"
    assert "taken: contour" in source.provenance.settings["registration"]
    record = json.loads((new / "p001" / "registration.json").read_text())["source_ct.nii.gz"]
    assert record["after"]["dice"] > record["before"]["dice"]
    stamp = (new / "p001" / "source_ct.nii.gz").stat().st_mtime_ns
    assert run(command) == 0
    assert (new / "p001" / "source_ct.nii.gz").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="with other settings"):
        register_dataset(folder, new, RegistrationSettings())


def test_what_is_not_there_to_be_laid_over_is_named(folder):
    with pytest.raises(InputError, match="case 'p001' has 0 of role or name 'mr'"):
        register_dataset(folder, folder / "new", RegistrationSettings(), to="mr")
    with pytest.raises(InputError, match="holds other files"):
        register_dataset(folder, folder, RegistrationSettings())
