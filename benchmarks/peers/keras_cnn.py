"""A usual Keras CNN: three pairs of convolutions with batch normalisation, pooling and dropout; Adam, batches of 64."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers
from peer import Clock, load, options, report

BATCH = 64
STEPS_PER_LOOK = 100


def build() -> keras.Model:
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255)])
    for width, dropout in ((32, 0.2), (64, 0.3), (128, 0.4)):
        for _ in range(2):
            model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
            model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(dropout))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_accuracy(model: keras.Model, images: Any, labels: Any) -> float:
    answers = [model(images[i : i + 500], training=False).numpy().argmax(1) for i in range(0, len(images), 500)]
    return float((tf.concat(answers, 0).numpy() == labels).mean())


class Stop(keras.callbacks.Callback):
    """Ends the training when its time is up. The first step compiles the graph, and is not counted."""

    def __init__(self, clock: Clock, images: Any, labels: Any) -> None:
        super().__init__()
        self.clock, self.images, self.labels, self.steps = clock, images, labels, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.clock.start()
        self.steps += 1
        if self.steps % STEPS_PER_LOOK == 0:
            self.clock.look(lambda: test_accuracy(self.model, self.images, self.labels))
        if self.clock.over:
            self.clock.pause()
            self.model.stop_training = True


def main() -> None:
    arguments = options(__doc__).parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    keras.utils.set_random_seed(arguments.seed)
    x_train, y_train, x_test, y_test = load(arguments.data)
    model = build()
    clock = Clock(arguments.seconds, arguments.until)
    stop = Stop(clock, x_test, y_test)
    model.fit(x_train, y_train, batch_size=BATCH, epochs=10**6, verbose=0, callbacks=[stop])
    report(clock, test_accuracy(model, x_test, y_test), stop.steps * BATCH / len(x_train), ["keras", "tensorflow-cpu"])


if __name__ == "__main__":
    main()
