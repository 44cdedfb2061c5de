"""Would int8 pay here? ONNX Runtime's dynamic quantization beside torch in fp32.

    pip install onnx onnxruntime
    python benchmarks/int8.py [--crops 16] [--repeats 7] [--faster 1.5] [--cosine 0.999]
                              [--screen data/lite]

Weights in 8 bits have a range for each output channel, activations one for each tensor, found anew
for every batch. Speed: a batch of crops through a ViT-S/16 with random weights; CPU seconds of one
core, both in turn. Likeness: wells of a drawn screen through the shipped DINO network, raw
features' cosine similarity and what becomes of the two mAPs, with the 95% interval of the
difference. It pays if it is `--faster` times as fast in every turn, no well's cosine is below
`--cosine` and both intervals hold 0. Without the two packages nothing is printed and the last table
stays.
"""

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.vit import Pooling, ViT, build_vit
from cpssl_lite.profiles.evaluate import compare, evaluate
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import profile_matrix, read_profiles

METRICS = ("perturbation_map", "label_map")


class Pooled(nn.Module):
    """What is handed to ONNX Runtime: normalised crops in, pooled features out."""

    def __init__(self, network: ViT, pooling: Pooling) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised crops (n, C, s, s) to features (n, d)."""
        return self.network.pooled(x, self.pooling)


class Session(nn.Module):
    """A network as ONNX Runtime runs it."""

    def __init__(self, network: ViT, encoder: Encoder) -> None:
        import onnxruntime
        from onnxruntime import quantization

        super().__init__()
        self.shape, self.embed_dim = network.shape, network.embed_dim
        size = encoder.crop_size
        first = encoder.normalise(torch.rand(1, len(encoder.channels), size, size))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        level = logging.getLogger().level
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tracing, and an exporter that is not the newest
            whole, quick = Path(folder, "whole.onnx"), Path(folder, "int8.onnx")
            how: dict[str, Any] = {"dynamic_axes": {"crops": {0: "n"}}, "dynamo": False}
            with torch.no_grad():
                traced = Pooled(network, encoder.pooling).eval()
                torch.onnx.export(traced, (first,), str(whole), input_names=["crops"], **how)
            logging.getLogger().setLevel(logging.ERROR)  # its quantizer gives advice
            try:
                quantization.quantize_dynamic(
                    whole,
                    quick,
                    per_channel=True,
                    reduce_range=True,  # 7 bits of weights: AVX2 adds two products in 16
                    op_types_to_quantize=["MatMul", "Gemm"],
                )
            finally:
                logging.getLogger().setLevel(level)
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(str(quick), options, providers=providers)

    def pooled(self, x: torch.Tensor, pooling: Pooling) -> torch.Tensor:
        """Normalised crops (n, C, s, s) to features (n, d)."""
        return torch.from_numpy(self.session.run(None, {"crops": x.numpy()})[0])


def in_int8(encoder: Encoder) -> Encoder:
    """The same encoder with the matrix products of its blocks in 8 bits."""
    return Encoder(
        Session(encoder.network, encoder),  # type: ignore[arg-type]
        encoder.card,
        crop_size=encoder.crop_size,
        pooling=encoder.pooling,
        mean=None if encoder.per_crop_norm else tuple(encoder.mean.flatten().tolist()),
        sd=None if encoder.per_crop_norm else tuple(encoder.sd.flatten().tolist()),
    ).eval()


def seconds_a_crop(n: int, repeats: int) -> dict[str, np.ndarray]:
    """CPU seconds of a crop in each turn, by precision."""
    exact = Encoder(build_vit("vit_small_patch16").eval(), {}).eval()
    ways = {"fp32": exact, "int8": in_int8(exact)}
    batch = torch.rand(n, 5, 224, 224)
    took: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for turn in range(-1, repeats):  # the first round warms up
            for name, run in ways.items():
                begun = time.process_time()
                run(batch if turn >= 0 else batch[:1])
                if turn >= 0:
                    took[name].append((time.process_time() - begun) / n)
    return {name: np.array(values) for name, values in took.items()}


def main() -> None:
    """Measure and print; the last line says what follows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--faster", type=float, default=1.5)
    parser.add_argument("--cosine", type=float, default=0.999)
    parser.add_argument("--screen", type=Path, default=Path("data/lite"), help="drawn if not there")
    args = parser.parse_args()
    try:
        import onnx  # noqa: F401
        from onnxruntime import __version__ as version
    except ImportError:
        print("int8 needs ONNX Runtime: pip install onnx onnxruntime", file=sys.stderr)
        return

    torch.set_num_threads(1)
    torch.manual_seed(0)
    took = seconds_a_crop(args.crops, args.repeats)
    images = read_image_table(simulate("lite", args.screen))
    exact = load_encoder(SHIPPED["DINO"])
    networks = {"fp32": exact, "int8": in_int8(exact)}
    raw, spent = {}, {}
    with TemporaryDirectory() as folder:
        for name, network in networks.items():
            begun = time.process_time()
            out = Path(folder, f"{name}.parquet")
            extract(images, network, out)
            raw[name], spent[name] = read_profiles(out), time.process_time() - begun
    wells = {name: normalize(table, "sphere+mad_robustize") for name, table in raw.items()}
    one, other = (profile_matrix(table)[1] for table in raw.values())
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    speed, least = took["fp32"] / took["int8"], float(cosine.min())
    print(f"ViT-S/16, batch of {args.crops} crops; DINO on {len(images)} drawn fields\n")
    print(
        f"{'':<8}{'ms a crop':>11}{'CPU s of all fields':>21}"
        + "".join(f"{m:>19}" for m in METRICS)
    )
    for name, table in wells.items():
        scores = evaluate(table)
        values = "".join(f"{scores[metric]:>19.4f}" for metric in METRICS)
        print(f"{name:<8}{1000 * np.median(took[name]):>11.1f}{spent[name]:>21.1f}{values}")
    changed = compare(wells["int8"], wells["fp32"], seed=0)
    gaps = {m: [changed[f"{m}_{part}"] for part in ("difference", "low", "high")] for m in METRICS}
    told = ["{} {:+.4f} ({:+.4f} to {:+.4f})".format(m, *gap) for m, gap in gaps.items()]
    holds = [low <= 0 <= high for _, low, high in gaps.values()]
    pays = speed.min() >= args.faster and least >= args.cosine and all(holds)
    print(
        f"\nint8 by ONNX Runtime {version}: {np.median(speed):.2f} times as fast as fp32 for ViT-S "
        f"({speed.min():.2f} to {speed.max():.2f} in {len(speed)} turns); "
        f"the least alike of {len(cosine)} wells has cosine {least:.5f}; {', '.join(told)}: "
        f"{'it pays' if pays else 'it does not pay'} (asked: {args.faster:g} times in every turn, "
        f"cosine {args.cosine:g}, intervals that hold 0)"
    )


if __name__ == "__main__":
    main()
