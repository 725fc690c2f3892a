from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rung.diagnosis import Evidence, Finding, Remedy, diagnose_run, examine
from rung.diagnosis import diagnose as module
from rung.diagnosis.kinds import NAMES, kinds
from rung.diagnosis.remedies import more_time, other_network
from rung.runs import RECORDINGS, Run
from rung.training.recordings import Predicted, Recordings


def kind(name: str, cost: float, explains: frozenset[str] = frozenset()) -> SimpleNamespace:
    def find(evidence: Evidence) -> Iterator[Finding]:
        yield Finding(name, "warning", "It is so.", Remedy("Do this."), cost)

    return SimpleNamespace(find=find, EXPLAINS=explains)


def test_a_cause_swallows_its_consequences(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"small": kind("small", 0.1), "cause": kind("cause", 0.2, frozenset({"shown"})), "shown": kind("shown", 1)}
    monkeypatch.setattr(module, "kinds", lambda: asked)
    found = examine(Evidence())
    assert [each.kind for each in found] == ["cause", "small"]
    assert found[0].evidence["also"] == ["shown"]


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_says_nothing_without_evidence_and_explains_kinds_that_exist(name: str) -> None:
    module = kinds()[name]
    assert list(module.find(Evidence())) == []
    assert frozenset(NAMES) >= module.EXPLAINS
    assert name not in module.EXPLAINS


def test_the_command_of_a_remedy_changes_the_settings_of_the_run() -> None:
    settings = {"data": "my photos", "budget": 60.0, "epochs": None, "seed": 0, "device": "auto", "max_memory": 2**30}
    evidence = Evidence(settings=settings)
    assert evidence.command() == "rung train 'my photos' --budget 60s --max-memory 1024M"
    assert evidence.command(epochs=4.0, seed=2) == "rung train 'my photos' --epochs 4 --seed 2 --max-memory 1024M"


def test_runs_beside_it_that_differ_in_their_seed_alone_are_counted(tmp_path: Path) -> None:
    labels = np.arange(400) % 2
    for seed, right in enumerate((400, 200, 390)):
        answers = np.where(np.arange(400) < right, labels, 1 - labels)
        val = Predicted(np.eye(2, dtype=np.float32)[answers], labels, np.arange(400))
        info = {
            "status": "finished",
            "seed": seed,
            "settings": {"data": "x", "seed": seed},
            "data": {"fingerprint": "f"},
        }
        run = Run.create(tmp_path / str(seed), "x", info)
        run.write_bytes(RECORDINGS, Recordings(val=val).to_bytes())
    found = {finding.kind: finding for finding in diagnose_run(tmp_path / "0")}
    assert found["unstable_result"].remedy.settings == {"rate_scale": 0.5}
    assert "50.0%" in found["unstable_result"].statement and "100.0%" in found["unstable_result"].statement


def test_a_remedy_changes_what_the_run_had() -> None:
    labels = np.arange(300) % 10
    wrong = Predicted(np.full((300, 10), 0.1, np.float32), labels, np.arange(300))
    recordings = Recordings(widths=np.array([1, 10]), losses=np.full(200, 2.3, np.float32))
    parts = {"classes": tuple("abcdefghij"), "recordings": recordings, "train": wrong, "val": wrong}

    def remedy(width: float) -> Remedy:
        (finding,) = kinds()["underfitting"].find(Evidence(data="x", settings={"width": width}, **parts))  # type: ignore[arg-type]
        return finding.remedy

    assert remedy(0.0625).settings == {"width": 0.5} and "--width 0.5" in str(remedy(0.0625).command)
    assert remedy(8.0).settings == {"width": 16.0} and "2 times as wide" in remedy(8.0).text
    assert not remedy(16.0).settings

    unsteady = Evidence(
        data="x",
        settings={"rate_scale": 0.1},
        val=Predicted(np.eye(10)[labels], labels, np.arange(300)),
        other_seeds=(0.5, 0.6),
    )
    (finding,) = kinds()["unstable_result"].find(unsteady)
    assert finding.remedy.settings == {"rate_scale": 0.05}


def test_the_small_steps_of_fine_tuning_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    low = kinds()["learning_rate_too_low"]
    monkeypatch.setattr(low, "step_size", lambda evidence: 0.0006)
    monkeypatch.setattr(low, "learnt", lambda evidence: 0.7)
    names = [
        [finding.kind for finding in low.find(Evidence(recipe={"network": {"name": name}}))]
        for name in ("fast", "pretrained")
    ]
    assert names == [["learning_rate_too_low"], []]


@pytest.mark.parametrize(
    ("settings", "training", "factor", "seconds"),
    [
        ({"budget": 15.0}, 10.5, 1.0, 15.0),  # as it was
        ({"budget": 15.0}, 10.5, 0.1, 5.55),  # its start, evaluation and report take what they take
        ({"budget": 120.0}, 110.0, 3.0, 340.0),
        ({"budget": 5.0, "rung": "naive"}, 5.0, 1.0, 9.0),  # of a ladder, where 5 s are the training's alone
        ({"budget": 20.0}, None, 0.5, 12.0),
        ({"budget": 3.0}, 2.0, 0.5, 2.0),
        ({"budget": 20.0}, 0.0, 3.0, 20.0),
    ],
)
def test_more_or_less_time_is_that_of_the_training(
    settings: dict[str, Any], training: float | None, factor: float, seconds: float
) -> None:
    plan = {} if training is None else {"expected_seconds": {"training": training}}
    assert more_time(Evidence(settings=settings, plan=plan), factor) == {"budget": seconds}


def test_what_has_been_learnt_wants_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    vanishing = kinds()["vanishing_gradients"]
    monkeypatch.setattr(vanishing, "first_over_last_gradient", lambda evidence: 0.001)
    recordings = Recordings(layers=("a", "b", "c", "d", "e"))
    for share, many in ((0.99, 0), (0.3, 1)):
        monkeypatch.setattr(vanishing, "learnt", lambda evidence, share=share: share)
        assert len(list(vanishing.find(Evidence(recordings=recordings)))) == many


def test_the_words_of_a_remedy_fit_its_command() -> None:
    own = other_network(Evidence(data="x", recipe={"network": {"name": "fast"}}), "Take rung's own.")
    other = other_network(Evidence(data="x", settings={"rung": "naive"}), "Take rung's own.")
    assert "lower learning rate" in own.text and "--rate-scale 0.3" in str(own.command)
    assert other.text == "Take rung's own." and other.command == "rung train x"


def test_a_plan_that_ends_early_does_not_need_what_it_leaves() -> None:
    seconds = {"start": 3.0, "training": 60.0, "evaluation": 6.0, "report": 1.0}
    evidence = Evidence(settings={"budget": 600.0}, plan={"expected_seconds": seconds, "ends_early": True})
    assert more_time(evidence, 0.5) == {"budget": 40.0}
