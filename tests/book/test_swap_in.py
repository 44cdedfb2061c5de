"""The how-to "With your checkpoint", followed to the letter on a small screen."""

import json

import torch

from cpssl_lite.book.runner import run_notebook
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.models.vit import Shape, build_vit


def test_a_foreign_checkpoint_becomes_one_more_row(tmp_path):
    table = simulate("tiny", tmp_path / "tiny", workers=1)
    backbone = build_vit(Shape(width=64, depth=1, heads=1)).state_dict()
    mine = tmp_path / "mine.pth"
    torch.save({"teacher": {f"backbone.{key}": value for key, value in backbone.items()}}, mine)

    executed = run_notebook(
        "ssl_comparison",
        {
            "data": str(table),
            "data_name": "real cells, honestly",
            "checkpoints": {"Mine": str(mine)},
            "transfer": "",
            "measured": False,
            "method": "mad_robustize",  # eight controls are too few to sphere 128 features
        },
        out=tmp_path / "out.ipynb",
    )
    cells = json.loads(executed.read_text())["cells"]
    pages = "".join(
        "".join(output.get("data", {}).get("text/html", ""))
        for cell in cells
        for output in cell.get("outputs", [])
    )
    assert '<th scope="row">Mine</th><td>' in pages, "a row in the table of results"
    assert "Checkpoint: Mine" in pages
    assert "as a table (simulated data)" in pages, "known from the table, whatever it is called"
