"""``docs/sweep.md``: its plan is one that ``bdm sweep`` takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_process import bdm_process
from fake_site import FakeSite

from bdm_core.discovery.candidates import installed

PAGE = (Path(__file__).parent.parent / "docs/sweep.md").read_text(encoding="utf-8")
NEEDED = {"villan", "baddiffusion", "elijah", "ufid", "fine-tune", "target", "frechet", "diffusion"}


@pytest.mark.skipif(not {item.name for item in installed()} >= NEEDED, reason="the page's plugins are not installed")
def test_the_plan_of_the_page_can_run(fake_site: FakeSite) -> None:
    folder = fake_site.root.parent
    (plan,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "plan.yaml").write_text(plan)
    (folder / "my-ddpm").mkdir()
    done = bdm_process(fake_site, "sweep", "plan.yaml", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert not (folder / "runs").exists()
