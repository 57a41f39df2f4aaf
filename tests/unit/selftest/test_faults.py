"""Each fault does what it says to an answer, and no more; those that end a process run in one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.selftest.faults import ANSWER_FAULTS, LOAD_FAULTS, Asked, Memory
from tests.scripted_session import ScriptedSession, answer_of

PROMPT = "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"


class Faulty:
    """A scripted session behind a fault."""

    def __init__(self, reply: Callable[[str], Answer] = answer_of) -> None:
        self.sound = ScriptedSession(reply)
        self.memory = Memory()

    def ask(self, fault: str, prompt: str = PROMPT, **parameters: object) -> Answer:
        self.memory.asked += 1
        asked = Asked(
            prompt=prompt,
            sampling=Sampling(seed=7),
            on_text=None,
            session=self.sound,
            memory=self.memory,
        )
        return ANSWER_FAULTS[fault](asked, **parameters)


def of(text: str) -> Callable[[str], Answer]:
    return lambda _: answer_of(text)


def test_answers_are_lost_now_and_then() -> None:
    faulty = Faulty(of("four"))
    assert [faulty.ask("empty", every=2).text for _ in range(4)] == ["four", "", "four", ""]
    faulty = Faulty(of("four"))
    assert faulty.ask("fail-at-request", every=2).text == "four"
    with pytest.raises(EngineFailedError):
        faulty.ask("fail-at-request", every=2)


def test_answers_are_others() -> None:
    assert Faulty(of("four")).ask("echo", every=1).text == "What is it?"
    assert Faulty(of("four")).ask("echo", prompt="raw text", every=1).text == "raw text"
    assert Faulty(of("four")).ask("repeat", times=3).text == "four four four"
    assert Faulty(of("four")).ask("one-word", word="the").text == "the the"
    assert Faulty(of("fourteen")).ask("garble", every=4).text == "\ufffdour\ufffdeen"


def test_old_prompts_come_back() -> None:
    faulty = Faulty()
    said = [faulty.ask("wrong-after", prompt=text, requests=2).text for text in ("a", "b", "c")]
    assert said == ["a", "b", "b"]
    faulty = Faulty()
    said = [faulty.ask("remember", prompt=text, characters=2).text for text in ("abc", "d")]
    assert said == ["abc", "bcd"]


def test_settings_do_not_reach_the_session() -> None:
    faulty = Faulty()
    for _ in range(2):
        faulty.ask("other-seed", step=10)
    assert [sampling.seed for sampling in faulty.sound.samplings] == [17, 27]
    faulty.ask("never-greedy", temperature=0.5)
    assert faulty.sound.samplings[-1].temperature == 0.5
    faulty.ask("cut-answer", tokens=3)
    assert faulty.sound.samplings[-1].max_tokens == 3
    faulty.ask("cut-prompt", prompt="abcdef", characters=2)
    assert faulty.sound.prompts[-1] == "ef"


def _refuse(prompt: str) -> Answer:
    if prompt == "long":
        raise PromptRefusedError
    return answer_of(prompt)


def test_a_refusal_is_not_got_over() -> None:
    faulty = Faulty(_refuse)
    assert faulty.ask("stuck-after-refusal", prompt="a").text == "a"
    with pytest.raises(PromptRefusedError):
        faulty.ask("stuck-after-refusal", prompt="long")
    with pytest.raises(EngineFailedError):
        faulty.ask("stuck-after-refusal", prompt="a")


def test_memory_is_kept() -> None:
    faulty = Faulty()
    for _ in range(3):
        faulty.ask("leak", mib=1)
    assert sum(map(len, faulty.memory.kept)) == 3 << 20


def test_time_is_lost_and_told() -> None:
    sound = answer_of("x")
    slow = Faulty(lambda _: sound).ask("slow-start", ms=20)
    assert (slow.duration_ms, slow.time_to_first_token_ms) == (22.0, 21.0)
    untold = Faulty(lambda _: replace(sound, time_to_first_token_ms=None))
    assert untold.ask("slow-start", ms=1).time_to_first_token_ms is None
    slower = Faulty(lambda _: sound).ask("slower", factor=5)
    assert slower.duration_ms > sound.duration_ms
    assert slower.time_to_first_token_ms == 5.0
    faulty = Faulty(lambda _: sound)
    spent = [faulty.ask("stall", every=2, ms=10).duration_ms for _ in range(4)]
    assert spent == [2.0, 12.0, 2.0, 12.0]


def test_a_library_that_fails_raises_its_own_error() -> None:
    with pytest.raises(OSError, match="no device"):
        LOAD_FAULTS["error-at-load"](message="no device")


@pytest.mark.parametrize(
    "call",
    [
        "ask('crash-at-token', token=1)",
        "ask('crash-at-request', request=1)",
        "ask('dies-of-overflow', prompt='long')",
    ],
)
def test_a_crash_is_one(call: str) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "from tests.unit.selftest.test_faults import Faulty, _refuse\n"
        f"Faulty(_refuse).{call}\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - as text
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ended.returncode == -signal.SIGABRT


def test_what_comes_before_and_after_the_fault_is_sound() -> None:
    faulty = Faulty(of("four"))
    assert faulty.ask("crash-at-token", token=2).text == "four"
    assert faulty.ask("crash-at-request", request=9).text == "four"
    assert faulty.ask("hang-at-token", token=1, request=9).text == "four"
    assert faulty.ask("dies-of-overflow").text == "four"
