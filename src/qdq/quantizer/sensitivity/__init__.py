"""How much of the outputs' error comes from which part of a plan, found with bounded work."""

from qdq.quantizer.sensitivity.measure import Probe, measure_sensitivity
from qdq.quantizer.sensitivity.parts import PlanPart, site_parts
from qdq.quantizer.sensitivity.result import Scores, Sensitivity, SiteSensitivity

__all__ = [
    "PlanPart",
    "Probe",
    "Scores",
    "Sensitivity",
    "SiteSensitivity",
    "measure_sensitivity",
    "site_parts",
]
