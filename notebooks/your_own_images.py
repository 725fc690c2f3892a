# %% [markdown]
# # Your own images
#
# A folder with one folder a class is all that is needed:
#
# ```
# photos/
#     daisy/    one.jpg  two.jpg …
#     tulip/    three.png …
# ```
#
# Set `PHOTOS` to yours. Without one, this notebook writes handwritten digits into such a folder, so that every cell can be tried.

# %%
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import rung

WORK = Path(tempfile.mkdtemp(prefix="rung-photos-"))
PHOTOS = os.environ.get("RUNG_NOTEBOOK_PHOTOS")  # or: PHOTOS = "photos"
EPOCHS = os.environ.get("RUNG_NOTEBOOK_EPOCHS")
SETTINGS = {"epochs": float(EPOCHS), "rung": "pooled"} if EPOCHS else {"budget": "30s"}

if not PHOTOS:
    digits = rung.load("digits")
    PHOTOS = str(WORK / "photos")
    for k, name in enumerate(digits.classes):
        (WORK / "photos" / f"digit-{name}").mkdir(parents=True)
        members = np.flatnonzero(digits.train.labels == k)
        for i, pixels in zip(members, digits.train.take(members)):
            Image.fromarray(pixels.squeeze()).save(WORK / "photos" / f"digit-{name}" / f"{i}.png")

# %% [markdown]
# ## Is the data all right?
#
# Before training: what came in, how it was split, and what was left out because it cannot be read.

# %%
dataset = rung.load(PHOTOS)
for split in dataset.splits:
    print(f"{split.name:6} {len(split):6,} images")
print("size:", dataset.image_size, "classes:", ", ".join(dataset.classes))
for note in dataset.notes:
    print("note:", note)

# %% [markdown]
# ## Train
#
# The budget is the time for everything, report included. How much is enough? Try a minute; if the report says that it was still
# learning, give it more.

# %%
run = rung.train(PHOTOS, out=WORK / "run", **SETTINGS)
e = run.evaluation
print(
    f"{e.accuracy:.1%} of {e.test_images} test images right (95 % interval {e.accuracy_interval[0]:.1%} to {e.accuracy_interval[1]:.1%})"
)
weakest = min(e.per_class, key=lambda row: row.f1)
print(f"weakest class: {weakest.name}, {weakest.recall:.0%} found")

# %% [markdown]
# ## What is wrong with it?
#
# Each finding has its evidence and a remedy. [troubleshooting.md](../docs/troubleshooting.md) explains them at length.

# %%
findings = rung.diagnose(run.path).findings
for finding in findings:
    print(f"[{finding.severity}] {finding.statement}\n    → {finding.remedy.text}")
if not findings:
    print("Nothing was found.")

# %% [markdown]
# ## Use it

# %%
files = [dataset.test.file(i) for i in range(5)]
for prediction in rung.predict(run, [str(Path(PHOTOS, file)) for file in files if file]):
    print(
        f"{Path(prediction.path).parent.name}/{Path(prediction.path).name}: {prediction.label} ({prediction.probability:.0%})"
    )

# %% [markdown]
# - `run.report()` writes the whole story as one HTML file.
# - `rung serve RUN` in a terminal puts it behind a web page: drop an image, read the answer.
# - `rung export RUN --to onnx` makes a file for others.
# - `rung compare RUN RUN` says whether the next attempt is really better.

# %%
shutil.rmtree(WORK)
