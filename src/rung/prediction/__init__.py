"""From image files to answers, as many as there are.

In reading order: ``paths.py`` (which files are meant), ``predicting.py`` (decode in parallel, compute in batches),
``writers.py`` (table, CSV, JSON lines, Parquet), ``gallery.py`` (a page with pictures).
"""

from rung.prediction.predicting import Prediction, Predictor, predict

__all__ = ["Prediction", "Predictor", "predict"]
