"""The checkpoint files of the authors' release: DINO, MAE and SimCLR.

Others use the same containers and the same names, so a file counts as the authors' only if all of
it is as their code writes it: the parts, every tensor, the arguments that are theirs alone, and the
shape of the input (five channels, crops of 224 px in patches of 16).

All three get the normalisation constants of the released inference, in both conventions:
those are the numbers behind the published features. DINO and SimCLR were trained with
others (they stand in recipes/dino_vit_small.yaml); the card says so.
"""

import re
from typing import Any, Literal

from cpssl_lite.models.encoder import RELEASED_MEAN, RELEASED_SD
from cpssl_lite.models.formats import TRAINED_ELSEWHERE, Found, Tensors, split, tensors_of
from cpssl_lite.models.reading import arguments

Convention = Literal["paper", "released"]

_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_BACKBONE = {"cls_token", "pos_embed", *(f"{n}.{k}" for n in ("patch_embed.proj", "norm")
                                         for k in ("weight", "bias"))}  # fmt: skip
_DINO_HEAD = {*(f"head.mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")),
              "head.last_layer.weight_g", "head.last_layer.weight_v"}  # fmt: skip
_DECODER = {"mask_token", "decoder_pos_embed",
            *(f"decoder_{name}.{kind}" for name in ("embed", "norm", "pred")
              for kind in ("weight", "bias"))}  # fmt: skip
_PROJECTION = {f"mlp.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
# Arguments of their training scripts that the code these grew from does not have.
_DINO_ARGS = {"path_df", "use_annot_prob", "same_perturbations", "train_hp", "loss"}
_MAE_ARGS = {"path_df", "samples_per_image"}
_SIMCLR_ARGS = {"hidden_dim", "lr", "temperature", "weight_decay", "max_epochs", "warmup_epochs",
                "lr_final_value", "vit"}  # fmt: skip


def _is_whole(tensors: Tensors, beside: set[str], rest: list[str], series: str = "") -> bool:
    """Whether the tensors are a ViT's and `rest` the names `beside` it, none more or less.

    `series` names blocks among `rest`, of which any number may be there.
    """
    others = {name for name in rest if not (series and name.startswith(series))}
    shape = [tuple(tensors[n].shape[1:]) for n in ("patch_embed.proj.weight", "pos_embed")
             if n in tensors]  # fmt: skip
    return (
        _names(tensors, "blocks.") == set(tensors) - _BACKBONE
        and set(tensors) >= _BACKBONE
        and others == beside
        and _names(rest, series) == set(rest) - others
        and shape[0] == (5, 16, 16)
        and shape[1][:1] == (197,)
    )


def _names(found: Any, series: str) -> set[str]:
    """The complete names of as many blocks of a series as `found` counts."""
    numbers = {m[1] for name in found if series and (m := re.match(rf"{series}(\d+)\.", name))}
    parts = [f"{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias")]
    return {f"{series}{i}.{part}" for i in range(len(numbers)) for part in parts}


def _found(method: str, **kwargs: Any) -> Found:
    return Found(
        format=f"authors' {method}",
        method=method,
        mean=RELEASED_MEAN,
        sd=RELEASED_SD,
        crop_size=224,
        **kwargs,
    )


def dino(content: dict[str, Any], convention: Convention) -> Found | None:
    """`{student, teacher, ...}`: the teacher's backbone over five channels, class token."""
    parts, given = {"student", "optimizer", "epoch", "dino_loss"}, set(arguments(content))
    if not (parts <= set(content) and _DINO_ARGS <= given):
        return None
    if not isinstance(content.get("teacher"), dict):
        return None
    tensors, dropped = split(tensors_of(content["teacher"]), "backbone.", drop=("head.",))
    if not _is_whole(tensors, _DINO_HEAD, dropped):
        return None
    return _found("DINO", tensors=tensors, dropped=dropped, notes=[TRAINED_ELSEWHERE])


def mae(content: dict[str, Any], convention: Convention) -> Found | None:
    """`{model, ...}`: encoder and decoder; mean of the patch tokens without the final norm.

    The released inference builds its small network without qkv biases and so leaves out the
    trained ones. `convention="released"` does the same; the default keeps them.
    """
    parts, given = {"model", "optimizer", "epoch", "args"}, set(arguments(content))
    if not (parts <= set(content) and isinstance(content["model"], dict) and _MAE_ARGS <= given):
        return None
    drop = ("decoder", "mask_token")
    tensors, dropped = split(tensors_of(content["model"]), drop=drop)
    if not _is_whole(tensors, _DECODER, dropped, "decoder_blocks."):
        return None
    notes = []
    if convention == "released" and "base" not in str(arguments(content).get("model", "small")):
        biases = [name for name in tensors if name.endswith("attn.qkv.bias")]
        tensors = {name: value for name, value in tensors.items() if name not in biases}
        dropped += biases
        notes.append("the trained qkv biases are left out, as in the released inference")
    found = _found("MAE", tensors=tensors, dropped=dropped, notes=notes)
    found.pooling = "patch_mean_before_norm"
    return found


def simclr(content: dict[str, Any], convention: Convention) -> Found | None:
    """A Lightning checkpoint: `state_dict` with `backbone.*` and the projection `mlp.*`."""
    state, given = content.get("state_dict"), content.get("hyper_parameters")
    if not (isinstance(state, dict) and isinstance(given, dict) and _SIMCLR_ARGS <= set(given)):
        return None
    tensors, dropped = split(tensors_of(state), "backbone.", drop=("mlp.",))
    if not _is_whole(tensors, _PROJECTION, dropped):
        return None
    return _found("SimCLR", tensors=tensors, dropped=dropped, notes=[TRAINED_ELSEWHERE])


READERS = (dino, mae, simclr)
