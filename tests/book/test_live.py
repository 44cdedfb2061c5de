"""What can be tried in the page, in headless Chromium with the network off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book import live
from cpssl_lite.book.where import find_root
from cpssl_lite.metrics.retrieval import average_precision
from cpssl_lite.profiles.normalize import sphere
from tests.book.test_browser import QUIET, Visit, browser  # noqa: F401  (a fixture)

pytestmark = pytest.mark.browser
rng = np.random.default_rng(0)
POINTS = rng.normal(size=(40, 2)) @ [[1.0, 0.95], [0.0, 0.3]]
CONTROLS = np.arange(40) < 30
CENTRED = (POINTS - POINTS[CONTROLS].mean(axis=0)) / POINTS[CONTROLS].std(axis=0)
VALUES = np.linalg.eigvalsh(np.corrcoef(POINTS[CONTROLS].T))
EVIL = "<img src=x onerror=alert(1)>"


def ladder() -> str:
    similarity = np.array([[1 - abs(i - j) / 10 for j in range(5)] for i in range(5)])
    np.fill_diagonal(similarity, -np.inf)
    wells = pd.DataFrame(
        {
            "Metadata_Perturbation": [EVIL, "b", EVIL, EVIL, "b"],
            "Metadata_Batch": ["1", "1", "1", "2", "2"],
            "Metadata_Well": ["A01"] * 5,
        }
    )
    rules = {"anybody": [], "other batch": [wells["Metadata_Batch"].to_numpy()]}
    return live.rungs(0, similarity, wells, rules, {"anybody": 0.25, "other batch": 0.5})


def page(*parts: str) -> str:
    static = find_root(Path(__file__)) / "book" / "_static"
    css = "".join((static / name).read_text() for name in ("cpssl.css", "live.css"))
    script = (static / "live.js").read_text()
    return (
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Try</title>'
        f"<style>html {{ --pst-color-background: #fff }} {css}</style></head><body><main>"
        f"<h1>Try</h1>{''.join(parts)}</main><script>{script}</script></body></html>"
    )


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, 390)
    hits = [False, True, False, False, True, False, False, True]
    parts = live.strip(hits), live.spread(CENTRED, CONTROLS, VALUES, 1e-6), ladder()
    (tmp_path / "one.html").write_text(page(*parts), encoding="utf-8")
    yield visit.open(tmp_path / "one.html")
    found = Axe().run(visit.page, options=QUIET).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:100]) for v in found] == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert (visit.asked, visit.said) == ([], [])
    visit.context.close()


def told(shown: Any, kind: str) -> str:
    return shown.inner_text(f"[data-kind={kind}] .lv-told")


def by_library(hits: list[int]) -> str:
    """Average precision of a ranking with hits at these places."""
    near = np.linspace(0.9, 0.1, 8)
    rows = np.c_[near, np.sqrt(1 - near**2)]
    labels = np.array(["a", *("a" if place in hits else f"x{place}" for place in range(1, 9))])
    return f"{average_precision(np.r_[[[1.0, 0.0]], rows], labels)[0]:.3f}"


def test_a_hit_moves_by_keys_and_by_taps_and_the_precision_follows(shown: Any) -> None:
    assert told(shown, "strip").endswith(by_library([2, 5, 8]))
    shown.focus(".lv-strip button >> nth=7")
    for _ in range(2):
        shown.keyboard.press("ArrowLeft")
    assert told(shown, "strip").endswith(by_library([2, 5, 6]))
    assert shown.evaluate("document.activeElement.innerText").startswith("6")
    shown.click(".lv-strip button >> nth=1")
    shown.click(".lv-strip button >> nth=0")
    assert told(shown, "strip").endswith(by_library([1, 5, 6]))
    assert "(1/1 + 2/5 + 3/6) / 3" in told(shown, "strip")


def test_epsilon_slides(shown: Any) -> None:
    def ratio(epsilon: float) -> float:
        lengths = np.linalg.norm(sphere(CENTRED, CONTROLS, epsilon), axis=1)
        means = [np.sqrt((lengths[part] ** 2).mean()) for part in (~CONTROLS, CONTROLS)]
        return means[0] / means[1]

    def says() -> float:
        return float(told(shown, "spread").split("lie ")[1].split()[0])

    assert says() == pytest.approx(ratio(1e-6), rel=0.02)
    shown.focus(".lv-slide input")
    shown.keyboard.press("End")
    assert shown.inner_text(".lv-slide output") == "10"
    assert says() == pytest.approx(ratio(10), rel=0.02)


def test_the_ladder_is_climbed(shown: Any) -> None:
    rows = shown.locator(".lv-near tbody tr")
    assert rows.locator("td:last-child").all_inner_texts() == ["nearest: wrong", "", "", ""]
    shown.focus(".lv-rungs input >> nth=0")
    shown.keyboard.press("ArrowDown")
    here = rows.locator("td:last-child").all_inner_texts()
    assert here == ["left out", "left out", "nearest: right", ""]
    assert told(shown, "rungs") == "Over all wells the nearest one is right in 50.0%."
    assert rows.nth(1).locator("td").first.inner_text() == EVIL


def test_without_a_script_the_numbers_are_there(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    context = browser.new_context(java_script_enabled=False, offline=True)
    shown = context.new_page()
    (tmp_path / "one.html").write_text(page(live.strip([True, False, True]), ladder()))
    shown.goto((tmp_path / "one.html").as_uri())
    assert told(shown, "strip") == "The average precision is 0.833."
    assert told(shown, "rungs") == "Right nearest neighbours. anybody: 25%; other batch: 50%."
    context.close()
