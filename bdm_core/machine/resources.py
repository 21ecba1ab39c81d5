"""Peak memory of a stage."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak_memory() -> bool:
    """Start a new measurement. False where the system cannot: the peak then covers the process so far."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int | None:
    """Highest resident memory of this process since the last reset, in bytes, plus device memory if CUDA is used."""
    torch = sys.modules.get("torch")
    device = torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_initialized() else 0
    try:
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 + int(device)
    except OSError:
        pass
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    except ImportError:
        return None
    return int(peak * (1 if sys.platform == "darwin" else 1024) + device)
