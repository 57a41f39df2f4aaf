"""Where the ``apr`` tool computes, as the GPU's driver shows it; what the tool says is no proof."""

from collections.abc import Sequence

from aprqa_ci.execution.engines.interface import Device, EngineAbsentError
from aprqa_ci.execution.gpu_devices import GpuDevice, holding
from aprqa_ci.vocabulary import Backend

__all__ = ["cpu_device", "gpu_device"]

_MIB = 1 << 20


def cpu_device(pid: int | None, devices: Sequence[GpuDevice] | None) -> Device:
    """Return the processor, unless the driver says that the process computes elsewhere.

    Raises:
        EngineAbsentError: it computes on a GPU.
    """
    if pid is not None and (on := holding({pid}, devices or ())):
        what = f"apr was told --no-gpu, and the driver says that it computes on {on}"
        raise EngineAbsentError(what)
    driver = (
        "no NVIDIA driver answers"
        if devices is None
        else "the driver lists no GPU that its process computes on"
    )
    if pid is None:
        driver = "its processes end with their answers"
    return Device(
        backend=Backend.CPU,
        name="cpu",
        proof=f"--no-gpu, with every GPU hidden from it; {driver}",
    )


def gpu_device(
    pid: int,
    before: Sequence[GpuDevice],
    after: Sequence[GpuDevice],
    weights_bytes: int,
) -> Device:
    """Return the GPU, proven where the driver shows the server or its weights on it."""
    if on := holding({pid}, after):
        return Device(
            backend=Backend.GPU,
            name=on,
            proof=f"the driver lists process {pid} of apr serve as computing on {on}",
        )
    free = {each.uuid: each.free_mb for each in before}
    taken = {each.uuid: free.get(each.uuid, 0) - each.free_mb for each in after}
    most = max(taken, key=lambda uuid: taken[uuid], default="")
    if most and taken[most] * _MIB >= weights_bytes // 2 > 0:
        return Device(
            backend=Backend.GPU,
            name=most,
            proof=f"loading took {taken[most]} MiB of the memory of {most}, for weights of"
            f" {weights_bytes} bytes",
        )
    return Device(
        backend=Backend.GPU,
        name=most or "unknown",
        proof=(
            f"the driver lists no GPU that process {pid} computes on, and loading took"
            f" {max(taken.values(), default=0)} MiB of GPU memory for {weights_bytes} bytes of"
            " weights"
        ),
        proven=False,
    )
