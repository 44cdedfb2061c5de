"""A chapter whose process the system ends, or whose memory is full: one line on the terminal."""

import pytest

from cpssl_lite.book.runner import run_all

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


def test_in_the_book_the_other_chapters_go_on(tmp_path, caplog):
    """Each is a line; the last one ran."""
    for folder in ("notebooks", "book"):
        (tmp_path / folder).mkdir()
    chapters = {
        "01_killed": "killed",
        "02_left": "left",
        "03_crashed": "crashed",
        "05_full": "full",
    }
    for name, how in {**chapters, "04_fine": None, "06_fine": None}.items():
        cell = ENDS[how] if how else "print(1)"
        (tmp_path / f"notebooks/{name}.py").write_text(f"# %% [markdown]\n# # A\n# %%\n{cell}\n")
    found = {result.name: result for result in run_all(root=tmp_path)}
    status = {name: result.status for name, result in found.items()}
    assert status == dict.fromkeys(chapters, "failed") | {"04_fine": "ran", "06_fine": "ran"}
    for name, how in chapters.items():
        said = "out of memory" if how == "full" else "its kernel was ended by the system"
        assert found[name].message.startswith(f"{name}: {said}") and "\n" not in found[name].message
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 4
