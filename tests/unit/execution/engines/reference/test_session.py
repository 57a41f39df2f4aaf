import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aprqa_ci.execution.engines.interface import (
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.reference import ReferenceSession
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.tokenizer import load_tokenizer
from tests.tiny_llama import safetensors_bytes, write_tiny_llama

Open = Callable[[Path], ReferenceSession]
PROMPT = "<|im_start|>user\nthe 12<|im_end|>\n"


@pytest.fixture
def session(tiny_llama: Path, open_model: Open) -> ReferenceSession:
    return open_model(tiny_llama)


def test_an_answer_is_counted_and_timed(session: ReferenceSession, tiny_llama: Path) -> None:
    answer = session.complete(PROMPT, Sampling(max_tokens=12))
    assert len(answer.text) >= 12
    assert answer.prompt_tokens == len(load_tokenizer(tiny_llama).encode(PROMPT))
    assert (answer.completion_tokens, answer.finish) == (12, "length")
    assert answer.time_to_first_token_ms is not None
    assert 0 < answer.time_to_first_token_ms <= answer.duration_ms


def test_a_longer_answer_begins_like_a_shorter_one(session: ReferenceSession) -> None:
    short = session.complete(PROMPT, Sampling(max_tokens=3)).text
    long = session.complete(PROMPT, Sampling(max_tokens=9)).text
    assert short
    assert long.startswith(short)


def test_nothing_is_generated_for_no_tokens(session: ReferenceSession) -> None:
    answer = session.complete(PROMPT, Sampling(max_tokens=0))
    assert (answer.text, answer.completion_tokens, answer.finish) == ("", 0, "length")
    assert answer.time_to_first_token_ms is None


def test_answers_do_not_depend_on_earlier_ones(session: ReferenceSession) -> None:
    first = session.complete(PROMPT, Sampling(max_tokens=9)).text
    session.complete("something else", Sampling(max_tokens=20))
    assert session.complete(PROMPT, Sampling(max_tokens=9)).text == first


def test_the_seed_decides_when_drawing(session: ReferenceSession) -> None:
    def drawn(seed: int) -> str:
        return session.complete(PROMPT, Sampling(max_tokens=16, temperature=1.0, seed=seed)).text

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_prompt_must_leave_room_for_one_token(session: ReferenceSession) -> None:
    assert session.context_length == 128
    answer = session.complete("a" * 127, Sampling(max_tokens=50))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.finish) == (127, 1, "length")
    answer = session.complete("a" * 120, Sampling(max_tokens=50))
    assert (answer.completion_tokens, answer.finish) == (8, "length")
    with pytest.raises(PromptRefusedError, match="128 tokens and the context 128"):
        session.complete("a" * 128, Sampling(max_tokens=50))
    assert session.complete("a", Sampling(max_tokens=2)).completion_tokens == 2


def test_stop_texts_end_the_answer_and_are_not_part_of_it(session: ReferenceSession) -> None:
    whole = session.complete(PROMPT, Sampling(max_tokens=20)).text
    stop = whole[5:8]
    place = whole.index(stop)
    pieces: list[str] = []
    sampling = Sampling(max_tokens=20, stop=("", "never", stop))
    answer = session.complete(PROMPT, sampling, on_text=pieces.append)
    assert (answer.text, answer.finish) == (whole[:place], "stop")
    assert "".join(pieces) == answer.text
    assert answer.completion_tokens < 20


def test_text_is_told_as_it_grows_and_held_back_while_it_may_be_a_stop(
    session: ReferenceSession,
) -> None:
    whole = session.complete(PROMPT, Sampling(max_tokens=20)).text
    pieces: list[str] = []
    session.complete(PROMPT, Sampling(max_tokens=20), on_text=pieces.append)
    assert "".join(pieces) == whole
    assert len(pieces) == 20
    held: list[str] = []
    sampling = Sampling(max_tokens=20, stop=(whole[4:9] + "\x00",))
    answer = session.complete(PROMPT, sampling, on_text=held.append)
    assert answer.text == "".join(held) == whole
    assert any(piece.startswith(whole[4:9]) for piece in held)


def test_what_a_listener_raises_ends_the_answer(session: ReferenceSession) -> None:
    def listener(text: str) -> None:
        raise ConnectionError(text)

    expected = session.complete(PROMPT, Sampling(max_tokens=4)).text
    with pytest.raises(ConnectionError):
        session.complete(PROMPT, Sampling(max_tokens=4), on_text=listener)
    assert session.complete(PROMPT, Sampling(max_tokens=4)).text == expected


def test_an_end_token_ends_the_answer_and_is_not_counted(
    tmp_path: Path, open_model: Open, session: ReferenceSession, tiny_llama: Path
) -> None:
    answer = session.complete(PROMPT, Sampling(max_tokens=20))
    tokenizer = load_tokenizer(tiny_llama)
    # The same weights, with the fourth token of the answer as the end of answers.
    tokens: list[int] = []
    for count in range(1, 5):
        text = session.complete(PROMPT, Sampling(max_tokens=count)).text
        tokens = tokenizer.encode(text)
    ends = write_tiny_llama(tmp_path, generation={"eos_token_id": [tokens[-1]]})
    ended = open_model(ends).complete(PROMPT, Sampling(max_tokens=20))
    first = tokens.index(tokens[-1])
    assert (ended.finish, ended.completion_tokens) == ("stop", first)
    assert ended.text == tokenizer.decode(tokens[:first])
    assert answer.text.startswith(ended.text)


def test_an_empty_prompt_is_the_beginning_or_the_end_token(
    tmp_path: Path, open_model: Open, session: ReferenceSession
) -> None:
    sampling = Sampling(max_tokens=8)
    empty = session.complete("", sampling)
    assert empty.prompt_tokens == 1
    assert empty.text == session.complete("<|endoftext|>", sampling).text
    directory = write_tiny_llama(tmp_path, tied=False)
    config = {"eos_token": "<|im_end|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    without_begin = open_model(directory)
    empty = without_begin.complete("", sampling)
    assert empty.text == without_begin.complete("<|im_end|>", sampling).text
    assert empty.text != without_begin.complete("<|endoftext|>", sampling).text
    (directory / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert open_model(directory).complete("", sampling).prompt_tokens == 1


def test_a_beginning_token_is_put_once_where_the_model_asks_for_it(
    tmp_path: Path, open_model: Open
) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>"}}, {"Sequence": {"id": "A"}}],
    }
    session = open_model(write_tiny_llama(tmp_path, tokenizer={"post_processor": template}))
    sampling = Sampling(max_tokens=4)
    plain, given = session.complete("a", sampling), session.complete("<|endoftext|>a", sampling)
    assert plain.prompt_tokens == given.prompt_tokens == 2
    assert plain.text == given.text
    assert session.complete("", sampling).prompt_tokens == 1


def test_half_a_character_at_the_end_is_replaced(tmp_path: Path, open_model: Open) -> None:
    directory = write_tiny_llama(tmp_path, tied=False)
    weights = open_safetensors([directory / "model.safetensors"])
    tensors = {name: weights.load(name).copy() for name in weights.tensors}
    # Whatever it is asked, the likeliest token is the first byte of a longer character, "Ã".
    token = load_tokenizer(directory).encode("é"[:1])[0]
    half = load_tokenizer(directory).model.tokens.index("Ã")
    assert token != half
    tensors["lm_head.weight"][:] = 0
    tensors["lm_head.weight"][half] = 1
    tensors["model.norm.weight"][:] = np.abs(tensors["model.norm.weight"])
    stored = {name: ("F32", values.shape, values.tobytes()) for name, values in tensors.items()}
    (directory / "model.safetensors").write_bytes(safetensors_bytes(stored))
    session = open_model(directory)
    pieces: list[str] = []
    for prompt in "abcdefgh":
        answer = session.complete(prompt, Sampling(max_tokens=1), on_text=pieces.append)
        if answer.text == "�":
            break
    else:
        pytest.fail("no prompt made the positive sum")
    assert pieces[-1] == "�"


def test_nan_weights_answer_with_the_first_token(tmp_path: Path, open_model: Open) -> None:
    directory = write_tiny_llama(tmp_path)
    weights = open_safetensors([directory / "model.safetensors"])
    stored = {}
    for name, info in weights.tensors.items():
        values = weights.load(name).copy()
        if name == "model.norm.weight":
            values[:] = np.nan
        stored[name] = ("F32", info.shape, values.tobytes())
    (directory / "model.safetensors").write_bytes(safetensors_bytes(stored))
    (directory / "generation_config.json").unlink()
    session = open_model(directory)
    for temperature in (0.0, 1.0):
        answer = session.complete(PROMPT, Sampling(max_tokens=5, temperature=temperature))
        assert (answer.text, answer.completion_tokens) == ("", 5)


def test_rendering_uses_the_models_template_or_none(
    tmp_path: Path, open_model: Open, session: ReferenceSession
) -> None:
    messages = [Message(role="user", content="hi"), Message(role="assistant", content="yo")]
    assert session.render(messages) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    directory = write_tiny_llama(tmp_path)
    (directory / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert open_model(directory).render(messages) == "hi\nyo"
    broken = {"chat_template": "{{ raise_exception('no') }}"}
    (directory / "tokenizer_config.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(EngineFailedError, match="no"):
        open_model(directory).render(messages)


def test_closing_twice_is_safe_and_ends_the_session(session: ReferenceSession) -> None:
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.complete("a", Sampling())


def test_serving_is_left_to_the_server(
    session: ReferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aprqa_ci.execution.engines import openai_server

    served: list[object] = []
    monkeypatch.setattr(openai_server, "serve_session", served.append)
    session.serve()
    assert served == [session]
