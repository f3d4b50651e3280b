"""A plugin for nbval: keep the claims that a notebook's cells made, as records, in the file $KEEP_CLAIMS."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from chapters import CLAIM

KEPT = []


def pytest_runtest_teardown(item):
    for output in getattr(item, "test_outputs", None) or []:
        if CLAIM in output.get("data", {}):
            KEPT.append(output["data"][CLAIM])


def pytest_sessionfinish():
    Path(os.environ["KEEP_CLAIMS"]).write_text(json.dumps(KEPT))
