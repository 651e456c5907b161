"""The command line itself: what it loads, what goes where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import models
import pytest
from command import call, lines, python, refused, start

import graft
from graft import registry

HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "timm",
    "transformers",
    "torchvision",
    "sklearn",
    "scipy",
    "pyarrow",
    "PIL",
    "rich",
)


def loaded_by(code: str) -> tuple[str, str]:
    """(standard output, the heavy modules that were loaded) of a few lines in a process of their own."""
    found = f"[m for m in {HEAVY!r} if m in sys.modules]"
    watch = f"import atexit, sys\natexit.register(lambda: print('LOADED', {found}, file=sys.stderr))\n"
    said = python(watch + code)
    assert said.code == 0, said.err
    return said.out, said.err.rpartition("LOADED ")[2].strip()


@pytest.mark.parametrize(
    "code",
    [
        "import graft, graft.cli, graft.recipe, graft.registry, graft.errors",
        "import sys; sys.argv = ['graft', '--help']; from graft.cli import main; main()",
        "import sys; sys.argv = ['graft', 'fit', '--help']; from graft.cli import main; main()",
        "import sys; sys.argv = ['graft', '--version']; from graft.cli import main; main()",
        "import sys; sys.argv = ['graft', 'list']; from graft.cli import main; main()",
        "import sys; sys.argv = ['graft', 'list', 'backbones', '--json']; from graft.cli import main; main()",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert loaded_by(code)[1] == "[]"


def test_the_public_names_are_there() -> None:
    out, _ = loaded_by("import graft; print(sorted(graft.__all__)); print(dir(graft))")
    assert "'fit'" in out
    for name in graft.__all__:
        assert getattr(graft, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = graft.fti  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["", "fit", "predict", "evaluate", "rank", "list"])
def test_every_command_has_help(command: str) -> None:
    said = call(*command.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert "Usage: " in said.out
    assert call(*command.split(), "-h").out == said.out


def test_every_option_of_the_issue_is_there() -> None:
    said = call("fit", "--help").out
    for option in (
        "--backbone",
        "--recipe",
        "--set",
        "--budget",
        "--seed",
        "--out",
        "--zoo",
        "--device",
        "--resume",
        "--overwrite",
    ):
        assert option in said
    for option in ("--quiet", "--json", "--plugin", "--max-bad"):
        assert option in said
    assert "--candidates" in call("rank", "--help").out


def test_the_version() -> None:
    assert call("--version").out == f"graft {graft.__version__}\n"


@pytest.mark.parametrize("kind", ["methods", "tasks", "backbones"])
def test_list_gives_a_name_and_a_sentence(kind: str) -> None:
    found = json.loads(call("list", kind, "--json").out)
    assert list(found) == [kind]
    assert [r["name"] for r in found[kind]] == registry.names(kind)
    shown = lines(call("list", kind).out)
    for row, line in zip(found[kind], shown, strict=True):
        assert set(row) == {"name", "sentence"}
        assert line.split()[0] == row["name"]
        assert line.endswith(row["sentence"])
        assert row["sentence"].endswith(".")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["fti"], ["'fti'", "did you mean 'fit'"]),
        (["fit"], ["DATA", "graft fit --help"]),
        (["fit", "x", "y"], ["y", "graft fit --help"]),
        (["fit", "x", "--budgt", "3s"], ["--budgt", "did you mean", "--budget"]),
        (["predict", "x"], ["INPUT", "graft predict --help"]),
        (["predict", "x", "y", "--top-k", "0"], ["--top-k", "1"]),
        (["list", "metods"], ["metods", "did you mean 'methods'"]),
        (["fit", "--budget"], ["--budget"]),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], parts: list[str]) -> None:
    refused(call(*words), 2, *parts)


def test_graft_alone_shows_its_help() -> None:
    said = call()
    assert (said.code, said.out) == (2, "")
    assert "Commands:" in said.err


def test_json_leaves_standard_output_clean(text_run: graft.Run, reviews: Path, bert: Path, tmp_path: Path) -> None:
    words = [
        "fit",
        reviews,
        "--backbone",
        f"local:{bert}",
        "--recipe",
        "probe:l2=0.1",
        "--out",
        tmp_path / "run",
        "--json",
    ]
    said = call(*words)
    assert said.out.count("\n") == 1
    assert isinstance(json.loads(said.out, parse_constant=pytest.fail), dict)
    assert "validation" in said.err
    said = call("evaluate", text_run.folder, reviews, "--json")
    assert said.out.count("\n") == 1
    json.loads(said.out, parse_constant=pytest.fail)
    said = call("predict", text_run.folder, reviews, "--json")
    assert len(lines(said.out)) == 80
    assert all(
        set(json.loads(line)) == {"id", "label", "probability", "score_bad", "score_good"} for line in lines(said.out)
    )


def test_quiet_prints_the_result_alone(
    zoo: Path, photos: Path, text_run: graft.Run, reviews: Path, tmp_path: Path
) -> None:
    quiet = call(
        "fit", photos, "--zoo", zoo, "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--quiet", "--json"
    )
    assert (quiet.code, quiet.err, quiet.out.count("\n")) == (0, "", 1)
    for words in (
        ["predict", text_run.folder, reviews],
        ["evaluate", text_run.folder, reviews],
        ["rank", photos, "--zoo", zoo],
    ):
        said = call(*words, "--quiet")
        assert (said.code, said.err) == (0, "")
        assert said.out


def test_quiet_still_says_errors(tmp_path: Path) -> None:
    refused(call("fit", tmp_path / "absent", "--quiet"), 2, "absent")


def test_no_number_that_json_has_not(zoo: Path, tmp_path: Path) -> None:
    """A class without a test sample has no recall: null, and valid JSON everywhere."""
    data = models.picture_folder(tmp_path / "data", 24)
    (data / "alone").mkdir()
    models.picture("disc", 99).save(data / "alone" / "x.png")
    said = call("fit", data, "--zoo", zoo, "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    json.loads(said.out, parse_constant=pytest.fail)
    for file in ("report.json", "model.json"):
        json.loads((tmp_path / "run" / file).read_text(), parse_constant=pytest.fail)
    report = graft.load(tmp_path / "run").report
    assert report["per_class"]["alone"]["recall"] is None
    models.picture("disc", 1).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    rows = [
        json.loads(x, parse_constant=pytest.fail)
        for x in lines(call("predict", tmp_path / "run", tmp_path / "good.png", tmp_path / "bad.png", "--json").out)
    ]
    assert set(rows[1]) == {"id", "error"}


@pytest.mark.parametrize("words", [["predict", "RUN", "DATA", "--json", "--quiet"], ["list"]])
@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(words: list[str], text_run: graft.Run, reviews: Path) -> None:
    """`graft predict ... | head -1`: quiet, and the exit code of SIGPIPE."""
    named = {"RUN": text_run.folder, "DATA": reviews}
    with start(*(named.get(w, w) for w in words)) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_every_exit_code(text_run: graft.Run, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\4K\1.")
    (tmp_path / "empty").mkdir()
    assert call("list").code == 0
    assert call("fit", tmp_path / "absent").code == 2
    assert call("fit", tmp_path / "empty").code == 3
    assert call("predict", text_run.folder, "-", "--device", "cuda:99", stdin="x").code == 4
    assert call("fit", tmp_path / "a.pkl").code == 6


def test_a_bug_keeps_its_traceback(bert: Path, reviews: Path, tmp_path: Path) -> None:
    """Only refusals are one line: anything else must be seen whole."""
    (tmp_path / "bug.py").write_text(
        '"""Has a bug."""\nfrom graft.methods import Method\n\n\nclass Bug(Method):\n    tunes = True\n\n'
        "    def prepare(self, model, task, data):\n        raise RuntimeError('a bug')\n"
    )
    words = [
        "--backbone",
        f"local:{bert}",
        "--recipe",
        "bug",
        "--plugin",
        tmp_path / "bug.py",
        "--out",
        tmp_path / "run",
    ]
    with pytest.raises(RuntimeError, match="a bug"):
        call("fit", reviews, *words)
