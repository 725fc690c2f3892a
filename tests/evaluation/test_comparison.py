import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, binomtest, ttest_ind

from rung.evaluation.comparison import holm, mcnemar, paired_difference

TRIALS = 3_000


def coverage(images, log_odds, difficulty, seeds=(1, 1), between=0.0, trials=TRIALS, own=0.8):
    """How often the interval covers the true difference between two invented recipes.

    Each image has a difficulty that both share (normal, ``difficulty`` wide, which correlates the two) and one for
    each recipe (``own`` wide); each training of a recipe has a deviation (``between`` wide); all in log-odds.
    """
    rng = np.random.default_rng(0)
    x, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = (difficulty**2 + own**2 + between**2) ** 0.5
    true = [float(weights @ expit(mu + spread * x) / weights.sum()) for mu in log_odds]
    hits = 0
    for _ in range(trials):
        hard = rng.standard_normal(images, dtype=np.float32) * np.float32(difficulty)
        drawn = []
        for mu, count in zip(log_odds, seeds, strict=True):
            shift = (mu + rng.normal(0, between, (count, 1))).astype(np.float32)
            odds = hard + rng.standard_normal(images, dtype=np.float32) * np.float32(own) + shift
            drawn.append(rng.random((count, images), dtype=np.float32) < expit(odds))
        low, high = paired_difference(*drawn).interval
        hits += low <= true[1] - true[0] <= high
    return hits / trials, true


@pytest.mark.parametrize(
    ("images", "log_odds", "difficulty"),
    [
        (200, (0.0, 0.0), 0.0),  # accuracy 0.5, independent
        (200, (0.0, 0.3), 3.0),  # accuracy 0.5, correlated
        (200, (2.2, 2.6), 1.0),  # accuracy 0.9
        (1_000, (2.0, 2.3), 4.0),  # accuracy 0.7, strongly correlated
        (1_000, (5.0, 5.6), 1.0),  # accuracy 0.99
        (10_000, (2.0, 2.05), 2.0),  # accuracy 0.8
        (10_000, (5.2, 5.4), 1.0),  # accuracy 0.99
    ],
)
def test_covers_the_true_difference_of_two_networks(images, log_odds, difficulty):
    trials = TRIALS if images < 10_000 else 800
    share, true = coverage(images, log_odds, difficulty, trials=trials)
    assert 0.93 <= share <= 0.97, true


@pytest.mark.parametrize(
    ("images", "log_odds", "difficulty", "seeds", "between"),
    [
        (400, (0.0, 0.2), 3.0, (3, 3), 0.0),  # seeds that differ by chance alone
        (1_000, (2.0, 2.2), 2.0, (3, 3), 0.05),  # by about as much as the images
        (1_000, (2.0, 2.2), 2.0, (3, 3), 0.3),  # by far more than the images
        (1_000, (4.8, 5.2), 1.0, (3, 3), 0.2),  # accuracy 0.99
        (1_000, (0.0, 0.1), 1.0, (5, 2), 0.1),  # not as many of the one as of the other
        (2_000, (2.0, 2.0), 2.0, (5, 1), 0.05),
    ],
)
def test_covers_the_true_difference_of_two_recipes(images, log_odds, difficulty, seeds, between):
    share, true = coverage(images, log_odds, difficulty, seeds, between, trials=1_500)
    assert 0.93 <= share <= 0.97, true


def test_one_seed_alone_would_promise_too_much():
    # Why several seeds matter: trainings that differ, each interval made from one of each.
    share, _ = coverage(1_000, (2.0, 2.2), 2.0, (1, 1), between=0.3, trials=500)
    assert share < 0.85


def test_a_few_images_that_differ():
    # Where intervals for proportions usually break down: 200 images, one in a hundred answered differently.
    share, _ = coverage(200, (5.0, 5.0), 1.0)
    assert share >= 0.93


def test_what_it_says():
    a = np.array([True] * 80 + [False] * 20)
    b = np.array([True] * 70 + [False] * 10 + [True] * 15 + [False] * 5)
    found = paired_difference(a, b)
    assert (found.accuracy_a, found.accuracy_b) == (0.8, 0.85)
    assert found.difference == pytest.approx(0.05)
    assert (found.only_a, found.only_b, found.images, found.seeds) == (10.0, 15.0, 100, (1, 1))
    assert found.scope == "images" and not found.distinguishable
    assert found.interval[0] < 0.05 < found.interval[1]
    assert found.to_dict()["distinguishable"] is False
    # The formula of the paper, for counts 10 and 15 of 100.
    p, q, n = 15.5 / 102, 10.5 / 102, 102
    half = 1.984 * ((p + q - (p - q) ** 2) / n) ** 0.5
    assert found.interval == pytest.approx((p - q - half, p - q + half), abs=1e-4)


def test_the_other_way_round_is_the_same_with_the_other_sign():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 500)) < 0.7, rng.random((2, 500)) < 0.8
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert back.difference == pytest.approx(-there.difference)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.only_a, back.only_b, back.seeds) == (there.only_b, there.only_a, (2, 3))


def test_the_same_network_twice():
    a = np.random.default_rng(0).random(300) < 0.9
    found = paired_difference(a, a)
    assert found.difference == 0 and found.p_value == 1 and not found.distinguishable
    assert found.interval[0] < 0 < found.interval[1]


def test_a_difference_in_every_image():
    found = paired_difference(np.zeros(50, bool), np.ones(50, bool))
    assert found.difference == 1 and found.interval[1] == 1 and found.interval[0] > 0.89


def test_seeds_that_differ_far_more_than_images_are_welchs_t_test():
    rng = np.random.default_rng(3)
    shares = rng.normal([[0.6], [0.7]], [[0.03], [0.05]], (2, 4))
    a, b = (rng.random((4, 40_000)) < share[:, None] for share in shares)
    found = paired_difference(a, b)
    known = ttest_ind(b.mean(1), a.mean(1), equal_var=False).confidence_interval()
    assert found.interval == pytest.approx((known.low, known.high), abs=0.003)


@pytest.mark.parametrize("counts", [(0, 0), (3, 3), (0, 1), (0, 5), (2, 9), (40, 61), (500, 400)])
def test_mcnemar_counts_what_was_observed_half(counts):
    fewer, total = min(counts), sum(counts)
    # The exact test counts it whole.
    expected = binomtest(fewer, total).pvalue - binom.pmf(fewer, total, 0.5) if counts[0] != counts[1] else 1.0
    assert mcnemar(*counts) == mcnemar(*counts[::-1]) == pytest.approx(expected)


def test_mcnemar_in_a_published_example():
    # Fagerland, Lydersen and Laake (2013), airway hyper-responsiveness: 1 and 7 discordant pairs; mid-p 0.039.
    assert mcnemar(1, 7) == pytest.approx(0.0391, abs=5e-5)
    assert mcnemar(0, 0) == 1


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(3, bool), np.ones(4, bool), "the same images"),
        (np.ones(3), np.ones(3, bool), "True or False"),
        (np.ones(0, bool), np.ones(0, bool), "at least one"),
        (np.ones((1, 2, 3), bool), np.ones(3, bool), "shape"),
    ],
)
def test_refuses_what_cannot_be_compared(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b)
