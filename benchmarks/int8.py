"""Would int8 pay here? ONNX Runtime in fp32 and in int8 beside torch in fp32.

    pip install onnx onnxruntime
    python benchmarks/int8.py [--crops 16] [--repeats 3] [--faster 1.5] [--cosine 0.999]

Speed: a batch of crops through a ViT-S/16 with random weights; CPU seconds of one core, the ways in
turn. Likeness: crops of drawn fields through the shipped DINO network, beside torch's features.
int8: weights for each output channel, activations for each tensor, with ranges taken from the batch
itself (dynamic) or from other crops before (static). It is worth an extra if it is `--faster` times
as fast as torch and no crop's cosine similarity is below `--cosine`. Without the two packages
nothing is printed and the last table stays.
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.embed import crops_with_cells

WAYS = ("torch fp32", "ONNX Runtime fp32", "int8 dynamic", "int8 static")


def sessions(encoder: Encoder, folder: Path, before: torch.Tensor) -> dict[str, object]:
    """What runs the network, by way; `before` sets the ranges of the static one."""
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    logging.getLogger().setLevel(logging.ERROR)  # its quantizer advises by warnings
    whole, plain = folder / "whole.onnx", folder / "plain.onnx"
    files = {name: folder / f"{name.replace(' ', '_')}.onnx" for name in WAYS[2:]}
    torch.onnx.export(
        *(encoder, (before[:1],), str(whole)),
        **{"input_names": ["crops"], "dynamic_axes": {"crops": {0: "n"}}, "dynamo": False},
    )
    shape_inference.quant_pre_process(str(whole), str(plain))

    class Before(quantization.CalibrationDataReader):
        left = iter(before.split(1))

        def get_next(self) -> dict[str, np.ndarray] | None:
            crop = next(self.left, None)
            return None if crop is None else {"crops": crop.numpy()}

    how = {"per_channel": True, "reduce_range": True}  # AVX2 saturates at 8 bits
    only = {"op_types_to_quantize": ["MatMul", "Gemm"]}
    quantization.quantize_dynamic(plain, files["int8 dynamic"], **how, **only)
    quantization.quantize_static(str(plain), str(files["int8 static"]), Before(), **how, **only)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3

    def opened(file: Path) -> object:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        return lambda crops: session.run(None, {"crops": crops.numpy()})[0]

    return {
        "torch fp32": lambda crops: encoder(crops).numpy(),
        "ONNX Runtime fp32": opened(plain),
        **{name: opened(file) for name, file in files.items()},
    }


def real_crops(folder: Path, size: int, number: int) -> torch.Tensor:
    """Crops with cells of two drawn fields."""
    rows = mosaics(folder, 2).to_dict("records")
    found = [crops_with_cells(read_field(row, CHANNELS), size, len(CHANNELS)) for row in rows]
    return torch.from_numpy(np.concatenate(found)[:number]).float() / 65535


def main() -> None:
    """Measure and print; the last line says what follows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faster", type=float, default=1.5)
    parser.add_argument("--cosine", type=float, default=0.999)
    args = parser.parse_args()
    try:
        from onnx import __version__ as onnx_version
        from onnxruntime import __version__ as version
    except ImportError:
        print("int8 needs ONNX Runtime: pip install onnx onnxruntime", file=sys.stderr)
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    large = Encoder(build_vit("vit_small_patch16").eval(), {})
    small = load_encoder()
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        crops = real_crops(folder, small.crop_size, 3 * args.crops)
        others, crops = crops[: args.crops], crops[args.crops :]
        features = {k: run(crops) for k, run in sessions(small, folder, others).items()}
        batch = torch.rand(args.crops, 5, 224, 224)
        ways = sessions(large, folder, batch[:2])
        times: dict[str, list[float]] = {k: [] for k in ways}
        for turn in range(-1, args.repeats):  # the first round warms up
            for k, run in ways.items():
                begun = time.process_time()
                run(batch if turn >= 0 else batch[:1])
                if turn >= 0:
                    times[k].append(time.process_time() - begun)
    expected = features[WAYS[0]]
    print(f"batch of {args.crops} crops of 224 px, ViT-S/16; likeness on {len(crops)} drawn crops")
    print(f"{'':<20}{'ms a crop':>10}{'x torch':>9}{'least cosine':>14}")
    verdicts = []
    for k, seconds in times.items():
        ratio, got = min(times[WAYS[0]]) / min(seconds), features[k]
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
        cosine = float(((expected * got).sum(axis=1) / norms).min())
        print(f"{k:<20}{1000 * min(seconds) / args.crops:>10.1f}{ratio:>9.2f}{cosine:>14.5f}")
        if k.startswith("int8"):
            said = "yes" if ratio >= args.faster and cosine >= args.cosine else "no"
            verdicts.append(f"{k[5:]} {ratio:.2f} times and {cosine:.4f}, {said}")
    print(
        f"\nint8 by ONNX Runtime {version} (onnx {onnx_version}) would be an extra if it were "
        f"{args.faster:g} times as fast as torch's fp32 with no cosine below {args.cosine:g}: "
        f"{'; '.join(verdicts)}"
    )


if __name__ == "__main__":
    main()
