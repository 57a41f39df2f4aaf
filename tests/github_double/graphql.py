"""The one GraphQL mutation that is sent, enablePullRequestAutoMerge, strictly.

GraphQL is not in GitHub's OpenAPI description. Names and types here are those of GitHub's published schema
(@octokit/graphql-schema 15.26.1), copied by hand; the errors' words are those that users quote. What this does not
prove: when exactly GitHub refuses, whether it enables twice, what it says of a head that has moved, what the token
of a job may do.
"""

from __future__ import annotations

import re
from typing import Any

INPUT = {
    *("authorEmail", "clientMutationId", "commitBody", "commitHeadline"),
    *("expectedHeadOid", "mergeMethod", "pullRequestId"),
}
METHODS = {"MERGE", "REBASE", "SQUASH"}
PAYLOAD: dict[str, Any] = {
    "clientMutationId": None,
    "pullRequest": {
        "id": None,
        "number": None,
        "autoMergeRequest": {"mergeMethod": None, "enabledAt": None},
    },
}
OPERATION = re.compile(
    r"mutation \( \$input : EnablePullRequestAutoMergeInput ! \)"
    r" \{ enablePullRequestAutoMerge \( input : \$input \) (\{.*\}) \}"
)


class Refused(Exception):
    def __init__(self, kind: str | None, message: str) -> None:
        super().__init__(message)
        path = {"path": ["enablePullRequestAutoMerge"]} if kind else {}
        self.error = {**({"type": kind} if kind else {}), **path, "message": message}


def answer(hub: Any, request: Any) -> Any:
    """Carry out a request, or say no, as GitHub does: with status 200."""
    token = hub.tokens.get(request.headers.get("Authorization", "").split(" ")[-1])
    if not token:
        return hub.json({"message": "Bad credentials"}, 401)
    try:
        selection, sent = checked(request.get_json())
    except ValueError as problem:
        hub.checked.problems.append(f"POST /graphql: {problem}")
        return hub.json({"errors": [{"message": str(problem)}]})
    try:
        pull = enabled(hub, token, sent)
    except Refused as refused:
        data = {"data": {"enablePullRequestAutoMerge": None}, "errors": [refused.error]}
        return hub.json(data)
    merge = {"mergeMethod": pull["auto_merge"].upper(), "enabledAt": "2026-01-01T00:00:00Z"}
    value = {
        "clientMutationId": sent.get("clientMutationId"),
        "pullRequest": {
            "id": sent["pullRequestId"],
            "number": pull["number"],
            "autoMergeRequest": merge,
        },
    }
    return hub.json({"data": {"enablePullRequestAutoMerge": chosen(value, selection)}})


def checked(body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The selection and the input of a request; ValueError for what GitHub's schema does not have."""
    if set(body) != {"query", "variables"} or set(body["variables"]) != {"input"}:
        raise ValueError(f"unexpected fields: {body}")
    tokens = re.findall(r"\$?\w+|[^\s\w,]", body["query"])
    found = OPERATION.fullmatch(" ".join(tokens))
    if not found:
        raise ValueError(f"another operation: {body['query']}")
    rest = found[1].split()
    selection = selected(rest, PAYLOAD)
    sent = body["variables"]["input"]
    unknown = set(sent) - INPUT
    if rest or unknown or not all(isinstance(value, str) for value in sent.values()):
        raise ValueError(f"bad input or document: {rest} {unknown} {sent}")
    if "pullRequestId" not in sent or sent.get("mergeMethod", "MERGE") not in METHODS:
        raise ValueError(f"bad input: {sent}")
    if not re.fullmatch(r"[0-9a-f]{40}", sent.get("expectedHeadOid", "0" * 40)):
        raise ValueError(f"no GitObjectID: {sent}")
    return selection, sent


def selected(tokens: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Read a selection set off the tokens."""
    if tokens.pop(0) != "{":
        raise ValueError("a selection set was expected")
    found: dict[str, Any] = {}
    while (name := tokens.pop(0)) != "}":
        if name not in fields:
            raise ValueError(f"no field {name}")
        inner = fields[name]
        found[name] = None if inner is None else selected(tokens, inner)
    return found


def chosen(value: dict[str, Any], selection: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[name] if inner is None else chosen(value[name], inner)
        for name, inner in selection.items()
    }


def enabled(hub: Any, token: dict[str, Any], sent: dict[str, str]) -> dict[str, Any]:
    """The pull request with auto-merge on; Refused otherwise."""
    rights = token["permissions"]
    if rights != "all" and {rights.get("contents"), rights.get("pull_requests")} != {"write"}:
        raise Refused("FORBIDDEN", "Resource not accessible by integration")
    node = sent["pullRequestId"]
    places = [
        (repo, number)
        for repo in hub.repos.values()
        for number in repo.pulls
        if node == hub.node_id(repo, number)
    ]
    if not places:
        raise Refused("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'")
    ((repo, number),) = places
    pull = repo.pulls[number]
    method = sent.get("mergeMethod", "MERGE").lower()
    for is_so, message in (
        (not repo.allows_auto_merge, "Auto merge is not allowed for this repository"),
        (
            method not in repo.merge_methods,
            f"Merge method {method} merging is not allowed on this repository",
        ),
        (
            pull["base"] not in repo.ruled,
            "Protected branch rules not configured for this branch",
        ),
        (pull["state"] != "open", "Pull request is closed"),
        (pull.get("clean", False), "Pull request is in clean status"),
        (
            sent.get("expectedHeadOid", repo.branch(pull["head"])) != repo.branch(pull["head"]),
            "Head sha did not match the expected head oid",
        ),
    ):
        if is_so:
            raise Refused("UNPROCESSABLE", f"Pull request {message}")
    pull["auto_merge"] = method
    hub.add_event(repo, number, "auto_merge_enabled", token["login"])
    return {**pull, "number": number}
