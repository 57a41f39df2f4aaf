import msgspec
import pytest

from aprqa_ci.github.auto_merge import missing_setting, why_left_alone

answers = pytest.importorskip("aprqa_ci.github.answers")


def pull(method: str | None = None) -> object:
    side = {"ref": "x", "sha": "0" * 40}
    told = {"number": 1, "html_url": "u", "state": "open", "title": "t", "head": side, "base": side}
    merge = {"merge_method": method} if method else None
    return msgspec.convert(told | {"auto_merge": merge}, type=answers.PullRequest)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Pull request Auto merge is not allowed for this repository", "→ Allow auto-merge"),
        (
            "Pull request Protected branch rules not configured for this branch",
            "require a review or a check of main under Settings → Rules",
        ),
        ("Pull request Pull request is in clean status", "nothing to wait for; merge it, or"),
        ("Pull request Pull request is in unstable status", "nothing to wait for; merge it, or"),
        (
            "Merge method squash merging is not allowed on this repository",
            "allow this way of merging under Settings → General",
        ),
    ],
)
def test_the_setting_is_named(said: str, named: str) -> None:
    assert named in missing_setting(said, base="main")


def test_what_is_not_known_names_no_setting() -> None:
    assert missing_setting("Something else", base="main") == ""


@pytest.mark.parametrize(
    ("method", "events", "why"),
    [
        (None, [], None),
        (None, ["labeled", "review_requested"], None),
        ("squash", [], "on already (squash)"),
        (None, ["auto_merge_enabled", "auto_merge_disabled"], "somebody has switched it off"),
        (None, ["auto_squash_enabled", "auto_merge_disabled"], "somebody has switched it off"),
        # on and off, and on again before GitHub forgot it
        (None, ["auto_merge_disabled", "auto_merge_enabled"], None),
    ],
)
def test_a_person_is_not_overruled(method: str | None, events: list[str], why: str | None) -> None:
    happened = [answers.IssueEvent(event=event) for event in events]
    found = why_left_alone(pull(method), happened)  # type: ignore[arg-type] # made above
    assert (found or "").startswith(why or "")
    assert (found is None) is (why is None)
