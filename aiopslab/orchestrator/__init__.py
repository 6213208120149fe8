"""Trials and runs: lifecycle, limits, processes, records, resuming, grading again."""
