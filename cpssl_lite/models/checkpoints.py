"""One loader for all checkpoints: it recognises the file and knows what goes with it."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, sha256
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models import cloome, formats_authors, formats_public
from cpssl_lite.models.cards import CARD_KEY, apply_input, check_input, read_card
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.formats import (
    EACH_CROP,
    ORDER_ASSUMED,
    POOLING_ASSUMED,
    SCALE_ASSUMED,
    USUAL_HEADS,
    Found,
    check_size,
    infer_shape,
    load_strictly,
    tensors_of,
)
from cpssl_lite.models.formats_authors import Convention
from cpssl_lite.models.inside import holds_resnet, nested_names
from cpssl_lite.models.reading import read_checkpoint
from cpssl_lite.models.vit import ARCHITECTURES, Pooling, Shape, ViT

WEIGHTS = Path(__file__).parent / "weights"
# Trained on the simulated screen `lite-train` by `make checkpoints`; each has a card beside it.
SHIPPED = {
    "DINO": WEIGHTS / "dino_lite.safetensors",
    "MAE": WEIGHTS / "mae_lite.safetensors",
    "SimCLR": WEIGHTS / "simclr_lite.safetensors",
}
DEFAULT = SHIPPED["DINO"]


def load_encoder(path: str | Path = DEFAULT, convention: Convention = "paper") -> Encoder:
    """Load a checkpoint as an encoder, whatever its format.

    Architecture, patch, channels and image size are read off the tensors; pooling and
    normalisation follow from the format. A YAML file of the same name beside a foreign
    checkpoint may state them under `input` (channels, crop_size, heads, mean, sd, pooling).

    Parameters
    ----------
    path
        This project's safetensors; the authors' DINO, MAE or SimCLR; timm or Hugging Face
        safetensors; Facebook DINO; per-channel models; block-chunked Cell-DINO; CLOOME.
    convention
        "released" copies what the authors' inference does even where it looks unintended:
        it leaves out the qkv biases of their MAE ViT-S.

    Raises
    ------
    InputError
        The file cannot be read safely, its format is not known, or any tensor of the
        backbone is missing, unexpected or misshapen.
    """
    path = Path(path)
    source, card = read_card(path)  # first: a card is refused in no time, weights may be gigabytes
    found = _recognise(path, card if source == str(path) else None, convention)
    apply_input(found, card.get("input", {}), source)
    shape = found.shape or infer_shape(found.tensors, str(path), found.heads)
    check_input(found, shape, str(path))
    if not found.architecture:
        check_size(shape, path.stat().st_size, str(path))
    network = found.network(shape)
    load_strictly(network, found.tensors, str(path))
    if not (found.heads or found.architecture or shape.width in USUAL_HEADS):
        found.notes.append(f"the number of heads is not in the file; assumed: {shape.heads}")
    card = {
        **card,
        "format": found.format,
        "method": found.method,
        "architecture": found.architecture or name_of(shape),
        "shape": shape._asdict(),
        "convention": convention,
        "input": {
            "channels": list(found.channels),
            "crop_size": found.crop_size or shape.image_size,
            "heads": shape.heads,
            "mean": found.mean and list(found.mean),
            "sd": found.sd and list(found.sd),
            "pooling": found.pooling,
        },
        "pooling": found.pooling,
        "per_channel": found.per_channel,
        "dropped": found.dropped,
        "notes": found.notes,
        "file": path.name,
        "sha256": sha256(path),
    }
    return Encoder(
        network,
        card,
        channels=found.channels,
        crop_size=found.crop_size or shape.image_size,
        pooling=found.pooling,
        mean=found.mean,
        sd=found.sd,
        per_channel=found.per_channel,
    ).eval()


def random_like(encoder: Encoder, seed: int = 0) -> Encoder:
    """The same architecture and input rules with fresh random weights: the baseline."""
    twin = copy.deepcopy(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin.network = type(encoder.network)(encoder.network.shape)  # type: ignore[arg-type]
    twin.card = {
        **{k: encoder.card[k] for k in ("architecture", "shape", "input") if k in encoder.card},
        "format": "random weights",
        "method": "random",
        "seed": seed,
        "like_sha256": encoder.card.get("sha256"),
    }
    return twin.eval()


def save_encoder(path: str | Path, network: ViT, card: dict[str, Any]) -> Path:
    """Write backbone weights as safetensors, with the card inside and as YAML beside.

    `card["input"]` must hold channels, crop_size, heads, mean, sd and pooling.
    """
    from safetensors.torch import save

    path = Path(path)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with atomic_path(path) as scratch:
        scratch.write_bytes(save(state, metadata={CARD_KEY: json.dumps(card)}))
    with atomic_path(path.with_suffix(".yaml")) as scratch:
        beside = {"file": path.name, "sha256": sha256(path), **card}
        scratch.write_text(yaml.safe_dump(beside, sort_keys=False, allow_unicode=True))
    return path


def input_rules(
    shape: Shape, mean: Sequence[float], sd: Sequence[float], pooling: Pooling
) -> dict[str, Any]:
    """The `input` part of a card: what crops must be like and how tokens become a feature."""
    return {
        "channels": list(CHANNELS),
        "crop_size": shape.image_size,
        "heads": shape.heads,
        "mean": [float(value) for value in mean],
        "sd": [float(value) for value in sd],
        "pooling": pooling,
    }


def inspect_checkpoint(path: str | Path) -> dict[str, Any]:
    """What the loader recognised in a file, as plain values (for `cpssl inspect`)."""
    encoder = load_encoder(path)
    rule: dict[str, Any] = {"normalisation": "each channel of each crop to mean 0 and variance 1"}
    if not encoder.per_crop_norm:
        rules = {"mean": encoder.mean, "sd": encoder.sd}
        rule = {k: [float(f"{x:.7g}") for x in v.flatten().tolist()] for k, v in rules.items()}
    return {
        **{key: value for key, value in encoder.card.items() if key != "input"},
        "channels": list(encoder.channels),
        "crop_size": encoder.crop_size,
        "n_features": encoder.n_features,
        "n_parameters": sum(p.numel() for p in encoder.parameters()),
        **rule,
    }


def name_of(shape: Shape) -> str:
    """The usual name of an architecture, or its numbers.

    >>> name_of(Shape(width=384, depth=12, heads=6)), name_of(Shape(width=48, depth=2, heads=3))
    ('vit_small_patch16', 'vit_48x2x3_patch16')
    """
    for name, known in ARCHITECTURES.items():
        if (known.width, known.depth, known.heads, known.patch) == shape[:4]:
            return name
    return f"vit_{shape.width}x{shape.depth}x{shape.heads}_patch{shape.patch}"


def _recognise(path: Path, own: dict[str, Any] | None, convention: Convention) -> Found:
    """What a file holds; `own` is the card inside it, which only this project's files have."""
    content, _ = read_checkpoint(path)
    if own is not None:
        notes = [ORDER_ASSUMED, SCALE_ASSUMED + EACH_CROP, POOLING_ASSUMED]
        return Found("cpssl_lite", own.get("method", "unknown"), tensors_of(content), notes=notes)
    for reader in (*formats_authors.READERS, *formats_public.READERS, cloome.cloome):
        try:
            found = reader(content, convention)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if found is not None:
            return found
    inside = nested_names(content)
    if holds_resnet(content):
        raise InputError(
            f"{path}: holds a ResNet ({inside}); of ResNets cpssl reads CLOOME's (visual.*) and, "
            "with --transfer, those of timm by name"
        )
    raise InputError(
        f"{path}: format not recognised, no ViT in it (it holds {inside}); "
        "known: cpssl_lite, the authors' DINO, MAE and SimCLR, timm, Facebook DINO, uniDINO, "
        "MorphEm, OpenPhenom, SubCell, Cell-DINO, CLOOME"
    )
