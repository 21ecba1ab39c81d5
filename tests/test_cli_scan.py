"""``bdm scan``: the task from the model, every detector that applies, one verdict, exit codes; wrong input by name."""

import json
import shutil
from pathlib import Path

import pytest
from cli_process import Done, bdm, bdm_process, error_line, install_toys
from fake_site import FakeSite

OPTIONS = ("--no-report", "--device", "cpu", "--quiet", "--exit-code")


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def model_folder(parent: Path, name: str, text: str) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "content.txt").write_text(text)
    return folder


def scan(site: FakeSite, *arguments: object, **variables: str) -> Done:
    return bdm(site, "scan", *arguments, *OPTIONS, **variables)


def test_every_detector_that_applies_is_asked_and_one_line_says_it_all(toys: FakeSite, tmp_path: Path) -> None:
    done = scan(toys, model_folder(tmp_path, "bad", "backdoor"), COLUMNS="100")
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["detector", "verdict", "score", "threshold", "p", "access", "time"]
    assert lines[2].split()[:5] == ["toylook", "BACKDOORED", "1.000", "0.500", "0.01"]
    assert lines[3].split()[:3] == ["toyshrug", "cannot", "tell"] and "toyshrug: the text is too short" in lines
    assert f"{tmp_path / 'bad'}: BACKDOORED  (of 2 detectors toylook says backdoored, toyshrug cannot tell)" in lines
    assert "not checked: none, toysieve: does not detect" in lines


def test_the_folder_of_a_run_or_of_a_stage_stands_for_its_model(toys: FakeSite, tmp_path: Path) -> None:
    run = ("run", "--attack", "toyword", "--defense", "toylook", "--name", "one", "--quiet", "--device", "cpu")
    done = bdm(toys, *run, "--out", "runs")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("model ") and "(backdoored; " in line)
    place = tmp_path / line.split()[1]
    assert (place / "content.txt").read_text() == "backdoor" and line.endswith("(backdoored; bdm scan runs/one)")
    for arguments, verdict in (
        (["runs/one"], "backdoored"),
        (["runs/one", "--row", "repaired"], "clean"),
        (["runs/one", "--row", "clean"], "clean"),
        ([place.parent], "backdoored"),
    ):
        found = json.loads(scan(toys, *arguments, "--json", "--detect", "toylook").stdout)
        assert found["verdict"] == verdict and str(arguments[0]) in found["model"], arguments
    assert (
        "runs/one, backdoored model: BACKDOORED  (toylook says" in scan(toys, "runs/one", "--detect", "toylook").stdout
    )
    assert "rows are backdoored, repaired, clean" in error_line(scan(toys, "runs/one", "--row", "purified"))
    assert "no folder of a run" in error_line(scan(toys, "honest", "--row", "repaired"))
    stage = next((tmp_path / "runs/store/poison-data").glob("*/*/stage.json")).parent
    assert "left no model of its own" in error_line(scan(toys, stage))


def test_a_run_whose_store_is_gone_says_so(toys: FakeSite, tmp_path: Path) -> None:
    bdm(toys, "run", "--attack", "toyword", "--name", "one", "--quiet", "--device", "cpu", "--out", "runs")
    shutil.rmtree(tmp_path / "runs/store")
    assert "the store does not hold it any more" in error_line(scan(toys, "runs/one"))


@pytest.mark.parametrize(
    ("arguments", "verdict", "code"),
    [
        (["honest"], "clean", 0),
        (["spoilt"], "backdoored", 3),
        (["spoilt", "--detect", "toyshrug"], "not identifiable", 4),
        (["honest", "--defense", "toylook", "--detect", "toylook"], "clean", 0),
    ],
)
def test_exit_codes_and_json(toys: FakeSite, arguments: list[str], verdict: str, code: int) -> None:
    done = scan(toys, *arguments, "--json")
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert (document["model"], document["verdict"], document["task"]) == (arguments[0], verdict, "toy-task")
    named = [word for word in arguments[1:] if not word.startswith("--")]
    assert [item["detector"] for item in document["checked"]] == (named[:1] or ["toylook", "toyshrug"])
    assert document["checked"][0]["access"] and document["checked"][0]["seconds"] is not None
    assert ("toysieve" in document["not_checked"]) == (not named)


@pytest.mark.parametrize("columns", ["40", "60", "80", "120"])
def test_no_word_is_cut_at_any_width(toys: FakeSite, columns: str) -> None:
    done = scan(toys, "spoilt", COLUMNS=columns)
    table = done.stdout.split("spoilt:")[0]
    words = table.split()
    assert "…" not in table and max(map(len, table.splitlines())) <= int(columns)
    for word in ("toylook", "toyshrug", "BACKDOORED", "cannot", "tell", "weights", "1.000"):
        assert word in words


def test_a_configuration_names_the_detector(toys: FakeSite, tmp_path: Path) -> None:
    (tmp_path / "scan.yaml").write_text("detect: toyshrug\ndevice: cpu\n")
    done = bdm(toys, "scan", "honest", "--config", "scan.yaml", "--no-report", "--json")
    assert [item["detector"] for item in json.loads(done.stdout)["checked"]] == ["toyshrug"]
    (tmp_path / "scan.yaml").write_text("attack: toyword\n")
    assert "a scan has no option 'attack'" in error_line(bdm(toys, "scan", "honest", "--config", "scan.yaml"))


def test_an_unknown_detector_or_model_gets_a_suggestion(toys: FakeSite) -> None:
    assert "did you mean 'toylook'?" in error_line(scan(toys, "honest", "--detect", "toylok"))
    assert "did you mean 'honest'?" in error_line(scan(toys, "honst"))
    assert "toysieve cannot" in error_line(scan(toys, "honest", "--detect", "toysieve")).replace("does not", "cannot")


def write(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_what_is_no_model_is_named_as_what_it_is(toys: FakeSite, tmp_path: Path) -> None:
    manifest = {"schema_version": 1, "kind": "data", "format": "text", "task": "toy-task", "files": {}}
    classifier = json.dumps({"architectures": ["VideoMAEForVideoClassification"]})
    cases = {
        write(tmp_path / "lora", adapter_config__json='{"base_model_name_or_path": "org/base"}'): "adapter (LoRA) of",
        write(tmp_path / "lora2", adapter_model__safetensors=""): "an adapter (LoRA), not a whole model",
        write(tmp_path / "images", a__png="", b__jpg=""): "a folder of images",
        write(tmp_path / "classifier", config__json=classifier): "a classifier (VideoMAEForVideoClassification)",
        write(tmp_path / "sealed", manifest__json=json.dumps(manifest)): "with data, not with a model",
        write(tmp_path / "empty"): "an empty folder",
        write(tmp_path / "pickles", model__bin=""): "a folder of pickled checkpoints",
        write(tmp_path / "weights", model__safetensors=""): "weights without a configuration",
        write(tmp_path / "other", model_index__json='{"_class_name": "XPipeline"}'): "a diffusers folder (XPipeline)",
        write(tmp_path / "list", config__json="[1]", a__txt=""): "a folder that no installed kit knows",
    }
    for name, expected in {
        "a.png": "an image",
        "a.txt": "a text",
        "a.safetensors": "bdm import",
        "a.ckpt": "bdm import",
        "a.zip": "a single archive",
        "a.wav": "a sound",
        "a": "a file",
    }.items():
        (tmp_path / name).write_text("")
        cases[tmp_path / name] = expected
    for path, expected in cases.items():
        message = error_line(scan(toys, path))
        assert message.startswith(f"{path} is ") and expected in message and "--task toy-task" in message


def test_a_hub_reference_asks_for_its_task(toys: FakeSite) -> None:
    toys.install("bdm-kit-two", {"bdm.kits": {"two": "two:Two"}, "bdm.tasks": {"second-task": "two:Two"}})
    message = error_line(scan(toys, "hf:org/name@0123"))
    assert "name its commit" not in message
    assert "name its commit too, hf:org/name@COMMIT" in error_line(scan(toys, "hf:org/name"))
    assert "only after the download" in message and "--task second-task" in message and "--task toy-task" in message


def test_a_model_of_several_tasks_asks_which(toys: FakeSite) -> None:
    source = """
        from cli_toys import ToyKit
        class Two(ToyKit):
            name = "two"
            tasks = frozenset({"second-task"})
            def task_of(self, folder):
                return "second-task" if (folder / "content.txt").is_file() else None
            def models(self):
                raise RuntimeError("broken")
    """
    entries = {"bdm.kits": {"two": "two:Two"}, "bdm.tasks": {"second-task": "two:Two"}}
    toys.install("bdm-kit-two", entries, {"two": source.replace('raise RuntimeError("broken")', "return []")})
    folder = model_folder(toys.root.parent, "both", "honest")
    message = error_line(scan(toys, folder))
    assert "several tasks: name one, --task toy-task or --task second-task" in message
    assert scan(toys, folder, "--task", "toy-task").returncode == 0


def test_a_broken_kit_does_not_stop_the_others(toys: FakeSite) -> None:
    entries = {"bdm.kits": {"two": "two:Two"}, "bdm.tasks": {"second-task": "two:Two"}}
    toys.install("bdm-kit-two", entries, {"two": "raise SystemExit(0)"})
    assert bdm_process(toys, "scan", "honest", *OPTIONS).returncode == 0


def test_a_failed_stage_is_exit_code_1(toys: FakeSite) -> None:
    source = """
        from bdm_core import hookimpl
        from cli_toys import Shrug
        class Failing(Shrug):
            name = "failing"
            @hookimpl
            def detect(self, model):
                raise ZeroDivisionError
    """
    entries = {"bdm.defenses": {"failing": "failing:Failing"}, "bdm.tasks": {"toy-task": "failing:Failing"}}
    toys.install("bdm-failing", entries, {"failing": source})
    done = scan(toys, "honest")
    assert done.returncode == 1 and done.stderr.startswith("error: defense:failing failed while making")


def test_the_help_and_the_page_say_the_exit_codes(toys: FakeSite) -> None:
    text = " ".join(bdm(toys, "scan", "--help", COLUMNS="200").stdout.split())
    page = (Path(__file__).parent.parent / "docs/scan.md").read_text(encoding="utf-8")
    assert "0 clean, 3 backdoored, 4 cannot tell" in text
    for code in (0, 1, 2, 3, 4, 130, 143):
        assert f"| {code} |" in page


def sarif_of(site: FakeSite, *arguments: object) -> tuple[dict, Done]:
    done = scan(site, *arguments, "--sarif", "found/scan.sarif")
    return json.loads((site.root.parent / "found/scan.sarif").read_text()), done


def test_sarif_has_a_rule_and_a_result_for_each_detector(toys: FakeSite, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "secret-place", "backdoor")
    document, done = sarif_of(toys, folder)
    assert done.returncode == 3
    assert document["version"] == "2.1.0" and document["$schema"].endswith("sarif-2.1.0.json")
    (run,) = document["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["defense:toylook", "defense:toyshrug"]
    assert run["tool"]["driver"]["name"] == "bdm" and run["tool"]["driver"]["semanticVersion"]
    assert [(item["ruleId"], item["kind"], item["level"]) for item in run["results"]] == [
        ("defense:toylook", "fail", "error"),
        ("defense:toyshrug", "fail", "note"),
    ]
    for item in run["results"]:
        assert run["tool"]["driver"]["rules"][item["ruleIndex"]]["id"] == item["ruleId"]
        assert item["message"]["text"]
        (place,) = item["locations"]
        assert place["physicalLocation"]["artifactLocation"] == {"uri": "content.txt", "uriBaseId": "MODEL"}
    assert [item["location"]["uri"] for item in run["artifacts"]] == ["content.txt"]
    assert "MODEL" in run["originalUriBaseIds"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is True
    assert any("toysieve" in item["message"]["text"] for item in invocation["toolExecutionNotifications"])
    assert run["properties"]["verdict"] == "backdoored"


def test_sarif_of_a_clean_model_has_only_what_passed(toys: FakeSite) -> None:
    document, done = sarif_of(toys, "honest", "--detect", "toylook")
    assert done.returncode == 0
    (item,) = document["runs"][0]["results"]
    assert (item["kind"], item["level"]) == ("pass", "none")  # SARIF 3.27.10: what did not fail has no level


def test_sarif_that_cannot_be_written_is_one_line(toys: FakeSite) -> None:
    (toys.root.parent / "file").write_text("")
    done = scan(toys, "honest", "--sarif", "file/scan.sarif")
    assert done.returncode == 2 and "cannot write file/scan.sarif" in done.stderr
