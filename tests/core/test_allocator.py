"""The C library is asked to keep freed memory, unless the user decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = "from nmsynth.core.allocator import keep_freed_memory\nprint(keep_freed_memory())"
FAULTS = """
import resource
from nmsynth.core.allocator import keep_freed_memory
keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    held = [bytearray(300_000) for _ in range(20)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(program, **given):
    own = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=own | given)
    return done.stdout.strip()


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory")


@glibc
def test_freed_memory_is_kept_and_not_cleared_again():
    kept, given_back = int(run(FAULTS)), int(run(FAULTS, MALLOC_TRIM_THRESHOLD_="0"))
    assert kept < given_back / 10


@pytest.mark.parametrize("given", [{"MALLOC_ARENA_MAX": "1"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}])
def test_who_decided_is_left_alone(given):
    assert run(PROGRAM, **given) == "False"
