from aprqa_ci.execution.fetching.offline import offline_environment


def test_no_token_is_left_and_libraries_stay_offline() -> None:
    tokens = dict.fromkeys(
        ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_TOKEN_PATH"), "hf_x"
    )
    left = offline_environment({**tokens, "PATH": "p", "HF_HOME": "h", "HF_HUB_OFFLINE": "0"})
    assert left == {
        "PATH": "p",
        "HF_HOME": "h",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
