"""The hub of Hugging Face, or a mirror of it, asked with ``huggingface_hub``; nobody else knows it.

The library answers in many ways that the same thing went wrong. Here each becomes one sentence that
names what to do, and holds neither the token nor an address that was signed for us.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.fetching.hub import Hub, HubError, HubFile, Listing

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

__all__ = ["HubSettings", "connect", "hub_settings"]

AnswerT = TypeVar("AnswerT")

_DEFAULT_ENDPOINT = "https://huggingface.co"
_TOKEN_NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_PAUSES = (1.0, 2.0, 4.0)
"""Seconds between attempts; the library itself repeats parts of them."""
_TIMEOUT_SECONDS = 30
_PASSING = {408, 429, 500, 502, 503, 504}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_FILES = 100_000
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class HubSettings:
    """Where the hub is, and who asks."""

    def __init__(self, *, endpoint: str, token: str | None) -> None:
        self.endpoint = endpoint
        self.token = token

    def __repr__(self) -> str:
        return f"HubSettings(endpoint={self.endpoint!r}, token={'set' if self.token else 'none'})"


def hub_settings(environment: Mapping[str, str], token: str | None = None) -> HubSettings:
    """Return the settings of an environment.

    Args:
        environment: ``HF_ENDPOINT`` names the hub, and ``HF_TOKEN`` who asks.
        token: instead of that one, if it is not empty.

    Raises:
        InputError: the address is none, or the token would travel in the open, or cannot be one.
    """
    endpoint = (environment.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).strip().rstrip("/")
    given = (token, *(environment.get(name) for name in _TOKEN_NAMES))
    found = next((text.strip() for text in given if text and text.strip()), None)
    problems = []
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        hint = f"such as {_DEFAULT_ENDPOINT}"
        problems.append(Problem(what="HF_ENDPOINT is not the address of a hub", hint=hint))
    elif found and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        what = "HF_TOKEN would be sent without encryption to HF_ENDPOINT"
        problems.append(Problem(what=what, hint="use an https address, or no token"))
    if found and not re.fullmatch(r"[!-~]{1,512}", found):
        problems.append(Problem(what="HF_TOKEN is no token: it holds spaces or other characters"))
    if problems:
        raise InputError(problems)
    return HubSettings(endpoint=endpoint, token=found)


def connect(
    settings: HubSettings, cache: Path, *, sleep: Callable[[float], None] = time.sleep
) -> Hub:
    """Return the hub; what is downloaded goes to ``cache``.

    Raises:
        InputError: the library is not installed.
    """
    # Read once, when the library is imported, and there is no parameter for them. The shared store
    # lies outside the cache, where a cache of ours is not to lead.
    os.environ["HF_HUB_DISABLE_SHARED_BLOBS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import huggingface_hub  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError as error:
        what = "fetching models needs the library huggingface_hub"
        hint = "pip install 'aprqa-ci[hub]'"
        raise InputError(Problem(what=what, hint=hint)) from error
    # Its warnings hold addresses that were signed for us.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return _HuggingFace(settings, cache, sleep)


class _HuggingFace:
    def __init__(self, settings: HubSettings, cache: Path, sleep: Callable[[float], None]) -> None:
        from huggingface_hub import HfApi  # noqa: PLC0415 - an extra

        self._endpoint = settings.endpoint
        # False, not None: the token that a login left on the machine is not asked for.
        self._token: str | bool = settings.token or False
        self._api = HfApi(endpoint=settings.endpoint, token=self._token, library_name="aprqa-ci")
        self._cache = cache
        self._sleep = sleep

    def listing(self, repo: str, revision: str) -> Listing:
        subject = f"{repo} at {revision}"
        info = self._asked(
            subject,
            repo,
            lambda: self._api.model_info(
                repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
            ),
        )
        return _listing_of(info, repo, subject)

    def download(self, listing: Listing, file: HubFile) -> Path:
        bar = _bounded(file.size)
        return Path(
            self._asked(
                f"{listing.repo}: {file.path}",
                listing.repo,
                lambda: self._api.hf_hub_download(
                    listing.repo,
                    file.path,
                    revision=listing.commit,
                    cache_dir=self._cache,
                    etag_timeout=_TIMEOUT_SECONDS,
                    tqdm_class=bar,
                ),
            )
        )

    def _asked(self, subject: str, repo: str, ask: Callable[[], AnswerT]) -> AnswerT:
        for pause in (*_PAUSES, None):
            try:
                return ask()
            except Exception as error:  # noqa: BLE001 - dozens of kinds; each is named or raised again
                found = _found_in(error)
                if pause is None or not _passes(found):
                    self._refused(subject, repo, found)
            self._sleep(pause)
        raise AssertionError

    def _refused(self, subject: str, repo: str, error: BaseException) -> NoReturn:
        from huggingface_hub import errors  # noqa: PLC0415 - an extra

        page = f"{self._endpoint}/{repo}"
        known = "was given" if self._token else "is not set"
        # Forks have no secrets; their authors cannot mend that.
        token = f"HF_TOKEN {known} (in a workflow, the secret of the input hf-token)"
        match error:
            case errors.GatedRepoError():
                what = (
                    f"{subject}: the repository is gated; accept its licence at {page} and give a"
                    f" token of that account; {token}"
                )
            case errors.RevisionNotFoundError():
                what = f"{subject}: the repository has no such revision; see model.revision"
                raise HubError(what, fault="input") from error
            case errors.DisabledRepoError():
                what = f"{subject}: the hub has disabled the repository; see {page}"
            case _ if isinstance(error, errors.RepositoryNotFoundError) or (
                _status(error) == 401 and not self._token
            ):
                what = (
                    f"{subject}: the hub shows no such repository; it does not exist, or is private"
                    f" and needs a token that may read it; {token}; see {page}"
                )
                fault: Literal["input", "infrastructure"] = (
                    "input" if self._token else "infrastructure"
                )
                raise HubError(what, fault=fault, unseen=True) from error
            case errors.EntryNotFoundError() if _status(error) == 404:
                what = f"{subject}: the hub lists the file and does not have it; try again later"
            case errors.OfflineModeIsEnabled():
                what = f"{subject}: HF_HUB_OFFLINE is set, and fetching needs the network"
            case errors.HFValidationError():
                what = f"{subject}: {repo!r} is no name of a repository"
                raise HubError(what, fault="input") from error
            case _TooLargeError():
                what = f"{subject}: more bytes came than the hub lists; nothing of it was kept"
            case OSError() if error.errno is not None and _status(error) is None:
                # The disk, not the hub.
                raise error
            case _:
                what = self._other(subject, page, token, error)
        raise HubError(what, fault="infrastructure") from error

    def _other(self, subject: str, page: str, token: str, error: BaseException) -> str:
        status = _status(error)
        if status in {401, 403}:
            return (
                f"{subject}: the hub refused (HTTP {status}); the token must be valid and may need"
                f" the licence at {page} to be accepted; {token}"
            )
        if status is not None:
            return f"{subject}: the hub answered HTTP {status}; try again later"
        return (
            f"{subject}: {self._endpoint} cannot be reached or breaks off"
            f" ({type(error).__name__}); HF_ENDPOINT names another hub"
        )


def _listing_of(info: "ModelInfo", repo: str, subject: str) -> Listing:
    siblings = info.siblings or []
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        msg = f"{subject}: the hub does not say which commit that is"
        raise HubError(msg, fault="infrastructure")
    if len(siblings) > _MOST_FILES:
        msg = f"{subject}: the repository has {len(siblings)} files; {_MOST_FILES} are looked at"
        raise HubError(msg, fault="input")
    files = tuple(file for each in siblings if (file := _file_of(each)) is not None)
    if siblings and not files:
        msg = f"{subject}: the hub lists files without size and digest, so none could be checked"
        raise HubError(msg, fault="infrastructure")
    return Listing(repo=repo, name=str(info.id), commit=info.sha, files=files)


def _file_of(sibling: "RepoSibling") -> HubFile | None:
    large = sibling.lfs
    size = large.size if large is not None else sibling.size
    digest = large.sha256 if large is not None else sibling.blob_id
    sound = isinstance(size, int) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
    if not sound or size is None or digest is None:
        return None
    return HubFile(path=sibling.rfilename, size=size, digest=digest)


def _found_in(error: BaseException) -> BaseException:
    """Return what is behind an error; the library wraps what asking about a file ended in."""
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415 - an extra

    while isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _passes(error: BaseException) -> bool:
    """Say whether the same may go well a moment later."""
    from httpx2 import TransportError  # noqa: PLC0415 - an extra

    return isinstance(error, TransportError) or _status(error) in _PASSING


class _TooLargeError(Exception):
    """More bytes came than there should be."""


def _bounded(size: int) -> type:
    """Return what the library takes for a bar of progress; it counts bytes, and shows nothing."""

    class _Bounded:
        def __init__(self, *arguments: object, initial: int = 0, **options: object) -> None:
            del arguments, options
            self.n = initial

        def update(self, count: int = 1) -> None:
            self.n += count
            if self.n > size:
                raise _TooLargeError

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            del kind, error, traceback

        def close(self) -> None:
            """Nothing was opened."""

    return _Bounded
