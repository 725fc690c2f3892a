"""Which training images the later passes leave out: some of those that the network has learnt already.

An image whose class the network is sure of has next to no gradient, but costs as much as any other. Leaving out a
random part of such images, another one each time, is dynamic data pruning (Qin et al. 2023, "InfoBatch: lossless
training speed up by unbiased dynamic data pruning", arXiv:2303.04947). Their weights for the images that stay are left
out here, because the steps saved are spent on more passes, so that the harder images are seen more often. That is worth
about a point of CIFAR-10 from the second pass on (benchmarks/2026-11-27-morning.md). Images with wrong labels are among
the harder ones: with one in seven wrong, nothing is gained.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# The share of a training in which every pass shows all images.
BEGINNING = 0.2
# Of the images those with the least losses are the easy ones, from which the random part is taken.
EASY = 0.65


def kept_images(losses: npt.NDArray[np.float32], share: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """The places of the images that a pass shows, in rising order.

    Args:
        losses: of each image when it was last seen, shape (N,); NaN where it has not been seen, which is never easy.
        share: of all images that are left out, 0 to :data:`EASY`.
        random: draws which of the easy ones.

    Fewer are left out where fewer are easy.
    """
    easy = np.argsort(losses, kind="stable")[: int(EASY * len(losses))]
    easy = easy[np.isfinite(losses[easy])]
    kept = np.ones(len(losses), bool)
    kept[random.permutation(easy)[: int(share * len(losses))]] = False
    return np.flatnonzero(kept)
