"""Models that a stand-in for the apr tool pulls; apr_standin.py says what that does not prove."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from msgspec import structs

from aprqa_ci.execution.engines.apr_process import pulling_environment
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.fetching.choosing import wanted_variants
from aprqa_ci.execution.fetching.pulling import pull_missing
from aprqa_ci.execution.resolve import resolve_model
from aprqa_ci.files import sha256_file
from aprqa_ci.vocabulary import ModelFormat
from tests.apr_standin import write_standin
from tests.hub_double import HubDouble
from tests.integration.fetching.conftest import PLAYBOOK, REPO, Aprqa, Fetcher, PlanOf
from tests.tiny_llama import write_tiny_llama

SAFETENSORS = {**PLAYBOOK, "model": {"hf_repo": REPO, "formats": ["safetensors"]}}


@dataclass
class Puller:
    """Pulls what a test put into a directory, and names what the test says."""

    source: Path
    named: str = "models/abc.safetensors"
    stem: str = "abc."
    pulled: list[str] = field(default_factory=list)

    def pull(self, repo: str, home: Path) -> Path:
        self.pulled.append(repo)
        for path in self.source.iterdir():
            name = path.name.removeprefix("model.") if self.stem else path.name
            target = home / "models" / f"{self.stem}{name}"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        return home / self.named


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "source")


Pull = Callable[..., str]


@pytest.fixture
def pull(fetcher: Fetcher, plan_of: PlanOf) -> Pull:
    """Pulls for a plan, and returns why it did not go well."""

    def made(puller: Puller, *formats: str, **changes: object) -> str:
        plan = plan_of(*formats or ("safetensors",), **changes)
        wanted = wanted_variants(plan, {cell.id for cell in plan.cells})
        errors = pull_missing(wanted, fetcher.world(), lambda: (puller, "apr/1"))
        return "\n".join(map(str, errors))

    return made


def kept(fetcher: Fetcher) -> Path:
    return fetcher.root / "home" / ".cache" / "aprqa" / "models"


def test_a_model_is_kept_under_its_names(
    pull: Pull, fetcher: Fetcher, plan_of: PlanOf, model: Path
) -> None:
    puller = Puller(model)
    assert pull(puller) == ""
    (place,) = kept(fetcher).iterdir()
    assert {path.name for path in place.iterdir()} == {path.name for path in model.iterdir()}
    found = resolve_model(
        plan_of("safetensors").playbooks[0].model,
        format=ModelFormat.SAFETENSORS,
        quantization=None,
        environment={"HF_HUB_CACHE": str(fetcher.cache)},
        home=fetcher.root / "home",
    )
    # Which commit it is nobody said, so nothing says it.
    assert (found.source, found.repo, found.revision) == ("aprqa-cache", None, None)
    said = "\n".join(fetcher.said)
    assert sha256_file(model / "model.safetensors") in said
    assert "pulled by apr/1 into" in said
    assert "tells no commit" in said
    # What is here is not pulled again, and neither is what can be made of it.
    assert pull(puller, "safetensors", "gguf") == ""
    assert puller.pulled == [REPO]


def test_shards_keep_their_names(pull: Pull, fetcher: Fetcher, tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "sharded", shards=3)
    puller = Puller(source, named="models/model.safetensors.index.json", stem="")
    assert pull(puller) == ""
    (place,) = kept(fetcher).iterdir()
    assert {path.name for path in place.iterdir()} == {path.name for path in source.iterdir()}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("models/abc.config.json", "what is known here are SafeTensors"),
        ("models/nothing.safetensors", "what is known here are SafeTensors"),
        ("models/model.safetensors.index.json", "pulled what is not whole"),
        ("../elsewhere.safetensors", "not where it was told to pull to"),
        ("models/damaged.safetensors", "pulled what cannot be read"),
        ("models/empty.safetensors", "holds no tensor"),
    ],
)
def test_nothing_is_kept_of_what_is_no_model(
    pull: Pull, fetcher: Fetcher, model: Path, named: str, said: str
) -> None:
    class Wrong(Puller):
        def pull(self, repo: str, home: Path) -> Path:
            path = super().pull(repo, home)
            (home / "models" / "damaged.safetensors").write_bytes(b"<html>")
            (home / "models" / "empty.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
            shutil.copyfile(model / "model.safetensors", home.parent / "elsewhere.safetensors")
            return path

    assert said in pull(Wrong(model, named=named))
    assert list(kept(fetcher).iterdir()) == []


def test_what_it_cannot_pull_is_said(
    pull: Pull, fetcher: Fetcher, model: Path, plan_of: PlanOf
) -> None:
    assert "wants " + "a" * 40 in pull(Puller(model), revision="a" * 40)
    (kept(fetcher) / "tiny").mkdir(parents=True)
    (kept(fetcher) / "tiny" / "model.safetensors.index.json").write_text("{}")
    faulty = Puller(model)
    assert pull(faulty) == ""
    assert faulty.pulled == []
    shutil.rmtree(kept(fetcher) / "tiny")
    (kept(fetcher) / "tiny").mkdir()
    assert "is there already, and is not this model" in pull(Puller(model))

    def nobody() -> tuple[Puller, str]:
        what = "apr is not here"
        raise EngineAbsentError(what)

    plan = plan_of("safetensors")
    (error,) = pull_missing(
        wanted_variants(plan, {cell.id for cell in plan.cells}), fetcher.world(), nobody
    )
    assert (error.fault, "is there already" in str(error)) == ("infrastructure", True)
    (kept(fetcher) / "tiny").rmdir()
    (error,) = pull_missing(
        wanted_variants(plan, {cell.id for cell in plan.cells}), fetcher.world(), nobody
    )
    assert str(error) == f"{REPO}: apr is not here"


def test_a_name_that_would_be_an_option_is_not_handed_over(
    fetcher: Fetcher, plan_of: PlanOf, model: Path
) -> None:
    plan = plan_of("safetensors")
    (variant,) = wanted_variants(plan, {cell.id for cell in plan.cells})
    hostile = replace(variant, model=structs.replace(variant.model, hf_repo="--config=x/tiny"))
    puller = Puller(model)
    (error,) = pull_missing([hostile], fetcher.world(), lambda: (puller, "apr/1"))
    assert (error.fault, puller.pulled) == ("input", [])


def test_the_tool_gets_the_token_of_the_hub_and_no_other_secret(tmp_path: Path) -> None:
    given = {"HF_TOKEN": "a", "GITHUB_TOKEN": "b", "PATH": "c", "XDG_CACHE_HOME": "d", "HOME": "e"}
    found = pulling_environment(given, tmp_path)
    assert found == {"HF_TOKEN": "a", "PATH": "c", "HOME": str(tmp_path)}


def test_the_command(aprqa: Aprqa, place: Path, hub: HubDouble, tmp_path: Path) -> None:
    (place / "tiny.playbook.yaml").write_text(json.dumps(SAFETENSORS), encoding="utf-8")
    write_tiny_llama(tmp_path / "models" / REPO)
    binary = write_standin(tmp_path, hub=str(tmp_path / "models"))
    told = ("fetch", "tiny.playbook.yaml", "--pull", "apr", "--engine-option")
    ended = aprqa(*told, f"apr.binary={binary}", HF_ENDPOINT=hub.endpoint)
    assert ended.returncode == 0, ended.stderr
    assert "pulled by apr/0.4.99" in ended.stdout
    assert (place / "home/.cache/aprqa/models/tiny/model.safetensors").is_file()
    assert json.loads((place / "aprqa-out" / "models.json").read_text())["models"] == []
    # What the tool does not have, it says; that is no verdict on anything.
    shutil.rmtree(place / "home")
    shutil.rmtree(tmp_path / "models")
    missing = aprqa(*told, f"apr.binary={binary}", HF_ENDPOINT=hub.endpoint)
    assert missing.returncode == 3
    assert "artifact not found" in missing.stderr
    absent = aprqa(*told, "apr.binary=/nope", HF_ENDPOINT=hub.endpoint)
    assert absent.returncode == 3
    assert "the engine apr is to pull it: there is no program '/nope'" in absent.stderr
    refused = aprqa("fetch", "tiny.playbook.yaml", "--pull", "apr", "--dry-run")
    assert refused.returncode == 2
