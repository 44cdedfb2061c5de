"""Synthetic files in the layouts of other projects; the numbers must come through."""

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.standins import DINOV2, VIT, chunked, transformers_names, under
from cpssl_lite.models.checkpoints import load_encoder, random_like
from cpssl_lite.models.formats import infer_shape
from cpssl_lite.models.vit import Shape, build_vit

SMALL = Shape(width=48, depth=3, heads=3, patch=16, image_size=64)
CROPS = torch.rand(2, 5, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(1)
    with torch.no_grad():
        yield


def standardised(x):
    return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True, correction=0)


def one_by_one(vit, crops):
    return torch.cat([vit(crops[:, c : c + 1]) for c in range(5)], dim=1)


def test_timm_safetensors_of_a_photograph_network(tmp_path):
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10)
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(tmp_path / "model.safetensors")
    assert encoder.n_features == 5 * 192 and encoder.crop_size == 224
    assert "head.weight" in encoder.card["dropped"] and "three times" in encoder.card["format"]
    crops = torch.rand(1, 5, 224, 224)
    mean, sd = (torch.tensor(v).reshape(1, 3, 1, 1) for v in timm_constants())
    rgb = (crops[:, 3:4].expand(-1, 3, -1, -1) - mean) / sd
    expected = model.forward_head(model.forward_features(rgb), pre_logits=True)
    assert torch.allclose(encoder(crops)[:, 3 * 192 : 4 * 192], expected, atol=1e-5)


def timm_constants():
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_facebook_dino(tmp_path):
    vit = build_vit(SMALL, in_channels=3)
    state = {f"module.backbone.{k}": v for k, v in vit.state_dict().items()}
    head = {"module.head.mlp.0.weight": torch.zeros(4, 48)}
    whole = {"student": {**state, **head}, "teacher": {**state, **head}, "epoch": 3}
    torch.save(whole, tmp_path / "dino.pth")
    torch.save(vit.state_dict(), tmp_path / "backbone.pth")
    first, second = (load_encoder(tmp_path / f"{name}.pth") for name in ("dino", "backbone"))
    assert first.card["method"] == "DINO" and first.n_features == 240
    assert torch.equal(first(CROPS), second(CROPS))


def test_unidino_looks_at_one_stain_at_a_time(tmp_path):
    vit = build_vit(SMALL, in_channels=1)
    state = {f"backbone.{k}": v for k, v in vit.state_dict().items()}
    torch.save({"teacher": state}, tmp_path / "unidino.pth")
    encoder = load_encoder(tmp_path / "unidino.pth")
    assert encoder.n_features == 5 * 48 and encoder.card["per_channel"]
    assert torch.allclose(encoder(CROPS), one_by_one(vit, standardised(CROPS)), atol=1e-4)


def test_morphem_is_a_chunked_one_channel_network(tmp_path):
    vit = build_vit(SMALL, in_channels=1, layer_scale=True)
    save_file(chunked(vit.state_dict()), tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path / "model.safetensors")
    assert torch.allclose(encoder(CROPS), one_by_one(vit, standardised(CROPS)), atol=1e-4)


def test_cell_dino_with_channels_in_another_order(tmp_path):
    vit = build_vit(SMALL, patch=8, layer_scale=True)
    for block in vit.blocks:  # layer scale starts near zero: make the blocks matter
        block.ls1.gamma.fill_(1.0)
    teacher = under("backbone.", chunked(vit.state_dict()))
    torch.save(
        {"teacher": {**teacher, "dino_head.mlp.0.weight": torch.zeros(2, 2)}}, tmp_path / "c.pth"
    )
    order = ["DNA", "ER", "RNA", "AGP", "Mito"]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"input": {"channels": order}}))
    encoder = load_encoder(tmp_path / "c.pth")
    # Five channels under `teacher` look like the authors' file; layer scale and chunks do not.
    assert "chunked" in encoder.card["format"] and encoder.channels == tuple(order)
    assert encoder.card["shape"]["depth"] == 3
    assert torch.allclose(encoder(CROPS), vit(standardised(CROPS)), atol=1e-4)


def test_a_chunked_file_with_a_block_missing_is_refused(tmp_path):
    state = chunked(build_vit(SMALL).state_dict())
    torch.save(
        {k: v for k, v in state.items() if not k.startswith("blocks.1.")}, tmp_path / "c.pth"
    )
    with pytest.raises(InputError, match=r"missing: blocks\.1\.norm1\.weight.* more"):
        load_encoder(tmp_path / "c.pth")


@pytest.mark.parametrize(("prefix", "layer"), [("", VIT), ("vit.", VIT), ("", DINOV2)])
def test_safetensors_of_the_transformers_library(tmp_path, prefix, layer):
    vit = build_vit(SMALL, in_channels=3, layer_scale=layer is DINOV2)
    state = under(prefix, transformers_names(vit.state_dict(), layer))
    assert f"{prefix}encoder.layer.2.attention.attention.key.bias" in state
    extra = {f"{prefix}pooler.dense.weight": torch.zeros(3), "classifier.bias": torch.zeros(3)}
    if layer is DINOV2:
        extra = {"embeddings.mask_token": torch.zeros(1, 48)}
    save_file({**state, **extra}, tmp_path / "hf.safetensors")
    torch.save(vit.state_dict(), tmp_path / "timm.pth")
    got, expected = (load_encoder(tmp_path / name) for name in ("hf.safetensors", "timm.pth"))
    assert len(got.card["dropped"]) == len(extra)
    assert torch.equal(got(CROPS), expected(CROPS))
    del state[f"{prefix}encoder.layer.1.attention.attention.key.bias"]
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match=r"missing: blocks\.1\.attn\.qkv\.bias"):
        load_encoder(tmp_path / "cut.safetensors")


def openphenom_file(vit, path):
    """Like the original: a pickle with a safetensors name, positions for 11 channels."""
    state = {f"encoder.vit_backbone.{k}": v for k, v in vit.state_dict().items()}
    position = state["encoder.vit_backbone.pos_embed"]
    repeated = torch.cat([position[:, :1], position[:, 1:].repeat(1, 11, 1)], 1)
    state["encoder.vit_backbone.pos_embed"] = repeated
    state |= {"decoder.pos_embeddings": torch.ones(3), "decoder_pred.bias": torch.ones(3)}
    state |= {"encoder_decoder_proj.weight": torch.ones(3)}
    torch.save({"state_dict": state}, path.with_suffix(".pth"))
    path.with_suffix(".pth").rename(path)


@pytest.mark.parametrize("parallel", [True, False])
def test_openphenom_takes_any_number_of_channels(tmp_path, parallel):
    vit = build_vit(SMALL, in_channels=1)
    if parallel:  # what the released network is built of
        vit = timm.models.VisionTransformer(
            64, 16, 1, 0, "avg", 48, 3, 3, qkv_bias=False, qk_norm=True, init_values=0.5,
            block_fn=timm.models.vision_transformer.ParallelScalingBlock,
        )  # fmt: skip
        vit.fc_norm.weight.fill_(3.0)  # for a classifier; not in the features
    openphenom_file(vit, tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path / "model.safetensors")
    assert (encoder.n_features, encoder.pooling, encoder.crop_size) == (48, "patch_mean", 64)
    got = encoder(CROPS)
    assert random_like(encoder, 0)(CROPS).shape == got.shape
    shuffled = encoder(CROPS[:, [4, 2, 0, 1, 3]])  # no channel has a place of its own
    assert torch.allclose(got, shuffled, atol=1e-5)
    x = vit.patch_embed(standardised(CROPS).flatten(0, 1)[:, None]).reshape(10, 16, 48)
    x = (x + vit.pos_embed[:, 1:]).reshape(2, -1, 48)
    cls = (vit.cls_token + vit.pos_embed[:, :1]).expand(2, -1, -1)
    expected = vit.eval().norm(vit.blocks(torch.cat([cls, x], 1)))[:, 1:].mean(1)
    assert torch.allclose(got, expected, atol=1e-4)


def test_four_channels_need_their_names(tmp_path):
    torch.save(build_vit(SMALL, in_channels=4).state_dict(), tmp_path / "v.pth")
    with pytest.raises(InputError, match=r"takes 4 channels.*v\.yaml under input"):
        load_encoder(tmp_path / "v.pth")
    (tmp_path / "v.yaml").write_text("input: {channels: [DNA, ER, RNA, AGP]}")
    assert load_encoder(tmp_path / "v.pth").channels == ("DNA", "ER", "RNA", "AGP")
    (tmp_path / "v.yaml").write_text("input: {chanels: [DNA]}")
    with pytest.raises(InputError, match="unknown key chanels"):
        load_encoder(tmp_path / "v.pth")


@pytest.mark.parametrize("channels", [6, 8, 11])
def test_more_channels_than_a_field_has_cannot_be_named(tmp_path, channels):
    """The advice was to name them all, which the card then refused."""
    torch.save(build_vit(SMALL, in_channels=channels).state_dict(), tmp_path / "v.pth")
    with pytest.raises(InputError, match=rf"v\.pth: the network takes {channels} .* has 5 \(Mito"):
        load_encoder(tmp_path / "v.pth")


def notes(path):
    return load_encoder(path).card["notes"]


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (768, 12), (1280, 16), (128, 2), (48, 3)])
def test_heads_of_the_usual_widths(width, heads):
    patches, positions = torch.zeros(width, 1, 2, 2), torch.zeros(1, 5, width)
    tensors = {"patch_embed.proj.weight": patches, "pos_embed": positions}
    assert infer_shape(tensors, "x").heads == heads


def test_heads_can_be_stated(tmp_path):
    torch.save(build_vit(SMALL, heads=6).state_dict(), tmp_path / "v.pth")
    assert "the number of heads is not in the file; assumed: 3" in notes(tmp_path / "v.pth")
    assert any("normalisation" in note for note in notes(tmp_path / "v.pth"))
    (tmp_path / "v.yaml").write_text("input: {heads: 6, mean: null, pooling: cls}")
    assert load_encoder(tmp_path / "v.pth").card["shape"]["heads"] == 6
    assert [note for note in notes(tmp_path / "v.pth") if "order" not in note] == []
    (tmp_path / "v.yaml").write_text("input: {heads: 5}")
    with pytest.raises(InputError, match="5 heads do not divide"):
        load_encoder(tmp_path / "v.pth")


def test_registers_and_positions_without_a_class_token(tmp_path):
    vit = build_vit(SMALL, registers=4)
    vit.pos_embed[:, 0] = 0
    state = dict(vit.state_dict())
    state["register_tokens"] = state.pop("reg_token")
    state["pos_embed"] = state["pos_embed"][:, 1:].clone()
    torch.save(state, tmp_path / "v.pth")
    encoder = load_encoder(tmp_path / "v.pth")
    assert encoder.card["shape"]["registers"] == 4
    assert torch.allclose(encoder(CROPS), vit(standardised(CROPS)), atol=1e-4)


def subcell_file(path, channels, hidden=20, times=2):
    """A small network under SubCell's names, and the sizes that its pooling has."""
    vit = build_vit(SMALL, in_channels=channels)
    state = under("encoder.", transformers_names(vit.state_dict(), VIT))
    for gate in ("v", "u"):
        state[f"pool_model.attention_{gate}.1.weight"] = torch.randn(hidden, 48)
        state[f"pool_model.attention_{gate}.1.bias"] = torch.randn(hidden)
    state["pool_model.attention.weight"] = torch.randn(times, hidden)
    state["pool_model.attention.bias"] = torch.randn(times)
    torch.save(state, path)
    return vit, state


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_subcell_pools_by_attention_over_stains_that_are_named(tmp_path, channels):
    vit, state = subcell_file(tmp_path / "s.pth", channels)
    stains = ["microtubules", "ER", "DNA", "a protein"][-channels:]
    with pytest.raises(InputError, match=rf"s\.pth: was trained on {', '.join(stains)}; say"):
        load_encoder(tmp_path / "s.pth")
    named = ["AGP", "ER", "DNA", "RNA"][-channels:]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"input": {"channels": named}}))
    encoder = load_encoder(tmp_path / "s.pth")
    assert (encoder.n_features, encoder.channels) == (96, tuple(named))
    crops = CROPS[:, :channels]
    flat = crops.flatten(1)
    low, high = (f(1)[0].reshape(-1, 1, 1, 1) for f in (flat.min, flat.max))
    tokens = vit.forward_features((crops - low) / (high - low))  # normalised, class token first
    weight, bias = (
        {k.split(".")[1]: v for k, v in state.items() if k.startswith("pool") and k.endswith(end)}
        for end in ("weight", "bias")
    )
    v, u = (tokens @ weight[f"attention_{g}"].T + bias[f"attention_{g}"] for g in ("v", "u"))
    gate = torch.tanh(v) * torch.nn.functional.gelu(u)
    share = torch.softmax(gate @ weight["attention"].T + bias["attention"], dim=1)
    expected = torch.cat([(share[..., [t]] * tokens).sum(1) for t in range(2)], dim=1)
    assert torch.allclose(encoder(crops), expected, atol=1e-4)
    assert random_like(encoder, 0)(crops).shape == (2, 96)
    for pooling in ("cls", "patch_mean"):
        (tmp_path / "s.yaml").write_text(f"input: {{channels: {named}, pooling: {pooling}}}")
        with pytest.raises(InputError, match="this network has attention"):
            load_encoder(tmp_path / "s.pth")


def test_attention_pooling_needs_a_network_that_has_it(tmp_path):
    torch.save(build_vit(SMALL).state_dict(), tmp_path / "v.pth")
    (tmp_path / "v.yaml").write_text("input: {pooling: attention}")
    with pytest.raises(InputError, match="pooling is attention; this network has cls, patch_mean"):
        load_encoder(tmp_path / "v.pth")
