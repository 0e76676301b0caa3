import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.training.processes import process_number, wait_until

SCRIPT = """
import sys
from pathlib import Path
import torch
from nmsynth.data import method_patches
from nmsynth.models.methods import MethodSpec
from nmsynth.training import keeper
from nmsynth.training.method_trainer import TrainingOptions, train_method
from nmsynth.training.processes import process_number
from tests.training.methods import TWO_GROUPS, tiny_cases, tiny_plan

keeper.LOG_EVERY = 1
folder = Path(sys.argv[1])
drawn = method_patches.MethodBatches.draw
first = []

def kept(self, number):
    batch = drawn(self, number)
    first.append(batch["source"])
    return batch

method_patches.MethodBatches.draw = kept
plan = tiny_plan(schedule={"steps": 10, "accumulate": 2, "validate_every": 3})
options = {"threads": 1, "device": "cpu", "devices": 2}
whole = train_method(MethodSpec(name=TWO_GROUPS), plan, *tiny_cases(), folder / "a", options=TrainingOptions(**options))
for stop in (6, None):
    how = TrainingOptions(stop_after=stop, **options)
    again = train_method(MethodSpec(name=TWO_GROUPS), plan, *tiny_cases(), folder / "b", options=how)
torch.save(
    {"whole": whole.state_dict(), "again": again.state_dict(), "patch": first[0]}, folder / f"{process_number()}.pt"
)
"""


@pytest.mark.slow
def test_two_processes_train_one_model_and_resume(tmp_path):
    pytest.importorskip("lightning")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    environment |= {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "error::UserWarning", str(script), str(tmp_path)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.equal(first["patch"], second["patch"])
    for name, value in first["whole"].items():
        assert torch.equal(value, second["whole"][name]), name
        assert torch.equal(value, first["again"][name]), name
    # the raw weights moved by the mean gradient of both, not by one's own
    states = [torch.load(tmp_path / f / "1-main" / "last.ckpt", weights_only=True)["method"] for f in "ab"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (tmp_path / "a" / "1-main" / "train.csv").read_text().count("\n") == 7
    assert "GPU available" not in run.stderr
    assert "litlogger" not in run.stderr.lower()


def test_process_number_is_the_launchers():
    assert process_number({}) == 0
    assert process_number({"LOCAL_RANK": "1"}) == 1
    assert process_number({"SLURM_PROCID": "5", "LOCAL_RANK": "1"}) == 5
    assert process_number({"SLURM_PROCID": "5", "SLURM_JOB_NAME": "bash"}) == 0


def test_waiting_for_the_first_process_ends():
    wait_until(lambda: True, what="the plan")
    with pytest.raises(InputError, match="must make the plan; it did not in time"):
        wait_until(lambda: False, what="the plan", patience_s=0.0)
