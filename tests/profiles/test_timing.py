"""What features cost: within a bound, or said to be an estimate."""

import numpy as np
import pytest

from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles import timing

ARCHITECTURE = "vit_mini_patch16"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return mosaics(tmp_path_factory.mktemp("mosaics"), 2, 256)


@pytest.fixture
def encoder():
    return Encoder(build_vit(ARCHITECTURE).eval(), {"architecture": ARCHITECTURE})


def test_a_generous_bound_times_all_fields(images, encoder, tmp_path):
    (cost, *_) = timing.time_extraction(images, encoder, tmp_path, 30.0).values()
    assert cost.fields == 2
    assert 0 < cost.network <= cost.total <= cost.whole
    # Nothing stays behind in the network that was timed.
    assert not encoder._forward_hooks and not encoder._forward_pre_hooks


def test_a_tight_bound_times_fewer_or_estimates(images, encoder, tmp_path, monkeypatch):
    (one, *_) = timing.time_extraction(images, encoder, tmp_path, 1e-9).values()
    assert one.fields == 0 and np.isnan(one.whole)
    assert one.total == one.read + one.cut + one.network
    monkeypatch.setattr(timing, "TOO_LONG", np.inf)
    (one, *_) = timing.time_extraction(images, encoder, tmp_path, 1e-9).values()
    assert one.fields == 1


@pytest.mark.parametrize(("limit", "looks"), [(0.0, 1), (60.0, 3)])
def test_a_glance_at_a_network_is_bounded(images, encoder, limit, looks):
    seen = []
    encoder.register_forward_hook(lambda *_: seen.append(1))
    assert timing.glance(images, encoder, fields=2, limit=limit) > 0
    assert len(seen) == 2 * looks


def test_processes_embed_side_by_side():
    rates = timing.crops_a_second(ARCHITECTURE, [1], crops=2)
    assert list(rates) == [1] and rates[1] > 0
    assert timing.crops_a_second(ARCHITECTURE, []) == {}
