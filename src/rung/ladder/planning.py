"""What the runs of a climb are going to be: the recipe of every step, its cost here, and the length of a run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.ladder.allocation import run_seconds
from rung.ladder.steps import Step, down_steps
from rung.training.device import Machine
from rung.training.plan import Plan, make_plan, plan_recipe
from rung.training.plan_pretrained import plan_pretrained
from rung.training.recipe import Recipe
from rung.training.rungs import PRETRAINED
from rung.training.threads import avoiding_crowd

# Around every training: weights, whitening, files, the diagnosis.
RUN_SECONDS = 0.5
# A run shorter than this says nothing.
LEAST_SECONDS = 0.5
# Share of its time that a run gets even where there is none left.
LEAST_SHARE = 0.1
# How many models `--auto` will see nobody knows: as many as the ladder has rungs.
UNKNOWN = 9


@dataclass
class Planning:
    """The plans of a climb.

    Attributes:
        dataset, probe, machine: what is trained on, and where.
        seed: of trial steps.
        length: seconds of every training; about that until it is chosen.
        epochs: of every training instead, or 0.
        known: the recipe that earlier runs of a step have, by its name: further seeds take it over.
        measured: by step, a plan whose steps have been timed.
    """

    dataset: Dataset
    probe: Probe
    machine: Machine
    seed: int
    length: float
    epochs: float = 0.0
    known: Callable[[str], Recipe | None] = lambda name: None
    measured: dict[str, Plan] = field(default_factory=dict)

    def choose_length(self, steps: list[Step], left: float, equal_epochs: bool) -> None:
        """Choose the seconds, and the epochs if they are to be equal, of every training.

        Args:
            steps: all that are known; each is timed.
            left: seconds for all runs.
            equal_epochs: whether every training gets as many epochs.

        Raises:
            UsageError: there is no time for them.
        """
        plans = [self._timed(step) for step in steps]
        costs = [RUN_SECONDS + plan.expected_seconds["evaluation"] for plan in plans if plan is not None]
        costs = costs * UNKNOWN if len(costs) == 1 else costs
        self.length = run_seconds(left, costs)
        if self.length < LEAST_SECONDS:
            raise UsageError(
                f"there are {max(left, 0):.1f} s left for {len(costs)} models, of which the evaluation alone takes "
                f"{sum(costs):.1f} s; give a larger --budget"
            )
        if equal_epochs:
            each = [plan.expected_seconds["training"] / plan.epochs for plan in plans if plan is not None]
            # A tenth is kept back for steps that turn out slower than their trial.
            self.epochs = 0.9 * self.length * len(each) / sum(each)

    def possible(self, step: Step) -> bool:
        """Whether there is anything to change for this step."""
        return self._timed(step) is not None

    def plan(self, step: Step, longest: float = math.inf) -> Plan:
        """What a run of the step is going to be: as many epochs as are given, or as fit into its time."""
        plan = self._timed(step)
        assert plan is not None
        each = plan.expected_seconds["training"] / plan.epochs
        # However late it is, something is trained.
        length = max(min(self.length, longest), LEAST_SHARE * self.length)
        if plan.recipe.fits_a_head:
            # Its features are computed once, however much time there is.
            seconds = {**plan.expected_seconds, "start": 0.0, "report": 0.0}
            why = (f"{step.name}: {step.idea}. {step.purpose}",)
            return replace(plan, budget=None if self.epochs else length, expected_seconds=seconds, reasons=why)
        epochs = self.epochs or length / each
        training = self.epochs * each if self.epochs else length  # not length / each * each, which rounds
        return replace(
            plan,
            epochs=epochs,
            steps=max(1, math.floor(epochs * len(self.dataset.train) / plan.recipe.batch_size)),
            budget=None if self.epochs else length,
            expected_accuracy=None,
            expected_accuracy_interval=None,
            expected_seconds={**plan.expected_seconds, "start": 0.0, "training": training, "report": 0.0},
            reasons=(f"{step.name}: {step.idea}. {step.purpose}",),
        )

    def evaluation(self, name: str) -> float:
        """Seconds for the test images of one run."""
        if name not in self.measured:
            return 0.0
        return self.measured[name].expected_seconds["evaluation"] + 0.1

    def _timed(self, step: Step) -> Plan | None:
        if step.name in self.measured:
            return self.measured[step.name]
        if step.name == PRETRAINED.name:
            plan = self._pretrained(step)
            if plan is not None:
                self.measured[step.name] = plan
            return plan
        recipe = self.known(step.name) or step.recipe
        if recipe is None and step.change is not None:
            top = self._timed(down_steps()[0])
            assert top is not None
            recipe = step.change(top.recipe)
            if recipe is None:
                return None
        with avoiding_crowd():
            if recipe is None:
                plan = self._planners_choice()
            else:
                plan = plan_recipe(recipe, self.dataset, self.machine, seconds=None, epochs=1.0, seed=self.seed)
        self.measured[step.name] = plan
        return plan

    def _pretrained(self, step: Step) -> Plan | None:
        """The plan of a start from a pretrained network, or None where a start from nothing promises more."""
        # A climb that goes on has decided.
        mode = "auto" if self.known(step.name) is None else "always"
        seconds = 1.2 * self.length + RUN_SECONDS
        return plan_pretrained(
            self.dataset, self.probe, self.machine, mode, seconds=seconds, seed=self.seed, report_seconds=0.0
        )

    def _planners_choice(self) -> Plan:
        """What `rung train` would do in the time of a run. That includes an evaluation, which is extra here."""
        for attempt in range(6):
            seconds = (1.2 * self.length + RUN_SECONDS) * 2**attempt
            with contextlib.suppress(UsageError):
                return make_plan(
                    self.dataset, self.probe, self.machine, seconds=seconds, seed=self.seed, report_seconds=0.0
                )
        raise UsageError("the budget leaves no time for a single training step; give a larger --budget")
