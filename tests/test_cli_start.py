"""Start-up imports nothing heavy."""

from cli_process import bdm, install_toys, python
from fake_site import FakeSite

HEAVY = ("torch", "numpy", "diffusers", "transformers", "pydantic", "accelerate", "sklearn", "PIL", "safetensors")

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
    for arguments in (["--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["--version"]):
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
