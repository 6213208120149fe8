"""The observer: one process in a cluster that knows what monitoring would know of one app.

It takes OTLP from the app's pods, scrapes kubelets through the API server, derives the state of
objects, follows logs, events and changes, evaluates the rules, and tells all of it by the APIs of
``wire``. ``python -m aiopslab.observer`` runs it. Not here: the store and its queries
(``telemetry``), a copy of it outside the cluster (``environments.cluster.telemetry``).
"""
