"""Downloads against a hub on this machine: pinned, checked, resumed, said; and every way in which a hub fails."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from command import python, refused, run

from graft import backbones, hub
from graft.backbones import _download, torchvision
from graft.errors import DataError, SecurityError, SetupError, UsageError
from graft.files import sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "f" * 40


@dataclass
class Hub:
    """A hub of one repository: its files, what it answers, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    about: dict[str, Any] = field(default_factory=lambda: {"license": "mit", "datasets": ["made", "up"]})
    status: int = 200
    error: str = ""
    listing: bool = True  # hashes in the listing; else only the headers of a file tell them
    page: bool = False  # a page instead of every file
    everything_is_a_page: bool = False
    lies: dict[str, bytes] = field(default_factory=dict)  # other bytes than the listing says
    cut: list[int] = field(default_factory=list)  # after how many bytes the next answers end too early
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    address: str = ""
    elsewhere: str = ""  # where files are redirected to

    def fetched(self) -> list[str]:
        """Names of the files of which bytes were asked for, in order."""
        return [p.rpartition("/")[2] for m, p, _, _ in self.asked if m == "GET" and "/resolve/" in p]


PAGE = b"<!DOCTYPE html><html><body>Please log in to the wireless network.</body></html>"


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = urllib.parse.unquote(self.path)
        self.hub.asked.append((self.command, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if path == "/":
            return self._send(200, b"hub", {}, body)
        if self.hub.everything_is_a_page:
            return self._send(200, PAGE, {"Content-Type": "text/html"}, body)
        if self.hub.status != 200:
            more = {"X-Error-Code": self.hub.error} if self.hub.error else {}
            return self._send(self.hub.status, b"no", {**more, "Retry-After": "7"}, body)
        found = re.fullmatch(r"/api/models/(\w+/[\w.-]+)/revision/(.+)\?blobs=true", path)
        if found:
            return self._info(found[2], body)
        found = re.fullmatch(r"/(\w+/[\w.-]+)/resolve/([0-9a-f]{40})/(.+)", path)
        if found and found[3] in self.hub.files:
            return self._file(found[3], found[2], body)
        return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)

    def _info(self, revision: str, body: bool) -> None:
        commit = self.hub.commits.get(revision, revision if revision in self.hub.commits.values() else None)
        if commit is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
        listed = []
        for name, content in self.hub.files.items():
            entry: dict[str, Any] = {"rfilename": name}
            if self.hub.listing:
                entry |= {"size": len(content), "blobId": git_name(content)}
                if name.endswith(".safetensors"):
                    entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            listed.append(entry)
        said = {"sha": commit, "siblings": listed, "cardData": self.hub.about}
        return self._send(200, json.dumps(said).encode(), {}, body)

    def _file(self, name: str, commit: str, body: bool) -> None:
        content = self.hub.files[name]
        large = name.endswith(".safetensors")
        tag = hashlib.sha256(content).hexdigest() if large else git_name(content)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit}
        if large:
            headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))}
        if self.hub.elsewhere and large:
            return self._send(302, b"", {**headers, "Location": f"{self.hub.elsewhere}/{name}"}, body)
        content = PAGE if self.hub.page else self.hub.lies.get(name, content)
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if start and start >= len(content):
            return self._send(416, b"", {}, body)
        return self._send(206 if start else 200, content[start:], headers, body, cut=large)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            if cut and self.hub.cut:
                content = content[: self.hub.cut.pop(0)]
                self.close_connection = True
            self.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub at HF_ENDPOINT, with caches of this test's own."""
    from huggingface_hub import constants

    made = Hub()
    handler = type("Bound", (Handler,), {"hub": made})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        made.address = f"http://127.0.0.1:{serving.server_address[1]}"
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(_download, "PAUSE_SECONDS", 0.0)
        hub.reachable.cache_clear()
        yield made
        serving.shutdown()
        thread.join()
    hub.reachable.cache_clear()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said before downloads."""
    said: list[str] = []
    monkeypatch.setattr(hub, "say", said.append)
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


@pytest.fixture
def tiny(server: Hub, heard: list[str], tmp_path: Path) -> Hub:
    """The hub with a tiny timm model."""
    server.files = contents(models.timm_folder(tmp_path / "made", "test_resnet"))
    return server


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.reachable.cache_clear()


def left(tmp_path: Path) -> list[str]:
    """Names of the weights, whole or partial, in graft's cache."""
    return sorted(
        p.name for p in (tmp_path / "cache").rglob("*") if "model.safetensors" in p.name and p.suffix != ".lock"
    )


# ---------------------------------------------------------------------------------- what is downloaded


@pytest.mark.parametrize("library", ["timm", "transformers-text", "transformers-picture", "torchvision"])
def test_an_encoder_of_any_library_loads_by_its_id(library: str, server: Hub, heard: list[str], tmp_path: Path) -> None:
    made = tmp_path / "made"
    {
        "timm": lambda: models.timm_folder(made, "test_resnet"),
        "transformers-text": lambda: models.text_folder(made, "roberta"),
        "transformers-picture": lambda: models.vision_folder(made, "vit"),
        "torchvision": lambda: models.torchvision_folder(made),
    }[library]()
    server.files = {**contents(made), "README.md": b"# hello", "pytorch_model.bin": b"\x80\x02never fetched"}
    backbone = backbones.load("hf:me/tiny")
    local = backbones.load(f"local:{made}")
    own, other = backbone.state_dict(), local.state_dict()
    assert all(torch.equal(own[k], other[k]) for k in other)
    assert backbone.card.name == f"hf:me/tiny@{COMMIT}"
    digest = sha256(made / "model.safetensors")
    assert backbone.describe()["origin"] == {"repo": "me/tiny", "commit": COMMIT, "sha256": digest}
    again = backbones.build(json.loads(json.dumps(backbone.describe())), _assets(backbone, tmp_path))
    assert again.describe() == backbone.describe()  # where it came from is not forgotten
    assert set(server.fetched()) <= set(contents(made))
    if library.startswith("transformers"):
        assert backbone.card.trained_on == "made, up"
        assert backbone.card.license == "MIT"
        assert backbones.load("transformers:me/tiny").card.name == f"transformers:me/tiny@{COMMIT}"


def _assets(backbone: Any, tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name, content in backbone.assets().items():
        (tmp_path / "assets" / name).write_bytes(content)
    return tmp_path / "assets"


def test_a_download_is_said_before_it_starts_with_its_size(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(hub, "say", lambda text: said.append((text, len(tiny.fetched()))))
    backbones.load("hf:me/tiny")
    [(text, before)] = said
    assert before == 0
    size = sum(len(tiny.files[n]) for n in ("config.json", "model.safetensors")) / 1e6
    for part in ("me/tiny", COMMIT[:12], tiny.address, "model.safetensors", f"{size:.1f} MB"):
        assert part in text, text


def test_by_default_it_is_said_on_standard_error() -> None:
    said = python("from graft import hub; hub.say('downloading 3 MB')")  # in a process where no command spoke yet
    assert (said.out, said.err) == ("", "downloading 3 MB\n")


def test_timm_names_go_to_timms_own_repositories(server: Hub, heard: list[str], tmp_path: Path) -> None:
    made = models.timm_folder(tmp_path / "made", "test_resnet")
    config = json.loads((made / "config.json").read_text())
    settings = {**config["pretrained_cfg"], "tag": "r160_in1k", "license": "apache-2.0"}
    (made / "config.json").write_text(json.dumps({**config, "pretrained_cfg": settings}))
    server.files = contents(made)
    backbone = backbones.load("timm:test_resnet")
    assert "/api/models/timm/test_resnet.r160_in1k/revision/main?blobs=true" in [p for _, p, _, _ in server.asked]
    card = backbone.card
    assert card.name == f"timm:test_resnet.r160_in1k@{COMMIT}"
    assert (card.license, card.trained_on, card.size) == ("Apache-2.0", "ImageNet-1k", models.SIDE)
    asked = len(server.asked)
    same = backbones.load(card.name)  # the name that a recipe keeps
    assert same.card == card
    assert len(server.asked) == asked  # and nothing is asked for it


def test_published_accuracy_stands_on_the_card() -> None:
    from graft.backbones import timm

    assert timm._published("resnet18", "a1_in1k") == 73.158
    assert timm._published("resnet50", "tv_in1k") == 76.13  # torchvision's own figure
    assert timm._published("resnet50", "nobody") is None


def test_a_revision_means_its_commit_and_main_may_move_on(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.fetch("me/tiny", ["config.json"])
    assert first.commit == COMMIT
    tiny.commits = {"main": LATER, "v1": COMMIT}
    asked = len(tiny.asked)
    assert hub.fetch("me/tiny", ["config.json"]).commit == COMMIT  # what is here is used, not what is newest
    assert hub.fetch("me/tiny", ["config.json"], revision=COMMIT).folder == first.folder
    assert len(tiny.asked) == asked
    assert hub.fetch("me/tiny", ["config.json"], revision="v1").folder == first.folder
    assert hub.fetch("me/tiny", ["config.json"], revision=LATER).commit == LATER
    offline(monkeypatch)
    assert hub.fetch("me/tiny", ["config.json"], revision="v1").commit == COMMIT
    assert hub.cached("me/tiny", "config.json") == first.folder / "config.json"
    assert hub.cached("me/tiny", "config.json", LATER) is not None
    assert hub.cached("me/tiny", "model.safetensors") is None
    assert hub.cached_models() == []  # a config alone is no model
    monkeypatch.setenv("HF_ENDPOINT", tiny.address)
    hub.reachable.cache_clear()
    with pytest.raises(UsageError, match="no revision"):
        hub.fetch("me/tiny", ["config.json"], revision="v9")


def test_a_second_load_needs_no_network(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = backbones.load("hf:me/tiny").state_dict()
    offline(monkeypatch)
    after = backbones.load("hf:me/tiny").state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert hub.cached_models() == ["me/tiny"]


def test_a_mirror_without_hashes_in_its_listing_tells_them_by_head(tiny: Hub) -> None:
    tiny.listing = False
    backbones.load("hf:me/tiny")
    assert ("HEAD", f"/me/tiny/resolve/{COMMIT}/model.safetensors", None, None) in tiny.asked
    tiny.lies["model.safetensors"] = b"x" * len(tiny.files["model.safetensors"])
    with pytest.raises(DataError, match="not the file"):
        backbones.load(f"hf:me/other@{COMMIT}")


def test_a_token_goes_to_the_hub_and_never_to_the_store_behind_it(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Hub(files=tiny.files)
    handler = type("Store", (Handler,), {"hub": store})
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        tiny.elsewhere = f"http://localhost:{serving.server_address[1]}/me/tiny/resolve/{COMMIT}"
        backbones.load("hf:me/tiny")
        serving.shutdown()
        thread.join()
    assert {t for m, p, _, t in tiny.asked if p != "/"} == {"Bearer hf_secret"}
    assert [(p.rpartition("/")[2], t) for _, p, _, t in store.asked] == [("model.safetensors", None)]


def test_what_the_hubs_own_client_left_is_used_if_it_is_whole(
    tiny: Hub, heard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hf" / "models--me--tiny" / "snapshots" / COMMIT
    blobs = snapshot.parents[1] / "blobs"
    refs = snapshot.parents[1] / "refs"
    for folder in (snapshot, blobs, refs):
        folder.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    for name, content in tiny.files.items():
        blob = blobs / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(blob)
    fetched = hub.fetch("me/tiny", ["config.json", "model.safetensors"])
    assert (fetched.folder, fetched.commit, heard) == (snapshot, COMMIT, [])
    assert tiny.asked == []
    assert hub.cached_models() == ["me/tiny"]
    backbones.load("hf:me/tiny")  # it is not known whether there is a tokenizer, so the hub is asked: no bytes are
    assert (tiny.fetched(), heard) == ([], [])
    weights = (snapshot / "model.safetensors").resolve()
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    offline(monkeypatch)
    with pytest.raises(SetupError, match="not on this machine"):
        hub.fetch("me/tiny", ["config.json", "model.safetensors"], revision=LATER)
    (tmp_path / "cache" / "hub" / "me--tiny" / COMMIT / "fetched.json").unlink()
    with pytest.raises(SetupError, match="not on this machine"):
        backbones.load("hf:me/tiny")
    assert any("not what it was" in h for h in heard)


def test_a_copy_changed_on_this_machine_is_fetched_again(tiny: Hub, heard: list[str]) -> None:
    folder = hub.fetch("me/tiny", ["config.json", "model.safetensors"]).folder
    file = folder / "model.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert hub.fetch("me/tiny", ["config.json", "model.safetensors"]).folder == folder
    assert file.read_bytes() == good
    assert any("changed since" in h for h in heard)


# ------------------------------------------------------------------------- cut, wrong, a page (row 80)


def test_a_cut_download_goes_on_where_it_was(tiny: Hub, tmp_path: Path) -> None:
    whole = len(tiny.files["model.safetensors"])
    tiny.cut = [whole // 3, whole // 3]
    backbones.load("hf:me/tiny")
    ranges = [r for m, p, r, _ in tiny.asked if m == "GET" and p.endswith("model.safetensors")]
    assert ranges == [None, f"bytes={whole // 3}-", f"bytes={2 * (whole // 3)}-"]
    assert left(tmp_path) == ["model.safetensors"]


def test_a_download_goes_on_in_the_next_command(tiny: Hub, tmp_path: Path) -> None:
    whole = len(tiny.files["model.safetensors"])
    tiny.cut = [whole // 2] + [0] * _download.ATTEMPTS
    with pytest.raises(SetupError, match=f"cut after {whole // 2} bytes of {whole}.*goes on from there"):
        backbones.load("hf:me/tiny")
    assert [n for n in left(tmp_path) if not n.endswith(".part")] == []
    tiny.asked.clear()
    backbones.load("hf:me/tiny")
    assert [r for m, p, r, _ in tiny.asked if m == "GET" and p.endswith("model.safetensors")] == [
        f"bytes={whole // 2}-"
    ]
    assert left(tmp_path) == ["model.safetensors"]


def test_a_wrong_hash_is_never_loaded(tiny: Hub, tmp_path: Path) -> None:
    good = tiny.files["model.safetensors"]
    for wrong in (good[:-1] + bytes([good[-1] ^ 1]), good + b"more", good[:-9]):
        tiny.lies["model.safetensors"] = wrong
        with pytest.raises(DataError, match="nothing of it was kept"):
            backbones.load("hf:me/tiny")
        assert left(tmp_path) == []
    tiny.lies.clear()
    backbones.load("hf:me/tiny")


def test_a_small_file_is_checked_too(tiny: Hub) -> None:
    tiny.lies["config.json"] = tiny.files["config.json"].replace(b"mit", b"MIT")
    with pytest.raises(DataError, match=r"me/tiny/config\.json.*not the file"):
        backbones.load("hf:me/tiny")
    assert "model.safetensors" not in tiny.fetched()


def test_a_page_instead_of_a_file(tiny: Hub, tmp_path: Path) -> None:
    tiny.page = True
    with pytest.raises(SetupError, match="a page came instead of the file"):
        backbones.load("hf:me/tiny")
    assert left(tmp_path) == []


def test_a_page_instead_of_the_hub(tiny: Hub) -> None:
    tiny.everything_is_a_page = True
    with pytest.raises(SetupError, match="does not answer as a hub does but with a page"):
        backbones.load("hf:me/tiny")


def test_a_stream_without_end_stops_at_the_size_that_was_said(tiny: Hub) -> None:
    tiny.lies["config.json"] = b"x" * 50_000_000
    with pytest.raises(DataError) as caught:
        backbones.load("hf:me/tiny")
    got = re.search(r"(\d+) bytes came", str(caught.value))
    assert got is not None
    assert int(got[1]) < 5_000_000


# ------------------------------------------------------------- no network, no access, too many (row 79)


@pytest.mark.parametrize(
    ("status", "error", "kind", "part"),
    [
        (401, "", SetupError, "hf auth login"),
        (401, "RepoNotFound", SetupError, "not there, or private"),
        (403, "", SetupError, "hf auth login"),
        (403, "GatedRepo", SetupError, "gated; accept its terms at .*/me/tiny"),
        (404, "RepoNotFound", DataError, "no such repository"),
        (429, "", SetupError, "in 7 seconds"),
        (500, "", SetupError, "HTTP 500"),
        (503, "", SetupError, "HTTP 503"),
    ],
)
def test_a_hub_that_refuses(status: int, error: str, kind: type[Exception], part: str, tiny: Hub) -> None:
    tiny.status, tiny.error = status, error
    with pytest.raises(kind, match=part):
        backbones.load("hf:me/tiny")
    assert len(tiny.asked) == 2  # the probe and one question: nothing is tried again behind one's back


def test_without_network_it_is_said_what_is_here_and_what_to_fetch(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    backbones.load("hf:me/tiny")
    offline(monkeypatch)
    with pytest.raises(SetupError) as caught:
        backbones.load(f"hf:me/large@{LATER}")
    for part in ("127.0.0.1:9", "On this machine: me/tiny.", f"hf download me/large --revision {LATER}",
                 "--backbone local:FOLDER"):  # fmt: skip
        assert part in str(caught.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reachable.cache_clear()
    with pytest.raises(SetupError, match="HF_HUB_OFFLINE is set"):
        backbones.load("transformers:me/large")


def test_a_hub_that_never_answers_is_given_three_seconds_once(
    server: Hub, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_download, "PROBE_SECONDS", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        hub.reachable.cache_clear()
        for name in ("hf:me/a", "transformers:me/b", "timm:resnet18"):
            with pytest.raises(SetupError, match="timed out"):
                backbones.load(name)
        listening.settimeout(0.2)
        listening.accept()[0].close()
        with pytest.raises(TimeoutError):
            listening.accept()  # the second and third load did not even try


def test_a_cache_that_cannot_be_made(tiny: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(SetupError, match="GRAFT_CACHE"):
        backbones.load("hf:me/tiny")


def test_a_disk_without_room_is_said_before_the_download(tiny: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "free_space", lambda folder: 10)
    with pytest.raises(SetupError, match="no room"):
        backbones.load("hf:me/tiny")
    assert tiny.fetched() == []


# ------------------------------------------------------------------------------ what may run code


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"config.json": b"{}", "modeling_evil.py": b"boom", "model.safetensors": b""}, r"modeling_evil\.py"),
        ({"config.json": b"{}", "pytorch_model.bin": b"\x80"}, r"pytorch_model\.bin alone"),
        ({"config.json": b'{"auto_map": {"AutoModel": "x.Y"}}', "model.safetensors": b"1"}, "auto_map"),
    ],
)
def test_a_repository_that_needs_code_is_refused_before_its_weights(
    files: dict[str, bytes], part: str, server: Hub, heard: list[str]
) -> None:
    server.files = files
    with pytest.raises(SecurityError, match=part):
        backbones.load("hf:me/evil")
    assert not set(server.fetched()) & {"model.safetensors", "pytorch_model.bin", "modeling_evil.py"}


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"README.md": b""}, r"has no config\.json, model\.safetensors"),
        ({"config.json": b"{}", "model.safetensors.index.json": b"{}"}, "split into several files"),
        ({"config.json": b"{}", "model.safetensors": b"x"}, "neither 'architecture'"),
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"not it"}, "damaged or no safetensors"),
    ],
)
def test_a_repository_that_is_no_model(files: dict[str, bytes], part: str, server: Hub, heard: list[str]) -> None:
    server.files = files
    with pytest.raises(DataError, match=part):
        backbones.load("hf:me/tiny")


# ----------------------------------------------------------------------- torchvision's own weights


@dataclass
class Store:
    """A server of one .pth, and how often it was asked for bytes."""

    content: bytes
    url: str = ""
    hits: int = 0


@pytest.fixture
def store(server: Hub, heard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """squeezenet1_1's weights at an address of this machine, named by their SHA-256 as torchvision names them."""
    from torchvision import models as zoo

    torch.manual_seed(0)
    torch.save(zoo.squeezenet1_1(weights=None, num_classes=5).state_dict(), tmp_path / "w.pth")
    made = Store((tmp_path / "w.pth").read_bytes())

    class Bytes(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(made.content)))
            self.end_headers()
            if self.command == "GET":
                made.hits += 1
                self.wfile.write(made.content)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bytes) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        made.url = f"http://127.0.0.1:{serving.server_address[1]}"
        publish(made, made.content, monkeypatch)
        yield made
        serving.shutdown()
        thread.join()


def publish(store: Store, content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let torchvision believe that this is its file; its SHA-256."""
    digest = hashlib.sha256(content).hexdigest()
    store.content = content
    architecture, weights = torchvision._entry("squeezenet1_1")
    url = f"{store.url}/squeezenet1_1-{digest[:8]}.pth"
    changed = type("Weights", (), {"url": url, "name": weights.name, "meta": weights.meta,
                                   "transforms": staticmethod(weights.transforms)})  # fmt: skip
    monkeypatch.setattr(torchvision, "_entry", lambda name: (architecture, changed))
    return digest


def test_torchvisions_own_weights_are_converted_once(
    store: Store, heard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(store.content).hexdigest()
    backbone = backbones.load("torchvision:squeezenet1_1")
    assert len(heard) == 1 and store.url in heard[0] and "5.0 MB" not in heard[0] and "MB" in heard[0]
    card = backbone.card
    assert card.name == f"torchvision:squeezenet1_1.IMAGENET1K_V1@{digest}"
    assert (card.license, card.trained_on, card.top1, card.size) == ("BSD-3-Clause", "ImageNet-1k", 58.178, 224)
    assert card.parameters == 725_061  # five classes
    expected = torch.load(tmp_path / "w.pth", weights_only=True)
    assert torch.equal(backbone.net.features[0].weight, expected["features.0.weight"])
    assert backbone.describe()["origin"]["sha256"] == digest
    files = sorted(p.name for p in (tmp_path / "cache" / "torchvision").iterdir() if not p.name.endswith(".lock"))
    assert files == [f"{digest}.safetensors", f"{digest}.sha256"]  # the pickle is gone
    hits = store.hits
    offline(monkeypatch)
    again = backbones.load(card.name)
    assert store.hits == hits
    assert again.card == card


def test_torchvisions_weights_with_another_hash_are_not_read(store: Store, tmp_path: Path) -> None:
    store.content = store.content[:-1] + bytes([store.content[-1] ^ 1])
    with pytest.raises(DataError, match="nothing of it was kept"):
        backbones.load("torchvision:squeezenet1_1")
    assert [p for p in (tmp_path / "cache" / "torchvision").iterdir() if p.suffix in (".pth", ".safetensors")] == []
    with pytest.raises(DataError, match="SHA-256 begins as asked"):
        backbones.load(f"torchvision:squeezenet1_1@{'0' * 64}")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> Any:
        return open, (self.target, "w")


@pytest.mark.parametrize(
    "evil", ["bomb", pytest.param("tensor", marks=pytest.mark.slow), pytest.param("junk", marks=pytest.mark.slow)]
)
def test_a_pickle_under_torchvisions_name_runs_nothing(
    evil: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content: Any = {"bomb": {"w": Bomb(tmp_path / "it-ran")}, "tensor": torch.zeros(3), "junk": None}[evil]
    torch.save(content, tmp_path / "evil.pth")
    publish(store, (tmp_path / "evil.pth").read_bytes() if evil != "junk" else b"\x80\x02junk", monkeypatch)
    with pytest.raises(SecurityError, match="holds more than tensors, or is damaged"):
        backbones.load("torchvision:squeezenet1_1")
    assert not (tmp_path / "it-ran").exists()
    assert list((tmp_path / "cache" / "torchvision").glob("*.safetensors")) == []


@pytest.mark.slow
def test_the_converter_has_little_memory() -> None:
    """What a file unpacks to ends the converter, and nothing else, where it is much more than the file."""
    script = Path(_download.__file__).with_name("_convert.py")
    work = f"import runpy; runpy.run_path({str(script)!r})['limit'](2**27); print('limited'); bytearray(2**30)"
    done = subprocess.run([sys.executable, "-P", "-c", work], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "limited\n"
    assert done.returncode == 1
    assert "MemoryError" in done.stderr


def test_torchvision_without_network_says_where_the_file_belongs(
    server: Hub, heard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SetupError) as caught:
        backbones.load("torchvision:resnet18")
    where = tmp_path / "cache" / "torchvision" / "resnet18-f37072fd.pth"
    for part in ("https://download.pytorch.org/models/resnet18-f37072fd.pth", str(where)):
        assert part in str(caught.value)


# ---------------------------------------------------------------------------------- the command line


@pytest.mark.slow
def test_the_command_trains_on_a_hub_model_and_says_the_download(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": tiny.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf"),
           "GRAFT_CACHE": str(tmp_path / "cache")}  # fmt: skip
    words = ("fit", photos, "--backbone", "hf:me/tiny", "--recipe", "probe:l2=0.1", "--out")
    said = run(*words, tmp_path / "run", env=env, timeout=120)
    assert said.code == 0, said.err
    assert "downloading me/tiny at commit" in said.err
    tiny.status = 403
    again = run("fit", photos, "--backbone", "hf:me/gated", "--out", tmp_path / "no", env=env, timeout=60)
    refused(again, 4, "me/gated", "hf auth login")
    assert not (tmp_path / "no").exists()
