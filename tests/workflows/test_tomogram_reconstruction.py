"""Raw projections become the volume that they are of, where it lies."""

import json

import numpy as np
import pytest
import torch

from nmsynth.apps.cli.main import run
from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.dicom_nm_module import NmCamera, NmRotation
from nmsynth.io.dicom_nm_new import NewSeries, write_new_projections
from nmsynth.physics.spect import SpectOrbit, SpectProjector
from nmsynth.workflows.tomogram_reconstruction import reconstruct_projections

N, SIZE_MM, FIRST_DEG = 24, 6.0, -45.0
"""Pixels of a slice, their size, and the first angle of half an orbit."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Projections of half an orbit of two bodies, the hotter one at the patient's left front, in the upper planes."""
    truth = torch.zeros(N, N, 8)
    truth[5:9, 15:19, 5:7], truth[14:17, 6:9, 1:3] = 40.0, 15.0  # (y to the back, x to the left, plane)
    rotation = NmRotation(FIRST_DEG, 180.0, (200.0,) * 32, 20.0)
    views = SpectProjector(N, SIZE_MM, SIZE_MM, SpectOrbit(32, 180.0, FIRST_DEG)).forward(truth)
    counts = np.rint(views.permute(0, 2, 1).numpy()).astype(np.float32)  # (view, plane, bin)
    return write_new_projections(
        counts, tmp_path_factory.mktemp("tomo") / "o", camera=NmCamera((130.0, 151.0)), series=NewSeries("one"),
        rotation=rotation, pixel_mm=(SIZE_MM,) * 2, provenance=Provenance(simulated=True),
        acquisition=Acquisition(radionuclide="Tc-99m", radiopharmaceutical="MDP", body_part="CHEST",
                                frame_durations_s=(600.0,)),
    )  # fmt: skip


def test_a_body_lies_where_it_was(folder, tmp_path):
    reconstruct_projections(folder, tmp_path / "o.nii.gz")
    volume = read(tmp_path / "o.nii.gz")
    z, y, x = np.unravel_index(int(volume.array.argmax()), volume.shape)
    assert (5 <= z <= 6, 5 <= y <= 8, 15 <= x <= 18) == (True, True, True)
    place = volume.affine @ (z, y, x, 1.0)
    assert place[0] > 0 > place[1]  # to the left, to the front
    hot, cold = volume.array[5:7, 5:9, 15:19].mean(), volume.array[1:3, 14:17, 6:9].mean()
    assert hot / cold == pytest.approx(40 / 15, rel=0.25)
    assert (volume.unit, volume.modality, volume.acquisition.radiopharmaceutical) == (Unit.RELATIVE, "NM", "MDP")
    assert volume.acquisition.is_attenuation_corrected is False
    assert volume.acquisition.reconstruction == "OSEM 4i6s, 8 mm, nmsynth"


def test_the_command_says_what_it_made(folder, tmp_path, capsys):
    assert run(["reconstruct", str(folder), str(tmp_path / "o.nii.gz"), "--filter-mm", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape (z, y, x)"] == "8 x 24 x 24"
    assert run(["info", str(folder)]) != 0
    assert "of 32 views, raw projections, not a volume" in capsys.readouterr().err
    with pytest.raises(InputError, match="written as"):
        reconstruct_projections(folder, tmp_path / "folder")
