"""Seconds of an extraction beside a plain loop, and how near the network comes to the machine.

    python benchmarks/extract.py [--fields 12] [--architecture vit_small_patch16] [--device cpu]

The plain loop does what the released code does: one field at a time, every crop through the
network, empty ones left out of the average afterwards; fp32, nothing read ahead. Fields are
1080 x 1080 px mosaics of simulated ones with a third of the crops dark; weights are random.
The ceiling is this machine's own matrix multiplication, measured in the same run.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.roofline import forward_flops, matmul_ceiling
from cpssl_lite.models.vit import ARCHITECTURES, ViT
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles


def plain_loop(images: pd.DataFrame, encoder: Encoder, device: str) -> np.ndarray:
    """All crops of a field, one field at a time; wells (n, d) in table order."""
    wells: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for row in images.to_dict("records"):
            field = read_merged(row["FileName_Merged"])
            corners = grid(*field.pixels.shape[1:], encoder.crop_size)
            crops = torch.from_numpy(cut(field.pixels, corners, encoder.crop_size)).to(device)
            features = encoder(crops.float() / 65535).cpu().numpy()
            share = foreground_share(field.pixels[4], field.otsu, corners, encoder.crop_size)
            wells.setdefault(row["Metadata_Well"], []).append(features[select(share)])
    return np.stack([np.concatenate(fields).mean(axis=0) for fields in wells.values()])


class Timed(Encoder):
    """An encoder that adds up the seconds it takes and the crops it sees."""

    seconds, crops = 0.0, 0

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """As `Encoder`, timed."""
        start = time.perf_counter()
        features = super().forward(crops)
        if crops.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start
        self.crops += len(crops)
        return features


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--architecture", default="vit_small_patch16")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    network = ViT(ARCHITECTURES[args.architecture]).eval()
    encoder = Timed(network, {"method": "random", "architecture": args.architecture})
    encoder.to(args.device)
    times: dict[str, list[tuple[float, float]]] = {}
    profiles = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = mosaics(folder, args.fields, args.size, empty=1 / 3)
        for turn in range(-1, args.repeats):  # the first round warms up
            rows = images if turn >= 0 else images[:1]
            for way in ("plain loop", "fp32", "bf16"):
                encoder.seconds, encoder.crops = 0.0, 0
                out = folder / f"{way}{turn}.parquet"
                start = time.perf_counter()
                if way == "plain loop":
                    wells = plain_loop(rows, encoder, args.device)
                else:
                    extract(
                        *(rows, encoder, out),
                        precision=way,
                        batch_size=args.batch_size,
                        device=args.device,
                    )
                seconds = time.perf_counter() - start
                if way != "plain loop":
                    wells = profile_matrix(read_profiles(out))[1]
                if turn >= 0:
                    times.setdefault(way, []).append((seconds, encoder.seconds))
                    profiles[way] = wells
                    if way == "fp32":
                        crops = encoder.crops
    everything = args.fields * len(grid(args.size, args.size, encoder.crop_size))
    print(f"{args.architecture}, {args.device}, {torch.get_num_threads()} threads")
    print(f"{args.fields} fields of {args.size} px; {crops} of {everything} crops hold cells")
    print(f"{'':12} {'s/field':>8} {'x plain':>8} {'network':>8} {'GFLOP/s':>8} {'ceiling':>8}")
    medians = {way: statistics.median(t for t, _ in pairs) for way, pairs in times.items()}
    for way, pairs in times.items():
        seconds, inside = (statistics.median(p) for p in zip(*pairs, strict=True))
        kind = torch.bfloat16 if way == "bf16" else torch.float32
        done = everything if way == "plain loop" else crops
        rate = forward_flops(network.shape, encoder.crop_size) * done / inside
        print(
            f"{way:12} {seconds / args.fields:8.3f} {medians['plain loop'] / seconds:8.2f} "
            f"{inside / seconds:8.0%} {rate / 1e9:8.0f} "
            f"{rate / matmul_ceiling(args.device, kind):8.0%}"
        )
    plain = profiles["plain loop"]
    print(
        f"fp32: largest difference from the plain loop {np.abs(profiles['fp32'] - plain).max():.1e}"
    )
    cosine = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(profiles["bf16"], plain, strict=True)
    ]
    print(f"bf16: smallest cosine similarity of a well with the plain loop {min(cosine):.6f}")


if __name__ == "__main__":
    main()
