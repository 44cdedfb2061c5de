"""A chapter whose process the system ends, or whose memory is full: one line on the terminal."""

import pytest

ENDS = {
    "killed": "import os; os.kill(os.getpid(), 9)",
    "left": "import os; os._exit(0)",
    "crashed": "import ctypes; ctypes.string_at(0)",
    "full": "raise MemoryError",
    "full GPU": "class OutOfMemoryError(RuntimeError): pass\n"
    "raise OutOfMemoryError('CUDA out of memory.\\nTried to allocate 2.00 GiB')",
    "full CPU": "raise RuntimeError('DefaultCPUAllocator: not enough memory: 9 bytes')",
}


@pytest.mark.parametrize("how", ENDS)
def test_a_run_that_the_system_ends_is_one_line(tmp_path, cpssl, how):
    source = tmp_path / "01_ends.py"
    source.write_text(f"# %% [markdown]\n# # Title\n# %%\n{ENDS[how]}\n")
    code, _, err = cpssl("run", source, "-o", tmp_path / "out.ipynb", "--no-html")
    said = "out of memory (" if how.startswith("full") else "its kernel was ended by the system"
    assert code == 1 and err.count("\n") == 1 and f"01_ends: {said}" in err
