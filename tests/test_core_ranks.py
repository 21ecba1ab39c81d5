"""Several processes of one launch: who enters a hook, with which folders, and what happens when rank 0 is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.errors import PluginError
from bdm_core.run import ranks
from bdm_core.run.ranks import Launch
from bdm_core.store.store import Store

TOY = Path(__file__).parent / "toy"
SCRIPT = """
import json, sys
from pathlib import Path
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
name, params = sys.argv[2], json.loads(sys.argv[3])
spec = RunSpec(attack=name, detect="toy", repair="toy", device="cpu", data_share=0.5, params={f"attack:{name}": params})
view = run(spec, Path(sys.argv[1]))
print(json.dumps({entry["label"]: entry["digests"] for entry in view.stages}))
"""
TOGETHER = """
import os, time
from pathlib import Path
from bdm_core.plugin import hookimpl
from bdm_core.run.ranks import require_all_ranks
from bdm_toy.attack import ToyAttack


class Together(ToyAttack):
    name = "together"
    distributed = True

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        meeting = Path(os.environ["MEETING"])
        (meeting / str(ctx.rank)).write_text(f"{ctx.out}\\n{ctx.work}\\n{model.path}")
        while len(list(meeting.iterdir())) < int(os.environ["WORLD_SIZE"]):
            time.sleep(0.01)
        made = ToyAttack.inject_backdoor(self, ctx, params, model, data)
        if ctx.rank:
            store = ctx.out.parents[2]
            while not list(store.glob("inject-backdoor/*/*/stage.json")):
                time.sleep(0.01)
            time.sleep(0.3)
            assert (ctx.work / "checkpoint.json").is_file(), "rank 0 took the folder away"
        return made


class Apart(ToyAttack):
    name = "apart"

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        assert ctx.rank == 0
        while not list(ctx.out.parents[3].glob(".rank1-*/run.json")):
            time.sleep(0.01)
        raise ValueError("asked to fail")


class Forgetful(ToyAttack):
    name = "forgetful"

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        require_all_ranks()
        raise AssertionError("a collective would wait here for ever")
"""


def _start(out: Path, site: FakeSite, name: str, **params: object) -> list[subprocess.Popen[str]]:
    attacks = {name.lower(): f"bdm_together:{name}" for name in ("Together", "Apart", "Forgetful")}
    tasks = {f"toy.{attack}": target for attack, target in attacks.items()}
    site.install("bdm-attack-together", {"bdm.attacks": attacks, "bdm.tasks": tasks}, {"bdm_together": TOGETHER})
    meeting = out.parent / "meeting"
    meeting.mkdir()
    environment = site.environment()
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(TOY)])
    environment |= {"MEETING": str(meeting), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(out), name, json.dumps(params)],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def test_ranks_compute_together_in_folders_of_their_own(tmp_path: Path, fake_site: FakeSite) -> None:
    processes = _start(tmp_path / "out", fake_site, "together", steps=5)
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert json.loads(results[0][0]) == json.loads(results[1][0])
    seen = [(tmp_path / "meeting" / str(rank)).read_text().splitlines() for rank in range(2)]
    assert seen[0][0] != seen[1][0] and seen[0][1] != seen[1][1]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []
    assert list((tmp_path / "out" / "store" / ".work").iterdir()) == []


def test_further_ranks_end_with_an_error_when_rank_0_fails(tmp_path: Path, fake_site: FakeSite) -> None:
    leader, follower = _start(tmp_path / "out", fake_site, "apart")
    assert "asked to fail" in leader.communicate(timeout=120)[1]
    assert "but rank 0 has ended" in follower.communicate(timeout=120)[1]
    assert leader.returncode and follower.returncode
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def test_training_together_without_saying_so_is_one_line_instead_of_waiting(
    tmp_path: Path, fake_site: FakeSite
) -> None:
    leader, follower = _start(tmp_path / "out", fake_site, "forgetful")
    message = leader.communicate(timeout=120)[1].splitlines()[-1]
    assert "PluginError: attack:forgetful trains in stage 'inject-backdoor', which rank 0 works on alone" in message
    assert "distributed = True" in message
    assert "but rank 0 has ended" in follower.communicate(timeout=120)[1]


def test_a_rank_that_begins_after_rank_0_has_failed_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_PORT", "29518")
    monkeypatch.setattr(ranks, "GRACE_SECONDS", -1.0)

    store = Store(tmp_path)
    store.prepare()

    def late() -> bool:
        monkeypatch.setenv("RANK", "1")
        return Launch(store).leader_is_gone()

    assert not late(), "rank 0 may still come"
    monkeypatch.setenv("RANK", "0")
    leader = Launch(store)
    with pytest.raises(ValueError, match="failed"), leader:
        raise ValueError("failed")
    assert late()
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 60.0)
    assert not late(), "a rank 0 started by hand may come again"
    monkeypatch.setattr(ranks, "GRACE_SECONDS", -1.0)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not late(), "the next attempt has a rank 0 of its own"
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    monkeypatch.setenv("RANK", "0")
    with Launch(store):
        assert not late()


def test_a_rank_that_did_not_see_rank_0_before_it_was_killed_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_PORT", "29519")
    monkeypatch.setattr(ranks, "GRACE_SECONDS", -1.0)
    script = (
        "import os, signal\nfrom pathlib import Path\n"
        "from bdm_core.run.ranks import Launch\nfrom bdm_core.store.store import Store\n"
        f"store = Store(Path({str(tmp_path)!r}))\nstore.prepare()\n"
        f"os.getppid = lambda: {os.getppid()}\n"
        "Launch(store).__enter__()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], env={**os.environ, "RANK": "0"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setenv("RANK", "1")
    assert Launch(Store(tmp_path)).leader_is_gone()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not Launch(Store(tmp_path)).leader_is_gone()


def test_collectives_are_allowed_outside_of_lone_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    with ranks.lone_hook("attack:x", "repair", alone=True):  # one process only
        ranks.require_all_ranks()
    monkeypatch.setenv("WORLD_SIZE", "2")
    ranks.require_all_ranks()  # a script of its own
    with ranks.lone_hook("attack:x", "repair", alone=False):
        ranks.require_all_ranks()
    with pytest.raises(PluginError, match="attack:x trains"), ranks.lone_hook("attack:x", "repair", alone=True):
        ranks.require_all_ranks()
    ranks.require_all_ranks()


def test_further_ranks_end_with_an_error_when_rank_0_is_killed(tmp_path: Path, fake_site: FakeSite) -> None:
    leader, follower = _start(tmp_path / "out", fake_site, "toy", steps=2000, pause=0.05)
    while not list((tmp_path / "out").glob("store/.work/*/work/checkpoint.json")):
        time.sleep(0.01)
    while not list((tmp_path / "out").glob(".rank1-*/run.json")):
        time.sleep(0.01)
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    assert "but rank 0 has ended" in follower.communicate(timeout=120)[1]


def test_a_launch_on_this_machine_is_told_apart_by_host_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "")
    assert (ranks.rank(), ranks.world_size(), ranks.group()) == (0, 1, "")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    one = ranks.group()
    monkeypatch.setattr("socket.gethostname", lambda: "another-host")
    assert ranks.group() != one
    monkeypatch.setenv("MASTER_ADDR", "node7")
    shared = ranks.group()
    monkeypatch.setattr("socket.gethostname", lambda: "a-third-host")
    assert ranks.group() == shared
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "42")
    assert ranks.group() != shared


def test_an_invitation_counts_only_for_the_launch_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    store = Store(tmp_path)
    store.prepare()
    store.work_folder("k").mkdir()
    with Launch(store) as killed, killed.inviting("k"):
        assert killed.invited("k")
        (store.work_folder("k") / ranks.INVITATION).rename(tmp_path / "kept")
    (tmp_path / "kept").rename(store.work_folder("k") / ranks.INVITATION)  # as after kill -9
    assert not killed.invited("k")
    with Launch(store) as leader:
        assert not leader.invited("k")
        with leader.inviting("k"):
            assert leader.invited("k")
        assert not leader.invited("k")


def test_the_leader_is_missed_once_it_was_seen_or_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    store = Store(tmp_path)
    store.prepare()
    with Launch(store):
        monkeypatch.setenv("RANK", "1")
        follower, late = Launch(store), Launch(store)
        assert not follower.leader_is_gone()
        monkeypatch.setenv("RANK", "0")
    assert follower.leader_is_gone() and not late.leader_is_gone()
    monkeypatch.setattr(ranks, "START_SECONDS", -1.0)
    assert late.leader_is_gone()


def test_a_copy_of_the_work_leaves_out_what_vanishes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    work = store.work_folder("k") / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "checkpoint.json").write_text("1")
    (work / "gone.new").symlink_to(work / "nowhere")
    own = tmp_path / "own"
    own.mkdir()
    Launch(store).copy_work("k", own)
    assert [path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()] == ["deep/checkpoint.json"]
