"""The oracle with templates, for as long as it does not have them itself."""

from oracle import Oracle
from oracle.templates import DECLARED_ONLY, TemplateReader
from oracle.values import TEMPLATE


class TemplateOracle(Oracle):
    """Reads births with the leaves of their templates, and data leaf by leaf."""

    def __init__(self, **options):
        super().__init__(**options)
        self.templates = TemplateReader()

    def _birth(self, node, topic, payload, arrival):
        payload = self.templates.birth(id(node), topic.device, payload, self.counts)
        super()._birth(node, topic, payload, arrival)

    def _metric(self, node, declared, metric, topic, *rest):
        if metric.extension_value == DECLARED_ONLY:
            return
        if declared.datatype != TEMPLATE:
            super()._metric(node, declared, metric, topic, *rest)
        elif topic.verb not in ("NBIRTH", "DBIRTH"):
            self._leaves(node, declared, metric, topic, *rest)

    def _leaves(self, node, declared, metric, topic, *rest):
        device, name = declared.device, declared.name
        names = node.scopes[device].names
        for leaf in self.templates.data(id(node), device, name, metric, self.counts):
            found = names.get(leaf.name)
            if found is None:
                self._ask_rebirth(topic, "unknown_metric")
            elif found.datatype == TEMPLATE:
                self.counts["bad_template"] += 1
            else:
                super()._metric(node, found, leaf, topic, *rest)
