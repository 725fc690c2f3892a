"""The main job, stage after stage: data, plan, training, evaluation, report; and what is done with a run afterwards.

How it works, in reading order: ``settings.py`` (what the user asked for), ``training.py`` (:func:`train` and
:func:`resume`), ``description.py`` (what ``run.json`` says), ``recorder.py`` and ``interrupts.py`` (while it trains),
``judging.py`` (the test split, once), ``afterwards.py`` (:func:`evaluate` and :func:`report`), ``diagnosing.py``
(:func:`diagnose`).
"""

from rung.pipeline.afterwards import evaluate, report
from rung.pipeline.diagnosing import diagnose
from rung.pipeline.training import resume, train

__all__ = ["diagnose", "evaluate", "report", "resume", "train"]
