"""Measure what people would use instead of rung, on the same images, cores and time.

python -m benchmarks.peers install                      # an environment for each group of peers (22 GB on Linux)
python -m benchmarks.peers run --budgets 30s 2m 10m     # trains what is missing; a run that was stopped goes on
python -m benchmarks.peers race --to 0.76               # training seconds to this test accuracy: the Keras CNN and rung
python -m benchmarks.peers race --to 0.90 --budgets 5m 10m 15m 20m      # the same with the speed-run recipe
python -m benchmarks.peers table                        # everything measured so far, as Markdown
python -m benchmarks.peers draw                         # accuracy against seconds, as docs/images/frontier.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.environments import images, install
from benchmarks.peers.picture import draw
from benchmarks.peers.plan import PEERS
from benchmarks.peers.running import ISAS, Job, measured, read
from benchmarks.peers.tables import comparison, races
from platformdirs import user_cache_path

from rung.budget import parse_duration

RESULTS = Path(__file__).parents[1] / "results" / "peers.jsonl"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "frontier.png"
# Above it the Keras CNN does not get, and below it is what people would run.
KERAS_GETS_TO = 0.8
EPOCHS = (8, 12, 16)


def race(arguments: argparse.Namespace, seed: int) -> None:
    """Train the peer until it is there, then rung with one budget after another until one ends there."""

    def arrives(job: Job) -> bool:
        row = measured(arguments.results, job, arguments.environments)
        return row.get("reached_seconds") is not None or row.get("accuracy", 0) >= arguments.to

    if arguments.to < KERAS_GETS_TO:
        arrives(Job("keras_cnn", arguments.limit, seed, arguments.isa, arguments.to))
    else:
        # Its accuracy comes at the end of its schedule, so the eight epochs that are published, or more if they miss.
        any(arrives(Job("speedrun", arguments.limit, seed, arguments.isa, arguments.to, n)) for n in arguments.epochs)
    budgets = sorted(arguments.budgets, key=parse_duration)
    any(arrives(Job("rung", budget, seed, arguments.isa)) for budget in budgets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("install", "run", "race", "table", "draw"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; default: all")
    parser.add_argument("--budgets", nargs="+", help="default: 30s 2m 10m; for a race 15s 20s 30s 45s 1m")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--isa", choices=ISAS, help="hold every library to this instruction set")
    parser.add_argument("--to", type=float, help="test accuracy that a race is to")
    parser.add_argument("--limit", default="3h", help="training after which a peer has lost its race")
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS, help="schedules of the speed-run in a race")
    parser.add_argument(
        "--environments",
        type=Path,
        default=user_cache_path("rung", appauthor=False) / "peers",
        help="where the environments and the images are kept",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.environments = arguments.environments.resolve()
    unknown = set(arguments.names) - set(PEERS)
    if unknown:
        parser.error(f"there is no peer {min(unknown)}")
    peers = [PEERS[name] for name in arguments.names or PEERS]
    if arguments.command == "install":
        wanted = sorted({peer.environment for peer in peers if peer.environment})
        failed = [name for name in wanted if not install(arguments.environments, name)]
        if failed:
            raise SystemExit(f"not installed: {', '.join(failed)}")
    elif arguments.command == "run":
        images(arguments.environments)
        for seed in range(arguments.seeds):
            for budget in arguments.budgets or ("30s", "2m", "10m"):
                for peer in peers:
                    measured(arguments.results, Job(peer.name, budget, seed, arguments.isa), arguments.environments)
    elif arguments.command == "race":
        if arguments.to is None:
            parser.error("race needs --to")
        arguments.budgets = arguments.budgets or ["15s", "20s", "30s", "45s", "1m"]
        images(arguments.environments)
        for seed in range(arguments.seeds):
            race(arguments, seed)
        print(races(read(arguments.results)))
    elif arguments.command == "draw":
        draw(read(arguments.results), PICTURE)
    else:
        rows = read(arguments.results)
        print("\n\n".join(part for part in (comparison(rows), races(rows)) if part))


if __name__ == "__main__":
    main()
