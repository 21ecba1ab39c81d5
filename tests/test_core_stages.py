"""What a plugin may do to its folders, its inputs and its results, and what one line it gets when it does more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.errors import BdmError, PluginError, StageError, StoreError, UserError
from bdm_core.run import inputs as inputs_module
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
from bdm_core.store.store import paths
from bdm_results.view import RunView

CELL = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5)
ATTACK = """
    import errno, json, math
    from bdm_core.artifacts import Model, Secret
    from bdm_core.records import Backdoored
    from bdm_core import Field, hookimpl
    from bdm_toy import memory
    from bdm_toy.attack import ToyAttack

    class OddParams(ToyAttack.Params):
        picture: str = Field("", description="A picture.")
        api_key: str = Field("", description="A key.")

    class Odd(ToyAttack):
        name = "odd"
        Params = OddParams

        @hookimpl
        def inject_backdoor(self, ctx, params, model, data):
            made = ToyAttack.inject_backdoor(self, ctx, params, model, data)
            {code}
            return made
"""
DEFENSE = """
    import json, math, os
    from pathlib import Path
    from bdm_core.records import Detection
    from bdm_core import Defense, hookimpl

    class Odd(Defense):
        name, level = "odd", "{level}"

        @hookimpl
        def detect(self, ctx, model, data, suspects):
            {code}
"""


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def _attack(site: FakeSite, code: str) -> RunSpec:
    site.install(
        "bdm-attack-odd",
        {"bdm.attacks": {"odd": "odd_attack:Odd"}, "bdm.tasks": {"toy": "odd_attack:Odd"}},
        {"odd_attack": ATTACK.format(code=code)},
    )
    return CELL.model_copy(update={"attack": "odd"})


def _defense(site: FakeSite, code: str, level: str = "model", **changes: object) -> RunSpec:
    site.install(
        "bdm-defense-odd",
        {"bdm.defenses": {"odd": "odd_defense:Odd"}},
        {"odd_defense": DEFENSE.format(code=code, level=level)},
    )
    return CELL.model_copy(update={"detect": "odd", "repair": None, **changes})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "return Backdoored(model=made.model, secret=Secret.seal(ctx.out / 'model', format='x', task='toy'))",
            "is a secret, not a model",
        ),
        (
            "(ctx.out / 'secret').rename(ctx.out / 'other'); "
            "return Backdoored(model=made.model, secret=Secret.open(ctx.out / 'other'))",
            "a secret belongs into",
        ),
        (
            "return Backdoored(model=memory.seal_model(ctx.out / 'secret', []), secret=made.secret)",
            "a model is sealed in",
        ),
        ("return Backdoored(model=memory.seal_model(ctx.out, []), secret=made.secret)", r"ctx\.out itself is sealed"),
        ("(made.model.path / 'memory.json').write_text('1')", "does not match the hash"),
        ("memory.seal_model(ctx.out / 'model', [])", "was sealed differently"),
        ("return Backdoored(model=memory.seal_model(ctx.work / 'm', []), secret=made.secret)", r"below ctx\.out"),
    ],
)
def test_a_result_that_is_not_sealed_where_it_belongs_is_refused(
    tmp_path: Path, fake_site: FakeSite, code: str, message: str
) -> None:
    with pytest.raises(StageError, match=message) as caught:
        run(_attack(fake_site, code), tmp_path)
    assert "attack:odd left a wrong 'backdoored model'" in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "store").glob("inject-backdoor/*/*"))


def test_resolved_paths_are_accepted_and_leftovers_are_not_published(
    tmp_path: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    code = """(ctx.out / 'notes.txt').write_text('trigger'); (ctx.out / 'other').mkdir()
            return Backdoored(model=Model.open((ctx.out / 'model').resolve()), secret=made.secret)"""
    view = run(_attack(fake_site, code), tmp_path / "link")
    model = view.result_of("backdoored model").model
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["model", paths.STAGE_RECORD]
    secret = view.result_of("backdoored model").secret
    assert model.path.parent.name not in str(secret.path)
    for path in [*model.path.rglob("*"), *secret.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("links", [True, False])
def test_a_defense_cannot_resolve_where_its_inputs_come_from(
    tmp_path: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr(inputs_module.os, "link", refuse)
    code = """seen = [str(f.resolve()) for x in (model, data, suspects) for f in [x.path, *x.path.rglob('*')]]
            ctx.figures(seen=seen, modes=[Path(f).stat().st_mode & 0o222 for f in seen if Path(f).is_file()])
            return Detection(level='model', scores=[0.0], threshold=1.0)"""
    view = run(_defense(fake_site, code), tmp_path)
    figures = view.stage("detection")["figures"]  # type: ignore[index]
    assert all("/.work/" in path and "inject-backdoor" not in path for path in figures["seen"])
    assert set(figures["modes"]) == {0}


@pytest.mark.parametrize("edit", ["path.chmod(0o644); path.write_text('{}')", "path.with_name('new').write_text('')"])
def test_a_hook_that_edits_its_inputs_is_named(tmp_path: Path, fake_site: FakeSite, edit: str) -> None:
    code = f"path = model.path / 'memory.json'; {edit}"
    with pytest.raises(StageError, match="attack:odd changed its input 'model'"):
        run(_attack(fake_site, code), tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("open('/no/such/file')", "attack:odd failed while making 'backdoored model': FileNotFoundError"),
        ("raise PermissionError(errno.EACCES, 'no', 'x')", "attack:odd failed .* PermissionError"),
        ("ctx.figures(x={1, 2})", "attack:odd failed .* TypeError"),
        ("return Backdoored(model=made.model, secret=None)", "attack:odd failed .* ValidationError"),
    ],
)
def test_an_error_of_a_plugin_names_it(tmp_path: Path, fake_site: FakeSite, code: str, message: str) -> None:
    with pytest.raises(StageError, match=message) as caught:
        run(_attack(fake_site, code), tmp_path)
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["__import__('sys').exit(0)", "__import__('os')._exit(0)", "exit()"])
def test_a_plugin_that_exits_has_failed(tmp_path: Path, fake_site: FakeSite, code: str) -> None:
    with pytest.raises(StageError, match="attack:odd failed while making 'backdoored model': SystemExit"):
        run(_attack(fake_site, code), tmp_path, name="mine")
    assert RunView(tmp_path / "mine").record["status"] == "failed"


def test_processes_that_a_plugin_forks_end_as_usual(tmp_path: Path, fake_site: FakeSite) -> None:
    code = """pid = __import__('os').fork()
            if pid == 0:
                __import__('os')._exit(7)
            assert __import__('os').waitstatus_to_exitcode(__import__('os').waitpid(pid, 0)[1]) == 7"""
    assert run(_attack(fake_site, code), tmp_path).record["status"] == "complete"


def test_a_plugin_that_changes_the_folder_changes_it_for_itself(
    tmp_path: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    view = run(_attack(fake_site, "__import__('os').chdir('/')"), Path("out"), name="mine")
    assert Path.cwd() == tmp_path and view.record["status"] == "complete"
    assert not (tmp_path / "out" / "mine" / ".lease").exists()


def test_a_disk_that_a_plugin_finds_full_is_no_fault_of_the_plugin(tmp_path: Path, fake_site: FakeSite) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        run(_attack(fake_site, "raise OSError(errno.ENOSPC, 'full')"), tmp_path)


@pytest.mark.parametrize(
    ("code", "level", "error", "message"),
    [
        ("return Detection(level='model', scores=[math.nan], threshold=1.0)", "model", StageError, "finite number"),
        ("return Detection(level='model', scores=[], threshold=1.0)", "model", StageError, "at least 1 item"),
        ("return Detection(level='input', scores=[0.0], threshold=1.0)", "model", PluginError, "expected 1 at level"),
        ("return Detection(level='model', scores=[0.0, 1.0], threshold=1.0)", "model", PluginError, "2 scores"),
        ("return Detection(level='input', scores=[0.0], threshold=1.0)", "input", PluginError, "expected 64 at level"),
        ("return Detection(level='model', scores=[0.0], threshold=1.0)", "data", PluginError, "expected 32 at level"),
    ],
)
def test_a_wrong_verdict_is_an_error_and_never_clean(
    tmp_path: Path, fake_site: FakeSite, code: str, level: str, error: type[BdmError], message: str
) -> None:
    spec = _defense(fake_site, code, level)
    with pytest.raises(error, match=message) as caught:
        run(spec, tmp_path, name="mine")
    assert "defense:odd" in str(caught.value) and "\n" not in str(caught.value)
    assert RunView(tmp_path / "mine").record["detections"] == {}


def test_data_without_a_count_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_site: FakeSite) -> None:
    from bdm_toy import memory

    from bdm_core.artifacts import Data

    def seal(folder: Path, rows: list[memory.Row], format: str) -> Data:
        memory.write_rows(folder, rows)
        return Data.seal(folder, format=format, task="toy")

    monkeypatch.setattr(memory, "seal_data", seal)
    spec = _defense(fake_site, "return Detection(level='input', scores=[0.0] * 64, threshold=1.0)", "input")
    with pytest.raises(PluginError, match=r'has no meta\["count"\]'):
        run(spec, tmp_path)


OBSERVER = """
    from bdm_core import Observer, hookimpl

    class Falls(Observer):
        name = "falls"

        @hookimpl
        def stage_started(self, stage):
            raise ZeroDivisionError("over " + stage)

        @hookimpl
        def stage_progress(self, stage):
            raise KeyError(stage)
"""


def test_an_observer_that_fails_is_warned_of_once(
    tmp_path: Path, fake_site: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    fake_site.install("bdm-observer-falls", {"bdm.observers": {"falls": "falls:Falls"}}, {"falls": OBSERVER})
    from bdm_toy.observer import ToyObserver

    ToyObserver.events.clear()
    view = run(CELL.model_copy(update={"observers": ["falls", "toy"]}), tmp_path)
    assert caplog.text.count("observer:falls failed: ZeroDivisionError: over model") == 1
    assert caplog.text.count("observer:falls") == 1
    assert [entry["warnings"] for entry in view.stages if entry["warnings"]] == []
    assert ("finished", "repaired model") in ToyObserver.events


def test_a_picture_named_in_parameters_counts_by_its_content(tmp_path: Path, fake_site: FakeSite) -> None:
    picture = tmp_path / "picture.png"
    spec = _attack(fake_site, "pass").model_copy(update={"params": {"attack:odd": {"picture": str(picture)}}})

    def computed() -> bool:
        return not run(spec, tmp_path / "out").stage("backdoored model")["cached"]  # type: ignore[index]

    picture.write_bytes(b"one")
    assert (computed(), computed()) == (True, False)
    os.utime(picture, (1.0, 1.0))
    assert not computed()
    picture.write_bytes(b"two")
    assert computed()


def test_a_credential_in_parameters_reaches_no_file(tmp_path: Path, fake_site: FakeSite) -> None:
    spec = _attack(fake_site, "assert params.api_key == 'SESAME'")
    spec = spec.model_copy(update={"params": {"attack:odd": {"api_key": "SESAME"}}})
    for _ in range(2):
        run(spec, tmp_path / "out", name="mine")  # the same run by its written options
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "SESAME" not in text and "[redacted]" in text


@pytest.mark.parametrize("name", ["store", ".hidden", "a/b", "..", "", "-x", "a b", "x\n"])
def test_a_run_name_that_is_no_plain_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        run(CELL, tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()
