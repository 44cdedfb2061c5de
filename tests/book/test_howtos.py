"""The how-tos, followed to the letter: every bash block of every page runs in an empty clone."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cpssl_lite.data.simulate.screen import simulate

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "book").glob("howto_*.md"))
COMMAND = re.compile(r"^(cpssl (?:.*\\\n)*[^|&;<>$`\n]*)$", re.M)  # one that no shell has to read
BLOCK = re.compile(
    r"(?P<skip>^% not run\n)?^```(?P<kind>bash|\{code-block\} \w+)\n"
    r"(?::caption: (?P<file>\S+)\n)?(?P<text>.*?)^```$",
    re.M | re.S,
)


class Step(NamedTuple):
    """A file that the page says to write, or commands that it says to give."""

    file: str | None
    text: str


def steps(page: str) -> list[Step]:
    found = []
    for block in BLOCK.finditer(page):
        if block["file"]:
            found.append(Step(block["file"], block["text"]))
        elif block["kind"] == "bash" and not block["skip"]:
            found.append(Step(None, block["text"]))
    return found


def test_blocks_are_found() -> None:
    page = "```bash\na\nb\n```\n% not run\n```bash\nc\n```\n"
    page += "```{code-block} yaml\n:caption: x/y.z\nd\n```\n"
    assert steps(page) == [Step(None, "a\nb\n"), Step("x/y.z", "d\n")]
    parts = COMMAND.split("cpssl a \\\n  --b c\npython d\ncpssl e > f\n")
    assert parts == ["", "cpssl a \\\n  --b c", "\npython d\ncpssl e > f\n"]


def test_every_page_is_there_and_has_something_to_run() -> None:
    names = {page.stem for page in PAGES}
    assert {"howto_checkpoint", "howto_images", "howto_profiles"} <= names
    assert {"howto_metric", "howto_chapter"} <= names
    for page in PAGES:
        assert any(step.file is None for step in steps(page.read_text())), page.name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy screen that pages draw, drawn once: `simulate` leaves a finished one as it is."""
    return simulate("tiny", tmp_path_factory.mktemp("screen") / "tiny", workers=1).parent


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_works(
    page: Path,
    tiny: Path,
    cpssl: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a how-to needs of a clone: the book's sources, and notebooks beside them.
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("executed"))
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(tiny, tmp_path / "data" / "tiny")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    monkeypatch.chdir(tmp_path)
    for step in steps(page.read_text()):
        if step.file:
            target = tmp_path / step.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.text)
            continue
        for part in COMMAND.split(step.text):
            if COMMAND.fullmatch(part):  # here: thirty processes would import torch thirty times
                status, out, err = cpssl(*shlex.split(part.replace("\\\n", " "))[1:])
                assert status == 0, f"{part}\n{out[-2000:]}\n{err[-2000:]}"
                continue
            if not part.strip():
                continue
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", part],
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{part}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    made = {path.name for path in tmp_path.iterdir()} - {"book", "notebooks", "_config.yml", "data"}
    assert made, "a how-to leaves something behind"
