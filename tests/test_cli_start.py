"""Start-up imports nothing heavy."""

import time
from pathlib import Path

from cli_process import bdm, install_toys, python
from fake_site import FakeSite

HEAVY = (
    "torch",
    "numpy",
    "diffusers",
    "transformers",
    "pydantic",
    "accelerate",
    "sklearn",
    "PIL",
    "safetensors",
    "duckdb",
    "pandas",
    "scipy",
    "matplotlib",
)

LIST_MODULES = """
import sys
from bdm_cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    print("exit", end.code, file=sys.stderr)
heavy = {heavy!r}
print("loaded", *[name for name in heavy if name in sys.modules], file=sys.stderr)
"""


def test_help_and_list_import_nothing_heavy(fake_site: FakeSite) -> None:
    install_toys(fake_site)
    listing = ["plugins", "list"]
    more = [[*listing, "--json"], [*listing, "defense"], [*listing, "--task", "toy-task"]]
    for arguments in (["--help"], listing, *more, ["--version"], ["sweep", "--help"], ["store", "--help"]):
        result = python(fake_site, "-c", LIST_MODULES.format(heavy=HEAVY), *arguments)
        assert result.stderr.splitlines()[-2:] == ["exit 0", "loaded"], (arguments, result.stderr)


def test_list_does_not_import_plugins(fake_site: FakeSite) -> None:
    fake_site.install("bdm-bad", {"bdm.attacks": {"bad": "bad_plugin:Bad"}}, {"bad_plugin": "raise SystemExit(9)"})
    result = bdm(fake_site, "plugins", "list", "attack")
    assert result.returncode == 0
    (line,) = [line for line in result.stdout.splitlines() if " bad " in line]
    assert line.split()[:3] == ["attack", "bad", "1.0"] and "a plugin for a test" in line
    wide = bdm(fake_site, "plugins", "list", "attack", COLUMNS="120").stdout
    assert ["attack", "bad", "1.0", "bdm-bad"] in [line.split()[:4] for line in wide.splitlines()]


def test_the_version_is_the_distributions(fake_site: FakeSite) -> None:
    from importlib.metadata import version

    assert bdm(fake_site, "--version").stdout == f"bdm {version('bdm')}\n"


def generated(site: FakeSite, count: int) -> FakeSite:
    """A site with so many distributions of one plugin each, as pip leaves them."""
    for number in range(count):
        name, target = f"generated{number}", f"bdm_attack_generated{number}.plugin:Generated"
        summary = f"bdm attack: the generated plugin number {number}, with a summary of usual length for a list"
        entries = {"bdm.attacks": {name: target}, "bdm.tasks": {"toy-task": target}}
        site.install(f"bdm-attack-{name}", entries, summary=summary)
        info = site.root / f"bdm_attack_{name}-1.0.dist-info"
        readme = "\n\nReadme\n" + "A line of the package's readme that nobody needs here.\n" * 60
        (info / "METADATA").write_text((info / "METADATA").read_text() + readme)
    return site


def test_130_plugins_take_hardly_longer_to_list_than_3(tmp_path: Path) -> None:
    """Least time of several interleaved runs in processes of their own, with nothing installed but the plugins."""
    sites = []
    for count in (3, 130):
        folder = tmp_path / str(count) / "site"
        folder.mkdir(parents=True)
        sites.append(generated(FakeSite(folder), count))
    times: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(7):
        for place, site in enumerate(sites):
            start = time.perf_counter()
            done = python(site, "-m", "bdm_cli", "plugins", "list", "attack")
            times[place].append(time.perf_counter() - start)
            assert done.returncode == 0 and done.stdout.count("the generated plugin number") == (3, 130)[place]
    assert min(times[1]) <= 1.3 * min(times[0]), times
