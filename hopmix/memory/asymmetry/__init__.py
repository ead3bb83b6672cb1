"""What happens to a memory whose synapses are not symmetric (page: book/memory/asymmetry.md)."""

from hopmix.memory.asymmetry.clock import OUTCOMES, LateMotion, classify, clock_flow, cycle_frequency, direction_speed, late_motion
from hopmix.memory.asymmetry.cycles import Cycles, hopf_cycles
from hopmix.memory.asymmetry.ensemble import Ensemble, mixer_ensemble
from hopmix.memory.asymmetry.fixed_points import LOSSES, FixedPoints, Loss, loss_of_stability, newton
from hopmix.memory.asymmetry.spectrum import Prediction, centred_basis, centred_operator, predict

__all__ = [
    "LOSSES",
    "OUTCOMES",
    "Cycles",
    "Ensemble",
    "FixedPoints",
    "LateMotion",
    "Loss",
    "Prediction",
    "centred_basis",
    "centred_operator",
    "classify",
    "clock_flow",
    "cycle_frequency",
    "direction_speed",
    "hopf_cycles",
    "late_motion",
    "loss_of_stability",
    "mixer_ensemble",
    "newton",
    "predict",
]
