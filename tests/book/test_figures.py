"""Figures: one colour per method, composites, tags."""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import figures


def test_a_method_has_one_colour_and_marker_everywhere() -> None:
    assert figures.color("DINO ViT-B (mine)") == figures.color("dino") == figures.COLORS["DINO"]
    assert figures.color("random_weights") == figures.COLORS["Random weights"]
    assert figures.color("Mine") == figures.color("Mine")
    assert figures.color("Mine") not in figures.COLORS.values()
    assert len(set(figures.COLORS.values())) == len(set(figures.MARKERS.values())) == 9
    assert set(figures.COLORS) == set(figures.MARKERS)
    assert figures.color("ImageNet stand-in (CNN)") == figures.color("Transfer (ViT-S/16)")
    assert figures.color("CellProfiler-style") == figures.color("CellProfiler")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (("DINO", "vit_small_patch16"), "ViT-S"),
        (("DINO-ViT-B_multisource",), "ViT-B"),
        (("DINO", "vit_lite_patch16"), "ViT lite"),
        (("Stand-in", "tf_efficientnet_lite0"), "CNN"),
        (("CellProfiler-style",), "segmentation"),
        (("Shuffled labels",), "chance"),
        (("True phenotype (ceiling)",), "truth"),
        (("Random weights", ""), "other"),
    ],
)
def test_the_architecture_is_read_off_card_or_name(texts: tuple[str, ...], found: str) -> None:
    assert figures.architecture(*texts) == found


def test_architectures_have_different_shapes() -> None:
    shapes = [shape for _, shape in figures.ARCHITECTURES.values()]
    assert len(set(shapes)) == len(shapes)


# Machado et al. 2009, full severity, on linear RGB.
BLIND = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("kind", BLIND)
def test_colours_stay_apart_for_the_colour_blind(kind: str) -> None:
    matrix = np.array(BLIND[kind])
    seen = {m: np.clip(matrix @ np.array(to_rgb(c)) ** 2.2, 0, 1) ** (1 / 2.2)
            for m, c in figures.COLORS.items()}  # fmt: skip
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.1, (kind, one, other)


def field(**planes: float) -> tuple[np.ndarray, tuple[str, ...]]:
    names = ("Mito", "AGP", "RNA", "ER", "DNA")
    pixels = np.zeros((5, 20, 30), np.uint16)
    for name, level in planes.items():
        pixels[names.index(name), 5:10, 5:10] = level
    return pixels, names


def test_composite_colours_by_name_not_by_place() -> None:
    pixels, names = field(DNA=1000)
    before = pixels.copy()
    picture = figures.composite(pixels, names)
    assert picture.shape == (20, 30, 3) and picture.dtype == np.uint8
    red, _, blue = picture[7, 7]
    assert blue > 100 and blue > 2 * red and picture[0, 0].sum() == 0
    assert (pixels == before).all()
    turned = figures.composite(pixels[::-1], names[::-1])
    assert (turned == picture).all()


def test_composite_takes_a_field() -> None:
    from cpssl_lite.images.tiff import Field

    pixels, names = field(Mito=500)
    picture = figures.composite(Field(pixels, None, names))
    assert picture[7, 7, 0] > picture[7, 7, 2]


def test_composite_refuses_what_it_cannot_colour() -> None:
    pixels, names = field()
    with pytest.raises(InputError, match="with channels"):
        figures.composite(pixels)
    with pytest.raises(InputError, match="no colour for \\['Brightfield'\\]"):
        figures.composite(pixels, ("Brightfield", *names[1:]))


@pytest.mark.parametrize(
    ("data", "words"), [("simulated", "simulated data"), ("CPJUMP1", "real data: CPJUMP1")]
)
def test_a_tag_is_seen_and_covers_no_axes(data: str, words: str) -> None:
    with matplotlib.rc_context():
        figures.style()
        figure, axes = plt.subplots()
        axes.plot([1, 2])
        axes.set_xlabel("x")
        figures.tag(figure, data)
        figure.canvas.draw()
        text = next(t for t in figure.texts if t.get_text() == words)
        box = text.get_window_extent()
        assert not box.overlaps(axes.get_tightbbox())
        assert figure.bbox.contains(box.x0, box.y0)
        plt.close(figure)
