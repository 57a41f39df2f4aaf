from typing import Any

import pytest

from aprqa_ci.execution.integrity.claims import claims_of_config, claims_of_metadata

CONFIG = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 9}


def test_heads_and_their_size_follow_from_what_is_stated() -> None:
    claims = claims_of_config(CONFIG)
    assert (claims.get("num_kv_heads"), claims.get("head_dim")) == (4, 16)
    claims = claims_of_config(CONFIG | {"num_key_value_heads": 2, "head_dim": 32})
    assert (claims.get("num_kv_heads"), claims.get("head_dim")) == (2, 32)
    assert claims_of_config(CONFIG | {"multi_query": True}).get("num_kv_heads") == 1


def test_heads_that_do_not_divide_the_hidden_size_are_a_problem() -> None:
    claims = claims_of_config(CONFIG | {"num_attention_heads": 5})
    assert claims.get("head_dim") is None
    assert "cannot be shared by 5 heads" in claims.problems[0]


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "64", 1 << 40, {}, []])
def test_a_size_that_cannot_be_is_a_problem(value: object) -> None:
    claims = claims_of_config(CONFIG | {"hidden_size": value})
    assert claims.get("hidden_dim") is None
    assert claims.problems[0].startswith("hidden_size is ")


@pytest.mark.parametrize(
    ("extra", "theta"),
    [
        ({}, None),
        ({"rope_theta": 5}, 5.0),
        ({"rope_parameters": {"rope_theta": 7.5}}, 7.5),
        ({"rope_theta": "5"}, None),
        ({"rope_theta": True}, None),
        ({"rope_theta": float("inf")}, None),
        ({"rope_theta": 10**400}, None),
        ({"rope_parameters": [1]}, None),
    ],
)
def test_the_rotary_base_has_two_spellings(extra: dict[str, Any], theta: float | None) -> None:
    assert claims_of_config(CONFIG | extra).rope_theta == theta


def test_other_settings_are_read() -> None:
    claims = claims_of_config(
        CONFIG
        | {
            "model_type": "strange",
            "layer_norm_eps": 1e-6,
            "eos_token_id": [1, 2, "3", True],
            "word_embed_proj_dim": 32,
        }
    )
    assert claims.architecture == "strange"
    assert claims.norm_eps == 1e-6
    assert claims.special_tokens == {"eos": {1, 2}}
    assert claims.separate_embedding_size


def test_dimensions_of_metadata_may_be_lists_of_one_number() -> None:
    metadata = {
        "general.architecture": "x",
        "x.attention.head_count": 4,
        "x.attention.head_count_kv": [2, 2],
        "x.embedding_length": 64,
        "tokenizer.ggml.tokens": ["a"] * 5,
    }
    claims = claims_of_metadata(metadata)
    assert claims.get("num_kv_heads") == 2
    assert claims.get("vocab_size") == 5
    assert claims.other_geometry is None

    uneven = claims_of_metadata(metadata | {"x.attention.head_count_kv": [2, 4]})
    assert uneven.get("num_kv_heads") is None
    assert uneven.other_geometry == "x.attention.head_count_kv"
