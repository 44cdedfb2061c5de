"""Seconds of an extraction beside a plain loop, and how near the network comes to the machine.

    python benchmarks/extract.py [--fields 12] [--architecture vit_small_patch16] [--device cpu]
                                 [--plate 3456]

The plain loop does what the released code does: one field at a time, every crop through the
network, every token through its last block, empty crops left out of the average afterwards; fp32,
nothing read ahead, freed memory handled as the C library does by itself. "x CPU" is the ratio in
CPU seconds, which holds on a busy machine, too. Fields are 1080 x 1080 px mosaics of simulated ones
with a third of the crops dark; weights are random.
The ceiling is this machine's own matrix multiplication, measured in the same run. On slow machines
fewer fields, repeats or crops are taken, and the table says so (--limit).

The network alone follows: where its time goes, and what channels last and torch.compile would
gain. With a GPU a whole plate follows (--plate sets its fields, on a CPU, too).
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cpssl_lite.base.memory import AS_IT_IS, BATCHES, keep_freed_memory
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import name_of, native_precisions
from cpssl_lite.models.roofline import (
    affordable,
    fastest,
    forward_flops,
    matmul_ceiling,
    operations,
)
from cpssl_lite.models.vit import ARCHITECTURES, ViT
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def plain_loop(images: pd.DataFrame, encoder: Encoder, device: str) -> np.ndarray:
    """All crops of a field, one field at a time; wells (n, d) in table order."""
    wells: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for row in images.to_dict("records"):
            field = read_merged(row["FileName_Merged"])
            corners = grid(*field.pixels.shape[1:], encoder.crop_size)
            crops = torch.from_numpy(cut(field.pixels, corners, encoder.crop_size)).to(device)
            features = encoder(crops.float() / 65535, whole=True).cpu().numpy()
            share = foreground_share(field.pixels[4], field.otsu, corners, encoder.crop_size)
            wells.setdefault(row["Metadata_Well"], []).append(features[select(share)])
    return np.stack([np.concatenate(fields).mean(axis=0) for fields in wells.values()])


class Timed(Encoder):
    """An encoder that adds up the seconds it takes and the crops it sees."""

    seconds, crops = 0.0, 0

    def forward(self, crops: torch.Tensor, whole: bool = False) -> torch.Tensor:
        """As `Encoder`, timed; `whole`: its last block computes all tokens, not one."""
        start = time.perf_counter()
        if whole:
            features = self.network.forward_features(self.normalise(crops))[:, 0]
        else:
            features = super().forward(crops)
        if crops.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start
        self.crops += len(crops)
        return features


def beside_plain_loop(
    folder: Path, images: pd.DataFrame, encoder: Timed, args: argparse.Namespace
) -> float:
    """Print seconds, ratios, share of the ceiling, how far features differ; seconds a field."""
    times: dict[str, list[tuple[float, float, float]]] = {}
    profiles, done = {}, {}
    begun, repeats = time.perf_counter(), args.repeats
    for turn in range(-1, args.repeats):  # the first round warms up
        if turn == 0:  # a field in every way: how many can be afforded?
            one = time.perf_counter() - begun
            images = images[: affordable(len(images), one, args.limit)]
            repeats = affordable(args.repeats, one * len(images), args.limit)
            if len(images) * repeats < args.fields * args.repeats:
                print(
                    f"{len(images)} of {args.fields} fields, {repeats} of {args.repeats} times, "
                    f"to stay within about {args.limit:g} s"
                )
        if turn >= repeats:
            break
        rows = images if turn >= 0 else images[:1]
        for way in ("plain loop", *native_precisions(args.device)):
            encoder.seconds, encoder.crops = 0.0, 0
            out = folder / f"{way}{turn}.parquet"
            start, cpu = time.perf_counter(), time.process_time()
            keep_freed_memory(AS_IT_IS if way == "plain loop" else BATCHES)
            if way == "plain loop":
                wells = plain_loop(rows, encoder, args.device)
            else:
                how = {"batch_size": args.batch_size, "device": args.device}
                extract(rows, encoder, out, precision=way, **how)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            if way != "plain loop":
                wells = profile_matrix(read_profiles(out))[1]
            if turn >= 0:
                times.setdefault(way, []).append((seconds, cpu, encoder.seconds))
                profiles[way], done[way] = wells, encoder.crops
    kept, everything = done["fp32"], done["plain loop"]
    print(f"{len(images)} fields of {args.size} px; {kept} of {everything} crops hold cells")
    heads = ("s/field", "x plain", "x CPU", "network", "GFLOP/s", "ceiling")
    print(f"{'':12}" + "".join(f"{head:>9}" for head in heads))
    plain, plain_cpu, _ = map(statistics.median, zip(*times["plain loop"], strict=True))
    for way, spans in times.items():
        seconds, cpu, inside = map(statistics.median, zip(*spans, strict=True))
        flops = forward_flops(encoder.network.shape, encoder.crop_size, way == "plain loop")
        rate = flops * done[way] / inside
        ceiling = matmul_ceiling(args.device, KINDS.get(way, torch.float32))
        print(
            f"{way:12} {seconds / len(images):8.3f} {plain / seconds:8.2f} {plain_cpu / cpu:8.2f} "
            f"{inside / seconds:8.0%} {rate / 1e9:8.0f} {rate / ceiling:8.0%}"
        )
    a_field = min(t for spans in times.values() for t, *_ in spans) / len(images)
    expected = profiles["plain loop"]
    difference = np.abs(profiles["fp32"] - expected).max()
    print(f"fp32: largest difference from the plain loop {difference:.1e}")
    if "bf16" not in profiles:
        print(f"bf16: {name_of(args.device)} has none")
        return a_field
    got = profiles["bf16"]
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    cosine = (expected * got).sum(axis=1) / norms
    print(f"bf16: smallest cosine similarity of a well with the plain loop {cosine.min():.6f}")
    return a_field


def network_alone(encoder: Encoder, batch: int, device: str, limit: float) -> None:
    """Print where a batch's time goes, and what other ways to run the network would gain."""
    one = torch.rand((1, len(encoder.channels), encoder.crop_size, encoder.crop_size))
    with torch.inference_mode():
        look = fastest(lambda: encoder(one.to(device)), 3, limit / 20)
    wanted, batch = batch, affordable(batch, look.seconds, limit / 20)
    if batch < wanted:
        print(f"\nbatch of {batch}, not {wanted}, to stay within about {limit:g} s")
    shape = (batch, len(encoder.channels), encoder.crop_size, encoder.crop_size)
    crops = encoder.normalise(torch.rand(shape, device=device))
    last = copy.deepcopy(encoder).to(memory_format=torch.channels_last)
    crops_last = crops.contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(encoder.embed)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "as it is": lambda: encoder.embed(crops),
        "channels last": lambda: last.embed(crops_last),
        "compiled": lambda: compiled(crops),
    }

    def seconds(way: str) -> float:
        start = time.perf_counter()
        ways[way]()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - start

    print(f"\nnetwork alone, batch of {batch}: fastest of 7, gain, seconds of the first call")
    for precision in native_precisions(device):
        kind = torch.autocast(torch.device(device).type, torch.bfloat16, precision == "bf16")
        with torch.inference_mode(), kind:
            warm = {}
            for way in list(ways):
                try:
                    warm[way] = seconds(way)
                except torch._dynamo.exc.TorchDynamoException as error:  # no C++ compiler, say
                    print(f"{precision} {way}: {str(error).splitlines()[0]}")
                    del ways[way]
            # In turn, so that a busy moment of the machine hits all of them.
            rounds = [{way: seconds(way) for way in ways} for _ in range(7)]
            best = {way: min(times[way] for times in rounds) for way in ways}
            for way in ways:
                gain = best["as it is"] / best[way] - 1
                milliseconds = f"{1000 * best[way]:7.1f} ms"
                print(f"{precision} {way:14} {milliseconds} {gain:+6.1%} {warm[way]:6.1f}")
            spent = operations(lambda: seconds("as it is"), device)
        first = [f"{k} {s / sum(spent.values()):.0%}" for k, s in list(spent.items())[:5]]
        print(f"{precision} where it goes: {', '.join(first)}")


def plate(folder: Path, images: pd.DataFrame, encoder: Timed, fields: int, device: str) -> None:
    """Print what a plate takes, in bf16 where there is one; its files are the same few in turn."""
    rows = images.iloc[np.arange(fields) % len(images)].reset_index(drop=True)
    letters = "ABCDEFGHIJKLMNOP"
    rows["Metadata_Well"] = [f"{letters[i // 216 % 16]}{i // 9 % 24 + 1:02d}" for i in rows.index]
    encoder.crops, precision = 0, native_precisions(device)[-1]
    start = time.perf_counter()
    out = extract(rows, encoder, folder / "plate.parquet", precision="auto", device=device)
    seconds = time.perf_counter() - start
    rate = forward_flops(encoder.network.shape, encoder.crop_size) * encoder.crops / seconds
    source = f"{len(images)} files in turn, from memory"
    print(f"\nplate of {fields} fields ({source}), {precision}: {seconds:.1f} s")
    wells, crops = len(read_profiles(out)), encoder.crops
    print(f"{wells} wells, {fields / seconds:.1f} fields/s, {crops / seconds:.0f} crops/s")
    print(f"{rate / matmul_ceiling(device, KINDS[precision]):.0%} of the {precision} ceiling")
    print(f"{seconds / fields * 3456 / 60:.2f} minutes for 3,456 fields; the paper has 1.3")


def main() -> None:
    """Run and print tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--architecture", default="vit_small_patch16")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--limit", type=float, default=120, help="seconds for each part, about")
    parser.add_argument("--plate", type=int, help="fields [default: 3456 on a GPU, else none]")
    args = parser.parse_args()
    gpu = args.device.startswith("cuda")
    torch.manual_seed(0)
    network = ViT(ARCHITECTURES[args.architecture]).eval()
    encoder = Timed(network, {"method": "random", "architecture": args.architecture})
    encoder.to(args.device)
    print(f"{args.architecture}, {args.device}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = mosaics(folder, args.fields, args.size, empty=1 / 3)
        a_field = beside_plain_loop(folder, images, encoder, args)
        network_alone(encoder, args.batch_size or (512 if gpu else 16), args.device, args.limit)
        wanted = (3456 if gpu else 0) if args.plate is None else args.plate
        if wanted:
            fields = affordable(wanted, a_field, args.limit)
            if fields < wanted:
                print(f"\n{fields} of {wanted} fields, to stay within about {args.limit:g} s")
            plate(folder, images, encoder, fields, args.device)


if __name__ == "__main__":
    main()
