"""Freed memory stays: large arrays in turn cost no new pages."""

import subprocess
import sys

import pytest

from cpssl_lite.base import memory

FAULTS = """
import resource, sys
import numpy as np
from cpssl_lite.base import memory
assert memory.keep_freed_memory(getattr(memory, sys.argv[1]))
for turn in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    one = np.ones(12_000_000)  # 96 MB: more than glibc keeps by itself
    del one
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of the fifth large array that a process makes and frees."""
    words = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_a_large_array_is_made_again_from_the_same_memory():
    kept, given_back = faults("BATCHES"), faults("AS_IT_IS")
    assert kept < 100 < given_back


def test_settings_reach_child_processes_and_a_users_own_stay(monkeypatch):
    monkeypatch.setattr(memory.os, "environ", {"MALLOC_TRIM_THRESHOLD_": "7"})
    memory.keep_freed_memory(memory.AS_IT_IS)
    assert memory.os.environ == {"MALLOC_TRIM_THRESHOLD_": "7"}
    memory.keep_freed_memory(memory.COMMAND, children=True)
    assert memory.os.environ == {
        "MALLOC_TRIM_THRESHOLD_": "7", "MALLOC_MMAP_THRESHOLD_": str(32 << 20)
    }  # fmt: skip
