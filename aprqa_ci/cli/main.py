"""The command line: which commands there are, and what each way of ending means."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from aprqa_ci import __version__
from aprqa_ci.cli.signals import signals_as_errors
from aprqa_ci.errors import AprqaError, InconclusiveError, InputError
from aprqa_ci.plain_text import visible
from aprqa_ci.redaction import redaction_of

__all__ = ["cli", "run"]

_MOST_PLACES = 6

_COMMANDS = {
    "certify": ("certify", "Plan, run, score, report and register playbooks in one go."),
    "plan": ("plan", "Expand playbooks into scenarios and pack them into shards."),
    "fetch": ("fetch", "Fetch the models that playbooks or a plan need, and check them."),
    "run": ("run", "Run one shard of a plan, or chosen cells of a playbook."),
    "merge": ("merge", "Merge the evidence of shards and prove that it is complete."),
    "score": ("score", "Score evidence: gateways, categories, MQS, grade, status."),
    "triage": ("triage", "Say what failed, why that may be, and what to do next."),
    "tickets": ("tickets", "Draft or open one GitHub issue for each cause of failures."),
    "report": ("report", "Write the reports of a bundle: Markdown, JSON, JUnit XML."),
    "export": ("export", "Export evidence to CSV, Parquet or the existing tool's object form."),
    "register": ("register", "Update models.csv and the README table from a bundle."),
    "publish": ("publish", "Publish bundles to GitHub: a comment, or a certification PR."),
    "action": ("action", "Run as a step of a GitHub Actions workflow."),
    "init": ("authoring", "Make a playbook of a template for a model."),
    "bootstrap": ("authoring", "Make a playbook that knows the architecture."),
    "doctor": ("doctor", "List what contradicts itself in models.csv and evidence."),
    "align": ("align", "Compare playbooks and models.csv with family contracts."),
    "lock": ("lock", "Record what every playbook is, so that no change goes unseen."),
    "verify": ("verify", "Check the chain of digests of bundles again, offline."),
    "attest": ("attest", "Write what a bundle says as an in-toto statement, to be signed."),
    "validate": ("validate", "Check playbooks, plans, evidence, certificates and models.csv."),
    "engines": ("engines", "Which engines are here, and how to get the others."),
    "selftest": ("selftest", "Break a sound model in many ways, and see which gate catches it."),
    "gates": ("catalogues", "What each gate means."),
    "facts": ("catalogues", "What the conditions of a playbook may speak of."),
    "tiers": ("catalogues", "What each tier tests, and what it can end in."),
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"aprqa_ci.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done and the verdict is good; 1 the model fell short, or a check found "
    "something; 2 bad input or usage; 3 inconclusive, no verdict; 4 the verdict is good and was "
    "not delivered; 130/143 interrupted.",
)
@click.version_option(__version__, prog_name="aprqa")
def cli() -> None:
    """Certify language models, with proof.

    A certificate must be earned: what was not tested never passes, what is missing is named, and
    what is claimed can be checked again from the evidence.
    """


def run(arguments: Sequence[str], *, last: bool = False) -> int:
    """Run the command line and return its exit code; no exception leaves it.

    Args:
        arguments: what follows the program's name.
        last: whether the process ends when this returns.
    """
    try:
        with signals_as_errors(last=last):
            ended = cli.main(args=list(arguments), prog_name="aprqa", standalone_mode=False)
    except InputError as error:
        for problem in error.problems:
            _say(str(problem))
        return error.exit_code
    except AprqaError as error:
        if str(error):
            _say(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return InputError.exit_code
    except OSError as error:
        _say(f"the machine failed, there is no verdict: {error}")
        return InconclusiveError.exit_code
    except SystemExit:
        # Click's answer to a reader of the help that has gone, and 1 would be a verdict.
        return 0
    except Exception as error:  # noqa: BLE001 - Python would end with 1, which is a verdict
        _say(
            "this is a fault of aprqa and says nothing about the model, there is no verdict; "
            f"please report it with the command: {type(error).__name__}: {error} ({_places(error)})"
        )
        return InconclusiveError.exit_code
    # Click returns the code of an Exit that a command raised, and else what the command returned.
    return ended if isinstance(ended, int) else 0


def _places(error: Exception) -> str:
    """Return where an error comes from, the innermost place first."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_MOST_PLACES:])
    return ", from ".join(
        f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}" for frame in frames
    )


def _say(text: str) -> None:
    # Of variables that a command has taken out of the environment, the known shapes are found.
    text = redaction_of(os.environ)(visible(text))
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)
