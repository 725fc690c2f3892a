"""What the diagnosis says about every trial, and what that is worth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.faults import faults
from benchmarks.diagnosis.plan import CHOSEN_ON, Planted, trials
from benchmarks.diagnosis.trials import healthy, load

from rung.diagnosis import examine
from rung.evaluation.intervals import wilson

# Points of accuracy from which a fault matters.
MATTERS = 0.02
# Faults that cost no accuracy: they waste time, or make the probabilities wrong.
COSTLESS = frozenset({"wasted", "miscalibrated"})
Row = dict[str, Any]


def judge(store: Path, seeds: int) -> Iterator[Row]:
    """A row for every trial that has been trained."""
    for planted in trials(seeds):
        evidence = load(store, planted.key, planted.trial)
        if evidence is None:
            continue
        assert evidence.val is not None and evidence.train is not None
        trial = planted.trial
        sound = load(store, sound_key(planted), healthy(trial.data, trial.network, trial.seed))
        assert sound is None or sound.val is not None
        found = examine(evidence)
        yield {
            "key": planted.key,
            "faults": planted.faults,
            "data": trial.data,
            "network": trial.network,
            "seed": trial.seed,
            "epochs": evidence.plan["epochs"],
            "strength_rank": _rank(planted),
            "train_accuracy": round(evidence.train.accuracy, 4),
            "val_accuracy": round(evidence.val.accuracy, 4),
            "cost": None
            if sound is None or sound.val is None
            else round(sound.val.accuracy - evidence.val.accuracy, 4),
            "found": [finding.kind for finding in found],
            "also": sorted({kind for finding in found for kind in finding.evidence.get("also", ())}),
            "remedy": dict(found[0].remedy.settings) if found else {},
        }


def _rank(planted: Planted) -> int:
    """Place of the strength among those of the fault; 0 with no fault or two."""
    if len(planted.faults) != 1:
        return 0
    ((name, strength),) = planted.faults.items()
    return faults()[name].STRENGTHS.index(strength)


def sound_key(planted: Planted) -> str:
    trial = planted.trial
    return f"healthy-{trial.data}-{trial.network}-{trial.seed}"


def write(rows: Iterable[Row], path: Path) -> list[Row]:
    found = list(rows)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return found


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def matters(row: Row) -> bool:
    """Whether the one fault in it costs enough to be found."""
    (name,) = row["faults"]
    return name in COSTLESS or (row["cost"] or 0) > MATTERS


def tables(rows: Sequence[Row], remedies: Sequence[Row], held_out: bool) -> str:
    """Markdown: faults, false alarms, pairs, remedies; of the seeds that thresholds were chosen on, or the others."""
    rows = [row for row in rows if (row["seed"] >= CHOSEN_ON) == held_out]
    known = faults()
    lines = ["| fault | trials | matter | detected | named first |", "|---|---|---|---|---|"]
    total = [0, 0, 0]
    for name, fault in known.items():
        mine = [row for row in rows if list(row["faults"]) == [name]]
        those = [row for row in mine if matters(row)]
        named = sum(bool(set(fault.KINDS) & {*row["found"], *row["also"]}) for row in those)
        first = sum(bool(row["found"]) and row["found"][0] in fault.KINDS for row in those)
        total = [total[0] + len(those), total[1] + named, total[2] + first]
        lines.append(
            f"| {name} | {len(mine)} | {len(those)} | {share(named, len(those))} | {share(first, len(those))} |"
        )
    lines.append(f"| all | | {total[0]} | {share(total[1], total[0])} | {share(total[2], total[0])} |")
    sound = [row for row in rows if not row["faults"]]
    alarms = sorted({kind for row in sound for kind in row["found"]})
    lines += ["", "| false alarm | healthy trials |", "|---|---|"]
    lines += [f"| {kind} | {share(sum(kind in row['found'] for row in sound), len(sound))} |" for kind in alarms]
    lines.append(f"| any | {share(sum(bool(row['found']) for row in sound), len(sound))} |")
    double = [row for row in rows if len(row["faults"]) == 2]
    both = one = 0
    for row in double:
        said = {*row["found"], *row["also"]}
        hits = sum(bool(set(known[name].KINDS) & said) for name in row["faults"])
        both, one = both + (hits == 2), one + (hits > 0)
    lines += ["", "| two faults | trials |", "|---|---|"]
    lines += [f"| both named | {share(both, len(double))} |", f"| at least one named | {share(one, len(double))} |"]
    mine = [row for row in remedies if (row["seed"] >= CHOSEN_ON) == held_out]
    if mine:
        lines += ["", "| remedy of | trials | improved | mean gain in points |", "|---|---|---|---|"]
        for kind in sorted({row["kind"] for row in mine}):
            gains = [row["after"] - row["before"] for row in mine if row["kind"] == kind]
            better = share(sum(gain > 0 for gain in gains), len(gains))
            lines.append(f"| {kind} | {len(gains)} | {better} | {100 * sum(gains) / len(gains):+.1f} |")
    return "\n".join(lines)


def share(count: int, of: int) -> str:
    """``17/18 = 94 % (74 to 99)``."""
    if not of:
        return "–"
    low, high = wilson(count, of)
    return f"{count}/{of} = {100 * count / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
