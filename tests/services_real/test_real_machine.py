"""Time, processor, memory and files of a real process."""

from __future__ import annotations

import asyncio
import mmap
import time
from pathlib import Path

import pytest

from aiopslab.errors import ContentError
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.cpu import ProcessCpu
from aiopslab.services.real.memory import CountedMemory, HeldMemory, resident
from aiopslab.services.real.mounted import MountedFiles

MIB = 2**20


def test_the_clock_is_the_machines_and_never_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time()  # noqa: TID251 - the clock is compared with the machine's
    clock = WallClock()
    now = clock.now()
    assert abs(now - before) < 60.0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() >= now


def test_an_alarm_ends_a_sleep_and_a_ring_while_awake_is_kept() -> None:
    async def scenario() -> None:
        alarm = WallClock().alarm()
        assert not await alarm.wait(0.001)
        alarm.ring()
        assert await alarm.wait(60.0)
        assert not await alarm.wait(0.001)
        sleeping = asyncio.create_task(alarm.wait(None))
        await asyncio.sleep(0)
        alarm.ring()
        assert await sleeping

    asyncio.run(scenario())


@pytest.mark.parametrize(("seconds", "times"), [(0.0001, 200), (0.02, 4), (0.1, 1)])
def test_burning_uses_the_processor_as_long_as_it_was_asked_to(seconds: float, times: int) -> None:
    async def scenario() -> float:
        cpu = ProcessCpu()
        await cpu.burn(0.01)  # how fast this machine works is known from here on
        start = time.process_time()
        for _ in range(times):
            await cpu.burn(seconds)
        used = time.process_time() - start
        cpu.close()
        return used

    asked, used = seconds * times, asyncio.run(scenario())
    # Handing work to threads and measuring costs a little beside it.
    assert asked <= used <= asked * 2.0 + 0.1


def test_burning_leaves_the_event_loop_to_others() -> None:
    async def scenario() -> None:
        cpu, turns = ProcessCpu(), 0
        burning = asyncio.create_task(cpu.burn(0.2))
        while not burning.done():
            turns += 1
            await asyncio.sleep(0.001)
        cpu.close()
        assert turns > 10

    asyncio.run(scenario())


def test_work_that_is_no_longer_wanted_stops() -> None:
    async def scenario() -> None:
        cpu = ProcessCpu()
        burning = asyncio.create_task(cpu.burn(3600.0))
        await asyncio.sleep(0)
        burning.cancel()
        await asyncio.wait([burning])
        cpu.close()
        cpu._threads.shutdown(wait=True)  # returns: nobody burns an hour

    asyncio.run(scenario())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_really_held_and_really_given_back() -> None:
    memory = HeldMemory()
    before = resident()
    memory.hold("heap", before + 64 * MIB)
    assert 60 * MIB <= resident() - before <= 80 * MIB
    memory.hold("requests", 32 * MIB)
    assert 90 * MIB <= resident() - before <= 112 * MIB
    memory.hold("heap", 0)
    memory.hold("requests", 0)
    assert resident() - before <= 8 * MIB
    assert memory.used() == pytest.approx(resident(), abs=4 * MIB)


def test_what_the_interpreter_has_counts_towards_what_a_service_needs() -> None:
    memory = HeldMemory()
    memory.hold("heap", 16 * mmap.PAGESIZE)
    assert memory._pieces == []


def test_memory_may_be_counted_where_no_limit_keeps_others_from_harm() -> None:
    memory, before = CountedMemory(), resident()
    memory.hold("weights", 6 * 1024 * MIB)
    memory.hold("requests", MIB)
    assert memory.used() == 6 * 1024 * MIB + MIB
    assert resident() - before <= 8 * MIB
    memory.hold("weights", 0)
    assert memory.used() == resident()


def test_files_are_read_where_they_are_mounted_and_as_they_are_now(tmp_path: Path) -> None:
    flags = tmp_path / "etc" / "flags"
    flags.mkdir(parents=True)
    (flags / "..data").write_text("what the kubelet keeps", "utf-8")
    (flags / "fast").write_text("false", "utf-8")
    (tmp_path / "etc" / "passwd").write_text("root", "utf-8")
    files = MountedFiles(["/etc/flags", "/etc/tls"], tmp_path)
    assert dict(files) == {"/etc/flags/fast": "false"}
    assert len(files) == 1
    (flags / "fast").write_text("true", "utf-8")
    assert files["/etc/flags/fast"] == "true"
    (flags / "fast").unlink()
    assert files.get("/etc/flags/fast") is None
    assert files.get("/etc/passwd") is None
    (flags / "odd").write_bytes(b"\xff")
    assert files.get("/etc/flags/odd") is None


def test_an_address_book_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "addresses"
    book = AddressBook({("geo", 8080): ("127.0.0.1", 4001), ("db", 5432): ("127.0.0.1", 4002)})
    book.write(path)
    assert AddressBook.read(path) == book
    assert book.find("geo", 8080) == ("127.0.0.1", 4001)
    assert book.find("geo", 9090) == ("geo", 9090)
    path.write_text("# stores\n\ndb:5432 127.0.0.1:1  # ours\n", "utf-8")
    assert AddressBook.read(path).entries == {("db", 5432): ("127.0.0.1", 1)}


@pytest.mark.parametrize("line", ["geo:8080", "geo 127.0.0.1:1", "geo:80 127.0.0.1:x", "a:1 b:2 c"])
def test_a_line_that_is_no_address_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "addresses"
    path.write_text(f"db:5432 127.0.0.1:1\n{line}\n", "utf-8")
    with pytest.raises(ContentError, match=f"{path}:2: no address"):
        AddressBook.read(path)
    with pytest.raises(ContentError, match="cannot be read"):
        AddressBook.read(tmp_path / "nowhere")
