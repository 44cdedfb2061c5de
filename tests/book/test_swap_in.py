"""The how-to's command for a foreign checkpoint, as the page has it, on a small screen."""

import json
import shlex
from pathlib import Path

import torch
from click.testing import CliRunner

from cpssl_lite.cli.main import cli
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.models.vit import Shape, build_vit

PAGES = sorted((Path(__file__).parents[2] / "book").glob("*.md"))
COMMAND = "cpssl run league -p checkpoints="
SMALLER = {
    "data_name": "real cells, honestly",
    "transfer": "",
    "measured": "false",
    "standins": "[]",
    "method": "mad_robustize",  # eight controls are too few to sphere 128 features
}


def test_a_foreign_checkpoint_becomes_one_more_row(tmp_path):
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    (command,) = {line for line in lines if line.startswith(COMMAND)}
    table = simulate("tiny", tmp_path / "tiny", workers=1)
    backbone = build_vit(Shape(width=64, depth=1, heads=1)).state_dict()
    whole = {"teacher": {f"backbone.{key}": value for key, value in backbone.items()}}
    arguments = shlex.split(command)[1:]
    (name,) = (files := json.loads(arguments[-1].split("=", 1)[1]))
    torch.save(whole, tmp_path / files[name])
    arguments[-1] = f"checkpoints={json.dumps({name: str(tmp_path / files[name])})}"
    for key, value in {"data": table, **SMALLER}.items():
        arguments += ["-p", f"{key}={value}"]
    out = tmp_path / "out.ipynb"

    done = CliRunner().invoke(cli, [*arguments, "-o", str(out), "--no-html"])
    assert done.exit_code == 0, done.output
    cells = json.loads(out.read_text())["cells"]
    pages = "".join(
        "".join(output.get("data", {}).get("text/html", ""))
        for cell in cells
        for output in cell.get("outputs", [])
    )
    assert f'<th scope="row">{name}</th><td>' in pages, "a row in the table of results"
    assert f"Checkpoint: {name}" in pages
    assert "in numbers (simulated)" in pages, "known from the table, whatever it is called"
