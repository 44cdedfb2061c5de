"""Kernels that are forks of one process: each a kernel of its own, all gone with the command."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpssl_lite.book import kernel, warm
from cpssl_lite.book.runner import NotebookFailed, run_notebook

pytestmark = pytest.mark.skipif(not warm.WORKS, reason="kernels are forked on Linux alone")
PAGE = """# %% [markdown]
# # Title
# %% tags=["parameters"]
word = "x"
# %%
import json, os, threading
seen = globals().get("before"), os.getppid(), os.environ.get("CPSSL_RUN", "")[:12], os.getcwd()
before = word
print(json.dumps([*seen, threading.active_count() > 0, os.environ.get("SAID")]))
if word == "die":
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def forker(monkeypatch: pytest.MonkeyPatch) -> Iterator[warm.Forker]:
    """A process that has imported next to nothing, in the place of the usual one."""
    environment = kernel._environment(None)
    made = warm.Forker(environment, imported=("ipykernel.ipkernel",))
    monkeypatch.setattr(kernel, "_forkers", [(made, kernel._shared(environment))])
    yield made
    made.end()


def run(folder: Path, word: str) -> list[object]:
    source = folder / "01_page.py"
    source.write_text(PAGE)
    executed = run_notebook(source, {"word": word}, out=folder / f"{word}.ipynb")
    (printed,) = (
        output["text"]
        for cell in json.loads(executed.read_text())["cells"]
        for output in cell.get("outputs", [])
    )
    return list(json.loads("".join(printed)))


def test_each_fork_is_a_kernel_of_its_own(
    forker: warm.Forker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("a", "b"):
        before, parent, run_facts, folder, *_ = run(tmp_path, word)
        assert before is None and parent == forker.process.pid
        assert run_facts == '{"notebook":' and folder == os.getcwd()
    with pytest.raises(NotebookFailed, match="ended by the system"):
        run(tmp_path, "die")
    # What a library may have read while it was imported is another one's: so is the process.
    monkeypatch.setenv("SAID", "so")
    *_, parent, _, _, _, said = run(tmp_path, "c")
    assert parent != forker.process.pid and said == "so"


def test_a_forker_that_has_ended_is_not_asked(forker: warm.Forker, tmp_path: Path) -> None:
    forker.end()
    assert run(tmp_path, "a")[1] != forker.process.pid


def test_what_has_ended_is_known(forker: warm.Forker) -> None:
    fork = forker.fork(["--no-such-option=x"], dict(os.environ), "/")
    while fork.poll() is None:
        pass
    assert fork.wait() == 1
    fork.kill()
