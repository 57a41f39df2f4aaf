import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.evidence.record import EvidenceMetrics
from aprqa_ci.execution.protocol import Answered, ClientsAnswered, InspectedGate
from aprqa_ci.redaction import (
    is_secret,
    is_withheld,
    marker,
    redaction_of,
    without_torn_word,
)

MIXED = "Zq7Rt2Vb9Xk4Lm1Np6Ws8Yc3Df5Gh0JkQwEr"
SHAPES = {
    "github-token": [f"gh{kind}_{MIXED}" for kind in "opsur"]
    + [f"github_pat_{MIXED[:22]}_{MIXED}", f"ghs_{MIXED}.eyJhbGciOi_Jz.Zm9v-YmFy9"],
    "hub-token": [f"hf_{MIXED[:34]}", f"hf_oauth_{MIXED}"],
    "api-key": [f"sk-{MIXED}", f"sk-proj-{MIXED}_{MIXED}", f"sk-ant-api03-{MIXED}"],
    "cloud-key": [f"AKIA{MIXED[:16].upper()}", f"ASIA{MIXED[:16].upper()}", f"AIza{MIXED[:35]}"],
    "registry-token": [f"npm_{MIXED}", f"glpat-{MIXED[:20]}", f"pypi-AgE{MIXED}"],
    "chat-token": [f"xoxb-{MIXED}"],
    "jwt": [f"eyJ{MIXED}.eyJ{MIXED}.{MIXED}-_"],
    "private-key": [
        f"-----BEGIN {kind}PRIVATE KEY-----\n{MIXED}\n{MIXED}=\n-----END {kind}PRIVATE KEY-----"
        for kind in ("", "RSA ", "OPENSSH ")
    ],
}
CASES = [(kind, text) for kind, texts in SHAPES.items() for text in texts]
NOTHING = redaction_of({})


@pytest.mark.parametrize(("kind", "token"), CASES)
@pytest.mark.parametrize("frame", ["{}", "a={};", '{{"x": "{}"}}', "see {} there", "({})\n"])
def test_every_shape_is_known_wherever_it_stands(kind: str, token: str, frame: str) -> None:
    assert NOTHING(frame.format(token)) == frame.format(marker(kind))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"Authorization: Bearer {MIXED}", "Authorization: Bearer [redacted: credentials]"),
        (f'"authorization": "token {MIXED}"', '"authorization": "token [redacted: credentials]"'),
        (f"bearer {MIXED}==", "bearer [redacted: credentials]"),
        ("https://me:pa55@host/x", "https://[redacted: url-credentials]@host/x"),
        ("redis://:pa55@host", "redis://[redacted: url-credentials]@host"),
    ],
)
def test_what_is_around_a_secret_stays(text: str, redacted: str) -> None:
    assert NOTHING(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of internationalization news",
        "hf_hub_download and hf_transformers_tokenizer_configuration_name",
        "sk-learn-based-classifiers-are-not-keys",
        "risk-Averse-And-Long-Enough-1234567890",
        "task-0123456789ABCdef0123456789",
        "https://host:8080/a@b and http://[::1]:80/",
        "AKIAshort, eyJhbGciOi alone, ghp_short, ghp_",
        "a certificate, -----BEGIN CERTIFICATE-----",
        "npm_config_registry, xox-factor, glpat-",
        "hf_",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert NOTHING(text) == text


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="_-:"), max_size=300),
    st.dictionaries(st.sampled_from(["HF_TOKEN", "X_KEY", "PATH"]), st.text(max_size=30)),
)
def test_text_without_secrets_is_unchanged(text: str, environment: dict[str, str]) -> None:
    pieces = [text[start : start + 8] for start in range(len(text))]
    if any(piece in value for value in environment.values() for piece in pieces):
        return
    if "akia" in text.lower() or "asia" in text.lower() or "eyJ" in text:
        return
    assert redaction_of(environment)(text) == text
    assert redaction_of(environment).of(text) is text or text == ""


value_text = st.text(string.ascii_letters + string.digits + "+/=.$(*", min_size=16, max_size=60)


@given(st.text(max_size=50), value_text, st.text(max_size=50))
def test_a_value_is_taken_out_whatever_is_around_it(before: str, value: str, after: str) -> None:
    redaction = redaction_of({"DEPLOY_TOKEN": value})
    found = redaction(before + value + after)
    assert value not in found
    assert marker("DEPLOY_TOKEN") in found


@given(value_text, st.integers(8, 60), st.sampled_from(["x: {}", "x: {}… [9 more characters]"]))
def test_a_value_that_was_cut_is_taken_out(value: str, length: int, frame: str) -> None:
    redaction = redaction_of({"DEPLOY_TOKEN": value})
    assert redaction(frame.format(value[:length])) == frame.format(marker("DEPLOY_TOKEN"))
    found = redaction(f"{value[-length:]} and more")
    assert found == f"{marker('DEPLOY_TOKEN')} and more"


def test_a_value_is_known_behind_its_own_beginning() -> None:
    redaction = redaction_of({"A_KEY": "abc123abc123abc123-and-more"})
    assert redaction("x abc123abc123abc123abc123ab") == "x abc123abc123[redacted: A_KEY]"


def test_a_token_that_was_cut_is_known_by_its_shape() -> None:
    assert NOTHING(f"x: hf_{MIXED[:12]}… [30 more characters]").startswith(
        "x: [redacted: cut-token]…"
    )
    assert NOTHING("uses hf_tokenizers") == "uses hf_tokenizers"


def test_short_values_and_words_are_not_redacted_everywhere() -> None:
    environment = {
        "A_TOKEN": "a",
        "B_TOKEN": "1234567",
        "C_PASSWORD": "password",
        "D_SECRET": "certification",
        "E_KEY": "",
        "MAX_TOKENS": "abcdefgh12345678abcdefgh",
        "HF_TOKEN_PATH": "/home/somebody/.cache/huggingface/token1",
        "TOKENIZERS_PARALLELISM": "abcdefgh12345678abcdefgh",
    }
    assert not redaction_of(environment).values


def test_every_line_of_a_value_and_a_secret_inside_of_another() -> None:
    environment = {"A_KEY": f"begin1234\n{MIXED}\n", "B_TOKEN": MIXED + MIXED}
    redaction = redaction_of(environment)
    assert redaction(f"begin1234|{MIXED}|{MIXED}{MIXED}") == (
        "[redacted: A_KEY]|[redacted: A_KEY]|[redacted: B_TOKEN]"
    )


def test_a_variable_can_be_secret_whatever_it_is_called() -> None:
    assert redaction_of({"PLAIN": MIXED})(MIXED) == MIXED
    assert redaction_of({"PLAIN": MIXED}, also=["PLAIN"])(MIXED) == "[redacted: PLAIN]"


def test_two_can_be_joined() -> None:
    joined = redaction_of({"A_KEY": MIXED}) | redaction_of({"B_KEY": MIXED[::-1]})
    assert joined(f"{MIXED} {MIXED[::-1]}") == "[redacted: A_KEY] [redacted: B_KEY]"


@given(st.text(max_size=100), st.sampled_from([token for _, token in CASES]))
def test_redacting_twice_changes_nothing_more(text: str, token: str) -> None:
    redaction = redaction_of({"HF_TOKEN": MIXED})
    once = redaction(f"{text} {token} {MIXED}")
    assert redaction(once) == once


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "GITHUB_TOKEN", "hf_token", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
        "SSH_PRIVATE_KEY", "DB_PASSWORD", "PGPASSWD", "OPENAI_API_KEY", "SERVICE_APIKEY",
        "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GH_PAT", "INPUT_TOKEN",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert is_withheld(name)


@pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "HF_HOME", "KEYBOARD", "PATIO"])
def test_names_of_others(name: str) -> None:
    assert not is_secret(name)
    assert not is_withheld(name)


@pytest.mark.parametrize(
    "name", ["GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "ACTIONS_CACHE_URL"]
)
def test_the_ways_into_later_steps_are_withheld(name: str) -> None:
    assert is_withheld(name)


def test_all_texts_of_a_message_are_redacted_and_nothing_else_changes() -> None:
    reply = Answered(
        text=f"key {MIXED}",
        prompt_tokens=1,
        completion_tokens=2,
        finish="stop",
        pieces=("key ", MIXED),
        time_to_first_token_ms=None,
        duration_ms=1.5,
        memory_mb=1,
        memory_peak_mb=2,
    )
    redaction = redaction_of({"HF_TOKEN": MIXED})
    found = redaction.of(reply)
    assert found.text == "key [redacted: HF_TOKEN]"
    assert found.pieces == ("key ", "[redacted: HF_TOKEN]")
    assert (found.prompt_tokens, found.duration_ms, found.finish) == (1, 1.5, "stop")
    clients = ClientsAnswered(alone=("a",), together=(MIXED,), failures=())
    assert redaction.of(clients).together == ("[redacted: HF_TOKEN]",)
    assert redaction.of({"a": [MIXED, 1, None]}) == {"a": ["[redacted: HF_TOKEN]", 1, None]}
    metrics = EvidenceMetrics(duration_ms=3)
    assert redaction.of(metrics) is metrics
    gate = InspectedGate(gate_id="G", state="corroborated", reason="fine")
    assert redaction.of(gate) is gate


def test_the_word_that_was_torn_is_left_out() -> None:
    assert without_torn_word("kens are here") == "… are here"
    assert without_torn_word(f"{MIXED}") == "…"
    assert without_torn_word(" all of it") == "… all of it"
    assert len(without_torn_word("x" * 5000)) == 4701


def test_a_marker_tells_nothing_but_the_kind() -> None:
    assert marker("HF_TOKEN") == "[redacted: HF_TOKEN]"
    assert marker("a]\n::error::") == "[redacted: a----error--]"
    assert re.fullmatch(r"\[redacted: .{60}\]", marker("x" * 500))


@pytest.mark.parametrize(
    "unit",
    [
        "sk-", "eyJ-", "eyJa.", "eyJaaaaaaaaaaaaaa.", "ghp_.", "hf_", "bearer ", "bearer\t", "://",
        "://a:", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "authorization:", "AKIA", "a1B_",
        "xoxb-", "npm_", "…",
    ],
)  # fmt: skip
def test_the_time_is_linear_in_the_text(unit: str) -> None:
    text = unit * ((1 << 18) // len(unit))
    started = time.process_time()
    redaction_of({"HF_TOKEN": MIXED, "A_KEY": text[:24] + "1a"})(text)
    assert time.process_time() - started < 2
