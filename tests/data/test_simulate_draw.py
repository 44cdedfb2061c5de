"""Drawing: parameters change the picture in the way that their names say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from cpssl_lite.data.simulate.cells import Outlines, grow
from cpssl_lite.data.simulate.draw import draw_field
from cpssl_lite.data.simulate.optics import STEP, Optics, expose
from cpssl_lite.data.simulate.phenotype import CONTROL, MECHANISMS, NAMES
from cpssl_lite.data.simulate.textures import look_up, smooth, upsample

MITO, AGP, RNA, ER, DNA = range(5)


def fields(phenotype, n=6):
    """Stains of n fields with the same random streams, (n, 5, 256, 256)."""
    return np.stack([draw_field(phenotype, np.random.default_rng(s))[0] for s in range(n)])


@pytest.fixture(scope="module")
def control():
    return fields(CONTROL)


def nuclei(stains):
    """Sizes in px of the nuclei that do not touch the border."""
    sizes = []
    for dna in stains[:, DNA]:
        marks, n = label(gaussian_filter(dna, 1) > 0.35)
        cut = set(np.concatenate([marks[0], marks[-1], marks[:, 0], marks[:, -1]]))
        sizes += [int((marks == k).sum()) for k in range(1, n + 1) if k not in cut]
    return np.array([size for size in sizes if size > 200])


def detail(stains, channel, sigma=1.0):
    """Fine structure relative to the amount of stain."""
    plane = stains[:, channel]
    return np.mean([np.abs(p - gaussian_filter(p, sigma)).mean() for p in plane]) / plane.mean()


def test_control_fields_look_like_u2os(control):
    sizes = nuclei(control)
    assert 700 < np.median(sizes) < 1500  # 17 to 26 um across at 0.6 um a pixel
    covered = (control[:, RNA] > 0.05).mean()
    assert 0.35 < covered < 0.95
    inside = control[:, DNA] > 0.5
    # Nuclei lie in cells; ER and mitochondria leave them out; nucleoli are bright in RNA.
    ring = np.stack([gaussian_filter(x.astype(float), 6) > 0.15 for x in inside]) & ~inside
    assert control[:, ER][ring].mean() > control[:, ER][inside].mean()
    assert np.percentile(control[:, RNA][inside], 97) > 1.3 * np.median(control[:, RNA][inside])
    assert np.isfinite(control).all() and control.min() >= 0


@pytest.mark.parametrize("channel", [MITO, AGP, RNA, ER, DNA])
def test_amounts_scale_their_own_channel_only(control, channel):
    name = ("mito_amount", "agp_amount", "rna_amount", "er_amount", "dna_amount")[channel]
    more = fields(replace(CONTROL, **{name: 2.0}))
    change = more.mean((0, 2, 3)) / control.mean((0, 2, 3))
    assert 1.6 < change[channel] < 2.1
    np.testing.assert_allclose(np.delete(change, channel), 1.0, atol=1e-6)


def test_shape_parameters(control):
    assert np.median(nuclei(fields(replace(CONTROL, nucleus_size=2.0)))) > 1.6 * np.median(
        nuclei(control)
    )
    small = fields(replace(CONTROL, cell_size=0.5))
    assert (small[:, RNA] > 0.05).mean() < 0.92 * (control[:, RNA] > 0.05).mean()


@pytest.mark.parametrize(
    ("name", "value", "channel"),
    [
        ("er_texture", 0.8, ER),
        ("rna_texture", 0.5, RNA),
        ("chromatin_contrast", 0.6, DNA),
        ("actin_fibres", 5.0, AGP),
        ("vacuoles", 0.9, ER),
    ],
)
def test_texture_parameters_add_fine_structure(control, name, value, channel):
    changed = fields(replace(CONTROL, **{name: value}))
    assert detail(changed, channel) > 1.1 * detail(control, channel)
    # Texture, not brightness: the mean alone hardly tells.
    assert changed[:, channel].mean() == pytest.approx(control[:, channel].mean(), rel=0.25)


def test_cell_count_is_drawn_and_reported():
    def mean_count(count):
        phenotype = replace(CONTROL, cell_count=count)
        return np.mean([grow(phenotype, 256, np.random.default_rng(s)).inside for s in range(60)])

    assert mean_count(4.0) == pytest.approx(4.0, rel=0.35)
    assert mean_count(12.0) == pytest.approx(12.0, rel=0.25)


@pytest.mark.parametrize("extreme", [0, 1])
def test_every_parameter_at_its_limits_still_draws(extreme):
    meta = {name: CONTROL.__dataclass_fields__[name].metadata for name in NAMES}
    rng = np.random.default_rng(0)
    for name in NAMES:
        phenotype = replace(CONTROL, **{name: float(meta[name]["range"][extreme])})
        stains, count = draw_field(phenotype, rng, size=64)
        assert np.isfinite(stains).all() and stains.min() >= 0 and count >= 0, name


def test_mechanisms_move_known_parameters_within_their_limits():
    for steps in MECHANISMS.values():
        moved = CONTROL.moved({name: 10 * value for name, value in steps.items()})
        for name in steps:
            low, high = CONTROL.__dataclass_fields__[name].metadata["range"]
            assert low <= getattr(moved, name) <= high
            assert getattr(moved, name) != getattr(CONTROL, name)


def test_outline_of_a_plain_ellipse():
    one = np.float32
    arrays = [np.array([v], one) for v in (10, 20, 1, 0, 6, np.sqrt(1.5))]
    ellipse = Outlines(*arrays, np.zeros((6, 1), one))
    long, short = 6 * np.sqrt(1.5), 6 / np.sqrt(1.5)
    x, y = np.array([10 + long, 10, 10 + 2 * long], one), np.array([20, 20 + short, 20], one)
    np.testing.assert_allclose(ellipse.distance(x, y, 0), [1, 1, 4], rtol=1e-4)


def test_camera_counts(control):
    rng = np.random.default_rng(0)
    plain = expose(control[0], Optics(), rng)
    assert plain.dtype == np.uint16 and not (plain % STEP).any()
    dark = expose(np.zeros((5, 64, 64), np.float32), Optics(shading=0.0), rng)
    np.testing.assert_allclose(dark.mean((1, 2)), [900, 430, 390, 270, 330], rtol=0.08)
    soft = expose(control[0], Optics(blur=(3.0,) * 5, noise=0.0), rng).astype(float)
    sharp = expose(control[0], Optics(noise=0.0), rng).astype(float)
    for a, b in zip(soft, sharp, strict=True):
        assert np.abs(np.diff(a)).mean() < 0.8 * np.abs(np.diff(b)).mean()


def test_optics_at_strength_zero_do_not_move():
    assert Optics().moved(np.random.default_rng(0).standard_normal(20), 0.0) == Optics()


def test_patterns():
    rng = np.random.default_rng(0)
    surface = smooth(rng, 64, 8)
    assert surface.shape == (64, 64) and surface.dtype == np.float32
    assert np.abs(np.diff(surface)).max() < 0.5
    ramp = np.add.outer(np.zeros(8, np.float32), np.arange(8, dtype=np.float32))
    np.testing.assert_allclose(upsample(ramp, 2)[0, 1:15], np.arange(0.25, 7, 0.5), atol=1e-6)
    x, y = np.array([3.2, 515.9], np.float32), np.array([7.0, 7.5], np.float32)
    fine, puncta = look_up(x, y, ("fine", "puncta"))
    assert fine[0] == fine[1] and puncta[0] == puncta[1]  # 3.2 and 515.9 fall on one tile pixel
