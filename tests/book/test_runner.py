"""Runner: parameters, skipping, failures."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from cpssl_lite.base import sources
from cpssl_lite.base.errors import InputError
from cpssl_lite.book import runner
from cpssl_lite.book.percent import check_parameters, read_parameters, read_percent
from cpssl_lite.book.runner import NotebookFailed, run_all, run_notebook
from cpssl_lite.book.where import (
    PATHS,
    executed_folder,
    find_notebook,
    find_root,
    from_here,
    list_notebooks,
)

SOURCE = """
# %% tags=["parameters"]
seed = 7  # of the dice
share = 0.5  # of the wells
label = "02"  # a name
flag = False
items = []
names = {{}}
table = ""  # a file

# %%
import os, sys, time
print("ran", os.getcwd(), sys.executable, seed, repr(label), names)
{extra}
"""


@pytest.fixture
def source(root: Path) -> Path:
    path = root / "notebooks" / "03_dice.py"
    path.write_text(SOURCE.format(extra=""))
    return path


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))


WARNS = """
import logging
for _ in range(2):
    logging.getLogger("cpssl_lite.profiles").warning("%d directions <b>amplified</b>", 585)
logging.getLogger("cpssl_lite.profiles").info("nothing to worry about")
logging.getLogger("cpssl_lite").warning("4,584 compounds are left out")
logging.getLogger("elsewhere").warning("not ours")
"""


def test_warnings_of_the_package_stand_on_the_page(root: Path) -> None:
    path = root / "notebooks" / "03_dice.py"
    path.write_text(SOURCE.format(extra=WARNS))
    cells = nbformat.read(run_notebook("dice", root=root), as_version=4).cells
    pages = [o["data"] for c in cells for o in c.get("outputs", []) if "data" in o]
    assert [page["text/plain"] for page in pages] == [
        "Warning: 585 directions <b>amplified</b>",
        "Warning: 4,584 compounds are left out",
    ]
    assert "585 directions &lt;b&gt;amplified&lt;/b&gt;" in pages[0]["text/html"]
    assert 'class="admonition warning"' in pages[0]["text/html"]


def test_parameters_are_read_with_defaults_and_help(source: Path) -> None:
    found = read_parameters(read_percent(source), source.name)
    assert list(found) == ["seed", "share", "label", "flag", "items", "names", "table"]
    assert (found["seed"].default, found["seed"].help) == (7, "of the dice")
    assert found["label"].default == "02"


def test_every_parameter_that_may_be_a_path_is_known_as_one() -> None:
    repository = find_root(Path(__file__))
    for source in list_notebooks(repository):
        for name, parameter in read_parameters(read_percent(source), source.name).items():
            words = set(re.findall(r"[a-z]+", parameter.help.lower().partition("[")[0]))
            if words & {"column", "call", "calls"} or isinstance(parameter.default, int | float):
                continue
            if words & {"path", "folder", "file", "table", "tables"}:
                assert name in PATHS, (source.name, name)


def test_paths_are_meant_from_the_folder_where_they_are_typed(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder in (root, elsewhere):
        (folder / "mine.parquet").touch()
        (folder / "a[1].csv").touch()
    given = {
        "table": "mine.parquet", "profiles": {"Mine": ["m*.parquet", "no.csv"]}, "seed": 1,
        "data": "lite", "label": "gene", "network": "DINO", "method": "none", "genes": "a[1].csv",
    }  # fmt: skip
    for name in ("lite", "DINO", "none", "gene"):  # what is called as a folder is no path
        (elsewhere / name).mkdir()
    monkeypatch.chdir(elsewhere)
    assert from_here(given, root) == {
        **given,
        "table": f"{elsewhere}/mine.parquet",
        "profiles": {"Mine": [f"{elsewhere}/m*.parquet", "no.csv"]},
        "genes": f"{elsewhere}/a[1].csv",
    }
    monkeypatch.chdir(root)
    assert from_here(given, root) == given


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "9", 9),
        ("share", "1", 1.0),
        ("label", "03", "03"),
        ("label", "true", "true"),
        ("flag", "true", True),
        ("items", "[1, 2]", [1, 2]),
        ("names", '{"Mine": "a.pth"}', {"Mine": "a.pth"}),
    ],
)
def test_text_takes_the_type_of_the_default(
    source: Path, name: str, text: str, value: object
) -> None:
    allowed = read_parameters(read_percent(source), source.name)
    got = check_parameters({name: text}, allowed, source.name)[name]
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed", "nine"), ("seed", "1.5"), ("flag", "3"), ("items", "{}"), ("names", "a=b")],
)
def test_a_value_of_another_type_is_refused(source: Path, name: str, text: str) -> None:
    allowed = read_parameters(read_percent(source), source.name)
    with pytest.raises(InputError, match=f"parameter {name} .*must be .* got"):
        check_parameters({name: text}, allowed, source.name)


def test_unknown_parameter_lists_the_allowed_ones(source: Path, root: Path) -> None:
    with pytest.raises(InputError, match=r"no parameter named sead, did you mean seed\?.*share"):
        run_notebook("dice", {"sead": 1}, root=root)
    assert not (root / "runs").exists() and not (root / "book" / "executed").exists()


def test_a_default_that_is_computed_is_refused(source: Path, root: Path) -> None:
    source.write_text('# %% tags=["parameters"]\nseed = len("abc")\n')
    with pytest.raises(InputError, match=r"seed must be a plain literal, got len\('abc'\)"):
        run_notebook("dice", root=root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"# %%\nx = 1\n%matplotlib inline\n", "line 3 is not Python"),
        (b"\xff\xfe", "not a text file"),
    ],
)
def test_a_source_that_is_no_python_is_one_line(
    source: Path, root: Path, text: bytes, words: str
) -> None:
    source.write_bytes(text)
    with pytest.raises(InputError, match=rf"03_dice\.py: .*{words}"):
        run_notebook("dice", root=root)


def test_names_find_a_notebook(source: Path, root: Path) -> None:
    for name in ("dice", "03_dice", "notebooks/03_dice.py", str(source)):
        assert find_notebook(name, root) == source
    with pytest.raises(InputError, match=r"no such notebook\. There are: 03_dice"):
        find_notebook("cards", root)
    assert find_root(source.parent) == root


def test_run_skip_change_force(source: Path, root: Path) -> None:
    path = run_notebook("dice", root=root)
    assert path == root / "book" / "executed" / "lite" / "03_dice.ipynb"
    text = printed(path)
    assert f"ran {root} {sys.executable} 7 '02' {{}}" in text

    made = path.stat().st_mtime_ns
    assert run_notebook("dice", root=root).stat().st_mtime_ns == made
    # The default given by hand is still the default.
    assert run_notebook("dice", {"seed": "7"}, root=root).stat().st_mtime_ns == made
    run_notebook("dice", force=True, root=root)
    forced = path.stat().st_mtime_ns
    assert forced > made
    source.write_text(SOURCE.format(extra="print('changed')"))
    assert "changed" in printed(run_notebook("dice", root=root))
    assert path.stat().st_mtime_ns > forced
    kept = json.loads(path.read_text())["metadata"]
    assert kept["cpssl"]["parameters"]["label"] == "02" and "papermill" not in kept
    assert [p.name for p in path.parent.iterdir()] == ["03_dice.ipynb"]


def test_other_parameters_do_not_touch_the_page_of_the_book(source: Path, root: Path) -> None:
    table = root / "table.csv"
    table.write_text("a\n1\n")
    given = {"seed": "9", "label": "03", "table": "table.csv"}
    path = run_notebook("dice", given, root=root)
    assert path.parent.parent == root / "runs" and not (root / "book" / "executed").exists()
    assert "9 '03'" in printed(path)
    made = path.stat().st_mtime_ns
    assert run_notebook("dice", given, root=root).stat().st_mtime_ns == made
    table.write_text("a\n2\n")  # a file that a parameter names is an input
    assert run_notebook("dice", given, root=root).stat().st_mtime_ns > made


def test_a_failed_notebook_is_kept_aside_and_the_others_go_on(source: Path, root: Path) -> None:
    path = run_notebook("dice", root=root)
    before = path.read_bytes()
    source.write_text(SOURCE.format(extra="{}['six']"))
    source.with_name("04_other.py").write_text("# %%\nprint('fine')\n")
    results = run_all(root=root)
    assert [(r.name, r.status) for r in results] == [("03_dice", "failed"), ("04_other", "ran")]
    assert "cell [2] failed" in results[0].message
    assert "KeyError: 'six'" in results[0].message and "\x1b" not in results[0].message
    assert path.read_bytes() == before
    assert path.with_suffix(".failed.ipynb").is_file()
    with pytest.raises(NotebookFailed):
        run_notebook("dice", root=root)
    source.write_text(SOURCE.format(extra=""))
    run_notebook("dice", force=True, root=root)
    assert not path.with_suffix(".failed.ipynb").exists()


def test_bad_input_found_inside_a_notebook_is_one_line(source: Path, root: Path) -> None:
    extra = (
        "from cpssl_lite.base.errors import InputError\nraise InputError('x.csv: no column well')"
    )
    source.write_text(SOURCE.format(extra=extra))
    with pytest.raises(InputError, match=r"03_dice: x\.csv: no column well"):
        run_notebook("dice", root=root)


def test_processes(source: Path, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    source.with_name("04_other.py").write_text("# %%\nprint('fine')\n")
    caplog.set_level("INFO", runner.__name__)
    assert [r.status for r in run_all(workers=2, root=root)] == ["ran", "ran"]
    assert [r.status for r in run_all(root=root)] == ["unchanged", "unchanged"]
    assert caplog.messages[-1].startswith("04_other: unchanged, 0.")


def test_it_says_why_a_notebook_ran(source: Path, root: Path) -> None:
    table, given = root / "table.csv", {"03_dice": {"table": "table.csv"}}
    table.write_text("a\n1\n")
    made = executed_folder(root) / "03_dice.ipynb"

    def why(**changes: object) -> str:
        (result,) = run_all(root=root, parameters={"03_dice": given["03_dice"] | changes})
        return result.message

    assert why() == "not there yet"
    assert why() == ""
    table.write_text("a\n2\n")
    assert why() == "input table.csv"
    assert why(seed=8) == "parameter seed: 7, now 8"
    source.write_text(source.read_text() + "# %%\nprint('more')\n")
    assert why(seed=8) == "code"
    made.write_text(made.read_text()[:99])
    assert why(seed=8) == "damaged"


def test_the_kernel_is_private(source: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(root / "nowhere"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source.write_text("# %%\nimport os\nprint(os.environ['MPLBACKEND'])\n")
    assert "inline" in printed(run_notebook("dice", root=root))


def test_a_kernel_is_told_its_parameters_to_the_letter(source: Path, root: Path) -> None:
    extra = "from cpssl_lite.book.provenance import current_run\nprint(current_run()['parameters'])"
    source.write_text(SOURCE.format(extra=extra))
    assert "'label': '$HOME $$'" in printed(run_notebook("dice", {"label": "$HOME $$"}, root=root))


def test_plain_papermill_reads_the_sources(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import papermill

    monkeypatch.chdir(root)
    papermill.execute_notebook(
        "notebooks/03_dice.py", "out.ipynb", {"seed": 9}, prepare_only=True, progress_bar=False
    )
    cells = nbformat.read(root / "out.ipynb", as_version=4).cells
    injected = [c.source for c in cells if "injected-parameters" in c.metadata.tags]
    assert len(injected) == 1 and "seed = 9" in injected[0]


def test_a_notebook_that_measures_time_runs_last_and_by_itself(source: Path, root: Path) -> None:
    timing = source.with_name("01_timing.py")
    timing.write_text(SOURCE.format(extra="").replace('"parameters"', '"parameters", "alone"'))
    results = run_all(workers=2, root=root)
    assert [r.name for r in results] == ["03_dice", "01_timing"]
    assert {r.status for r in results} == {"ran"}


def test_touching_one_notebook_runs_that_one(source: Path, root: Path) -> None:
    other = root / "notebooks" / "04_other.py"
    other.write_text("# %%\nfrom cpssl_lite.book import html\nprint(html.cell(1.5))\n")
    assert [r.status for r in run_all(root=root)] == ["ran", "ran"]
    assert [r.status for r in run_all(root=root)] == ["unchanged", "unchanged"]
    source.write_text(source.read_text() + "\n# %%\nprint('more')\n")
    assert {r.name: r.status for r in run_all(root=root)} == {
        "03_dice": "ran",
        "04_other": "unchanged",
    }


def test_a_package_file_runs_what_depends_on_it(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = root / "notebooks" / "04_other.py"
    other.write_text("# %%\nfrom cpssl_lite.book import html\nprint(html.cell(1.5))\n")
    run_all(root=root)
    before = sources.read
    more = "\nMORE = 1\n"
    monkeypatch.setattr(sources, "read", lambda f: before(f) + more * (f.name == "html.py"))
    assert {r.name: r.status for r in run_all(root=root)} == {
        "03_dice": "unchanged",
        "04_other": "ran",
    }
