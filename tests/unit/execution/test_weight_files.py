import pytest

from aprqa_ci.execution.weight_files import quantization_in_name


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("Model-Q4_K_M.gguf", "q4_k_m"),
        ("model.q8_0.gguf", "q8_0"),
        ("model_Q4_1-00001-of-00002.gguf", "q4_1"),
        ("Model-UD-Q4_K_XL.gguf", "q4_k_xl"),
        ("Model-IQ3_XXS.gguf", "iq3_xxs"),
        ("model-BF16.gguf", "bf16"),
        ("model-fp16.gguf", "f16"),
        ("gpt-oss-mxfp4.gguf", "mxfp4"),
        ("f16-to-Q5_K_S.gguf", "q5_k_s"),
        ("model.gguf", None),
        ("model-q4_0_4_4.gguf", None),
        ("model-q4_k_mx.gguf", None),
        ("xf16.gguf", None),
        ("model-q4.gguf", None),
    ],
)
def test_a_name_claims_a_quantization_or_none(name: str, quantization: str | None) -> None:
    assert quantization_in_name(name) == quantization
