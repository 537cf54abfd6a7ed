"""The calibration advisor: what the calibration data say about themselves."""

from qdq.quantizer.advisor.advice import Advice, Finding, advise
from qdq.quantizer.advisor.inputs import InputFacts, input_facts
from qdq.quantizer.advisor.trace import SampleTrace

__all__ = ["Advice", "Finding", "InputFacts", "SampleTrace", "advise", "input_facts"]
