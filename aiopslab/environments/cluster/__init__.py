"""A real Kubernetes cluster as an environment: ``environment`` is where to begin."""
