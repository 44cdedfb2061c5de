"""The checkpoint files of the authors' release: DINO, MAE and SimCLR.

All three get the normalisation constants of the released inference, in both conventions:
those are the numbers behind the published features. DINO and SimCLR were trained with
others (they stand in recipes/dino_vit_small.yaml); the card says so.
"""

from typing import Any, Literal

from cpssl_lite.models.encoder import RELEASED_MEAN, RELEASED_SD
from cpssl_lite.models.formats import TRAINED_ELSEWHERE, Found, split, tensors_of
from cpssl_lite.models.reading import arguments

Convention = Literal["paper", "released"]


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
    if not isinstance(content.get("teacher"), dict):
        return None
    tensors, dropped = split(tensors_of(content["teacher"]), "backbone.", drop=("head.",))
    patches = tensors.get("patch_embed.proj.weight")
    foreign = any(".ls1." in name or name.startswith("mask_token") for name in tensors)
    if foreign or (patches is not None and patches.shape[1] != 5):
        return None  # DINO for photographs or for single channels, DINOv2
    return _found("DINO", tensors=tensors, dropped=dropped, notes=[TRAINED_ELSEWHERE])


def mae(content: dict[str, Any], convention: Convention) -> Found | None:
    """`{model, ...}`: encoder and decoder; mean of the patch tokens without the final norm.

    The released inference builds its small network without qkv biases and so leaves out the
    trained ones. `convention="released"` does the same; the default keeps them.
    """
    if not isinstance(content.get("model"), dict) or "mask_token" not in content["model"]:
        return None
    drop = ("decoder", "mask_token")
    tensors, dropped = split(tensors_of(content["model"]), drop=drop)
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
    state = content.get("state_dict")
    if not isinstance(state, dict) or not any(str(k).startswith("backbone.") for k in state):
        return None
    tensors, dropped = split(tensors_of(state), "backbone.", drop=("mlp.",))
    return _found("SimCLR", tensors=tensors, dropped=dropped, notes=[TRAINED_ELSEWHERE])


READERS = (dino, mae, simclr)
