"""``aprqa lock``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.cli.output import console
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.files import write_atomic
from aprqa_ci.playbook.load import load_playbooks
from aprqa_ci.playbook.lock import (
    LOCK_PATH,
    LockedModel,
    Resolved,
    lock_of,
    read_lock,
    require_locked,
)
from aprqa_ci.wire import pretty_json, read_wire

__all__ = ["lock"]


@click.command()
@click.argument("playbooks", nargs=-1, metavar="[PLAYBOOK]...")
@click.option(
    "--models",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `aprqa fetch -o` wrote: commit and file digests of the models are recorded too. What"
    " is locked of models stays where it says nothing of them.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail where something has changed.")
def lock(*, playbooks: tuple[str, ...], models: Path | None, check: bool) -> None:
    """Record what every playbook is, so that no change of one goes unseen.

    PLAYBOOK is a file, a directory or a glob; without any, all below playbooks/. What is given is
    the whole lock: run it for all that are to be certified.
    """
    root = Path.cwd()
    loaded = load_playbooks(playbooks or ("playbooks",))
    resolved = {} if models is None else _locked_models(read_wire(models, Models))
    out = console()
    if check:
        require_locked(loaded, read_lock(root), root=root, models=resolved)
        out.print(Text(f"{len(loaded)} playbooks are as they were locked"))
        return
    before = read_lock(root).by_path if (root / LOCK_PATH).exists() else {}
    made = lock_of(loaded, root=root, models=resolved, before=before)
    write_atomic(root / LOCK_PATH, pretty_json(made))
    out.print(Text(f"{LOCK_PATH}: {len(loaded)} playbooks"))


def _locked_models(models: Models) -> Resolved:
    return {
        (each.repo, each.revision): LockedModel(
            commit=each.commit, files={file.path: file.sha256 for file in each.files}
        )
        for each in models.models
    }
