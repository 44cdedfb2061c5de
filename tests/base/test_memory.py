"""Freed memory stays: large arrays in turn cost no new pages."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from cpssl_lite.base.memory import keep_freed_memory
assert keep_freed_memory(sys.argv[1] == "keep")
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
    kept, given_back = faults("keep"), faults("give back")
    assert kept < 100 < given_back
