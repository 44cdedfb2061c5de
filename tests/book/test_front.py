"""What the build adds: first page, dark figures, launch lines, card, RO-Crate."""

import base64
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from rocrate.rocrate import ROCrate

from cpssl_lite.book import dark, figures
from cpssl_lite.book.claims import MIME, load_claims
from cpssl_lite.book.provenance import MIME as PROVENANCE
from cpssl_lite.book.recipe_table import recipe_table
from cpssl_lite.book.runner import run_notebook


def luminance(color: tuple[float, ...]) -> float:
    """Relative luminance of WCAG."""
    rgb = np.array(color[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(color: tuple[float, ...]) -> float:
    page = luminance(dark.darken("white"))
    return (luminance(color) + 0.05) / (page + 0.05)


@pytest.mark.parametrize("name", figures.COLORS)
def test_methods_are_seen_on_the_dark_page_in_their_own_hue(name: str) -> None:
    light = figures.COLORS[name]
    seen = dark.darken(light, dark.DRAWN)
    assert contrast(seen) >= 3, to_hex(seen)
    from colorsys import rgb_to_hls

    old, new = (rgb_to_hls(*c[:3]) for c in (plt.matplotlib.colors.to_rgb(light), seen))
    if old[2] > 0.3:
        assert abs((old[0] - new[0] + 0.5) % 1 - 0.5) < 0.04


def test_text_is_readable_and_the_figure_is_as_before() -> None:
    assert contrast(dark.darken("#26303A")) >= 7 and contrast(dark.darken("#4B5763")) >= 4.5
    figure, (left, right) = plt.subplots(1, 2)
    line = left.plot([1, 2], color=figures.COLORS["DINO"], marker="o")[0]
    points = left.scatter([1], [1], c=["#26303A"])
    right.imshow(np.zeros((2, 2)))
    text = right.text(0, 0, "on a picture", color="black")
    place = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
    beside = right.annotate("beside", (1, 0.5), (1.3, 0.5), arrowprops={}, color="black", **place)
    title = left.set_title("Title", color="black")
    before = [line.get_color(), points.get_facecolor().tolist(), title.get_color()]
    with dark.dark_colors(figure):
        assert text.get_color() == "black", "text on a picture keeps the picture's colours"
        assert title.get_color() != "black"
        assert contrast(beside.get_color()) >= 4.5
        assert line.get_markerfacecolor() == line.get_color() != before[0]
    assert [line.get_color(), points.get_facecolor().tolist(), title.get_color()] == before
    plt.close(figure)


def test_numbers_drawn_as_colours_are_no_white_panels_in_the_dark() -> None:
    figure, axis = plt.subplots()
    drawn = axis.imshow(np.zeros((4, 4)), cmap="RdBu_r", vmin=-1, vmax=1)
    text = axis.text(1, 1, "0", color="black")
    bar = figure.colorbar(drawn)
    picture = figure.add_axes((0, 0, 0.1, 0.1)).imshow(np.ones((2, 2, 3)))
    with dark.dark_colors(figure):
        middle = drawn.cmap(0.5)
        assert luminance(middle) < 0.05 and bar.cmap(0.5) == middle
        assert contrast(text.get_color()) > 7 and luminance(drawn.cmap(0.0)) > 0.4
        assert picture.get_array().min() == 1
    assert drawn.cmap.name == bar.cmap.name == "RdBu_r" and text.get_color() == "black"
    plt.close(figure)


def executed(root: Path) -> list[Path]:
    return sorted((root / "book" / "executed" / "lite").glob("*.ipynb"))


def test_figures_have_a_dark_picture_with_the_same_words(small_book: Path) -> None:
    page = (small_book / "chapters" / "99_demo.html").read_text()
    light = re.search(r'<img[^>]*class="cpssl-light[^>]*>', page)
    other = re.search(r'<img[^>]*class="cpssl-dark[^>]*src="\.\./_static/dark/([^"]+)"[^>]*>', page)
    other = other or re.search(r'<img[^>]*src="\.\./_static/dark/([^"]+)"[^>]*>', page)
    assert light and other
    assert re.search('alt="([^"]+)"', light[0])[1] == re.search('alt="([^"]+)"', other[0])[1]
    assert (small_book / "_static" / "dark" / other[1]).stat().st_size > 1000


def test_the_first_page_shows_this_build(small_root: Path, small_book: Path) -> None:
    page = (small_book / "index.html").read_text()
    assert "_images/overview.png" in page and (small_book / "_static" / "social-card.png").is_file()
    assert 'property="og:image" content="_static/social-card.png"' in page
    assert 'href="chapters/99_demo.html#claim-gain"' in page and ">reproduced<" in page
    claims = load_claims(small_root / "book" / "claims.yml")
    assert f"{len(claims)} claims" in page
    for path in executed(small_root):
        assert f'href="chapters/{path.stem}.html"' in page


def test_a_chapter_says_how_to_open_it(small_book: Path) -> None:
    page = (small_book / "chapters" / "99_demo.html").read_text()
    line = re.search(r'<p class="cpssl-launch">.*?</p>', page)[0]
    assert "cpssl run demo" in line and "mybinder" not in line
    assert 'href="../_sources/chapters/99_demo.ipynb"' in line
    launch = (small_book / "launch.html").read_text()
    assert "without a public address" in launch and "clone ADDRESS-OF-THE-REPOSITORY" in launch


def test_the_crate_is_read_back(small_root: Path, small_book: Path) -> None:
    crate = ROCrate(str(small_book))
    assert crate.license.id.endswith("BSD-3-Clause") and crate.datePublished
    runs = {run["name"]: run for run in crate.get_by_type("CreateAction")}
    assert len(runs) == len(executed(small_root))
    run = runs["cpssl run 99_demo"]
    assert run["startTime"] <= run["endTime"]
    parts = {item.id for item in run["result"]}
    assert parts == {"chapters/99_demo.html", "_sources/chapters/99_demo.ipynb"}
    for part in parts:
        assert (small_book / part).is_file()
    values = {item.get("name"): item.get("value") for item in run["object"]}
    assert values["seed"] == "7" and json.loads(values["checkpoints"]) == {}
    assert any("torch" in text for text in run["instrument"]["softwareRequirements"])
    text = (small_book / "ro-crate-metadata.json").read_text()
    assert str(small_root) not in text and "/tmp/" not in text


def outputs(path: Path) -> list[dict]:
    """All that a notebook shows, but for times: pictures, claims, tables and text."""
    found = []
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", []):
            data = dict(output.get("data", {"text": output.get("text")}))
            html = "".join(data.get("text/html", ""))
            data["text/html"] = re.sub(r">Run</th><td>.*?</td>", ">Run</th>", html)
            if PROVENANCE in data:
                data.pop("text/plain")  # the same again
            found.append(data)
    return found


def test_two_runs_give_the_same_numbers(small_root: Path, small_book: Path, tmp_path: Path) -> None:
    before = {path.stem: outputs(path) for path in executed(small_root)}
    assert any(MIME in data for data in before["99_demo"])
    again = outputs(run_notebook("99_demo", out=tmp_path / "again.ipynb", root=small_root))
    assert again == before["99_demo"]


def test_the_dark_picture_is_beside_the_light_one(small_root: Path, small_book: Path) -> None:
    both = [data for data in outputs(small_root / "book" / "executed" / "lite" / "99_demo.ipynb")]
    picture = next(data for data in both if "image/png" in data)
    light, night = (base64.b64decode(p) for p in (picture["image/png"], picture[dark.MIME]["png"]))
    assert light[:8] == night[:8] == b"\x89PNG\r\n\x1a\n"
    assert light[16:24] == night[16:24], "the same width and height"


def test_recipes_stand_beside_each_other_and_say_where_a_number_is_from() -> None:
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', recipe_table())
    cells = {name: re.findall("<td>(.*?)</td>", rest) for name, rest in rows}
    assert cells["crops"] == ["2 of 224, 8 of 96", "4 of 224", "2 of 224 (code)"]
    assert cells["lr"] == ["0.004 (code)", "0.00015 (code)", "0.001 (code)"]
    assert cells["augment, color, shift"] == ["0.3 (code)", "-", "0.3 (code)"]
    assert cells["mask ratio"] == ["-", "0.5", "-"]
    assert "name" not in cells and cells["keep every"] == ["20"] * 3
    assert cells["normalisation, mean"][0].endswith("0.0867472 (code)")
