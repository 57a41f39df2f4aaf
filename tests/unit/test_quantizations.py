from itertools import pairwise

from aprqa_ci.quantizations import quantization_catalogue


def test_the_published_names_are_there() -> None:
    published = "f32 f16 q8_0 q6_k q5_k_m q5_0 q4_k_m q4_0 q3_k_m q2_k"
    assert set(published.split()) <= set(quantization_catalogue())


def test_best_first_in_size_and_in_agreement() -> None:
    order = ("exact", "high", "medium", "low", "poor")
    for better, worse in pairwise(quantization_catalogue().values()):
        assert better.bits_per_weight >= worse.bits_per_weight, worse.name
        assert order.index(better.agreement) <= order.index(worse.agreement), worse.name


def test_names_are_lower_case_and_sizes_possible() -> None:
    for name, entry in quantization_catalogue().items():
        assert name == entry.name == entry.name.lower()
        digits = [int(char) for char in name if char.isdigit()]
        if entry.agreement != "exact":
            assert digits[0] - 1 < entry.bits_per_weight < digits[0] + 2
