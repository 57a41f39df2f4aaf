from collections.abc import Sequence

import pytest

from aprqa_ci.execution.gpu_devices import GpuDevice, gpu_use, visible_devices

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


def device(uuid: str = FIRST, free: int = 1000, *processes: str) -> GpuDevice:
    return GpuDevice(index="0", uuid=uuid, total_mb=1000, free_mb=free, processes=processes)


MIB = 1 << 20


def test_a_listed_process_shows_the_gpu() -> None:
    listed = [device(), device(SECOND, 1000, "123 other", "12 python")]
    assert SECOND in gpu_use({7, 12}, [device(), device(SECOND)], listed, 0)
    assert gpu_use({1, 3, 23}, [device(), device(SECOND)], listed, 100 * MIB) == ""


@pytest.mark.parametrize(
    ("free", "weights", "shown"),
    [
        ((950, 1000), 100 * MIB, True),
        ((951, 1000), 100 * MIB, False),
        # Halves on two devices; what others gave back meanwhile counts for nothing.
        ((975, 975), 100 * MIB, True),
        ((990, 1000), 100 * MIB, False),
        ((950, 1000), 0, False),
        ((1000, 1000), 1, False),
    ],
)
def test_the_memory_of_half_the_weights_shows_it(
    free: tuple[int, int], weights: int, shown: bool
) -> None:
    before = [device(), device(SECOND)]
    after = [device(FIRST, free[0]), device(SECOND, free[1])]
    assert bool(gpu_use({1}, before, after, weights)) is shown


def test_memory_that_was_given_back_takes_nothing_off() -> None:
    before = [device(FIRST, 1000), device(SECOND, 500)]
    after = [device(FIRST, 950), device(SECOND, 900)]
    assert gpu_use({1}, before, after, 100 * MIB)
    assert gpu_use({1}, [], [device(SECOND, 900)], 100 * MIB) == ""
