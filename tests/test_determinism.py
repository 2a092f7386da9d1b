"""The same seed gives the same codes, to the last bit: whatever else differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import strategies as own
from fitted_digests import digests
from sklearn import config_context
from threadpoolctl import threadpool_limits

SCRIPT = Path(__file__).parent / "fitted_digests.py"


@pytest.fixture(scope="module")
def expected():
    return digests()


def test_block_sizes_threads_and_jobs_change_nothing(expected):
    jobs = {"n_jobs": 2 if own.LONG else None, "ranker_jobs": 2}
    with config_context(working_memory=1e-3), threadpool_limits(3):
        assert digests(**jobs) == expected


# Names of the kernels of OpenBLAS, which other machines pass over; all of them run on AVX2.
KERNELS = ["Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen"]
PROCESSES = [{"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Prescott"}]
if own.LONG:
    PROCESSES += [{"OPENBLAS_CORETYPE": name} for name in KERNELS]
    PROCESSES += [{"PYTHONHASHSEED": str(seed)} for seed in range(5)]
    PROCESSES += [{"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n} for n in "124"]


@pytest.mark.parametrize("environment", PROCESSES, ids=lambda env: " ".join(env.values()))
def test_another_process_says_the_same(expected, environment):
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
