"""Import SSCD, descriptors for copy detection (Pizzi et al., CVPR 2022).

    made = import_sscd('sscd_disc_mixup.torchvision.pt')
    made = import_sscd('sscd_disc_mixup.torchscript.pt', trust=True)

The nets are a ResNet or ResNeXt, GeM, a linear layer and the L2 norm. They come as state dicts with
the names of torchvision or of Classy Vision, or as TorchScript. TorchScript is code, which runs
when the file is read, so it is read only with `trust`; then the net is compared with it.
"""

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from deep_retrieval import store
from deep_retrieval.surgery.importing import frameworks, heads
from deep_retrieval.surgery.importing.imported import Imported, normalized
from deep_retrieval.surgery.importing.reading import is_torchscript, read_tensors
from deep_retrieval.surgery.importing.resnet import Layout, build_trunk, finish, start
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

IGNORED = r'(fc|embeddings)\.|.*num_batches_tracked$'
# names in Classy Vision, and what torchvision calls them
CLASSY = (
    (r'\._module\b', ''),
    (r'^initial_block\.0\.', 'conv1.'), (r'^initial_block\.1\.', 'bn1.'),
    (r'^blocks\.(\d+)\.block\d+-(\d+)\.', lambda match: f'layer{int(match[1]) + 1}.{match[2]}.'),
    (r'\.convolutional_block\.(\d)\.', lambda match: '.' + (
        'bn' if match[1] in '14' else 'conv') + str(int(match[1]) // 3 + 1) + '.'),
    (r'^embeddings\.1\.', 'fc.'),
)


def import_sscd(file: str | os.PathLike, trust: bool = False, power: float = heads.POWER,
                mean: Sequence[float] = TORCH_MEAN, std: Sequence[float] = TORCH_STD) -> Imported:
    """Import a state dict or, with `trust`, a TorchScript file.

    Parameters
    ----------
    file : path
    trust : whether a TorchScript file may run its code
    power : of GeM, which state dicts do not have
    mean, std : R, G, B of the input, from 0 to 1

    Raises
    ------
    ValueError, FileNotFoundError
        The file cannot be read, holds another net, or is TorchScript without `trust`; one line.
    """
    script = None
    if is_torchscript(file):
        if not trust:
            raise ValueError(f'{file}: is TorchScript, which is code that runs when it is read; '
                             '--trust reads it')
        with store.reading(file, 'TorchScript'):
            script = torch.jit.load(os.fspath(file), map_location='cpu').eval()
        state = {name: value.float().numpy() for name, value in script.state_dict().items()}
        power = _power_of(script, power)
    else:
        state = read_tensors(file)
    state = torchvision_names(state)
    n, weights = start(), {}
    features = build_trunk(n, weights, state, std, file, ignored=IGNORED)
    end = heads.pool(n, weights, features, 'gem', power)
    end = heads.project(n, weights, end, 'fc', *heads.linear(state, 'fc', end.dimension, file))
    end = heads.normalize(n, end, 'descriptor')
    made = finish(n, weights, features, end, mean, f'SSCD, {os.path.basename(file)}')
    if script is None:
        return frameworks.compare_trunk(made, state, Layout.of(state), mean, std)

    def source(rgb):
        with torch.no_grad():
            return script(torch.from_numpy(normalized(rgb, mean, std))).numpy()

    return frameworks.checked(made, 'the TorchScript', source)


def torchvision_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tensors of either kind of state dict by torchvision's names."""
    found = {}
    for name, value in state.items():
        name = re.sub(r'^(module\.|model\.)*(backbone\.)?', '', name)
        for pattern, new in CLASSY:
            name = re.sub(pattern, new, name)
        # the last BatchNorm of a block, after two or three convolutions
        if re.match(r'layer\d\.\d+\.bn\.', name):
            bottleneck = any('convolutional_block.6.' in other for other in state)
            name = name.replace('.bn.', '.bn3.' if bottleneck else '.bn2.')
        found[name] = value
    return found


def _power_of(script, default):
    """The power of GeM that a TorchScript module has, if any."""
    return next((float(module.pooling_param) for module in script.modules()
                 if hasattr(module, 'pooling_param')), default)
