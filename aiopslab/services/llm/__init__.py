"""Programs of an LLM serving platform: gateway, router, queues, engines and what steers them.

Written once against ``services.protocols``. No model runs: an engine spends time by a measured
latency model (``profiles``), iteration by iteration (``batching``); everything else is real code.
"""
