"""Property tests draw the same examples every time, so a green commit stays green.

How long a draw takes is the host's affair: no deadline, no complaint of slowness.
``HYPOTHESIS_PROFILE=explore pytest`` searches at random instead.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

ANY_HOST = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", ANY_HOST, derandomize=True)
settings.register_profile("explore", ANY_HOST)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
