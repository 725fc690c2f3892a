"""The planted-fault benchmark in small: a trial a fault, on generated images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rung.diagnosis import examine


@pytest.fixture(autouse=True)
def benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    torch.set_num_threads(1)


def found(fault: str | None, network: str, strength: Any = None, data: str = "generated") -> tuple[str, ...]:
    from benchmarks.diagnosis.faults import faults
    from benchmarks.diagnosis.trials import healthy, run

    trial = healthy(data, network, 1)
    if fault is not None:
        planted = faults()[fault]
        trial = planted.plant(trial, planted.STRENGTHS[-1] if strength is None else strength)
    return tuple(finding.kind for finding in examine(run(trial)))


@pytest.mark.parametrize("network", ["conv", "dense"])
def test_nothing_is_found_where_nothing_is_wrong(network: str) -> None:
    assert found(None, network) == ()


@pytest.mark.parametrize(
    ("fault", "network", "kind"),
    [
        ("low_rate", "dense", "learning_rate_too_low"),
        ("high_rate", "dense", "learning_rate_too_high"),
        ("exploding", "dense", "exploding_gradients"),
        ("vanishing", "dense", "vanishing_gradients"),
        ("dead", "dense", "dead_units"),
        ("same_weights", "dense", "symmetric_initialisation"),
        ("dark_input", "dense", "ignores_its_input"),
        ("few_steps", "dense", "too_few_steps"),
        ("stopped", "dense", "stopped_too_early"),
        ("large_batch", "dense", "batch_too_large"),
        ("small_network", "dense", "underfitting"),
        ("tilted", "dense", "collapsed_predictions"),
        ("miscalibrated", "dense", "miscalibration"),
        ("wasted", "dense", "annealed_too_early"),
    ],
)
def test_a_planted_fault_is_named_first(fault: str, network: str, kind: str) -> None:
    assert found(fault, network)[:1] == (kind,)


def test_a_clock_that_ran_out_is_no_early_stop() -> None:
    """With a budget, a slower computer makes fewer steps than planned; the rate has fallen all the same."""
    from benchmarks.diagnosis.faults import faults
    from benchmarks.diagnosis.trials import healthy, run

    planted = faults()["stopped"]
    evidence = run(planted.plant(healthy("generated", "dense", 1), planted.STRENGTHS[-1]))
    assert "stopped_too_early" in {finding.kind for finding in examine(evidence)}
    assert "stopped_too_early" not in {finding.kind for finding in examine(replace(evidence, status="finished"))}


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "generated"])
def test_every_fault_is_found_where_it_is_strongest(data: str) -> None:
    from benchmarks.diagnosis.faults import faults

    missed = []
    for name, fault in faults().items():
        kinds = found(name, fault.NETWORKS[0], data=data)
        # A constant rate costs nothing in so short a training, and what is rare is not always missed.
        if name not in ("constant_rate", "rare_class", "overfitting") and not set(kinds) & set(fault.KINDS):
            missed.append((name, kinds))
    assert len(missed) <= 1, missed


def test_more_variation_is_one_step_more() -> None:
    from benchmarks.diagnosis.faults import faults
    from benchmarks.diagnosis.trials import healthy, run

    evidence = run(faults()["overfitting"].plant(healthy("generated", "dense", 1), 100))

    def remedy(**changes: Any) -> dict[str, Any]:
        found = [finding for finding in examine(replace(evidence, **changes)) if finding.kind == "overfitting"]
        return dict(found[0].remedy.settings)

    assert remedy() == {"augment": "normal"}
    assert remedy(settings={**evidence.settings, "rung": "batchnorm"}) == {"rung": "augmented"}
    shifted = {**evidence.recipe, "augmentation": {"flip": False, "translate": 2, "cutout": 0}}
    assert remedy(recipe=shifted) == {"augment": "strong"}
    # A head on a pretrained network is fitted in no steps: the command would be refused. Fine-tuning can be changed.
    assert remedy(recipe={**shifted, "network": {"name": "pretrained", "learns": "head"}}) == {}
    assert remedy(recipe={**shifted, "network": {"name": "pretrained", "learns": "all"}}) == {"augment": "strong"}


def test_a_network_that_is_hardly_ever_wrong_can_be_too_sure() -> None:
    """Of 1,000 answers with certainty, 985 are right: the confidence is off by 1.5 points, the log loss by far more."""
    from benchmarks.diagnosis.trials import healthy, run

    evidence = run(healthy("generated", "dense", 1))
    assert evidence.val is not None
    labels = np.arange(1000) % 6
    answers = np.where(np.arange(1000) < 15, (labels + 1) % 6, labels)

    def kinds(sure: float) -> set[str]:
        probabilities = np.full((1000, 6), (1 - sure) / 5, np.float32)
        probabilities[np.arange(1000), answers] = sure
        val = replace(evidence.val, probabilities=probabilities, labels=labels, positions=np.arange(1000))
        return {finding.kind for finding in examine(replace(evidence, val=val))}

    assert "miscalibration" in kinds(0.999999)
    assert "miscalibration" not in kinds(0.985)


def test_answers_that_are_all_certain_say_nothing_about_labels() -> None:
    """The surest of them cannot be told, so nobody knows what share of the surest is wrong."""
    from rung.diagnosis.kinds.wrong_labels import estimate

    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 2000)
    logits = random.normal(0, 1, (2000, 10)) + 6 * np.eye(10)[np.where(random.random(2000) < 0.1, 0, labels)]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert estimate(probabilities, labels) is not None
    certain = np.exp(40 * (logits - logits.max(1, keepdims=True)))
    assert estimate(certain / certain.sum(1, keepdims=True), labels) is None
