"""The load of the machine, every few seconds, into a spool."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from src.tracking.spool import Spool, now


class Sampler:
    """System metrics every few seconds, and at least once, into a spool: by MLflow's own monitors, under its names."""

    def __init__(self, spool: Spool):
        self.log = spool.system
        self.log.open()
        *_, last = [-1, *(record["step"] for _, record in self.log.read())]
        self.next = last + 1
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def _sample(self) -> None:
        from mlflow.environment_variables import (
            MLFLOW_SYSTEM_METRICS_NODE_ID,
            MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING,
            MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
        )

        interval = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or 5
        node = MLFLOW_SYSTEM_METRICS_NODE_ID.get()
        prefix = f"system/{node}/" if node else "system/"
        monitors = _monitors()
        while True:
            for _ in range(MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.get() or 1):
                for monitor in monitors:
                    monitor.collect_metrics()
                self.stopped.wait(interval)
            values = {f"{prefix}{key}": value for each in monitors for key, value in each.aggregate_metrics().items()}
            self.log.append({"kind": "points", "values": values, "step": self.next, "time": now()})
            self.next += 1
            if self.stopped.is_set():
                return
            for monitor in monitors:
                monitor.clear_metrics()

    def stop(self) -> None:
        """Write the last sample and end."""
        if not self.stopped.is_set():
            self.stopped.set()
            self.thread.join()
            self.log.close()


def _monitors() -> list[Any]:
    """CPU and memory, disk, network, and the GPU if there is one."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no NVIDIA GPU, in MLflow's words
        monitors.append(GPUMonitor())
    return monitors
