"""The page of functions, and the links to it."""

import re
from pathlib import Path

from cpssl_lite.book import api


def test_every_public_function_with_a_docstring_is_there(small_book: Path) -> None:
    page = (small_book / "api.html").read_text()
    known = api.anchors(page)
    modules = dict(api.modules())
    assert "cpssl_lite.cli.main" not in modules and len(known) > 400
    for module, path in modules.items():
        for public in api.read_module(path)[1]:
            assert f"{module}.{public.name}" in known
    assert "average_precision(profiles, labels, distance='cosine', thresholds=None)" in (
        re.sub(r"<[^>]+>", "", page).replace("’", "'").replace("&#39;", "'")
    )
    assert "scikit-learn&#x27;s ``average_precision_score" in page or (
        "scikit-learn's ``average_precision_score" in page
    )


def test_code_leads_to_it_where_a_name_is_imported() -> None:
    known = {"cpssl_lite.metrics.retrieval.average_precision": "#x"}
    code = (
        '<pre><span class="kn">from</span><span class="w"> </span>'
        '<span class="nn">cpssl_lite.metrics.retrieval</span><span class="w"> </span>'
        '<span class="kn">import</span> <span class="n">average_precision</span>\n'
        '<span class="n">average_precision</span><span class="p">(</span>'
        '<span class="n">np</span><span class="o">.</span><span class="n">average_precision</span>'
        '<span class="p">(</span><span class="n">average_precision</span></pre>'
    )
    linked = api.link_code(code, known, "../")
    assert linked.count('href="../api.html#x"') == 2
    assert re.sub(r"</?a\b[^>]*>", "", linked) == code
    other = code.replace("cpssl_lite.metrics.retrieval", "copairs")
    assert api.link_code(other, known, "../") == other


def test_chapters_lead_to_it(small_book: Path) -> None:
    page = (small_book / "chapters" / "99_demo.html").read_text()
    assert 'href="../api.html#cpssl_lite.book.evidence.Evidence"' in page
