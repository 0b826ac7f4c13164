"""Random streams: positions, probabilities, independence."""

from itertools import pairwise

import numpy as np
import pytest

from mergelang.run.stream import Stream

NAME = b"0123456789abcdef"


def kept(name: bytes, share: float, start: int, count: int, size: int = 1 << 16) -> np.ndarray:
    out = np.empty(count, dtype=bool)
    Stream(size).keep(name, share, start, count, out)
    return out


def test_an_element_is_kept_or_dropped_whatever_the_block_it_is_asked_in():
    whole = kept(NAME, 0.3, 0, 1 << 16)
    for start, count in [(0, 4096), (4096, 8192), (65536 - 4096, 4096), (8192, 1), (8192, 333)]:
        assert np.array_equal(kept(NAME, 0.3, start, count), whole[start : start + count])


@pytest.mark.parametrize("start", [0, (1 << 33) - 65536, 1 << 33, 1 << 40])
def test_the_share_kept_is_the_probability_within_four_sigma_at_any_position(start):
    for probability in (0.01, 0.1, 0.5, 0.93):
        n, step = 1 << 20, 1 << 16
        total = sum(int(kept(NAME, probability, start + i, step).sum()) for i in range(0, n, step))
        sigma = np.sqrt(n * probability * (1 - probability))
        assert abs(total - n * probability) < 4 * sigma


def test_positions_2_to_the_33_apart_are_different_randomness():
    assert (kept(NAME, 0.5, 0, 4096) != kept(NAME, 0.5, 1 << 33, 4096)).mean() > 0.4


def test_a_lower_probability_keeps_a_subset_of_what_a_higher_one_keeps():
    masks = [kept(NAME, p, 0, 1 << 16) for p in (0.1, 0.1001, 0.3, 0.30000001, 0.9)]
    for fewer, more in pairwise(masks):
        assert not (fewer & ~more).any()


def test_probabilities_below_one_in_65536_are_kept_to_their_probability():
    probability = 2.0**-18
    total = sum(int(kept(NAME, probability, i << 16, 1 << 16).sum()) for i in range(1 << 9))
    expected = (1 << 25) * probability
    assert abs(total - expected) < 4 * np.sqrt(expected)


def test_streams_of_other_names_are_independent():
    a = kept(NAME, 0.5, 0, 1 << 16)
    for other in (b"1123456789abcdef", b"0123456z89abcdef", bytes(16)):
        agree = int((a == kept(other, 0.5, 0, 1 << 16)).sum())
        assert abs(agree - (1 << 15)) < 4 * np.sqrt((1 << 16) / 4)


def test_noise_has_mean_0_and_variance_1_and_does_not_depend_on_the_block():
    n = 1 << 16
    whole = np.empty(n, dtype=np.float32)
    Stream(n).noise(NAME, 0, n, whole)
    assert abs(whole.mean(dtype=np.float64)) < 4 / np.sqrt(n)
    assert abs(whole.astype(np.float64).var() - 1) < 4 * np.sqrt(1.9 / n)
    part = np.empty(4096, dtype=np.float32)
    Stream(4096).noise(NAME, 8192, 4096, part)
    assert np.array_equal(part, whole[8192 : 8192 + 4096])
