"""The Hugging Face hub: one short probe, then downloads or nothing; never a hang, never a pickle."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from graft.errors import DataError, SecurityError, SetupError

PROBE_SECONDS = 3.0


def endpoint() -> str:
    """Where the hub is: `HF_ENDPOINT`, else the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@cache
def reachable() -> str:
    """Why the hub cannot be reached, or "" where it can; asked once a process, in three seconds at most."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "HF_HUB_OFFLINE is set"
    try:
        # An answer is waited for: a connection alone also comes about with a server that never says a word.
        request = urllib.request.Request(endpoint(), method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return ""
    except urllib.error.HTTPError as e:
        e.close()
        return ""  # an answer, whatever it is
    except (OSError, ValueError, http.client.HTTPException) as e:  # ValueError: no address at all
        reason = getattr(e, "reason", e)
        return "" if isinstance(reason, ssl.SSLError) else f"{endpoint()} cannot be reached ({reason})"


def cached(repo: str, file: str) -> Path | None:
    """A file of a repository that an earlier download left on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, file)
    return Path(found) if isinstance(found, str) else None


def fetch(repo: str, files: list[str], optional: list[str] | None = None) -> Path:
    """The folder with these files of a hub repository, from the cache or downloaded.

    Raises SetupError without network, DataError where the repository or a file is not there,
    SecurityError where it has weights as pickles alone.
    """
    if not all(cached(repo, f) for f in files):
        why = reachable()
        if why:
            raise SetupError(
                f"{repo}: not on this machine, and no network: {why}. Elsewhere run: "
                f"hf download {repo} {' '.join(files)}, then copy the folder and use --backbone local:FOLDER"
            )
    paths = [_file(repo, f) for f in files]
    for name in optional or []:
        if not why_absent(repo, name):
            paths.append(_file(repo, name))
    return paths[0].parent


def why_absent(repo: str, file: str) -> str:
    """Why an optional file is not to be had, or "" where it is."""
    if cached(repo, file):
        return ""
    if reachable():
        return "offline"
    from huggingface_hub import file_exists
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return "" if file_exists(repo, file) else "not in the repository"
    except (HfHubHTTPError, OSError) as e:
        return str(e)


def _file(repo: str, file: str) -> Path:
    found = cached(repo, file)
    if found is not None:
        return found
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repo, file))
    except RepositoryNotFoundError as e:
        raise DataError(f"{repo}: no such repository on {endpoint()}, or it is private: run hf auth login") from e
    except EntryNotFoundError as e:
        if file.endswith(".safetensors"):
            raise SecurityError(f"{repo}: has no {file}; other weight formats may run code, and are refused") from e
        raise DataError(f"{repo}: has no {file}") from e
    except (HfHubHTTPError, OSError) as e:
        raise SetupError(f"{repo}: the download of {file} failed ({e}); run the command again to go on") from e
