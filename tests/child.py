"""Python programs that a test runs as processes of their own: what they take of memory is theirs alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The peak that getrusage tells begins with that of the process that started this one; VmHWM begins with the program.
STATUS = """
def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":"))
"""

needs_peaks = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")


def run(script: str, *arguments: str) -> str:
    """What the script prints; ``status("VmHWM")`` is its peak in bytes, ``status("VmRSS")`` what it holds."""
    command = [sys.executable, "-c", STATUS + script, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
