"""The part of /proc and /sys that tells about this container and its node."""

from __future__ import annotations

from aiopslab.world.container import Container


def proc_file(box: Container, path: str) -> str | None:
    """Return the text of a virtual file; None if it is not one we have."""
    node, cpu, memory = box.node, box.cpu, box.memory
    match path:
        case "/proc/1/cmdline":
            return "\0".join([*command_line(box), ""])
        case "/proc/1/status":
            return f"Name:\t{command_line(box)[0]}\nState:\tS (sleeping)\nPid:\t1\nPPid:\t0\n" + (
                f"VmRSS:\t{memory.working_set // 1024:>8} kB\n"
            )
        case "/proc/uptime":
            uptime = box.loop.time() - node.booted_at
            return f"{uptime:.2f} {uptime * node.cores:.2f}\n"
        case "/proc/loadavg":
            load = node.cpu.runnable
            return f"{load:.2f} {load:.2f} {load:.2f} {int(load) + 1}/412 {4711}\n"
        case "/proc/meminfo":
            return (
                f"MemTotal:       {node.memory.capacity // 1024:>8} kB\n"
                f"MemFree:        {node.memory.available // 1024:>8} kB\n"
                f"MemAvailable:   {node.memory.available // 1024:>8} kB\n"
            )
        case "/sys/fs/cgroup/memory.max":
            return f"{'max' if memory.limit is None else memory.limit}\n"
        case "/sys/fs/cgroup/memory.current":
            return f"{memory.working_set}\n"
        case "/sys/fs/cgroup/cpu.max":
            return f"{'max' if cpu.limit is None else int(cpu.limit * 100_000)} 100000\n"
        case "/sys/fs/cgroup/cpu.stat":
            return (
                f"usage_usec {int(cpu.usage_seconds * 1e6)}\n"
                f"nr_periods {cpu.periods}\nnr_throttled {cpu.throttled_periods}\n"
                f"throttled_usec {int(cpu.throttled_seconds * 1e6)}\n"
            )
    return None


def command_line(box: Container) -> list[str]:
    """Return the command line of process 1."""
    image = box.image_ref.rpartition("/")[2].partition(":")[0]
    return [*(box.command or ([] if box.args and box.args[0] == image else [f"/app/{image}"])),
            *box.args]  # fmt: skip
