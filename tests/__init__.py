"""Tests. This module is imported before all others of them."""

import os

# Read when torch is loaded, here and in child processes. Threads of OpenMP that wait would keep
# their core busy, which the other worker of pytest needs; explaining a clip took 17 times the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
