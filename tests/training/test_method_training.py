import csv
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError, NumericalError, UnsafeInputError
from tests.training.methods import TWO_GROUPS, tiny_case, tiny_cases, tiny_plan

pytest.importorskip("lightning")

from nmsynth.models.methods import METHODS, MethodSpec, build_method
from nmsynth.training import keeper
from nmsynth.training.method_trainer import TrainingOptions, train_method

ADVERSARIAL = MethodSpec(name=TWO_GROUPS)
UNET = MethodSpec(name="unet")


def options(**values):
    return TrainingOptions(**({"threads": 1, "device": "cpu"} | values))


def rows(path):
    """Rows of a log without what depends on the clock."""
    with path.open() as stream:
        found = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in found]


def alike(a, b):
    """Whether two nested structures are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_same_training(one, other):
    stages = sorted(p.name for p in one.iterdir() if p.is_dir())
    assert stages == sorted(p.name for p in other.iterdir() if p.is_dir())
    for stage in stages:
        for name in ("train.csv", "validation.csv"):
            assert rows(one / stage / name) == rows(other / stage / name)
        states = [torch.load(f / stage / "last.ckpt", weights_only=True) for f in (one, other)]
        for part in ("step", "method", "average", "optimisers"):
            assert alike(states[0][part], states[1][part]), (stage, part)
        best = [torch.load(f / stage / "best.pt", weights_only=True) for f in (one, other)]
        assert alike(*best)


PLAN = tiny_plan(schedule={"steps": 25, "accumulate": 2, "validate_every": 4, "batch": 2})


def train_in_child(folder, save_every, cut_write):
    """Train in a process of its own; where asked, die in the middle of writing a checkpoint."""
    keeper.LOG_EVERY = 1
    if cut_write:
        whole, calls = torch.save, []

        def torn(content, path):
            calls.append(path)
            whole(content, path)
            if len(calls) == cut_write:
                os.truncate(path, path.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        torch.save = torn
    train_method(ADVERSARIAL, PLAN, *tiny_cases(), folder, options=options(save_every=save_every))
    os._exit(0)  # the exit handlers are those of the tests


def killed_child(folder, *, after_s=None, cut_write=0):
    """Exit code of a training that is killed at a moment."""
    child = multiprocessing.get_context("fork").Process(target=train_in_child, args=(folder, 2, cut_write))
    child.start()
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child.pid, signal.SIGKILL)
    child.join(60)
    return child.exitcode


@pytest.fixture
def each_step_logged(monkeypatch):
    monkeypatch.setattr(keeper, "LOG_EVERY", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_training_killed_at_any_moment_ends_as_an_unbroken_one(tmp_path, each_step_logged):
    torch.set_num_threads(1)
    started = time.monotonic()
    unbroken = train_method(ADVERSARIAL, PLAN, *tiny_cases(), tmp_path / "a", options=options(save_every=2))
    took = time.monotonic() - started
    codes = [killed_child(tmp_path / "b", cut_write=2), killed_child(tmp_path / "b", cut_write=3)]
    rng = random.Random(5)
    codes += [killed_child(tmp_path / "b", after_s=took * rng.uniform(0.05, 0.3)) for _ in range(4)]
    assert codes[:2] == [-signal.SIGKILL] * 2
    assert codes.count(-signal.SIGKILL) > 3
    resumed = train_method(ADVERSARIAL, PLAN, *tiny_cases(), tmp_path / "b", options=options(save_every=2))
    assert len(rows(tmp_path / "a" / "1-main" / "train.csv")) == 15
    assert_same_training(tmp_path / "a", tmp_path / "b")
    assert alike(unbroken.state_dict(), resumed.state_dict())


def test_stopping_and_workers_change_nothing(tmp_path, each_step_logged):
    train_method(ADVERSARIAL, PLAN, *tiny_cases(), tmp_path / "a", options=options())
    for stop_after, workers in ((3, 0), (11, 2), (None, 0)):
        how = options(stop_after=stop_after, workers=workers)
        train_method(ADVERSARIAL, PLAN, *tiny_cases(), tmp_path / "b", options=how)
    assert_same_training(tmp_path / "a", tmp_path / "b")


def test_network_learns_and_the_best_weights_are_given(tmp_path):
    plan = tiny_plan(residual=True, schedule={"steps": 30, "validate_every": 10, "learning_rate": 1e-2})
    told = []
    trained = train_method(
        UNET, plan, *tiny_cases(), tmp_path, options=options(progress=lambda *words: told.append(words))
    )
    stage = tmp_path / "0-main"
    points = json.loads((stage / "curve.json").read_text())["points"]
    assert [p["step"] for p in points] == [10, 20, 30]
    assert points[-1]["score"] < points[0]["score"]
    assert 0 <= points[-1]["waiting"] <= 1
    assert points[0]["score"] == pytest.approx(0.5 * (points[0]["error"] + points[0]["region_error"]))
    assert alike(trained.state_dict(), torch.load(stage / "best.pt", weights_only=True))
    assert not trained.training
    assert told[-1][1] == 1.0
    assert "best score" in told[-1][0]


def test_sample_pictures_show_every_validation(tmp_path):
    from matplotlib import image

    train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options())
    pictures = sorted((tmp_path / "0-main" / "samples").iterdir())
    assert [p.name for p in pictures] == ["step-000005.png", "step-000010.png", "step-000012.png"]
    found = image.imread(pictures[0])
    side = 12 * -(-160 // 12)
    assert found.shape[:2] == (side, 4 * side + 3 * 4)
    assert list((tmp_path / "0-main" / "tensorboard").glob("events*"))


def test_training_stops_when_patience_is_out(tmp_path, monkeypatch):
    from nmsynth.training.validation import ValidationScore

    scores = iter([3.0, 1.0, 2.0, 1.5, 9.0, 9.0])
    monkeypatch.setattr(keeper, "score_method", lambda *_, **__: ValidationScore(next(scores), 0.0, 0.0, None))
    plan = tiny_plan(schedule={"steps": 40, "validate_every": 2, "patience": 2})
    train_method(UNET, plan, *tiny_cases(), tmp_path, options=options())
    done = json.loads((tmp_path / "0-main" / "done.json").read_text())
    assert done == {"schema_version": 1, "steps": 8, "stopped_early": True}
    (tmp_path / "0-main" / "done.json").unlink()  # as if killed just before
    train_method(UNET, plan, *tiny_cases(), tmp_path, options=options())
    assert json.loads((tmp_path / "0-main" / "done.json").read_text()) == done
    assert len(json.loads((tmp_path / "0-main" / "curve.json").read_text())["points"]) == 4


def test_same_plan_trains_the_same_weights_and_another_seed_others(tmp_path):
    a, b = (train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path / n, options=options()) for n in "ab")
    assert alike(a.state_dict(), b.state_dict())
    other = tiny_plan(schedule={"seed": 2})
    c = train_method(UNET, other, *tiny_cases(), tmp_path / "c", options=options())
    assert not alike(a.state_dict(), c.state_dict())


@pytest.mark.parametrize("family", sorted(METHODS))
def test_every_family_trains_a_step_on_volumes(family, tmp_path):
    plan = tiny_plan(patch=(8, 16, 16), channels=(4, 8), schedule={"steps": 2, "validate_every": 1})
    training, held = ([tiny_case(k, split=s, shape=(8, 16, 16))] for k, s in ((1, "train"), (2, "validation")))
    trained = train_method(MethodSpec(name=family), plan, training, held, tmp_path, options=options())
    assert all(torch.isfinite(p).all() for p in trained.parameters())


def test_slices_with_context_and_half_precision_train(tmp_path):
    plan = tiny_plan(dimensions="2.5d", context=3, patch=(1, 8, 8), schedule={"steps": 2, "precision": "bf16"})
    trained = train_method(UNET, plan, *tiny_cases(), tmp_path, options=options())
    assert all(p.dtype == torch.float32 for p in trained.parameters())


def test_fine_tuning_begins_with_the_weights_of_a_model(tmp_path):
    trained = build_method(UNET, tiny_plan())
    with torch.no_grad():
        for p in trained.parameters():
            p.fill_(0.01)
    plan = tiny_plan(schedule={"steps": 1, "learning_rate": 1e-9, "weight_decay": 0.0})
    tuned = train_method(UNET, plan, *tiny_cases(), tmp_path / "a", options=options(), start_from=trained)
    assert all(torch.allclose(p, torch.full_like(p, 0.01), atol=1e-6) for p in tuned.parameters())
    wider = build_method(UNET, tiny_plan(channels=(8, 8)))
    with pytest.raises(InputError, match="same method, arguments and plan"):
        train_method(UNET, plan, *tiny_cases(), tmp_path / "b", options=options(), start_from=wider)


def test_folder_of_another_training_is_refused(tmp_path):
    train_method(UNET, tiny_plan(schedule={"steps": 1}), *tiny_cases(), tmp_path, options=options())
    with pytest.raises(InputError, match="belongs to one method and plan"):
        train_method(UNET, tiny_plan(schedule={"steps": 2}), *tiny_cases(), tmp_path, options=options())


def test_subject_on_both_sides_is_refused(tmp_path):
    with pytest.raises(InputError, match="must not train and validate; 's1' does"):
        train_method(UNET, tiny_plan(), [tiny_case(1)], [tiny_case(1)], tmp_path, options=options())
    with pytest.raises(InputError, match="found 1 and 0"):
        train_method(UNET, tiny_plan(), [tiny_case(1)], [], tmp_path, options=options())


def test_diverging_training_is_stopped_and_its_checkpoint_kept(tmp_path):
    train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options(stop_after=2))
    before = (tmp_path / "0-main" / "last.ckpt").read_bytes()
    bad = tiny_case(1)
    bad.layers[1] = np.nan
    with pytest.raises(NumericalError, match=r"at step 5 of stage 'main', 'network/total' is nan"):
        train_method(UNET, tiny_plan(), [bad], [tiny_case(3)], tmp_path, options=options())
    assert (tmp_path / "0-main" / "last.ckpt").read_bytes() == before


def test_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"room for 'best.pt'; it is full"):
        train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options())
    assert not list(tmp_path.rglob(".*partial"))


def test_too_little_room_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match=r"Checkpoints need about .* GB; the disk has 1e-06 GB free"):
        train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options())


def test_damaged_checkpoint_is_named(tmp_path):
    train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options(stop_after=2))
    (tmp_path / "0-main" / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(UnsafeInputError, match=r"'last.ckpt' of a training must be as nmsynth wrote it"):
        train_method(UNET, tiny_plan(), *tiny_cases(), tmp_path, options=options())
