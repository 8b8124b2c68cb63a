"""What is done with one disk: every function looks first, and may be interrupted and repeated."""

from appliance.work.bench import Bench, Outcome
from appliance.work.lock import close_at_once
from appliance.work.opening import unlock
from appliance.work.ordered import carry_out
from appliance.work.works import go_on, look

__all__ = ["Bench", "Outcome", "carry_out", "close_at_once", "go_on", "look", "unlock"]
