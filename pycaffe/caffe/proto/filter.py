"""Select the layers of a net by their include and exclude rules (net.cpp, FilterNet)."""

from ..errors import CaffeError


def filter_layers(net, phase, level, stages):
    """Return the layers of a NetParameter whose include and exclude rules match this state."""
    state = (net.state.level if net.state.HasField('level') else level,
             {*net.state.stage, *stages})
    kept = []
    for layer in net.layer:
        if layer.include and layer.exclude:
            raise CaffeError(f'layer {layer.name!r} has both include and exclude rules; use one '
                             'kind')
        fits = [_rule_fits(rule, phase, *state) for rule in layer.include or layer.exclude]
        if any(fits) if layer.include else not any(fits):
            kept.append(layer)
    return kept


def _rule_fits(rule, phase, level, stages):
    return not (rule.HasField('phase') and rule.phase != phase
                or rule.HasField('min_level') and level < rule.min_level
                or rule.HasField('max_level') and level > rule.max_level
                or not set(rule.stage) <= stages
                or set(rule.not_stage) & stages)
