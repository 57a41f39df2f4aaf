import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.github.certified import Certified, certified_by, marker_of, why_open_is_ahead

answers = pytest.importorskip("aprqa_ci.github.answers")

ONE = Certified(
    playbook="tiny-mvp",
    path="playbooks/tiny-mvp.yaml",
    model="acme/tiny",
    tier="mvp",
    finished="2026-01-02T00:00:00Z",
    base="main",
)


def read(
    body: str | None = None,
    *,
    author: str | None = "bot",
    branch: str = "aprqa/certify/tiny-mvp",
    repository: str | None = "acme/widgets",
    state: str = "open",
    ours: str | None = "bot",
) -> Certified | None:
    told: dict[str, Any] = {
        "number": 1,
        "html_url": "u",
        "state": state,
        "title": "t",
        "body": marker_of(ONE) + "text" if body is None else body,
        "user": {"login": author} if author else None,
        "head": {
            "ref": branch,
            "sha": "0" * 40,
            "repo": {"full_name": repository} if repository else None,
        },
        "base": {"ref": "main", "sha": "0" * 40},
    }
    pull = msgspec.convert(told, type=answers.PullRequest)
    return certified_by(pull, author=ours, repository="acme/widgets")


def marked(**changes: str) -> str:
    return marker_of(msgspec.structs.replace(ONE, **changes))


def forged(data: bytes) -> str:
    return f"<!-- aprqa-ci:certified {base64.b32encode(data).decode()} -->\n"


def test_what_is_written_is_read() -> None:
    assert read() == ONE
    assert read(marker_of(ONE).replace("\n", "\r\n") + "text") == ONE


@pytest.mark.parametrize(
    "case",
    [
        {"author": "human"},
        {"author": None},
        {"branch": "aprqa/certify/other"},
        {"branch": "tiny-mvp"},
        {"repository": "stranger/widgets"},
        {"repository": None},
        {"state": "closed"},
        {"body": ""},
        {"body": "a quotation:\n" + marker_of(ONE)},
        {"body": marked(playbook="another")},
        {"body": marked(tier="gigantic")},
        {"body": marked(finished="yesterday")},
        {"body": marked(finished="")},
        {"body": forged(b"{}")},
        {"body": forged(b"\xff\xfe")},
        {"body": "<!-- aprqa-ci:certified AAA -->\n"},
    ],
)
def test_what_is_not_ours_beyond_doubt_is_not_ours(case: dict[str, Any]) -> None:
    assert read(**case) is None


def test_without_an_author_the_branch_says_enough() -> None:
    assert read(author="human", ours=None) == ONE
    assert read(author=None, ours=None) == ONE
    assert read(ours=None, repository="stranger/widgets") is None
    assert read(ours=None, branch="tiny-mvp") is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_name_ends_the_marker(path: str, model: str) -> None:
    text = marked(path=path, model=model)
    assert text.count("-->") == text.count("<!--") == text.count("\n") == 1
    found = read(text)
    assert found is not None
    assert (found.path, found.model) == (path, model)


JAN, FEB, MAR = "2026-01-02T12:00:00Z", "2026-02-02T12:00:00Z", "2026-03-02T12:00:00Z"


def certified(tier: str, finished: str) -> Certified:
    return Certified(
        playbook="tiny-mvp", path="p", model="m/m", tier=tier, finished=finished, base="main"
    )


@pytest.mark.parametrize(
    ("new", "standing", "why"),
    [
        # the same evidence, its text mended
        (("mvp", FEB), ("mvp", FEB), None),
        (("mvp", "2026-02-02T13:00:00+01:00"), ("mvp", FEB), None),
        # newer
        (("mvp", MAR), ("mvp", FEB), None),
        (("full", MAR), ("mvp", FEB), None),
        # older, whatever its tier
        (("mvp", JAN), ("mvp", FEB), f"the evidence ends {JAN}; what is proposed already is of"),
        (("full", JAN), ("mvp", FEB), f"the evidence ends {JAN}; what is proposed already is of"),
        # of a lower tier, whenever it ended
        (("quick", MAR), ("mvp", FEB), "tier quick is below mvp, which is proposed already"),
        (("quick", JAN), ("mvp", FEB), "tier quick is below mvp, which is proposed already"),
        (("no such tier", MAR), ("quick", FEB), "is below quick"),
        # what cannot be compared stands in nobody's way
        (("mvp", JAN), ("mvp", "yesterday"), None),
        (("mvp", JAN), ("no such tier", JAN), None),
        # and brings nothing
        (("mvp", ""), ("mvp", JAN), "what is proposed already is of"),
    ],
)
def test_what_is_proposed_already_is_not_replaced_by_less(
    new: tuple[str, str], standing: tuple[str, str], why: str | None
) -> None:
    found = why_open_is_ahead(certified(*new), certified(*standing))
    if why is None:
        assert found is None
    else:
        assert found is not None
        assert why in found
