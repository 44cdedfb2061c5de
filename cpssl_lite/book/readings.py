"""What the chapter on the paper and its code shows: two readings, and every difference."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.book.figures import WIDTH, color, composite, in_legend, marker, show_image
from cpssl_lite.book.html import Html, table
from cpssl_lite.images.channels import CHANNELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = {
    "perturbation_acc_nsb": "Perturbation NSB",
    "perturbation_map": "Perturbation mAP",
    "percent_replicating": "Share replicating",
    "label_acc_nsp": "Target NSP",
    "label_acc_nsbp": "Target NSBP",
    "label_map": "Target mAP",
}
SEEN = {"run": "seen when run", "read": "read in the source"}
LEVEL = {"high": 0, "medium": 1, "low": 2}
# The table's rows that hold all words of the field.
SEARCH = """<script>
(() => {
  const box = document.getElementById("find-difference");
  const rows = [...document.querySelectorAll("table.cpssl-find tbody tr")];
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
})();
</script>"""
# What a measured difference holds: number, by the text, by the code, what else, note.
Result = tuple[str, Any, Any, str, str]


def two_readings(both: Mapping[str, "pd.DataFrame"]) -> "Figure":
    """A panel for each metric, a line for each feature type from one reading to the other."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 5.2))
    for axis, (metric, title) in zip(axes.flat, PANELS.items(), strict=True):
        for name in map(str, next(iter(both.values()))):
            ends = [reading.loc[metric, name] for reading in both.values()]
            axis.plot(ends, marker=marker(name), color=color(name), label=in_legend(name))
        axis.set_xticks([0, 1], ["text", "code"])
        axis.set(title=title, xlim=(-0.25, 1.25))
        axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3)
    return figure


def changes(results: Mapping[str, Result], short: Mapping[str, str]) -> "Figure":
    """A bar for each difference: how far it moves its number, in percent."""
    import matplotlib.pyplot as plt

    names = [f"{text}:\n{results[key][0]}" for key, text in short.items()]
    change = [100 * (results[key][2] / results[key][1] - 1) for key in short]
    figure, axis = plt.subplots(figsize=(WIDTH, 6.6))
    drawn = axis.barh(names, change, color=color("DINO"), height=0.6)
    notes = (results[key][3] for key in short)
    texts = [f" {x:+.0f}% {note}" for x, note in zip(change, notes, strict=True)]
    axis.bar_label(drawn, texts, fontsize=8)
    axis.axvline(0, color="#6B7785", linewidth=1)
    axis.set(xlabel="change from text to code, %")
    axis.set_xlim(min(change) - 60, max(change) + 60)  # room for the words
    axis.margins(y=0.02)
    axis.tick_params(axis="y", labelsize=8)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    return figure


def leak(field: Any, after: Any) -> "Figure":
    """A field (C, H, W) before and after its views were made, and what was written to."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    # One scale for both, so that the change is seen.
    picture = composite(np.concatenate([field, after], axis=2), CHANNELS)
    half = field.shape[2]
    show_image(axes[0], picture[:, :half], "the field")
    show_image(axes[1], picture[:, half:], "after ten views")
    axes[2].imshow((after != field).any(axis=0), cmap="gray_r", vmin=0, vmax=1)
    axes[2].set(xticks=[], yticks=[], title="written to")
    axes[2].grid(False)
    axes[2].spines[:].set_visible(True)
    return figure


def shown(value: float) -> str:
    """A number for the tables."""
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def effect_table(
    results: Mapping[str, Result],
    differences: Sequence[Mapping[str, str]],
    keys: Sequence[str],
    last: str,
    caption: str,
) -> Html:
    """What the differences in `keys` do; `last` heads what else was measured."""
    code_of = {d["measured"]: d["code"] for d in differences if "measured" in d}
    rows = []
    for key in keys:
        number, text, code, more, note = results[key]
        small = escape("; ".join(part for part in (number, note) if part))
        what = Html(f"{escape(code_of[key])} <small>{small}</small>")
        rows.append((what, shown(text), shown(code), more))
    return table(("What the code does", "Text", "Code", last), rows, caption, "cpssl-claims")


def all_differences(
    differences: Sequence[Mapping[str, str]],
    results: Mapping[str, Result],
    elsewhere: Mapping[str, str],
) -> Html:
    """One table of all differences, severity first, and a field that filters its rows.

    Parameters
    ----------
    differences
        As `book/differences.yml` has them.
    results, elsewhere
        What was measured, by its key: numbers of both readings, or words.

    Raises
    ------
    KeyError
        A difference that is said to be measured and was not.
    """
    rows = []
    for d in sorted(differences, key=lambda d: LEVEL[d["severity"]]):
        key = d.get("measured")
        if key is None:
            change = "not run here"
        elif key in elsewhere:
            change = elsewhere[key]
        else:
            number, text, code, _, note = results[key]
            what = "; ".join(part for part in (number, note) if part)
            change = f"{what}: {shown(text)} to {shown(code)}"
        about = (d["area"], d["severity"], d["where"], SEEN[d["seen"]])
        small = f"<small>{escape(', '.join(about))}</small>"
        rows.append((Html(f"{escape(d['code'])} {small}"), d["text"] or "(nothing)", change))
    head = ("What the code does", "What the text says", "Here")
    caption = f"{len(rows)} differences, severity first"
    whole = table(head, rows, caption, "cpssl-claims cpssl-find")
    field = '<input type="search" id="find-difference">'
    return Html(
        f'<label class="cpssl-search">Search the differences {field}</label>{whole}{SEARCH}'
    )
