"""Serve the double of GitHub as a program, for a run of act.

usage: serve_github.py --from GIT_REPOSITORY [--pull FORK BRANCH COMMIT] STATE_DIR

STATE_DIR/port holds the port as soon as the server answers; STATE_DIR/repos the repositories;
STATE_DIR/state.json what was made, rewritten after every exchange; STATE_DIR/problems.txt each
breach of GitHub's description. The branches are those of the repository of --from, and --pull opens
pull request 1 from a fork.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.github_double.fakehub import FakeHub, serve
from tests.github_double.ghspec import Checked, GitHubSpec

TOKEN = "ghs_fake_token_for_tests"
RIGHTS = {"contents": "write", "pull_requests": "write", "checks": "write", "actions": "read"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--pull", nargs=3, metavar=("FORK", "BRANCH", "COMMIT"))
    parser.add_argument("state", type=Path)
    chosen = parser.parse_args()
    state: Path = chosen.state
    hub = FakeHub(state / "repos")
    who = {"login": "github-actions[bot]", "app": True, "github_token": True}
    hub.tokens[TOKEN] = {**who, "permissions": RIGHTS}
    repo = hub.add_repo("octo/consumer")
    repo.git("fetch", "-q", str(chosen.source.resolve()), "+refs/heads/*:refs/heads/*")
    if chosen.pull:
        fork, branch, commit = chosen.pull
        hub.add_pull(repo, fork=fork, head=branch, sha=commit)
    (state / "git").write_text(str(repo.dir))

    def record(*exchange: Any) -> None:
        seen = {
            "log": hub.log,
            "comments": [each["body"] for each in repo.comments.values()],
            "pulls": [
                {"head": each["head"], "title": each["title"]} for each in repo.pulls.values()
            ],
        }
        del exchange
        _replace(state / "state.json", json.dumps(seen, default=str))
        _replace(state / "problems.txt", "".join(f"{each}\n" for each in checked.problems))

    checked = Checked(hub, GitHubSpec(strict_response=True), record)
    server = serve(checked)
    record()
    _replace(state / "port", str(server.server_port))
    while True:
        time.sleep(3600)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


if __name__ == "__main__":
    main()
