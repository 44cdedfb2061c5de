"""Editions: what they need and can test, bad ones in a line, one built from a server's files."""

import http.server
import io
import re
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.coverage import KEPT, can_test, coverage, needs_table, own_way, quoted_table
from cpssl_lite.book.editions import TEMPLATE, list_editions, load_edition
from cpssl_lite.book.evidence import RELEASED, ROLES
from cpssl_lite.book.html import cell
from cpssl_lite.book.known import CPG0012, INDEXES
from cpssl_lite.book.make import chapters_at_once
from cpssl_lite.book.rendered import noted, write_note
from cpssl_lite.book.shelf import PLACE, check_shelf, put_on_shelf
from cpssl_lite.data import manifests
from cpssl_lite.data.manifests import list_manifests
from tests.book.conftest import ROOT, make_tiny_root

CLAIMS = load_claims(ROOT / "book" / "claims.yml")


def mine(folder: Path, text: str) -> Path:
    path = folder / "mine.yml"
    path.write_text(f"title: my screen\nabout: Of mine.\n{text}")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: [lote]", "no data set 'lote'; there are: .*did you mean lite?"),
        ("data: lite", "data is 'lite', expected type 'array'"),
        ("data: [{name: lite, plate: x}]", r"data\[0\]: .*'plate' was unexpected"),
        ("colour: red", "'colour' was unexpected"),
        ("chapters: {gene_clusters: {seed: 1}}", "gene_clusters: no such notebook. There are: 00_"),
        ("chapters: {timing: fast}", "chapters.timing is 'fast', expected type 'object'"),
        (
            "chapters: {timing: {seeds: 1}}",
            "06_timing.py: no parameter named seeds.*Allowed: field",
        ),
        ("chapters: {timing: {fields: many}}", "fields .* must be a whole number, got 'many'"),
        ("parameters: {sead: 1}", "no chapter has a parameter sead"),
        (
            "chapters: {ssl_comparison: {release: '{hgnc}/x'}}",
            "{hgnc} is none of the edition's data",
        ),
        (
            "chapters: {timing: {}}\nleave_out: {06_timing: no time}",
            "06_timing has parameters and is",
        ),
        ("leave_out: {timing: }", "leave_out.timing is None, expected type 'string'"),
        ("title: [", "the edition cannot be read"),
    ],
)
def test_a_bad_edition_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = mine(tmp_path, text)
    with pytest.raises(InputError, match=words) as caught:
        load_edition(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_an_unknown_edition_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no edition 'relase'; there are: cpjump1, lite, release "
    ):
        load_edition("relase")
    (tmp_path / "lite.yml").write_text("title: mine\nabout: Not that one.\n")
    with pytest.raises(InputError, match="has an edition lite already; rename the file"):
        load_edition(tmp_path / "lite.yml")


def test_the_editions_of_the_book_and_what_they_can_test() -> None:
    covered = coverage(CLAIMS, ROOT)
    assert covered.keys() == set(list_editions()) == {"lite", "release", "cpjump1"}
    for name in ("lite", "cpjump1"):  # no cell of the paper's is in them
        assert {CLAIMS[id].chapter for id in covered[name]} == set(KEPT), name
    assert {"dino-cellprofiler-perturbation", "ami-dino", "batch-harmony"} <= set(
        covered["release"]
    )
    assert not any("ablation" in CLAIMS[id].features for id in covered["release"])
    template = load_edition(ROOT / "book" / "editions" / f"{TEMPLATE}.yml")
    rows = [name for name, given in template.chapters.items() if "checkpoints" in given]
    assert len(rows) >= 5, "one more row in every chapter that compares networks"
    assert "04_bioactivity" in rows


def test_what_data_sets_offer_is_called_as_claims_call_it() -> None:
    offers = {m["name"]: m["offers"] for m in list_manifests() if "offers" in m}
    assert "authors_release" in offers
    for given in offers.values():
        assert given.keys() <= {*INDEXES, CPG0012}
        assert {role for roles in given.values() for role in roles} <= {RELEASED, *ROLES}


def test_what_can_be_tested_follows_from_chapters_data_and_convention(tmp_path: Path) -> None:
    def ids(text: str) -> set[str]:
        return set(can_test(CLAIMS, load_edition(mine(tmp_path, text)), ROOT))

    data = "data: [authors_release]\nchapters: {ssl_comparison: {release: '{authors_release}'"
    text = ids(data + ", convention: paper}}")
    code = ids(data + ", convention: released}}")
    assert "dino-best" in text & code  # a side of zero: by either
    assert {"dino-cellprofiler-target"} <= code - text
    assert "dino-cellprofiler-target" not in ids("data: [authors_release]")  # fetched, not used
    without = ids(data + "}}\nleave_out: {data: not now}")
    assert without == text - ids("")
    table = needs_table(CLAIMS, {"mine": sorted(code)})
    assert table.count("<tr>") == len(CLAIMS) + 1
    assert table.count("<td>mine</td>") == len(code)


def test_every_claim_has_an_edition_or_a_way_or_a_reason_why_nobody_can() -> None:
    shipped = {id for ids in coverage(CLAIMS, ROOT).values() for id in ids}
    known = {m["name"] for m in list_manifests()}
    for id, claim in CLAIMS.items():
        if claim.reason or claim.no_verdict or id in shipped:
            continue
        chapter, _, data = own_way(claim).removeprefix("one of your own: ").partition(" on ")
        assert chapter == claim.chapter and set(re.findall(r"[a-z]+_\w+|cpg\w+", data)) <= known, id
    assert own_way(CLAIMS["mad-cellprofiler"]) == "one of your own: postprocessing on jump_target2"
    assert own_way(CLAIMS["sphere-mad-ssl"]).endswith(", networks trained on jump_multisource")
    assert "image networks trained there" in own_way(CLAIMS["bioactivity-resnet"])


def test_a_chapter_that_is_left_out_quotes_the_papers_numbers_and_gives_no_verdict() -> None:
    release = load_edition("release")
    covered = {"release": can_test(CLAIMS, release, ROOT)}
    told = quoted_table(CLAIMS, "04_bioactivity", covered)
    assert "04_bioactivity" in release.left_out and "nothing here was measured" in told
    for id, claim in CLAIMS.items():
        assert (cell(claim.sentence) in told) == (claim.chapter == "bioactivity"), id
    assert "<td>AUCROC 0.731, SD 0.19, F1 0.508, F1 SD 0.3, AUC&gt;0.9 68, " in told
    assert (
        "bioactivity on cpg0012_bioactives with hti_cnn" in told and "nobody can: no pred" in told
    )
    assert not any(word in told for word in ("reproduced", "differs", "direction holds"))
    assert quoted_table(CLAIMS, "09_explorer", covered) == ""


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"),
    [(1, 64, 1), (2, 64, 2), (4, 16, 4), (64, 256, 4), (8, 7, 3), (8, 1, 1), (8, None, 2)],
)
def test_chapters_take_the_cores_that_memory_allows(monkeypatch, cores, gigabytes, expected):
    def sysconf(name: str) -> int:
        if gigabytes is None:
            raise ValueError(name)
        return 4096 if name == "SC_PAGE_SIZE" else gigabytes * 2**30 // 4096

    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr("os.sysconf", sysconf)
    assert chapters_at_once() == expected


def test_books_lead_to_each_other(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(f"<p>A book.{PLACE}</p>")
        if name != "three":  # not made by this
            write_note(tmp_path / name, "digest", f"the <{name}>")
    page = put_on_shelf(tmp_path)
    text = page.read_text()
    assert '<a href="one/index.html">one</a>: the &lt;one&gt;' in text and "three" not in text
    assert "refresh" not in text
    first = (tmp_path / "one" / "index.html").read_text()
    assert '<a href="../two/index.html">two</a>' in first and "one/index" not in first
    files = noted(tmp_path / "one")["files"]
    assert files["index.html"] == len(first), "still whole, so nothing is rendered again"
    shutil.rmtree(tmp_path / "two")
    assert 'content="0; url=one/index.html"' in put_on_shelf(tmp_path).read_text()
    assert (tmp_path / "one" / "index.html").read_text() == f"<p>A book.{PLACE}</p>"
    check_shelf(tmp_path)
    page.write_text("my thesis")
    with pytest.raises(InputError, match="is not made by cpssl book"):
        check_shelf(tmp_path)


TINY = {
    "01_given": (
        '# %% tags=["parameters"]\nrelease = ""  # folder\n\n# %%\n'
        "from cpssl_lite.profiles.find import release_tables\n\n"
        'print(*release_tables(release, "multisource"))'
    ),
    "02_lacking": (
        '# %% tags=["parameters"]\nfamilies = ""  # table\n\n# %%\nprint(open(families).read())'
    ),
    "03_drawn": "print(1)",
}
MINE = """\
data: [authors_release, hgnc]
chapters:
  given: {release: "{authors_release}"}
  lacking: {families: "{hgnc}/hgnc_complete_set_2022-10-01.txt"}
leave_out: {drawn: 'of <b>no</b> interest'}
"""


class Server(http.server.BaseHTTPRequestHandler):
    """Stands in for every place that files come from."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        body = self.server.files.get(self.path)  # type: ignore[attr-defined]
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The data sets' addresses lead to this machine; their layouts and names are the real ones."""
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for method in ("DINO", "CellProfiler"):
            name = f"SSL_data/embeddings/multisource/{method}/well_features.csv"
            archive.writestr(name, "plate,well,emb0\np1,A01,0.5\n")
    served.files, served.seen = {"/release.zip": packed.getvalue()}, []
    folder = tmp_path / "manifests"
    shutil.copytree(manifests.FOLDER, folder, ignore=shutil.ignore_patterns("*.parquet"))
    address = f"http://127.0.0.1:{served.server_port}"
    for name, pattern in (("authors_release", r"https://\S+dl=1"), ("hgnc", r"https://\S+tsv")):
        file = folder / f"{name}.yaml"
        there = address + ("/release.zip" if name == "authors_release" else "")
        file.write_text(re.sub(pattern, there, file.read_text(), count=1))
    monkeypatch.setattr(manifests, "FOLDER", folder)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


@pytest.mark.slow
def test_an_edition_is_fetched_run_and_rendered_by_one_command(
    small_root: Path, tmp_path: Path, server, cpssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    root = make_tiny_root(tmp_path / "root", small_root, TINY)
    edition = mine(root, MINE)
    monkeypatch.chdir(root)
    monkeypatch.delenv("CPSSL_CACHE", raising=False)

    code, said, _ = cpssl("book", edition.name, "--dry-run")
    assert code == 0 and "mine: my screen" in said
    assert "authors_release: 1 of 1 file to fetch, 6.00 GB; licence: CC-BY-NC-4.0" in said
    assert "from HUGO Gene" in said and "to fetch: 6.02 GB" in said
    assert "left out: 03_drawn (of <b>no</b> interest)" in said
    assert "can test 0 of the paper's 3 claims: none" in said
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, said, _ = cpssl("book", edition.name)
    assert code == 130 and "hgnc: 1 of 1 file" in said and "Fetch this? [y/N]" in said
    assert not server.seen and not (root / "data").exists() and not (root / "html").exists()

    # The gene groups are not to be had: their chapter says so, the rest is there.
    code, _, said = cpssl("book", edition.name, "--yes")
    assert code == 1 and "without chapters that failed: 02_lacking" in said
    html = root / "html" / "mine"
    pages = {p.stem: p.read_text() for p in (html / "chapters").glob("*.html")}
    assert "CellProfiler DINO" in pages["01_given"] and "cpssl book mine.yml" in pages["01_given"]
    assert (
        "its data could not be had: hgnc: " in pages["02_lacking"] and "404" in pages["02_lacking"]
    )
    assert "leaves this chapter out" in pages["03_drawn"] and "of &lt;b&gt;no" in pages["03_drawn"]
    first = (html / "index.html").read_text()
    assert "The edition <em>mine</em>: my screen." in first
    assert 'url=mine/index.html"' in (root / "html" / "index.html").read_text()
    executed = root / "book" / "executed" / "mine"
    assert [p.name for p in executed.glob("*.ipynb")] == ["01_given.ipynb"]
    assert (root / "data/authors_release/SSL_data.zip.contents.csv").is_file()

    # Once they are, only what was missing is fetched and run.
    before = (executed / "01_given.ipynb").stat().st_mtime_ns
    server.files["/hgnc_complete_set_2022-10-01.txt"] = b"symbol\tgene_group\nA\tB|C\n"
    seen = len(server.seen)
    code, said, _ = cpssl("book", edition.name, "--yes")
    assert code == 0 and said.strip() == str(html / "index.html")
    assert server.seen[seen:] == ["/hgnc_complete_set_2022-10-01.txt"]
    assert "gene_group" in (html / "chapters" / "02_lacking.html").read_text()
    assert (executed / "01_given.ipynb").stat().st_mtime_ns == before
    assert not (root / "book" / "executed" / "lite").exists()
    assert cpssl("book", edition.name)[0] == 0, "nothing is missing, nothing is asked"
