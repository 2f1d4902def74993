"""What is generated and committed is what its generator makes today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.mark.parametrize("tool", ["generate_proto.py", "make_bucketing_vectors.py"])
def test_there_is_no_drift(tool):
    done = subprocess.run([sys.executable, str(TOOLS / tool), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
