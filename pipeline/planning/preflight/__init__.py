"""Whether a site is as we believe, before a campaign is paid for: rows of what was found."""

from pipeline.planning.preflight.check import Check, State
from pipeline.planning.preflight.first import before_submission
from pipeline.planning.preflight.login import login

__all__ = ["Check", "State", "before_submission", "login"]
