"""What can be chosen: units to lift to 16 bits, each choice's plan and measured outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from qdq.quantizer.calibrate import Statistics
from qdq.quantizer.mixed.cost import Cost, cost_of
from qdq.quantizer.mixed.units import Place, Unit
from qdq.quantizer.overrides import Overrides
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.planner import make_plan
from qdq.quantizer.refine import Refined
from qdq.quantizer.sensitivity import Probe
from qdq.quantizer.task import Task
from qdq.runtime.metrics import Metrics

__all__ = ["WIDE_BITS", "WidthSpace"]

WIDE_BITS = 16


@dataclass(slots=True)
class WidthSpace:
    """Plans by the set of lifted units; all have the weights and biases of ``weights``.

    ``weights`` is the plan with everything lifted: weights rounded for inputs that are near float.
    """

    task: Task
    statistics: Statistics
    units: tuple[Unit, ...]
    probe: Probe
    place: Place
    weights: QuantizationPlan | None = None
    _plans: dict[frozenset[int], QuantizationPlan] = field(default_factory=dict)
    _outputs: dict[frozenset[int], Mapping[str, Metrics]] = field(default_factory=dict)

    @property
    def every(self) -> frozenset[int]:
        """The set of all units."""
        return frozenset(range(len(self.units)))

    @property
    def trials(self) -> int:
        """How many sets have been measured."""
        return len(self._outputs)

    def with_weights(self, refine: Callable[[Task, QuantizationPlan], Refined]) -> Refined:
        """Take the weights of everything lifted, rounded by ``refine``, from now on."""
        refined = refine(self.task_of(self.every), self.plan(self.every))
        self.weights = refined.plan
        self._plans.clear()
        self._outputs.clear()
        return refined

    def task_of(self, lifted: frozenset[int]) -> Task:
        """Return the task whose placement computes ``lifted`` in 16 bits."""
        task = self.task
        bits = {node: WIDE_BITS for i in sorted(lifted) for node in self.units[i].nodes}
        overrides = task.overrides.over(Overrides(activation_bits=bits))
        return replace(task, placement=self.place(overrides), overrides=overrides)

    def plan(self, lifted: frozenset[int]) -> QuantizationPlan:
        """Return the plan that lifts ``lifted``."""
        if lifted not in self._plans:
            self._plans[lifted] = self._make_plan(lifted)
        return self._plans[lifted]

    def outputs(self, lifted: frozenset[int]) -> Mapping[str, Metrics]:
        """Return the measured outputs of the plan that lifts ``lifted``."""
        if lifted not in self._outputs:
            self._outputs[lifted] = self.probe.whole(self.plan(lifted))
        return self._outputs[lifted]

    def cost(self, lifted: frozenset[int]) -> Cost:
        """Return the cost of the plan that lifts ``lifted``."""
        return cost_of(self.task.model, self.plan(lifted))

    def _make_plan(self, lifted: frozenset[int]) -> QuantizationPlan:
        task = self.task_of(lifted)
        if self.weights is None:
            return make_plan(task.model, task.placement, self.statistics, task.settings)
        # Weights take their time, and are the same whatever the widths around them.
        placement = replace(task.placement, weights=())
        plan = make_plan(task.model, placement, self.statistics, task.settings)
        return replace(plan, weights=self.weights.weights, biases=self.weights.biases)
