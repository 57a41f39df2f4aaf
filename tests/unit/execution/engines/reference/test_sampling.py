import numpy as np
import pytest

from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.engines.reference.sampling import token_chooser

LOGITS = np.log(np.array([0.1, 0.6, 0.0, 0.3], dtype=np.float32) + 1e-30)


def test_greedy_takes_the_likeliest_and_the_first_of_equals() -> None:
    choose = token_chooser(Sampling(temperature=0.0))
    assert choose(LOGITS) == 1
    assert choose(np.array([1, 2, 2, 0], dtype=np.float32)) == 1
    assert choose(np.full(4, np.nan, dtype=np.float32)) == 0


def test_draws_follow_the_distribution() -> None:
    choose = token_chooser(Sampling(temperature=1.0, seed=3))
    counts = np.bincount([choose(LOGITS) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.6, 0.0, 0.3], atol=0.03)


def test_temperature_sharpens() -> None:
    choose = token_chooser(Sampling(temperature=0.5, seed=3))
    counts = np.bincount([choose(LOGITS) for _ in range(4000)], minlength=4) / 4000
    squared = np.array([0.01, 0.36, 0.0, 0.09]) / 0.46
    np.testing.assert_allclose(counts, squared, atol=0.03)


@pytest.mark.parametrize("seed", [0, -1, 1 << 80])
def test_the_seed_decides(seed: int) -> None:
    draws = [
        [choose(LOGITS) for _ in range(60)]
        for choose in (
            token_chooser(Sampling(temperature=1.0, seed=chosen))
            for chosen in (seed, seed, seed + 1)
        )
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e300])
def test_extreme_temperatures_choose_some_token(temperature: float) -> None:
    choose = token_chooser(Sampling(temperature=temperature, seed=1))
    chosen = [choose(LOGITS) for _ in range(20)]
    assert set(chosen) <= {0, 1, 2, 3}
    if temperature < 1:
        assert set(chosen) == {1}


def test_broken_logits_do_not_stop_a_draw() -> None:
    choose = token_chooser(Sampling(temperature=1.0))
    assert choose(np.full(4, np.nan, dtype=np.float32)) == 0
    assert choose(np.array([0, np.inf, 0], dtype=np.float32)) == 1
