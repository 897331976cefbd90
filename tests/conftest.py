"""One thread a test process: small tensors on several threads only wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
