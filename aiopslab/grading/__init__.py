"""Pure functions: from a trial's records to its grade, from grades to a run's numbers."""

from aiopslab.grading.aggregate import aggregate, headline, share_passed
from aiopslab.grading.assertions import SCORING_VERSION
from aiopslab.grading.counted import Counted
from aiopslab.grading.grade import grade

__all__ = ["SCORING_VERSION", "Counted", "aggregate", "grade", "headline", "share_passed"]
