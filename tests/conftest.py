"""Fixtures that every test folder uses."""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # likewise
# Everything here is tiny: threads that wait for each other cost more than they bring. Before any
# import of NumPy or torch; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    fixed = {"deadline": None, "suppress_health_check": list(HealthCheck)}
    settings.register_profile("few", max_examples=12, derandomize=True, database=None, **fixed)
    settings.register_profile("many", max_examples=400, print_blob=True, **fixed)
    settings.load_profile("few")
ROOT = Path(__file__).resolve().parents[1]
collect_ignore = ["parity/make_scib.py"]  # it runs in an environment of its own
SHARED = Path(os.environ.get("CPSSL_SHARED", ROOT.parent / "shared"))


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.is_dir():
        pytest.skip(f"needs the reference data folder {part} (set CPSSL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def parity() -> Path:
    """Inputs with the outputs that the authors' code gave on them."""
    return _shared("parity")


@pytest.fixture(scope="session")
def real() -> Path:
    """Real Cell Painting images, profiles and metadata."""
    return _shared("real")


@pytest.fixture(autouse=True)
def _said_by_one_test() -> None:
    """What a command of an earlier test let through (INFO) is not asked for here."""
    logging.getLogger("cpssl_lite").setLevel(logging.NOTSET)


@pytest.fixture
def cpssl(monkeypatch, capsys):
    """Run the command line here: exit status, standard output and error; no traceback unasked."""
    from cpssl_lite.cli.main import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cpssl", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert "--debug" in words or "Traceback" not in said.err
        return end.value.code or 0, said.out, said.err

    return run
