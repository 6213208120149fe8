"""What node_exporter, perf, resctrl and the provider export about the host under a node.

Cycles and instructions are real counts of the world's CPU time and work, in units of a machine of
``CLOCK_HZ``; bytes on the memory bus follow from the work done. Neighbours: ``exporters`` writes
what this puts together; ``host`` is what it looks at.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.telemetry.instruments import Labels
from aiopslab.world.memory_bus import BYTES_PER_CPU_S
from aiopslab.world.node import Node

CLOCK_HZ = 2.5e9
IPC = 1.3
"""Instructions per cycle of ordinary work on a bus that is not full."""
_ETH = (("device", "eth0"),)
_OWN: Labels = (("group", "kubepods"),)

Add = Callable[[dict[int, float], str, float, Labels], None]


class HostFigures:
    """The figures of one node.

    Args:
        node: The machine.
        add: Puts a value into a round, under a name and further labels.
    """

    def __init__(self, node: Node, add: Add) -> None:
        self._node = node
        self._add = add

    def put(self, out: dict[int, float], time: float) -> None:
        """Put the figures of now into a round."""
        node, host, add = self._node, self._node.host, self._add
        host.settle()
        spent = node.cpu.spent
        add(out, "node_perf_cpucycles_total", spent.used * CLOCK_HZ, ())
        add(out, "node_perf_instructions_total", spent.work * CLOCK_HZ * IPC, ())
        add(out, "node_vmstat_pgmajfault", host.backing.faults, ())
        add(out, "node_pressure_memory_waiting_seconds_total", host.memory_pressure_s, ())
        add(out, "resctrl_mbm_local_bytes_total", spent.work * BYTES_PER_CPU_S, _OWN)
        for guest, moved in host.bus.moved(time).items():
            add(out, "resctrl_mbm_local_bytes_total", moved, (("group", guest),))
        for core in range(max(1, round(node.cores))):
            online = 1.0 if core < round(node.cpu.cores) else 0.0
            add(out, "node_cpu_online", online, (("cpu", str(core)),))
        for kind, count in host.events.items():
            add(out, "platform_event_total", count, (("kind", kind),))
        if host.credits is not None:
            add(out, "vm_credit_balance", host.credits.balance, ())
            add(out, "vm_surplus_credits_total", host.credits.surplus, ())
        self._network(out)

    def _network(self, out: dict[int, float]) -> None:
        uplink, add = self._node.uplink, self._add
        add(out, "node_network_speed_bytes", uplink.speed, _ETH)
        add(out, "node_network_transmit_drop_total", uplink.dropped, _ETH)
        for name, carried in uplink.carried().items():
            add(out, "fabric_flow_bytes_total", carried, (("flow", name),))
