import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from nmsynth.core.errors import InputError
from nmsynth.workflows.jobs import run_jobs, single_thread


def write_square(job):
    folder, number = job
    if number < 0:
        raise InputError(f"A number must not be negative; found {number}.")
    most = max([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())])
    (folder / str(number)).write_text(f"{number**2} {most}")


@pytest.mark.parametrize("workers", [1, 2])
def test_each_argument_is_computed_once_by_one_thread(tmp_path: Path, workers):
    told = []
    with threadpool_limits(2):
        run_jobs(
            write_square,
            [(tmp_path, n) for n in range(4)],
            workers=workers,
            stage="squaring",
            done=1,
            progress=lambda *told_now: told.append(told_now),
        )
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {str(n): f"{n**2} 1" for n in range(4)}
    assert told == [("squaring", share) for share in (0.4, 0.6, 0.8, 1.0)]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_job_reaches_the_caller(tmp_path, workers):
    with pytest.raises(InputError, match="found -1"):
        run_jobs(write_square, [(tmp_path, 2), (tmp_path, -1)], workers=workers)
    assert (tmp_path / "2").exists()


def wait_long(folder):
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(60)


def is_alive(pid):
    """Whether a process runs; one that has ended but was not yet reaped does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_processes_end_with_the_one_that_is_killed(tmp_path):
    words = f"from tests.workflows.test_jobs import *; run_jobs(wait_long, [Path({str(tmp_path)!r})] * 2, workers=2)"
    owner = subprocess.Popen([sys.executable, "-c", words], cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    pids = [int(path.stem) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(is_alive, pids)), longest_s=30)


def wait_until(condition, longest_s=120):
    ends = time.monotonic() + longest_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one worker; found 0"):
        run_jobs(write_square, [(tmp_path, 2)], workers=0)


def test_nothing_to_do_is_done(tmp_path):
    run_jobs(write_square, [])
    assert not list(tmp_path.iterdir())


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with single_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
