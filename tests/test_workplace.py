"""A run's folder has one owner and is whole or not there, whatever dies when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft import files, workplace
from graft.errors import SetupError, UsageError
from graft.workplace import Workplace

SOURCE = str(Path(files.__file__).parents[1])
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")


def start(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def work(place: Workplace, text: str = "{}") -> None:
    (place.path / "model.json").write_text(text)
    (place.path / "checkpoints" / "step-1").mkdir(parents=True)
    (place.path / "checkpoints" / "step-1" / "big").write_text("x")
    (place.path / "figures").mkdir()
    (place.path / "figures" / "a.png").write_text("x")


def run(out: Path, text: str = "{}", **flags: bool) -> str:
    with Workplace(out, **flags) as place:
        if place.state != "complete":
            work(place, text)
            place.finish(["model.json", "figures"])
    return place.state


def unfinished(out: Path, **flags: bool) -> None:
    with Workplace(out, **flags) as place:
        (place.path / "half").write_text("half")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "photo"


def test_a_run_appears_whole_and_is_not_run_again(out: Path) -> None:
    with Workplace(out) as place:
        assert place.state == "new" and place.path == out.with_name("photo.partial")
        assert place.path.stat().st_mode & 0o777 == 0o700 or os.name == "nt"
        work(place)
        assert not out.exists()
        place.finish(["model.json", "figures"])
        place.beat()
    assert names(out) == {"model.json", "figures"} and names(out.parent) == {"photo"}
    with pytest.raises(UsageError, match=r"photo exists: --resume .* --overwrite .* --out"):
        run(out)
    assert run(out, resume=True) == "complete"
    assert names(out.parent) == {"photo"}


def test_an_unfinished_run_is_continued_or_wiped_on_request(out: Path) -> None:
    assert Workplace(out, resume=True).__enter__().state == "new"
    unfinished(out, resume=True)
    with pytest.raises(UsageError, match=r"photo\.partial: --resume continues it, --overwrite starts anew"):
        unfinished(out)
    with Workplace(out, resume=True) as place:
        assert place.state == "continued" and (place.path / "half").exists()
    with Workplace(out, overwrite=True) as place:
        assert place.state == "new" and not (place.path / "half").exists()
    with pytest.raises(UsageError, match="exclude each other"):
        unfinished(out, resume=True, overwrite=True)


def test_overwrite_keeps_the_old_run_until_the_new_one_is_whole(out: Path) -> None:
    run(out, "old")
    with Workplace(out, overwrite=True) as place:
        work(place, "new")
        assert (out / "model.json").read_text() == "old"
    assert (out / "model.json").read_text() == "old"
    with Workplace(out, resume=True) as place:  # the interrupted overwrite goes on
        assert place.state == "continued" and (place.path / "model.json").read_text() == "new"
        place.finish(["model.json"])
    assert (out / "model.json").read_text() == "new" and names(out.parent) == {"photo"}
    assert run(out, "newest", overwrite=True) == "new" and (out / "model.json").read_text() == "newest"


def test_overwrite_never_deletes_what_is_not_a_run(out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("years")
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(UsageError, match=r"not a run|exists"):
            unfinished(out, **flags)
    (out / "thesis.tex").rename(out.parent / "thesis.tex")
    with Workplace(out, overwrite=True) as place:  # empty: accepted; filled while the run trains
        work(place)
        (out / "thesis.tex").write_text("years")
        with pytest.raises(UsageError, match="not a run"):
            place.finish(["model.json"])
    assert (out / "thesis.tex").read_text() == "years" and (place.path / "model.json").exists()
    (out / "thesis.tex").unlink()
    with Workplace(out, resume=True) as place:
        place.finish(["model.json"])
    assert names(out) == {"model.json"}


def test_a_strangers_partial_folder_is_left_alone(out: Path) -> None:
    partial = out.with_name("photo.partial")
    partial.mkdir(parents=True)
    (partial / "mine").write_text("x")
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(UsageError, match="no unfinished run"):
            unfinished(out, **flags)
    assert names(partial) == {"mine"}


def test_a_run_that_appeared_meanwhile_is_not_replaced_unasked(out: Path) -> None:
    with Workplace(out) as place:
        work(place)
        out.mkdir()
        (out / "model.json").write_text("other")
        with pytest.raises(UsageError, match="meanwhile"):
            place.finish(["model.json"])
    assert (out / "model.json").read_text() == "other" and (place.path / "model.json").exists()
    assert run(out, resume=True) == "complete"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for bad in ("file", "loop"):
        with pytest.raises(UsageError, match="--out"):
            unfinished(tmp_path / bad)
    with pytest.raises(UsageError, match="mount point"):
        unfinished(Path("/"))
    with pytest.raises(SetupError, match="file"):
        unfinished(tmp_path / "file" / "run")
    with pytest.raises(SetupError, match="name too long"):
        unfinished(tmp_path / ("x" * 250))
    with Workplace(tmp_path / "run") as place:
        for name in ("missing", "..", "a/b", "", ".lock"):
            with pytest.raises(ValueError, match="cannot keep"):
                place.finish([name])


@linux
def test_a_folder_that_cannot_be_written_to_is_said_at_the_start(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        message = start(
            """
            import os, sys
            from pathlib import Path
            from graft import errors, workplace
            if os.geteuid() == 0:
                os.setuid(65534)  # root ignores modes
            try:
                workplace.Workplace(Path(sys.argv[1])).__enter__()
            except errors.SetupError as e:
                print(e)
            """,
            Path(name) / "run",
        ).communicate()[0]
        assert "Permission denied" in message and "choose a folder" in message
        assert not os.listdir(name)


HOLD = """
import sys, time
from pathlib import Path
from graft.workplace import Workplace
place = Workplace(Path(sys.argv[1])).__enter__()
(place.path / "half").write_text("half")
print("in", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_does_not_block(out: Path) -> None:
    owner = start(HOLD, out)
    assert owner.stdout and owner.stdout.readline() == "in\n"
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(SetupError, match=rf"another process \(pid {owner.pid} .* works in .*photo\.partial"):
            unfinished(out, **flags)
    owner.kill()
    owner.communicate()
    began = time.monotonic()
    with Workplace(out, resume=True) as place:
        assert place.state == "continued" and (place.path / "half").exists()
    assert time.monotonic() - began < 5


def test_of_many_processes_at_once_one_gets_the_folder(out: Path) -> None:
    crowd = [
        start(
            """
            import sys, time
            from pathlib import Path
            from graft.errors import SetupError
            from graft.workplace import Workplace
            try:
                with Workplace(Path(sys.argv[1]), resume=True):
                    print("in", flush=True)
                    time.sleep(2)
            except SetupError:
                print("refused")
            """,
            out,
        )
        for _ in range(5)
    ]
    said = [p.communicate()[0] for p in crowd]
    assert sorted(said) == ["in\n"] + ["refused\n"] * 4


def test_two_workplaces_in_one_process(out: Path) -> None:
    with Workplace(out), pytest.raises(SetupError, match=f"pid {os.getpid()}"):
        unfinished(out, resume=True)
    unfinished(out, resume=True)


def forge(out: Path, **changes: Any) -> Path:
    unfinished(out)
    path = out.with_name("photo.partial") / "owner.json"
    owner = {**workplace._identity(), "beat": time.time(), **changes}
    path.write_text(json.dumps(owner))
    return path


@pytest.mark.parametrize(("age", "dead"), [(10.0, False), (590.0, False), (-1e9, False), (610.0, True)])
def test_an_owner_on_another_host_counts_as_dead_after_ten_silent_minutes(out: Path, age: float, dead: bool) -> None:
    path = forge(out, host="elsewhere", beat=time.time() - age)  # our pid: in containers all are 1
    if dead:
        unfinished(out, resume=True)
        assert files.read_json(path)["host"] != "elsewhere"
    else:
        with pytest.raises(SetupError) as e:
            unfinished(out, resume=True)
        assert "elsewhere" in str(e.value) and f"delete {path}" in str(e.value)
        path.unlink()
        unfinished(out, resume=True)


@linux
def test_an_owner_on_this_host_is_known_by_boot_pid_and_start(out: Path) -> None:
    sleeper = start("import time; print('in', flush=True); time.sleep(60)")
    assert sleeper.stdout and sleeper.stdout.readline()
    started = workplace._started(sleeper.pid)
    # As on a file system where a lock succeeds for everybody.
    path = forge(out, pid=sleeper.pid, started=started)
    with pytest.raises(SetupError, match=f"pid {sleeper.pid}"):
        unfinished(out, resume=True)
    for changes in ({"boot_id": "before the reboot"}, {"started": started + 1}, {"pid": 2**22 + 1}):
        owner = {**workplace._identity(), "beat": time.time(), "pid": sleeper.pid, "started": started}
        path.write_text(json.dumps({**owner, **changes}))
        unfinished(out, resume=True)
    path.write_text(json.dumps(owner))
    sleeper.kill()
    sleeper.communicate()
    unfinished(out, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": 1}'])
def test_a_damaged_owner_file_blocks_nobody(out: Path, text: str) -> None:
    forge(out).write_text(text)
    unfinished(out, resume=True)


def test_beats_are_rare_and_notice_a_takeover(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workplace(out) as place:
        owner = place.path / "owner.json"
        first = files.read_json(owner)
        place.beat()
        assert files.read_json(owner) == first
        monkeypatch.setattr(workplace, "BEAT", 0.0)
        place.beat()
        assert files.read_json(owner)["beat"] > first["beat"]
        owner.write_text(json.dumps({**first, "host": "elsewhere"}))
        with pytest.raises(SetupError, match=r"elsewhere .* has taken over"):
            place.beat()
    assert files.read_json(owner)["host"] == "elsewhere"


def make_mortal(deadly: int) -> None:
    """Let this process die at the n-th call that changes something on the disk."""
    count = 0

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == deadly:
                os._exit(9)
            return call(*args, **kwargs)

        return wrapped

    for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, mortal(getattr(os, name)))


def dies(out: Path, deadly: int, **flags: bool) -> bool:
    """Make a run in a process of its own; true if it died at its point."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            make_mortal(deadly)
            with Workplace(out, **flags) as place:
                if place.state != "complete":
                    for name in ("model.json", "more"):
                        (place.path / name).write_text("new")
                    (place.path / "checkpoint").mkdir(exist_ok=True)
                    place.finish(["model.json", "more"])
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9), deadly
    return status == 9


@linux
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("then", ["resume", "overwrite"])
@pytest.mark.slow
def test_a_death_at_any_point_of_an_overwrite_leaves_a_whole_run(tmp_path: Path, then: str) -> None:
    for deadly in range(1, 200):
        out = tmp_path / str(deadly) / "run"
        run(out, "old")
        unfinished(out, overwrite=True)
        partial = out.with_name("run.partial")
        for name in ("half", "model.json", "other"):
            (partial / name).write_text("abandoned")
        died = dies(out, deadly, overwrite=True)
        if (out / "model.json").exists():
            whole = (out / "model.json").read_text()
            assert whole == "old" or (out / "more").read_text() == whole == "new"
        if then == "resume" and partial.exists():
            with Workplace(out, resume=True) as place:  # all of the abandoned run or nothing of it
                left = {"half", "other"} & names(place.path) if place.state != "complete" else set()
                assert left in ({"half", "other"}, set()), deadly
        if (out / "model.json").exists() and not partial.exists():
            assert run(out, resume=True) == "complete"
        else:
            assert not dies(out, 0, **{then: True})
        assert (out / "model.json").read_text() == "new", deadly
        assert names(out) == {"model.json", "more"}, deadly
        rest = names(out.parent) - {"run"}
        assert all(name.startswith((".graft-probe-", ".tmp-")) for name in rest), deadly
        if not died:
            break
    assert 20 < deadly < 199  # about so many calls of the system were tried


@linux
def test_an_orphan_of_a_killed_owner_does_not_hold_the_lock(out: Path) -> None:
    child = "print('born', flush=True); time.sleep(5); os._exit(0)"  # until it is born, it holds what its parent holds
    owner = start(HOLD.replace("print(", f"import os\nif os.fork() == 0: {child}\nprint(", 1), out)
    assert owner.stdout and {owner.stdout.readline(), owner.stdout.readline()} == {"in\n", "born\n"}
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    unfinished(out, resume=True)
    owner.stdout.close()
