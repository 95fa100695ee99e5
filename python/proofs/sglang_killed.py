"""Storage for SGLang whose engine is killed while pages are being stored; for sglang_proof.py.

SGLang's tests have no such hook: its own processes do not know when a page is on its way."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from cubby.integrations.sglang import CubbyStorage


class KilledStorage(CubbyStorage):
    """Stores the first half of a batch, and is killed while the other half is stored."""

    def batch_set_v1(self, keys: list[str], host_indices: Any, extra_info: Any = None) -> Any:
        half = len(keys) // 2
        if half == 0:
            return super().batch_set_v1(keys, host_indices, extra_info)
        at = half * (len(host_indices) // len(keys))
        stored = super().batch_set_v1(keys[:half], host_indices[:at], extra_info)
        rest = (keys[half:], host_indices[at:], extra_info)
        threading.Thread(target=super().batch_set_v1, args=rest).start()
        print(f"KILLED with {sum(stored)} of {len(keys)} pages stored", flush=True)
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
        return stored
