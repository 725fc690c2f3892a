"""The model card."""

from __future__ import annotations

from rung.export.card import model_card, plain
from rung.runs import EVALUATION, Run


def test_it_has_what_a_reader_needs(run: Run) -> None:
    card = model_card(run, "Open it.")
    for words in ("Intended use", "95 % interval", "Limits", "Open it.", "nothing was chosen by", "梨"):
        assert words in card


def test_names_of_classes_mean_nothing_in_markdown(run: Run) -> None:
    assert "pear <b>" not in model_card(run, "")
    assert plain("a|b\n# <i>*x*</i> [y](z)") == r"a\|b \# \<i\>\*x\*\</i\> \[y\]\(z\)"


def test_before_the_evaluation(run: Run) -> None:
    (run.path / EVALUATION).unlink()
    assert "has not been evaluated" in model_card(run, "")
