"""Models from the hub: what would come, fetched so that an interruption costs little, and checked.

Metadata, requests and the cache's layout are huggingface_hub's. That library drops a partial file when its
process ends, so large files are fetched here, into a partial file that the next attempt goes on with, and
take their place in the cache only once their checksum is right; the library links them and fetches the small.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when it is imported

import httpx2  # what huggingface_hub speaks and raises
import huggingface_hub as hub
from huggingface_hub import constants, errors
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._paths import filter_repo_objects
from tqdm import tqdm  # type: ignore[import-untyped]

from shared.errors import InputError, PeerProtocol, PeerRefused, PeerUnavailable, StartupError
from voxloop.model_catalog import Wish
from voxloop.model_state import Downloaded, Pinned

PEER = "model hub"
OPENVINO = "openvino_model.xml"
OPENVINO_FILES = ("*.json", "*.txt", "*.jinja", "*.xml", "*.bin", "*.model")

Report = Callable[[str, int], None]
"""Told a file's name and how many bytes more of it are there."""


@dataclass(frozen=True)
class RemoteFile:
    name: str
    size: int
    checksum: str
    """sha256 where `large`, else git's sha1 of the blob."""
    large: bool
    """Stored with LFS."""


@dataclass(frozen=True)
class Plan:
    """One commit of one repository and the files of it that make a model."""

    wish: Wish
    revision: str
    files: tuple[RemoteFile, ...]
    entry: str
    """The file that stands for the model: the GGUF, or openvino_model.xml."""
    cache: Path
    endpoint: str

    @property
    def storage(self) -> Path:
        return self.cache / str(repo_folder_name(repo_id=self.wish.repo, repo_type="model"))

    @property
    def snapshot(self) -> Path:
        return self.storage / "snapshots" / self.revision

    @property
    def path(self) -> Path:
        entry = self.snapshot / self.entry
        return entry.parent if entry.name == OPENVINO else entry

    def here(self, file: RemoteFile) -> int:
        """Bytes of a file that need not be fetched again."""
        blob = self.blob(file)
        return next((path.stat().st_size for path in (blob, self.partial(file)) if path.is_file()), 0)

    def missing(self) -> int:
        return sum(max(0, file.size - self.here(file)) for file in self.files)

    def blob(self, file: RemoteFile) -> Path:
        return self.storage / "blobs" / file.checksum

    def partial(self, file: RemoteFile) -> Path:
        return self.storage / "blobs" / f"{file.checksum}.partial"


def cache_of(state: Path) -> Path:
    """The hub's own cache where its variables name one, else a folder of ours in the same layout."""
    own = any(os.environ.get(name) for name in ("HF_HOME", "HF_HUB_CACHE"))
    return Path(constants.HF_HUB_CACHE) if own else state / "models"


def plan(wish: Wish, cache: Path, endpoint: str | None) -> Plan:
    """Ask the hub what a download would bring. Raises InputError or PeerError."""
    address = (endpoint or constants.ENDPOINT).rstrip("/")
    with _as_our_errors(wish, address):
        info = hub.HfApi(endpoint=address).model_info(
            wish.repo, revision=wish.revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        remote = {item.rfilename: _remote(item) for item in info.siblings or ()}
    if not info.sha:
        raise PeerProtocol(PEER, f"{address} names no commit of {wish.repo}")
    entry, names = _selection(wish, tuple(remote))
    return Plan(wish, info.sha, tuple(remote[name] for name in names), entry, cache, address)


def _remote(item: Any) -> RemoteFile:
    if item.lfs is not None:
        return RemoteFile(item.rfilename, item.lfs.size, item.lfs.sha256, large=True)
    if item.size is None or item.blob_id is None:
        raise PeerProtocol(PEER, f"neither size nor checksum of {item.rfilename} is told")
    return RemoteFile(item.rfilename, item.size, item.blob_id, large=False)


def _selection(wish: Wish, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model's entry and its files. Raises InputError unless that is one model of a kind we serve."""
    if wish.patterns:
        names = tuple(filter_repo_objects(names, allow_patterns=list(wish.patterns)))
        if not names:
            raise InputError(f"no file of {wish.repo} matches {', '.join(wish.patterns)}.")
    if OPENVINO in names:
        return OPENVINO, tuple(filter_repo_objects(names, allow_patterns=list(OPENVINO_FILES)))
    weights = [name for name in names if name.endswith(".gguf")]
    if len(weights) > 1:
        raise InputError(
            f"{wish.repo} holds {len(weights)} GGUF files: {', '.join(weights[:12])}.",
            hint="Say which with --file.",
        )
    if not weights:
        raise InputError(
            f"{wish.repo} holds neither a GGUF file nor an OpenVINO model among what was asked for."
        )
    return weights[0], names if wish.patterns else (weights[0],)


def download(plan: Plan, report: Report) -> Downloaded:
    """Raises PeerError or StartupError; what is there by then is kept for the next attempt."""
    with _as_our_errors(plan.wish, plan.endpoint):
        for file in plan.files:
            if file.large:
                _fetch(plan, file, report)
        hub.snapshot_download(
            plan.wish.repo,
            revision=plan.revision,
            cache_dir=plan.cache,
            allow_patterns=[file.name for file in plan.files],
            endpoint=plan.endpoint,
            tqdm_class=_silent(lambda _: None),
        )
    for file in plan.files:
        if not file.large:
            _check_small(plan, file)
            report(file.name, file.size)
    return Downloaded(
        repo=plan.wish.repo,
        revision=plan.revision,
        patterns=plan.wish.patterns,
        path=plan.path,
        files={file.name: Pinned(size=file.size, checksum=file.checksum) for file in plan.files},
    )


def _fetch(plan: Plan, file: RemoteFile, report: Report) -> None:
    blob, partial = plan.blob(file), plan.partial(file)
    if blob.is_file():
        _check(blob, file)
        report(file.name, file.size)
        return
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as output:
        if output.tell() > file.size:
            output.truncate(0)
        start = output.tell()
        report(file.name, start)
        http_get(
            hub.hf_hub_url(plan.wish.repo, file.name, revision=plan.revision, endpoint=plan.endpoint),
            output,
            resume_size=start,
            headers=build_hf_headers(),
            expected_size=file.size,
            tqdm_class=_silent(lambda more: report(file.name, more)),
        )
    _check(partial, file)
    partial.replace(blob)


def _check(path: Path, file: RemoteFile) -> None:
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.checksum:
        path.unlink()
        raise _damaged(file)


def _check_small(plan: Plan, file: RemoteFile) -> None:
    path = plan.snapshot / file.name
    data = path.read_bytes()
    if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != file.checksum:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise _damaged(file)


def _damaged(file: RemoteFile) -> PeerProtocol:
    return PeerProtocol(
        PEER,
        f"{file.name} arrived with another checksum than the hub names; it was removed.",
        hint="Pull again; if it happens again, something between here and the hub alters it.",
    )


def _silent(report: Callable[[int], None]) -> Any:
    """A class that huggingface_hub takes for tqdm's, and that only counts."""

    class Counter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **(options | {"disable": True}))

        def update(self, n: float | None = 1) -> bool | None:
            report(int(n or 0))
            return None

    return Counter


@contextmanager
def _as_our_errors(wish: Wish, endpoint: str) -> Iterator[None]:
    """One line each: who did not do what. Order matters, since these classes inherit from each other."""
    try:
        yield
    except errors.GatedRepoError:
        raise PeerRefused(
            PEER, f"{wish.repo} is gated.", hint="Accept its terms on its page, and set HF_TOKEN."
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{endpoint} has no model repository {wish.repo}, or not for you.",
            hint="A private one needs HF_TOKEN.",
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{wish.repo} has no revision {wish.revision}.") from None
    except errors.HFValidationError:
        raise InputError(f"{wish.repo!r} is no name of a repository.") from None
    except errors.OfflineModeIsEnabled:
        raise PeerUnavailable(PEER, "HF_HUB_OFFLINE is set, so nothing can be pulled.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        fault = (
            PeerUnavailable
            if status in (408, 429) or status >= httpx2.codes.INTERNAL_SERVER_ERROR
            else PeerRefused
        )
        raise fault(
            PEER, f"{endpoint} answered {status}.", hint="Pull again later; it goes on where it was."
        ) from None
    except (httpx2.TransportError, errors.LocalEntryNotFoundError) as error:
        raise PeerUnavailable(
            PEER,
            f"{endpoint} does not answer ({type(error).__name__}).",
            hint="Pull again when the network is back: it goes on where it was. HF_ENDPOINT names a mirror.",
        ) from None
    except OSError as error:
        raise StartupError(
            f"{wish.repo} cannot be stored or came incomplete ({error.strerror or type(error).__name__}).",
            hint="Look for free space, then pull again: it goes on where it was.",
        ) from None
