# %% [markdown]
# # From a naive CNN to a modern one
#
# A classifier of small images, from loading the data to an answer that somebody can use. We begin with a network that is
# large, simple and bad, and look closely at *how* it is bad. Then every step adds one idea, and we measure what the idea bought.
#
# You need to have seen Python and a convolution before. Everything uses the public functions of `rung`; the pictures are Matplotlib's.
#
# Three rules hold from the first cell to the last:
#
# 1. **Three splits.** The network learns from *training* images. Everything that *we* decide, we decide on *validation* images. The
#    *test* images are for the end, because whatever one chooses by a number makes that number too good.
# 2. **Every number has an interval.** A hundred images more or less decide the third digit of an accuracy.
# 3. **Comparisons are paired.** Two networks answer the same images; what counts are the images that only one gets right.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import rung

# CIFAR-10 where it is at hand, otherwise the digits that come with scikit-learn. Set these to choose yourself.
at_hand = Path(os.environ.get("RUNG_DATA", "/nowhere"), "cifar10").is_dir()
DATA = os.environ.get("RUNG_NOTEBOOK_DATA", "cifar10" if at_hand else "digits")
SECONDS = float(os.environ.get("RUNG_NOTEBOOK_SECONDS", "30"))  # for a rung; the first and the last get twice as much
EPOCHS = os.environ.get("RUNG_NOTEBOOK_EPOCHS")  # passes over the training images, instead of seconds
RUNS = Path(tempfile.mkdtemp(prefix="rung-walkthrough-"))
plt.rcParams |= {
    "figure.figsize": (9, 3.2),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 80,
    "savefig.bbox": "tight",
}
BLUE, ORANGE = "#0b62b4", "#bd5104"


def train(name, times=1.0, **settings):
    """A run in its own folder, with the time of one rung, or of several."""
    length = {"epochs": float(EPOCHS)} if EPOCHS else {"budget": SECONDS * times}
    return rung.train(DATA, out=RUNS / name, **length, **settings)


def show(images, titles=(), columns=10):
    """Images in rows of ten."""
    rows = -(-len(images) // columns)
    _, axes = plt.subplots(
        rows, columns, figsize=(10, 10 * rows / columns * (1.25 if len(titles) else 1)), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for number, (axis, image) in enumerate(zip(axes.flat, images)):
        axis.imshow(image.squeeze(), cmap="gray", interpolation="nearest")
        if len(titles):
            axis.set_title(titles[number], fontsize=8)
    plt.show()


def curves(run):
    """Accuracy and loss, on training and on validation images."""
    history = run.history
    _, axes = plt.subplots(1, 2)
    for axis, what, scale in ((axes[0], "accuracy", 100), (axes[1], "loss", 1)):
        for split, colour in (("train", BLUE), ("val", ORANGE)):
            values = [scale * getattr(row, f"{split}_{what}") for row in history]
            axis.plot(
                [row.epoch for row in history], values, color=colour, label={"val": "validation"}.get(split, "training")
            )
        axis.set(xlabel="epoch", title="Accuracy, %" if what == "accuracy" else "Loss, nats")
    axes[0].legend()
    plt.show()


print("Data:", DATA, "·", f"{EPOCHS} epochs a rung" if EPOCHS else f"{SECONDS:g} s a rung")

# %% [markdown]
# ## 1. Loading
#
# An image is a block of bytes: height × width × channels, each from 0 to 255. A label is a number, and the classes' names belong to
# the numbers. `rung.load` brings any source to this form and cuts a validation split from the training images: stratified, so that every
# class is in it in proportion, and always the same one.

# %%
dataset = rung.load(DATA)
for split in dataset.splits:
    print(
        f"{split.name:6} {len(split):6,} images of {dataset.image_size[0]} × {dataset.image_size[1]} × {dataset.channels}, {split.images.dtype}"
    )
print("classes:", ", ".join(dataset.classes))

# %% [markdown]
# ## 2. Looking
#
# Nobody should train on images that they have not looked at. Ten images, and then for each class: how many there are, and what they
# look like on average. Classes of equal size mean that accuracy is a fair number, and that guessing gets one divided by their number.

# %%
rng = np.random.default_rng(0)
some = rng.choice(len(dataset.train), 20, replace=False)
pictures, labels = dataset.train.take(some), dataset.train.labels[some]
show(pictures, [dataset.classes[k] for k in labels])

# %%
counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
means = []
for k in range(len(dataset.classes)):
    members = np.flatnonzero(dataset.train.labels == k)[:500]
    means.append(dataset.train.take(members).mean(0).astype(np.uint8))
show(means, [f"{name} ({count:,})" for name, count in zip(dataset.classes, counts)])

# %% [markdown]
# A mean image says what a network could get right by colour and position alone. On CIFAR-10 the mean ship is blue and the mean frog is
# a blob: there is little to gain that way, and shapes have to be learnt.

# %%
sample = dataset.train.take(np.arange(min(5000, len(dataset.train)))).reshape(-1, dataset.channels)
mean, deviation = sample.mean(0) / 255, sample.std(0) / 255
print("mean of each channel:              ", mean.round(3))
print("standard deviation of each channel:", deviation.round(3))

# %% [markdown]
# ## 3. Preprocessing
#
# Two small transformations, which `rung` makes part of the model, so that the same image gets the same answer whoever asks.
#
# **Normalising.** Bytes from 0 to 255 are all positive and of a size of a hundred. Weights of usual size would make enormous sums, and
# all gradients of a filter would have the same sign. Subtracting the mean and dividing by the deviation brings every channel to
# about −2 … 2.
#
# **One-hot.** A class is not a quantity: a *deer* (4) is not twice a *bird* (2). The target of the network is a vector with a 1 in the
# place of the class. Its answer is a vector of probabilities, and the loss (*cross-entropy*) is minus the logarithm of the probability in
# that place: 0 if sure and right, large if sure and wrong.

# %%
bytes_of_one = pictures[0]
normalised = (bytes_of_one / 255 - mean) / deviation
print(f"before: {bytes_of_one.min()} … {bytes_of_one.max()}    after: {normalised.min():.2f} … {normalised.max():.2f}")
one_hot = np.eye(len(dataset.classes))[labels[0]]
print(f"{dataset.classes[labels[0]]!r} is class {labels[0]}, as a vector {one_hot.astype(int)}")
guess = np.full(len(dataset.classes), 1 / len(dataset.classes))
print(f"cross-entropy of not knowing anything: {-np.log(guess[labels[0]]):.3f} nats")

# %% [markdown]
# Remember the last number. A network that starts with a much larger loss is badly initialised; one that stays there has learnt nothing.
#
# ## 4. The naive network
#
# What one writes first: one convolution, its output flattened, straight into large dense layers. Nearly all of its parameters are in the
# first dense layer, which has a weight of its own for every feature *at every position*: it learns what an eye looks like in the
# upper left corner, and has to learn it anew for the lower right. Adam, at one learning rate.

# %%
runs = {}
runs["naive"] = train("naive", 2, rung="naive")
naive = runs["naive"]
print(naive.info["plan"]["network"], f"- {naive.info['plan']['parameters']:,} parameters")
curves(naive)
evaluation = naive.evaluation
print(
    f"training {evaluation.train_accuracy:.1%}, validation {evaluation.val_accuracy:.1%}: "
    f"a gap of {100 * (evaluation.train_accuracy - evaluation.val_accuracy):.1f} points"
)

# %% [markdown]
# This is what **overfitting** looks like, given time: the training loss goes on falling, the validation loss turns and *rises*. The network
# has enough parameters to remember its images one by one, and that is easier than to understand them. The two signs to look for:
# a gap between the accuracies, and a validation loss that has its lowest point behind it.
#
# `rung.diagnose` looks for this and thirty other things, and says what it would do:

# %%
for finding in rung.diagnose(naive.path).findings[:4]:
    print(f"[{finding.severity}] {finding.kind.replace('_', ' ')}: {finding.statement}\n    → {finding.remedy.text}\n")

# %% [markdown]
# ## 5. One idea at a time
#
# | rung | adds | because |
# |---|---|---|
# | `deep` | stacked small convolutions | two 3 × 3 filters see as far as one of 5 × 5, with fewer weights and a nonlinearity between them |
# | `pooled` | max pooling between stages | an eye stays an eye when it moves by a pixel; each stage sees twice as far; the dense layer shrinks |
# | `dropout` | units switched off at random | no unit can rely on one other; works against overfitting |
# | `batchnorm` | activations brought to mean 0 and deviation 1 in each batch | layers stop chasing each other; larger learning rates work |
# | `augmented` | random flips and shifts | every epoch shows other images; the cheapest way to more data |
# | `annealed` | the learning rate lowered, round after round | large steps find the valley, small ones its bottom |
# | `residual` | shortcuts around convolutions | gradients get a way past every layer |
# | `modern` | the fast family of `rung train` | all of this, chosen by measurements for the time that there is |
#
# All get the same time, which is the fair question for whoever has to wait for the result. In so little time, an idea that makes each
# step dearer has to earn its price; **an idea may well not help here**. We look at validation only.

# %%
for name in ("deep", "pooled", "dropout", "batchnorm", "augmented", "annealed", "residual"):
    runs[name] = train(name, rung=name)
runs["modern"] = train("modern", 2, rung="modern")

# %%
print(
    f"{'':10} {'parameters':>11} {'mult-adds':>10} {'training':>9} {'validation':>11} {'gap':>6} {'log loss':>9} {'epochs':>7}"
)
for name, run in runs.items():
    plan, e = run.info["plan"], run.evaluation
    print(
        f"{name:10} {plan['parameters']:11,} {plan['multiply_adds'] / 1e6:8.1f} M {e.train_accuracy:9.1%} {e.val_accuracy:11.1%} "
        f"{100 * (e.train_accuracy - e.val_accuracy):6.1f} {run.history[-1].val_loss:9.3f} {run.history[-1].epoch:7.2f}"
    )

# %%
_, axis = plt.subplots()
names = list(runs)
for split, colour, spoken in (("train", BLUE, "training"), ("val", ORANGE, "validation")):
    axis.step(
        names,
        [100 * getattr(runs[n].evaluation, f"{split}_accuracy") for n in names],
        where="mid",
        color=colour,
        label=spoken,
    )
low, high = (np.array([100 * runs[n].evaluation.val_accuracy_interval[end] for n in names]) for end in (0, 1))
axis.vlines(names, low, high, color=ORANGE, linewidth=5, alpha=0.35)
axis.set_title("The staircase: accuracy of every rung, %; bars are 95 % intervals")
axis.tick_params("x", rotation=25)
axis.legend()
plt.show()

# %% [markdown]
# Read it twice: once along the orange line (what is an idea worth on images the network has not seen?), and once along the distance between the
# lines (which idea closes the gap?). And look at the last column of the table: a rung that has seen a fraction of an epoch has not shown
# yet what it can do; it says what its idea costs, not what it is worth. Where the bars of two neighbours overlap widely, do not conclude much: one training each, and a
# validation split of limited size. `rung.compare` below does this properly.
#
# ## 6. Rounds with lower learning rates
#
# By hand, what `annealed` does by itself: three rounds, each at a tenth of the learning rate before, each from the best weights so far. At
# the moment the rate falls, the loss usually drops at once: the network has been jumping across a narrow valley.
#
# The second question is whether it pays. A round that ends before the network has learnt what it could at its rate is a round too short: with
# two passes over the images, most of the time is then spent on small steps. Rounds are for trainings that last.

# %%
rounds = train("rounds", rung="augmented", rounds=(1e-3, 1e-4, 1e-5))
history = rounds.history
_, axes = plt.subplots(1, 2)
axes[0].semilogy(
    [row.epoch for row in history], [row.learning_rate for row in history], color="grey", drawstyle="steps-post"
)
axes[0].set(title="Learning rate", xlabel="epoch")
axes[1].plot([row.epoch for row in history], [row.val_loss for row in history], color=ORANGE)
axes[1].set(title="Validation loss, nats", xlabel="epoch")
plt.show()
print(
    f"validation: {rounds.evaluation.val_accuracy:.1%} in rounds, {runs['augmented'].evaluation.val_accuracy:.1%} at one rate"
)

# %% [markdown]
# ## 7. The test images, once
#
# We choose by validation, and only then open the test split.

# %%
best = max(runs, key=lambda name: runs[name].evaluation.val_accuracy)
chosen = runs[best]
e = chosen.evaluation
print(
    f"{best}: {e.accuracy:.2%} of {e.test_images:,} test images (95 % interval {e.accuracy_interval[0]:.1%} to {e.accuracy_interval[1]:.1%})"
)
print(f"macro F1 {e.macro_f1:.3f}, log loss {e.log_loss:.3f} nats")
print(f"\n{'class':12} precision  recall     F1  images")
for row in sorted(e.per_class, key=lambda row: row.f1):
    print(f"{row.name:12} {row.precision:9.1%} {row.recall:7.1%} {row.f1:6.3f} {row.support:7,}")

# %% [markdown]
# **Precision**: when it says *cat*, how often is it one? **Recall**: of all cats, how many does it find? **F1** is their harmonic mean. One
# number for all of them would hide that some classes are hard.
#
# And is it really better than the others? Paired, with intervals:

# %%
others = [name for name in runs if name != best]
comparison = rung.compare(chosen, *(runs[name] for name in others))
for name, one in zip(others, comparison.against):
    low, high = (100 * end for end in one.accuracy.interval)
    verdict = "distinguishable" if one.accuracy.distinguishable else "cannot be told apart"
    print(
        f"{name:10} against {best}: {100 * one.accuracy.difference:+6.2f} points ({low:+.2f} to {high:+.2f})  {verdict}"
    )

# %% [markdown]
# These intervals speak of these trained networks on other images. Training again with another seed moves the numbers as well; for claims
# about an *idea*, train several seeds of each ([compare.md](../docs/compare.md)).
#
# ## 8. What it confuses
#
# Rows are the truth, columns the answer; the diagonal is left out, so that the mistakes can be seen.

# %%
matrix = np.array(e.confusion_matrix, float)
mistakes = matrix.copy()
np.fill_diagonal(mistakes, np.nan)
_, axis = plt.subplots(figsize=(5.5, 4.6))
axis.imshow(mistakes / matrix.sum(1, keepdims=True), cmap="Oranges")
axis.set_xticks(range(len(e.classes)), e.classes, rotation=60)
axis.set_yticks(range(len(e.classes)), e.classes)
axis.set(xlabel="answer", ylabel="truth", title="Mistakes, as a share of the true class")
axis.grid(False)
plt.show()
worst = np.dstack(np.unravel_index(np.argsort(-np.nan_to_num(mistakes), axis=None), mistakes.shape))[0][:3]
for t, p in worst:
    print(f"{int(matrix[t, p]):4} × {e.classes[t]} taken for {e.classes[p]}")

# %% [markdown]
# ## 9. The mistakes themselves
#
# The wrong answers that it was surest of. Some of them are hard, some are labelled in a way one can argue about, and some are simply wrong: only
# looking tells which.

# %%
table = chosen.predictions
probabilities = np.array(table["probabilities"].to_pylist())
truth, answer = table["label"].to_numpy(), table["prediction"].to_numpy()
confidence = probabilities.max(1)
wrong = np.flatnonzero(truth != answer)
surest = wrong[np.argsort(-confidence[wrong])][:10]
if len(surest):
    show(
        dataset.test.take(surest),
        [f"is {e.classes[truth[i]]}\nsaid {e.classes[answer[i]]} {confidence[i]:.0%}" for i in surest],
        columns=5,
    )
else:
    print("There are none.")

# %% [markdown]
# ## 10. Can its confidence be believed?
#
# Of all answers given with 80 % confidence, 80 % should be right. Networks tend to be surer than they are right; `rung` fits one number on the
# validation images (a *temperature*) that corrects most of it, without changing any answer.

# %%
bins = [b for b in e.reliability if b.count]
_, axis = plt.subplots(figsize=(4.2, 4))
axis.bar(
    [(b.lower + b.upper) / 2 for b in bins],
    [b.accuracy for b in bins],
    width=[0.9 * (b.upper - b.lower) for b in bins],
    color=BLUE,
    alpha=0.75,
)
axis.plot([0, 1], [0, 1], "--", color=ORANGE)
axis.set(
    xlabel="confidence",
    ylabel="share right",
    title=f"Expected calibration error {100 * e.expected_calibration_error:.1f} points",
)
plt.show()

# %% [markdown]
# ## 11. Using it
#
# Image files in, answers out; each file goes through exactly the preprocessing of the training. The model can leave as ONNX, which runs
# nearly anywhere, and is checked against the run before it is handed over.

# %%
folder = RUNS / "photos"
folder.mkdir()
for i, pixels in enumerate(dataset.test.take(np.arange(5))):
    Image.fromarray(pixels.squeeze()).save(folder / f"{i}.png")
for number, prediction in enumerate(rung.predict(chosen, folder)):
    print(
        f"{Path(prediction.path).name}: {prediction.label} ({prediction.probability:.0%}), is {e.classes[truth[number]]}"
    )

# %%
exported = rung.export_run(chosen, "onnx")
print(f"{exported.path.name}: {exported.bytes / 1e6:.1f} MB, checked with {exported.engine}")

# %% [markdown]
# From a terminal, the same: `rung predict RUN photos/`, `rung export RUN --to onnx`, and `rung serve RUN`, which puts the model behind a web page that
# shows what it looked at, and an HTTP API.
#
# ## 12. What to do next
#
# - **More time.** `rung train cifar10 --budget 10m`: everything above was trained for seconds.
# - **Several seeds** before believing a small difference.
# - **The report**: `run.report()` writes one HTML file with all of this and more.
# - **When it goes wrong**: [troubleshooting.md](../docs/troubleshooting.md), from the symptom to the remedy.
# - **Your own images**: [your_own_images.ipynb](your_own_images.ipynb).

# %%
import shutil

shutil.rmtree(RUNS)
