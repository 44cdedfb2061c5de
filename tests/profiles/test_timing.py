"""What features cost: within a bound, or said to be an estimate."""

import numpy as np
import pandas as pd
import pytest
import torch

from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles import timing
from cpssl_lite.profiles.cellprofiler_program import Measured

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


def test_workers_embed_side_by_side(encoder):
    batch = torch.zeros(2, 5, 224, 224)
    rates = timing.crops_a_second(encoder, batch, [1, 2])
    assert list(rates.index) == [1, 2] and (rates > 0).all()
    assert timing.crops_a_second(encoder, batch, []).empty


def test_loading_from_one_file_and_from_five(images, tmp_path):
    found = timing.time_loading(images, tmp_path, 1.0)
    assert len(found) == 4 and found.index[2].startswith("merged TIFF")
    assert (found[["mb", "warm", "cold"]] > 0).all(axis=None)
    pixels = 5 * 256 * 256 * 2 / 1e6  # a field's, uncompressed
    assert (found["mb"] < pixels).all()


def test_cellprofiler_is_asked_for_by_its_pipeline(images, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "find_program", lambda: "cellprofiler")
    seen = []

    class Ran:
        def result(self):
            return Measured({}, pd.DataFrame({"Load": [1.5], "Texture": [2.0]}))

        def end(self):
            seen.append("ended")

    def begin(rows, folder, program, pipeline):
        seen.append((len(rows), program, pipeline.name))
        return Ran()

    monkeypatch.setattr(timing, "start", begin)
    cost = timing.time_cellprofiler(images, "mine.cppipe", tmp_path)
    assert cost.fields == 1 and cost.total == cost.cpu == 3.5
    assert seen == [(1, "cellprofiler", "mine.cppipe"), "ended"]
