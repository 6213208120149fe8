"""Property tests draw the same examples every time, so a green commit stays green.

``HYPOTHESIS_PROFILE=explore pytest`` searches at random instead.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
