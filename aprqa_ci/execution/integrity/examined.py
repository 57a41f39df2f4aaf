"""The gates of APR files: the report is that of a tool that reads them, the judgement ours."""

from aprqa_ci.execution.formats.llama import expected_tensors, hf_name, optional_tensors
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, counted, listed
from aprqa_ci.execution.integrity.subject import Subject

__all__ = ["judge_examined_names", "judge_examined_tensors"]


def judge_examined_tensors(subject: Subject) -> Observation:
    """Say which tensors the tool found unsound; it looked at all of them."""
    found, tool = subject.examination
    said = f"{tool} looked at {counted(found.tensors, 'tensor')}"
    problems = [f"{name}: {why}" for name, why in found.failed.items()]
    unnamed = found.violations - len(problems)
    if unnamed > 0:
        problems.append(f"{counted(unnamed, 'broken rule')} more")
    return Observation(
        problems=(said, *problems) if problems else (),
        shown=f"{said} and found none with a NaN or an infinity, and none of zeros alone",
        details="\n".join(problems),
    )


def judge_examined_names(subject: Subject) -> Observation:
    """Compare the names that the tool lists with those that the architecture needs."""
    found, tool = subject.examination
    if not found.names:
        what = f"{tool} counts {counted(found.tensors, 'tensor')} and names none"
        raise NotJudgedError(what)
    if not (subject.files.directory / "config.json").is_file():
        what = "there is no config.json beside the file that would say which tensors it needs"
        raise NotJudgedError(what)
    config = subject.family
    needed, optional = expected_tensors(config), optional_tensors(config)
    names = {hf_name(name) or name: name for name in found.names}
    problems = []
    if missing := [name for name in needed if name not in names]:
        problems.append(f"missing {counted(len(missing), 'tensor')}: {listed(missing)}")
    known = needed.keys() | optional.keys()
    if unknown := [own for name, own in names.items() if name not in known]:
        problems.append(
            f"{counted(len(unknown), 'tensor')} foreign to this architecture: {listed(unknown)}"
        )
    return Observation(
        problems=tuple(problems),
        shown=f"{tool} names all {len(needed)} tensors that {config.architecture} needs, "
        f"and {len(names) - len(needed)} that it may have; their shapes it does not say",
    )
