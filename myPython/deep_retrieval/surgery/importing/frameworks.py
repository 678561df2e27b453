"""Imported nets compared with the frameworks that they come from, where these are installed."""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from deep_retrieval.surgery.importing.imported import Imported, difference, normalized

PLANES = 64     # of the first stage, for which the frameworks can build a net
HEAD = re.compile(r'(fc|head|last_linear)\.')


def compare_trunk(made: Imported, state: Mapping[str, np.ndarray], layout: Any,
                  mean: Sequence[float], std: Sequence[float]) -> Imported:
    """Compare the last map with that of torchvision's or timm's net of the same tensors.

    Parameters
    ----------
    made : Imported
    state : tensors of the trunk
    layout : resnet.Layout
    mean, std : R, G, B of the input

    Returns
    -------
    Imported
        With `checked`; as it was where neither framework is installed or has such a net.

    Raises
    ------
    ValueError
        The maps differ; see `difference`.
    """
    plain = len(layout.stem) == 1 and not layout.pooled
    package = 'torchvision' if plain else 'timm'
    expansion = 4 if layout.bottleneck else 1
    module = installed(f'{package}.models.resnet')
    if module is None or layout.outputs[0] != PLANES * expansion:
        return made
    block = module.Bottleneck if layout.bottleneck else module.BasicBlock
    width = layout.inner[0] // layout.groups
    if plain:
        net = module.ResNet(block, list(layout.blocks), groups=layout.groups,
                            width_per_group=width)
    elif len(layout.stem) > 1 and layout.stem[0] != layout.stem[1]:
        return made     # tiered stems have widths of their own
    else:
        net = module.ResNet(block, list(layout.blocks), cardinality=layout.groups,
                            base_width=width, stem_width=layout.stem[0], avg_down=layout.pooled,
                            stem_type='deep' if len(layout.stem) > 1 else '')
    net.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value))
                         for name, value in state.items() if not HEAD.match(name)}, strict=False)
    net.eval().requires_grad_(False)

    def last_map(rgb):
        x = torch.from_numpy(normalized(rgb, mean, std))
        for name in ('conv1', 'bn1', 'relu' if plain else 'act1', 'maxpool', 'layer1', 'layer2',
                     'layer3', 'layer4'):
            x = getattr(net, name)(x)
        return x.numpy()

    return checked(made, package, last_map, made.map)


def checked(made: Imported, framework: str, source: Callable[[np.ndarray], np.ndarray],
            blob: str | None = None) -> Imported:
    """Return `made` with its difference from `source`, as `difference` measures it."""
    return dataclasses.replace(made, checked=(framework, difference(made, source, blob)))


def installed(module: str) -> ModuleType | None:
    """Return a module, or None where it or what it needs is not installed."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):     # torchvision built for another torch
        return None
