from collections.abc import Sequence

import pytest

from aprqa_ci.execution.gpu_devices import GpuDevice, visible_devices

FIRST = "GPU-1f0e0001-aaaa-bbbb-cccc-000000000001"
SECOND = "GPU-2f0e0002-aaaa-bbbb-cccc-000000000002"
TWO = f"0, {FIRST}, 24564, 23011\n1, {SECOND}, 24564, 100\n"


def driver(devices: str | None = TWO, processes: str | None = "") -> object:
    def run(command: Sequence[str]) -> str | None:
        assert command[0] == "nvidia-smi"
        return devices if command[1].startswith("--query-gpu") else processes

    return run


def seen(
    devices: str | None = TWO, processes: str | None = "", visible: str | None = None
) -> tuple[GpuDevice, ...] | None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return visible_devices(driver(devices, processes), environment)  # type: ignore[arg-type] # a runner


def test_devices_are_read_with_their_memory() -> None:
    assert seen() == (
        GpuDevice(index="0", uuid=FIRST, total_mb=24564, free_mb=23011, processes=()),
        GpuDevice(index="1", uuid=SECOND, total_mb=24564, free_mb=100, processes=()),
    )


@pytest.mark.parametrize(("devices", "processes"), [(None, ""), (TWO, None), (None, None)])
def test_a_driver_that_does_not_answer_is_told_from_one_without_devices(
    devices: str | None, processes: str | None
) -> None:
    assert seen(devices, processes) is None
    assert seen("No devices were found\n") == ()


def test_processes_are_of_their_device() -> None:
    devices = seen(TWO, f"{SECOND}, 4711, /usr/bin/python3, --serve\n{SECOND}, 12, [N/A]\n")
    assert devices is not None
    assert devices[0].processes == ()
    assert devices[1].processes == ("4711 /usr/bin/python3, --serve", "12 [N/A]")


def test_the_name_of_a_process_is_foreign_text() -> None:
    devices = seen(TWO, f"{FIRST}, 1, \x1b[31m{'x' * 500}\u202e\n")
    assert devices is not None
    (shown,) = devices[0].processes
    assert shown.isprintable()
    assert len(shown) < 100


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        (" 0 ", ["0"]),
        (SECOND, ["1"]),
        ("GPU-2f0e", ["1"]),
        ("", []),
        ("-1", []),
        ("0,9,1", ["0"]),
        ("MIG-1f0e0001", ["0", "1"]),
    ],
)
def test_only_what_cuda_shows_counts(visible: str | None, indices: list[str]) -> None:
    devices = seen(visible=visible)
    assert devices is not None
    assert [each.index for each in devices] == indices


def test_memory_that_the_driver_does_not_say_is_none() -> None:
    devices = seen(f"0, {FIRST}, [N/A], [N/A]\n")
    assert devices is not None
    assert (devices[0].total_mb, devices[0].free_mb) == (0, 0)
