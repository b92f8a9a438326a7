"""One thread a process: on a busy machine torch's idle threads cost more than these small tests do."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
