"""What a fault in a training brings along, so that it is not reported a second time under another name."""

from __future__ import annotations

# How any network ends that has learnt too little, whatever the reason.
POOR_RESULT = frozenset(
    {
        "below_majority",
        "collapsed_predictions",
        "failing_class",
        "ignores_its_input",
        # What its mistakes look like to those kinds that ask it about the labels.
        "indistinct_classes",
        "miscalibration",
        "too_few_steps",
        "underfitting",
        "wasted_time",
        "wrong_labels",
    }
)
