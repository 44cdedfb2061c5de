"""What a chapter shows: headline, figures with their words, questions, folded tables, claims.

Words that a run computes travel in the outputs; `arrange` puts them where the page wants them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.arrange import HEADLINE, KEY
from cpssl_lite.book.claims import record
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.figures import tag
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.profiles.differences import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def headline(text: str) -> None:
    """Say in a sentence what this run found; it stands below the chapter's title.

    Parameters
    ----------
    text
        Plain text: names from data may hold anything.
    """
    _display(Html(f"{HEADLINE}{cell(text)}</p>"), {"headline": True})


def say(text: str) -> Html:
    """A paragraph that this run computed. Plain text."""
    return Html(f"<p>{cell(text)}</p>")


def show(figure: "Figure", name: str, data: str, *, caption: str, alt: str) -> None:
    """Show a figure, drawn once, with its words; close it.

    Parameters
    ----------
    figure
        The cell's only one.
    name
        What ``{numref}`` calls it (``fig-comparison``).
    data
        What `figures.tag` writes on it: ``simulated`` or the name of the real data
        (`Features.data_kind`); "" for a drawing that shows no data.
    caption
        What this run shows. Plain text.
    alt
        What is drawn, for those who do not see it. Plain text.

    Raises
    ------
    InputError
        No caption or no alternative text.
    """
    import matplotlib.pyplot as plt

    words = {"name": name, "caption": " ".join(caption.split()), "alt": " ".join(alt.split())}
    if missing := [key for key, text in words.items() if not text]:
        raise InputError(f"figure {name!r}: has no {' and no '.join(missing)}")
    if data:
        tag(figure, data)
    _display(figure, {"figure": words | {"data": data}})
    plt.close(figure)  # or Jupyter would show it once more at the end of the cell


def ask(question: str, answers: Sequence[str] = (), right: str = "", why: str = "") -> Html:
    """Build a question whose answer is folded away until somebody asks for it.

    Parameters
    ----------
    question
        Plain text, as everything else.
    answers
        What to choose from; without any it is an exercise.
    right
        The right one of `answers`, as this run computed it. Of an exercise: its answer.
    why
        What in this run makes it right.

    Raises
    ------
    InputError
        A question without an answer, or with one that is not among `answers`.

    Examples
    --------
    >>> ask("Who is best?", ["DINO", "MAE"], right="MAE", why="0.4 against 0.3.").count("<li>")
    2
    """
    if not right or (answers and right not in answers):
        allowed = ", ".join(answers) or "any text"
        raise InputError(f"question {question!r}: the right answer is {right!r}, not of {allowed}")
    choices = "".join(f"<li>{cell(text)}</li>" for text in answers)
    choices = f'<ol type="A">{choices}</ol>' if choices else ""
    letter = f"{'ABCDEFGHIJ'[list(answers).index(right)]}: " if answers else ""
    intro, fold = ("Predict, then look.", "Answer") if answers else ("Exercise.", "Solution")
    return Html(
        f'<div class="cpssl-ask"><p><strong>{intro}</strong> {cell(question)}</p>{choices}'
        f"<details><summary>{fold}</summary>"
        f"<p><strong>{letter}{cell(right)}</strong> {cell(why)}</p></details></div>"
    )


def note(
    id: str,
    value: float | Mapping[str, float] | None,
    evidence: Evidence | None = None,
    **detail: str | float,
) -> None:
    """Record what was measured for a claim (`claims.record`), where these data define it."""
    numbers = list(value.values()) if isinstance(value, Mapping) else [value]
    if all(number is not None and np.isfinite(number) for number in numbers) and value is not None:
        _display(record(id, value, evidence, None, **detail))


def note_all(
    values: Mapping[str, float | Mapping[str, float] | None], evidence: Evidence | None = None
) -> None:
    """Record what was measured for several claims (`note`)."""
    for id, value in values.items():
        note(id, value, evidence)


def in_words(column: str | None) -> str:
    """A column of labels as running text calls it.

    Examples
    --------
    >>> in_words("Metadata_GeneGroup"), in_words(None)
    ('gene group', 'label')
    """
    plain = (column or "label").removeprefix("Metadata_").replace("_", " ")
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", plain).lower()


def ranked(values: "pd.Series", n: int = 3) -> str:
    """The `n` highest numbers and whose they are, as a sentence names them.

    Examples
    --------
    >>> import pandas as pd
    >>> ranked(pd.Series({"MAE": 0.38, "DINO": 0.341, "SimCLR": 0.36}), 2)
    'MAE (0.38), then SimCLR (0.36)'
    """
    best = values.dropna().sort_values(ascending=False).head(n)
    return ", then ".join(f"{name} ({value:.2f})" for name, value in best.items())


def frame_table(
    frame: "pd.DataFrame",
    columns: Mapping[str, str] | None = None,
    caption: str = "",
    *,
    first: str = "Features",
    form: str = ".3f",
    fold: bool = True,
) -> Html:
    """Build a table of a frame's numbers; one that repeats a figure stays folded.

    Parameters
    ----------
    frame
        Its index heads the rows.
    columns
        Columns to show and their headings [all, by their names]. One that is not there shows
        "undefined", as does a number that is none.
    caption
        Title of the table, and of the fold.
    first
        Heading of the index.
    form
        Format of numbers with fractions.
    fold
        Closed until opened.
    """
    columns = columns or {str(name): str(name) for name in frame}
    rows = [  # not iterrows, which makes counts beside fractions fractions
        (name, *(_number(value, form) for value in values))
        for name, *values in frame.reindex(columns=list(columns)).itertuples()
    ]
    return table((first, *columns.values()), rows, caption, fold=fold)


def difference_table(
    frame: "pd.DataFrame", whats: tuple[str, str], first: str, caption: str, fold: bool = True
) -> Html:
    """Build a table of differences in both mAPs, with intervals and q.

    Parameters
    ----------
    frame
        As `profiles.differences.differences` returns it.
    whats
        What a perturbation and a label are called.
    first
        Heading of the rows.
    caption, fold
        As for `frame_table`.
    """
    rows = []
    for name, row in frame.iterrows():
        cells: list[object] = [name]
        for metric in METRICS:
            value, low, high, q = (row[f"{metric}_{k}"] for k in ("difference", "low", "high", "q"))
            cells.append(f"{value:+.3f} ({low:+.3f} to {high:+.3f})")
            cells.append(p_text(q))
        rows.append(cells)
    header = (first, f"{whats[0]} mAP", "q", f"{whats[1]} mAP", "q ")
    return table(header, rows, caption, fold=fold)


def p_text(p: float) -> str:
    """A p or q as a table writes it.

    >>> p_text(0.0004), p_text(0.0123)
    ('< 0.001', '0.012')
    """
    return "undefined" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"


def _number(value: Any, form: str) -> object:
    if isinstance(value, str | int | np.integer):
        return value
    return "undefined" if value is None or not np.isfinite(value) else f"{value:{form}}"


def _display(what: object, words: Mapping[str, Any] | None = None) -> None:
    from IPython.display import display

    display(what, metadata={KEY: words} if words else None)
