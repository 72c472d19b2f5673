"""What a trial's device tells beside the loss: peak memory, utilization against a peak, energy.

Nothing here waits for a GPU: the counters are the allocator's, the driver's and the ledger's own. What a
device does not tell is NaN in the curve and left out everywhere else; it is never guessed.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from ablate.training.ledger import Ledger

JOULES_PER_KWH = 3.6e6
TILES = {"cpu": 1024, "cuda": 8192}  # side of the product whose speed is a device's peak


class Meters:
    """Reads the meters of one attempt, on top of the energy that earlier attempts used."""

    def __init__(
        self, device: torch.device, ledger: Ledger, *, peak_flops: float | None, energy_kwh: float = 0.0,
        joules: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.device, self.ledger, self.peak_flops = device, ledger, peak_flops
        self._joules = joules if joules is not None else energy_counter(device)
        self._from = self._joules() if self._joules else 0.0
        self._before = energy_kwh
        self._flops, self._seconds = ledger.spent.flops, ledger.clock.charged

    def read(self) -> dict[str, float]:
        """The columns of one row of the curve."""
        energy = self.energy_kwh()
        return {
            "memory_gib": peak_memory_gib(self.device),
            "mfu": self._utilization(),
            "energy_kwh": math.nan if energy is None else energy,
        }

    def energy_kwh(self) -> float | None:
        """Energy of the trial so far; None where the device does not tell."""
        if self._joules is None:
            return None
        return self._before + (self._joules() - self._from) / JOULES_PER_KWH

    def _utilization(self) -> float:
        """Model FLOPs per charged second since the last row, as a share of the peak."""
        flops, seconds = self.ledger.spent.flops, self.ledger.clock.charged
        done, took = flops - self._flops, seconds - self._seconds
        self._flops, self._seconds = flops, seconds
        return done / took / self.peak_flops if self.peak_flops and took > 0 else math.nan


def peak_memory_gib(device: torch.device) -> float:
    """The most that this process has held: of the device's memory, on a CPU of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """Joules that a GPU has used since its driver was loaded, through NVML (pip install nvidia-ml-py)."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    return nvml_joules(pynvml, str(torch.cuda.get_device_properties(device).uuid))


def nvml_joules(nvml: Any, uuid: str) -> Callable[[], float] | None:
    """The counter of one GPU by its UUID, which CUDA_VISIBLE_DEVICES does not change.

    None where NVML or the GPU has none: before Volta, and in a slice of a GPU (MIG).
    """
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid if "-" in uuid[:4] else f"GPU-{uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3  # it counts millijoules


def measured_peak(device: torch.device | str | None = None, seconds: float = 0.2) -> float:
    """FLOP/s of a large square product, in the faster of bf16 and fp32: what MFU is a share of.

    One number per device and not per precision, so that arms of different precision are measured alike.
    Draws from no random stream of the trial.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    size = TILES.get(place.type, 1024)
    fp32 = _product_flops(place, torch.float32, size, seconds / 2)
    # A CPU that emulates bf16 takes a second for a large product; a small one shows that in milliseconds.
    if _product_flops(place, torch.bfloat16, size // 4, seconds=0.0) < fp32 / 10:
        return fp32
    return max(fp32, _product_flops(place, torch.bfloat16, size, seconds / 2))


def _product_flops(device: torch.device, dtype: torch.dtype, size: int, seconds: float) -> float:
    generator = torch.Generator(device).manual_seed(0)  # not zeros: they cost a GPU less power than data does
    left = torch.randn(size, size, generator=generator, device=device).to(dtype)
    out = torch.empty_like(left)

    def once() -> float:
        begun = time.perf_counter()
        torch.matmul(left, left, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    once()  # the first one loads kernels
    took = [once()]
    while sum(took) < seconds and len(took) < 50:
        took.append(once())
    return 2 * size**3 / min(took)
