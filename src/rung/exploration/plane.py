"""A map of the images: those that look alike lie close together.

Small versions of a sample are reduced to their first principal components, and those to two dimensions by t-SNE (L. van
der Maaten and G. Hinton, "Visualizing data using t-SNE", JMLR 9 (2008) 2579). Only what is close says something: the
distance between two clusters means nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Split

POINTS = 1500
_SIDE = 12
_COMPONENTS = 30


def small_images(split: Split, positions: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.uint8]:
    """uint8 (n, h, w, C): images reduced to at most ``side`` pixels, by averaging; smaller ones stay as they are."""
    from PIL import Image

    height, width = split.images.shape[1:3]
    scale = min(1.0, side / max(height, width))
    if scale == 1:
        return split.take(positions)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = np.empty((len(positions), size[1], size[0], split.images.shape[3]), np.uint8)
    for start in range(0, len(positions), 64):
        for number, pixels in enumerate(split.take(positions[start : start + 64]), start):
            image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            reduced[number] = np.asarray(image.resize(size, Image.Resampling.BOX)).reshape(reduced.shape[1:])
    return reduced


def principal_components(split: Split, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """float32 (n, d): the first 30 principal components, at most, of the images at 12 pixels a side."""
    flat = small_images(split, positions, _SIDE).reshape(len(positions), -1).astype(np.float32) / 255
    flat -= flat.mean(0)
    _, vectors = np.linalg.eigh(flat.T @ flat)
    return np.asarray(flat @ vectors[:, ::-1][:, :_COMPONENTS], np.float32)


def lay_out(features: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float32]:
    """Places of the images, float32 (n, 2), each axis from 0 to 1."""
    count = len(features)
    places = features[:, :2].copy() if features.shape[1] > 1 else np.repeat(features, 2, axis=1)
    if count >= 20 and features.shape[1] > 2 and features.std() > 0:
        from sklearn.manifold import TSNE

        # scikit-learn takes 32 bits.
        random = seed % 2**32
        embedding = TSNE(perplexity=min(30.0, (count - 1) / 3), max_iter=400, init="pca", random_state=random)
        places = embedding.fit_transform(features)
    least, most = places.min(0), places.max(0)
    return np.asarray((places - least) / np.maximum(most - least, 1e-9), np.float32)
