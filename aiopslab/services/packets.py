"""What TCP makes of packets that get lost: the constants and waits that both bindings share.

Loss is never an error, it is a stall. Not here: the ways themselves (``world.path``,
``services.real.links``), which packets get lost (``models.network``).
"""

from __future__ import annotations

RTO_S = 0.2
"""Linux's least retransmission timeout; doubles with each attempt."""
SYN_RTO_S = 1.0
"""First retransmission timeout of a SYN (RFC 6298)."""
RETRIES = 15
"""``net.ipv4.tcp_retries2``: then the kernel gives the packet up."""
RTO_MAX_S = 120.0


def resend_after(rto_s: float, tried: int) -> float:
    """Return the wait before a packet is sent again that was lost ``tried`` times before."""
    return min(RTO_MAX_S, rto_s * 2.0**tried)
