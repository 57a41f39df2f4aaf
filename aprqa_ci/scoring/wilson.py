"""The Wilson score interval: what a pass rate says about the rate behind it."""

import math

__all__ = ["Z_95", "wilson_interval"]

Z_95 = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution: 95 % two-sided confidence."""


def wilson_interval(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, both ends within 0 and 1.

    With p = successes / trials and n = trials the interval is
    (p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n): E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", JASA 22 (1927) 209-212. It stays sensible where the
    usual p ± z·√(p(1-p)/n) does not: few trials, and rates near 0 and 1.

    Args:
        successes: how many trials succeeded, 0 to ``trials``.
        trials: how many there were. None at all says nothing: the interval is 0 to 1.
        z: the normal quantile of the confidence.

    Raises:
        ValueError: ``successes`` is not within 0 and ``trials``.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")  # noqa: EM102 - names both
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    spread = z * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    middle = rate + z * z / (2 * trials)
    scale = 1 + z * z / trials
    # At the rates 0 and 1 that end is exact; arithmetic would leave it an ulp away.
    low = 0.0 if successes == 0 else max(0.0, (middle - spread) / scale)
    high = 1.0 if successes == trials else min(1.0, (middle + spread) / scale)
    return low, high
