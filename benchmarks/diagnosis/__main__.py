"""Plant faults in tiny trainings, and see what the diagnosis says.

python -m benchmarks.diagnosis run              # train what has not been trained yet (minutes; can be stopped)
python -m benchmarks.diagnosis judge            # diagnose all of it: a row a trial in results/diagnosis.jsonl
python -m benchmarks.diagnosis remedy           # apply the first remedy of each faulty trial and train again
python -m benchmarks.diagnosis table            # detection, false alarms and remedies, with 95 % intervals
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from benchmarks.diagnosis.judging import Row, judge, matters, read, tables, write
from benchmarks.diagnosis.plan import train, trials
from benchmarks.diagnosis.processes import spread
from benchmarks.diagnosis.remedies import try_remedy
from benchmarks.diagnosis.trials import load

RESULTS = Path(__file__).parents[1] / "results" / "diagnosis.jsonl"
STORE = Path("/tmp") / "rung-benchmark-diagnosis"


def remedied(results: Path) -> Path:
    """Where the rows about remedies are."""
    return results.with_name(f"{results.stem}-remedies{results.suffix}")


def matter_for_remedy(row: Row) -> bool:
    """Whether one fault was planted that matters, and what was found first has a remedy that trains again."""
    return len(row["faults"]) == 1 and matters(row) and bool(row["remedy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "judge", "remedy", "table"))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--store", type=Path, default=STORE, help="where the trainings are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    if arguments.command == "run":
        todo = [p for p in trials(arguments.seeds) if load(arguments.store, p.key, p.trial) is None]
        for done, key in enumerate(spread(partial(train, arguments.store), todo, arguments.processes, until)):
            print(f"{done + 1}/{len(todo)} {key}", flush=True)
    elif arguments.command == "judge":
        print(f"{len(write(judge(arguments.store, arguments.seeds), arguments.results))} trials")
    elif arguments.command == "remedy":
        path = remedied(arguments.results)
        known = {planted.key: planted for planted in trials(arguments.seeds)}
        done = {row["key"]: row for row in read(path)}
        todo = [row for row in read(arguments.results) if matter_for_remedy(row) and row["key"] not in done]
        # Every fault early, so that a run that is stopped says something of all of them.
        todo.sort(key=lambda row: (row["strength_rank"], row["seed"]))
        pairs = [(known[row["key"]], row) for row in todo]
        for number, row in enumerate(spread(try_remedy, pairs, arguments.processes, until)):
            done[row["key"]] = row
            write(done.values(), path)
            print(f"{number + 1}/{len(todo)} {row['key']}", flush=True)
    elif arguments.command == "table":
        rows, remedies = read(arguments.results), read(remedied(arguments.results))
        for held_out, title in ((False, "Where thresholds were chosen"), (True, "Held out")):
            print(f"### {title}\n\n{tables(rows, remedies, held_out)}\n")


if __name__ == "__main__":
    main()
