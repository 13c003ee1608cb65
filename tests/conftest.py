"""One OpenMP thread for every test and every process that it starts."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: small networks lose more on threads
