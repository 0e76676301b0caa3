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
