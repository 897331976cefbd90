"""The command as a user calls it: a process of its own, in an empty folder, at 80 columns."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def benchbed(tmp_path, cache):
    def call(*arguments, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BENCHBED")}
        env |= {"XDG_CACHE_HOME": str(cache), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-m", "benchbed", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env=env | environment, check=False,
        )  # fmt: skip

    return call
