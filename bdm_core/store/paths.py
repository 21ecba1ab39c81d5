"""Names of the files and folders that a run leaves behind."""

from __future__ import annotations

STORE = "store"
SECRETS = "secrets"
WORK = ".work"
STAGE_RECORD = "stage.json"
RUN_RECORD = "run.json"
EVENTS = "events.jsonl"
RESULTS = "results.jsonl"
STAGES = "stages.json"
LOG = "log.txt"
REPORT = "report.html"
