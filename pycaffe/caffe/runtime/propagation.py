"""Decide which layers, bottoms and parameters of a net get gradients (Net::Init of net.cpp)."""

from ..errors import CaffeError
from ..proto import caffe_pb2


def plan_backward(layers, params, bottom_names, top_names, force):
    """Set `needs_backward`, `propagate_down` and `param_propagate_down` of each layer.

    A blob gets a gradient if a parameter below it learns (lr_mult is not 0) and a loss lies above
    it. A prototxt's `propagate_down` overrides the first condition for one bottom.

    params : LayerParameter of each layer
    bottom_names, top_names : list of blob names of each layer
    force : the net's force_backward
    """
    _plan_up(layers, params, bottom_names, top_names)
    _plan_down(layers, bottom_names, top_names)
    if force:
        _force(layers)


def param_specs(layer, param):
    """Return a ParamSpec for each parameter of `layer`; lr_mult is 0 if no solver may change it."""
    given = list(param.param)[:len(layer.blobs)]
    specs = given + [caffe_pb2.ParamSpec()] * (len(layer.blobs) - len(given))
    if layer.learns:
        return specs
    return [caffe_pb2.ParamSpec(name=spec.name, share_mode=spec.share_mode, lr_mult=0, decay_mult=0)
            for spec in specs]


def _plan_up(layers, params, bottom_names, top_names):
    """Mark what needs a gradient because something below it learns."""
    needy = set()
    for layer, param, bottoms, tops in zip(layers, params, bottom_names, top_names, strict=True):
        if param.propagate_down and len(param.propagate_down) != len(bottoms):
            raise CaffeError(f'layer {param.name!r}: propagate_down is given '
                             f'{len(param.propagate_down)} times for {len(bottoms)} bottoms')
        layer.propagate_down = (list(param.propagate_down)
                                or [name in needy for name in bottoms])
        layer.param_propagate_down = [
            spec.lr_mult != 0 for spec in param_specs(layer, param)]
        layer.needs_backward = (any(name in needy for name in bottoms)
                                or any(layer.param_propagate_down))
        # an in-place top is replaced by this layer's result
        needy = needy.union(tops) if layer.needs_backward else needy.difference(tops)


def _plan_down(layers, bottom_names, top_names):
    """Skip layers without a loss above them, or whose tops' gradients nothing above computes."""
    under_loss, skipped = set(), set()
    for layer, bottoms, tops in reversed(list(zip(layers, bottom_names, top_names, strict=True))):
        contributes = any(weight or name in under_loss
                          for name, weight in zip(tops, layer.loss_weights, strict=True))
        if tops and all(name in skipped for name in tops):
            layer.needs_backward = False
            layer.propagate_down = [False] * len(bottoms)
        layer.needs_backward &= contributes
        for i, name in enumerate(bottoms):
            if contributes:
                under_loss.add(name)
            else:
                layer.propagate_down[i] = False
            if not layer.propagate_down[i]:
                skipped.add(name)


def _force(layers):
    for layer in layers:
        layer.needs_backward = True
        layer.propagate_down = [wanted or i not in layer.no_gradient
                                for i, wanted in enumerate(layer.propagate_down)]
        layer.param_propagate_down = [layer.learns] * len(layer.blobs)
