"""Wrong labels: are the planted ones found, as well as by cleanlab, and does training without them help?

    python benchmarks/label_errors.py --data cifar10 --budget 4m --seeds 3

For each seed, labels of the training and validation images are flipped at random. Networks that have not seen an image
predict it (:func:`rung.diagnosis.out_of_fold.out_of_fold`); the images are ranked by rung and by cleanlab, on the same
predictions, and the precision of each at the number planted is measured. Then three networks with the same seed and
epochs are trained: on the true labels, on the flipped ones, and on the flipped ones without the images that the
finding lists. What they get right on the test split, whose labels are true, says how much of the loss comes back.

Every seed adds a line to ``--results`` as soon as it is done. ``--training ''`` leaves the three out. Where
cleanlab is not installed its columns stay empty.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rung.budget import parse_duration
from rung.data import load
from rung.data.dataset import Dataset
from rung.diagnosis import Evidence
from rung.diagnosis.kinds import wrong_labels
from rung.diagnosis.out_of_fold import OutOfFold, out_of_fold
from rung.models.classifier import predict
from rung.progress import training_display
from rung.training.clocks import StepClock
from rung.training.device import Machine, choose_device, measure_machine
from rung.training.plan import Plan
from rung.training.session import DisplayObserver, new_state, plan_training, total_steps, train
from rung.training.threads import set_threads


def plant(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, np.ndarray]:
    """The data set with a share of the labels flipped to another class, and which: training images first."""
    random = np.random.default_rng((seed, 77))
    joint = np.concatenate([dataset.train.labels, dataset.val.labels])
    chosen = random.permutation(len(joint))[: round(share * len(joint))]
    classes = len(dataset.classes)
    joint[chosen] = (joint[chosen] + random.integers(1, classes, len(chosen))) % classes
    planted = np.zeros(len(joint), bool)
    planted[chosen] = True
    cut = len(dataset.train)
    flipped = replace(
        dataset,
        train=replace(dataset.train, labels=joint[:cut]),
        val=replace(dataset.val, labels=joint[cut:]),
    )
    return flipped, planted


def by_cleanlab(asked: OutOfFold, planted: np.ndarray) -> dict[str, float | None]:
    """cleanlab's precision at the number planted, by its three scores, and its own choice of images."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {"cleanlab": None}
    found: dict[str, float | None] = {}
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        scores = get_label_quality_scores(asked.labels, asked.probabilities, method=method)
        found[f"cleanlab_{method}"] = precision(np.argsort(scores, kind="stable"), planted)
    issues = find_label_issues(asked.labels, asked.probabilities)
    found["cleanlab_found"] = int(issues.sum())
    found["cleanlab_found_precision"] = float(planted[issues].mean()) if issues.any() else None
    return found


def precision(order: np.ndarray, planted: np.ndarray) -> float:
    """Share of planted labels among the first so many as were planted."""
    return float(planted[order[: int(planted.sum())]].mean())


def accuracy(dataset: Dataset, machine: Machine, plan: Plan, seed: int) -> float:
    """Share of the test images that the plan's network gets right, trained on these training images."""
    state = new_state(plan.recipe, dataset, torch.device(machine.device), seed)
    train(
        state,
        dataset,
        plan.recipe,
        StepClock(total_steps(dataset, plan.recipe, plan.epochs)),
        epochs=plan.epochs,
        seconds=None,
        seed=seed,
        precision=machine.precision,
        observer=DisplayObserver(training_display()),
    )
    predicted = predict(state.model, dataset.test, precision=machine.precision)
    return float((predicted.argmax(1) == dataset.test.labels).mean())


def one(dataset: Dataset, machine: Machine, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Everything about one seed."""
    flipped, planted = plant(dataset, arguments.share, seed)
    asked = out_of_fold(
        flipped, parse_duration(arguments.budget), machine=machine, seed=seed, display=training_display()
    )
    ranked = wrong_labels.rank(asked.probabilities, asked.labels, asked.own)
    truth = np.concatenate([dataset.train.labels, dataset.val.labels])
    row: dict[str, Any] = {
        "data": arguments.data,
        "share": arguments.share,
        "seed": seed,
        "seconds": asked.seconds,
        "network": asked.network,
        "folds": asked.folds,
        "epochs": asked.epochs,
        "accuracy_out_of_fold": float((asked.probabilities.argmax(1) == truth).mean()),
        "rung": precision(ranked, planted),
        "rung_unseen_only": precision(wrong_labels.rank(asked.probabilities, asked.labels), planted),
        **by_cleanlab(asked, planted),
    }
    evidence = Evidence(data=arguments.data, classes=dataset.classes, out_of_fold=asked)
    finding = next(iter(wrong_labels.find(evidence)), None)
    if finding is None:
        return {**row, "found": 0}
    listed = {split: np.array(positions) for split, positions in finding.images.items()}
    chosen = np.zeros(len(planted), bool)
    chosen[listed.get("train", np.empty(0, int))] = True
    chosen[len(dataset.train) + listed.get("val", np.empty(0, int))] = True
    row |= {"found": int(chosen.sum()), "found_precision": float(planted[chosen].mean())}
    if arguments.training:
        cut = len(dataset.train)
        without = replace(
            flipped,
            train=flipped.train.subset(np.flatnonzero(~chosen[:cut])),
            val=flipped.val.subset(np.flatnonzero(~chosen[cut:])),
        )
        # One plan for all three: the same network, and as many epochs.
        plan = plan_training(dataset, machine, seconds=parse_duration(arguments.training), seed=seed)
        variants = {"clean": dataset, "flipped": flipped, "without": without}
        scores = {name: accuracy(each, machine, plan, seed) for name, each in variants.items()}
        lost = scores["clean"] - scores["flipped"]
        row |= {f"test_{name}": value for name, value in scores.items()}
        row["recovered"] = (scores["without"] - scores["flipped"]) / lost if lost > 0 else None
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that are flipped")
    parser.add_argument("--budget", default="4m", help="for the predictions of one seed")
    parser.add_argument("--training", default="4m", help="time that each of the three is planned for; empty: none")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    dataset = load(arguments.data)
    machine = measure_machine(choose_device())
    rows = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        began = time.monotonic()
        row = one(dataset, machine, arguments, seed)
        rows.append({**row, "wall": time.monotonic() - began, "processor": machine.processor})
        print(json.dumps(rows[-1]), flush=True)
        if arguments.results:
            with arguments.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    for name in ("rung", "cleanlab_self_confidence", "found_precision", "test_clean", "test_flipped", "test_without"):
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            print(f"{name:26} {np.mean(values):.1%}  ({min(values):.1%} to {max(values):.1%}, {len(values)} seeds)")


if __name__ == "__main__":
    main()
