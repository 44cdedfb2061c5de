"""Is it made already? What a change makes again, and what it leaves alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cpssl_lite.base import sources
from cpssl_lite.base.made import Recipe, code_digest, files_digest
from cpssl_lite.base.sources import PACKAGE, modules_used, read
from cpssl_lite.bioactivity import kept
from cpssl_lite.book.digest import code_digest as notebook_digest
from cpssl_lite.data import prepare
from cpssl_lite.data.simulate import screen
from cpssl_lite.images import cells, otsu
from cpssl_lite.models import train
from cpssl_lite.profiles import extract

ROOT = PACKAGE.parent


def chapter(name: str) -> Callable[[], str]:
    source = (ROOT / "notebooks" / f"{name}.py").read_text()
    return lambda: notebook_digest(source, ROOT)


# What is made, and the digest of the code that makes it.
MADE: dict[str, Callable[[], str]] = {
    "screen": screen._code,
    "prepared": prepare._code,
    "network": train._code,
    "features": extract._code,
    "measured": lambda: code_digest(cells.__file__, otsu.__file__),
    "bioactivity": lambda: code_digest(
        *(Path(kept.__file__).with_name(name) for name in kept.CODE)
    ),
    "01": chapter("01_augmentation_ablation"),
    "02": chapter("02_ssl_comparison"),
}
LINE, COMMENT = "\nONE_MORE = 1\n", "\n# a remark\n"
# A module, what is added to it, and all that is then made again.
CHANGES = {
    "a line of augment.py": ("images/augment.py", LINE, {"network", "01"}),
    "a line of a ViT": ("models/vit.py", LINE, {"network", "features", "01", "02"}),
    "a line of otsu.py": ("images/otsu.py", LINE, set(MADE) - {"bioactivity"}),
    "a line of a metric": ("metrics/retrieval.py", LINE, {"01", "02"}),
    "a line of the drawing": ("data/simulate/cells.py", LINE, {"screen", "01", "02"}),
    "a line of a network of 04": ("bioactivity/networks.py", LINE, {"bioactivity"}),
    "a comment in errors.py": ("base/errors.py", COMMENT, set[str]()),
    "a comment in a ViT": ("models/vit.py", COMMENT, set[str]()),
}


def clear() -> None:
    for cached in (screen._code, prepare._code, extract._code):
        cached.cache_clear()


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_made_again(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, added, expected = CHANGES[change]
    text = sources.read
    clear()
    before = {name: digest() for name, digest in MADE.items()}

    def changed(file: Path) -> str:
        return text(file) + (added if file == PACKAGE / module else "")

    monkeypatch.setattr("cpssl_lite.base.sources.read", changed)
    monkeypatch.setattr("cpssl_lite.base.made.read", changed)
    clear()
    again = {name for name, digest in MADE.items() if digest() != before[name]}
    clear()
    assert again == expected


def test_a_docstring_is_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    file = PACKAGE / "images" / "otsu.py"
    before, text = code_digest(file), sources.read(file)
    monkeypatch.setattr("cpssl_lite.base.sources.read", lambda _: f'"""New."""  # so\n{text}')
    assert code_digest(file) != before, "the old docstring is a statement now"
    plain = text.replace('"""', '"""More: ', 1)
    monkeypatch.setattr("cpssl_lite.base.sources.read", lambda _: plain)
    assert code_digest(file) == before


def test_a_parameter_and_a_byte_count(tmp_path: Path) -> None:
    image = tmp_path / "a.tiff"
    image.write_bytes(b"1")
    one = Recipe("prepare", {"low": 0.01}, {"files": files_digest([image])}, "c")
    assert one.made(one.record(fields=3)) and not one.changed(one.record())
    other = Recipe("prepare", {"low": 0.1}, one.inputs, "c")
    assert not other.made(one.record())
    assert other.changed(one.record()) == "parameter low: 0.01, now 0.1"
    apart = {"parameters": {"low": 0.5}, "inputs": dict(one.inputs)}  # as screens and pages do
    assert other.changed(apart) == "parameter low: 0.5, now 0.1"
    image.write_bytes(b"12")
    later = Recipe("prepare", {"low": 0.01}, {"files": files_digest([image])}, "c")
    assert later.changed(one.record()) == "input files"
    assert Recipe("prepare", {"low": 0.01}, one.inputs, "d").changed(one.record()) == "code"
    assert Recipe("prepare", {"low": 0.01}, {}, "c").changed(one.record()) == "input files"
    assert one.changed({"low": 0.01, "code": "a"}) == "code", "an older record, without inputs"
    assert one.changed({"inputs": ["x"], "parameters": 3}).startswith("parameter low: None")


def test_every_module_of_a_training_was_asked_whether_it_changes_a_weight() -> None:
    """A new one stands in `train.SOURCES` or here: forgotten, it would leave stale networks."""
    reads = "channels metadata pages paths table tiff twins zarrs".split()
    writes = (
        "cards checkpoints curves encoder formats formats_authors formats_public inside".split()
    )
    other = "cloome keeper precision reading recipe_values timm_parts".split()
    known = {f"images/{name}" for name in reads} | {f"models/{name}" for name in writes + other}
    used = modules_used(read(PACKAGE / "models" / "train.py"))
    code = [file.relative_to(PACKAGE) for file in used if file.suffix == ".py"]
    names = {file.with_suffix("").as_posix() for file in code}
    rooms = {name for name in names if name.startswith(("images/", "models/"))}
    assert {name for name in rooms if not name.endswith("__init__")} | {"models/train"} == known | {
        *train.SOURCES
    }
