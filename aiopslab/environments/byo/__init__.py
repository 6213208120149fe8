"""A monitoring stack that is there already, in place of the observer."""
