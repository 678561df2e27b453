"""The building blocks of the nets.

A block adds layers to `n`, a NetSpec or a Branch of one, and returns its last top. Names, shapes
and fields are those of the released weights and of the original's nets.
"""

from collections import namedtuple

from caffe import layers as L

# A feature map: its top, its number of channels, and its stride relative to the image.
Features = namedtuple('Features', 'top channels stride')


class Trunk(namedtuple('Trunk', 'blocks widths conv1_bias', defaults=[False])):
    """The names of the bottleneck blocks of stages 2 to 5, and the width of each stage."""

    def features(self, n, number):
        """Return the Features of the last block of stage `number` in `n`."""
        last = f'res{number}{self.blocks[number - 2][-1]}'
        return Features(n[last], 4 * self.widths[number - 2], 2 ** number)

    def build(self, n, bottom, **learned):
        """Add the whole trunk; `learned` as of `resnet`."""
        return resnet(n, bottom, self, **learned)


WIDTHS = (64, 128, 256, 512)
RESNET50 = Trunk(('abc', 'abcd', 'abcdef', 'abc'), WIDTHS, conv1_bias=True)
RESNET101 = Trunk(('abc', ['a'] + [f'b{i}' for i in range(1, 4)],
                   ['a'] + [f'b{i}' for i in range(1, 23)], 'abc'), WIDTHS)
# For tests and quick experiments. Stage 5 has three blocks, so that the trunk ends in res5c.
RESNET_TINY = Trunk(('a', 'a', 'a', 'abc'), (8, 16, 32, 64))


class Branch:
    """A NetSpec whose names have a prefix: `branch['conv1']` is the net's `p_conv1`.

    Blocks see names without the prefix, so branches share the parameters that they name.
    """

    def __init__(self, n, prefix):
        self.n = n
        self.prefix = prefix

    def __setitem__(self, name, top):
        self.n[self.prefix + name] = top

    def __getitem__(self, name):
        return self.n[self.prefix + name]


# Trunks. How their layers learn is a function of a layer's type and name that returns ParamSpecs.

def params(*rates, name=None):
    """Return the ParamSpecs of a layer's blobs from (lr_mult, decay_mult) pairs; None is not set.

    Layers with the same `name` share their blobs: `name`_1, `name`_2.
    """
    specs = []
    for number, (lr_mult, decay_mult) in enumerate(rates, 1):
        spec = dict(name=name and f'{name}_{number}', lr_mult=lr_mult, decay_mult=decay_mult)
        specs.append({key: value for key, value in spec.items() if value is not None})
    return specs


FROZEN = (0, 0)     # the rates of a blob that does not learn
PARAM_SUFFIXES = {'Convolution': 'w', 'BatchNorm': '123', 'Scale': '12'}


def default_param(layer_type, name):
    """The whole trunk learns at the solver's rate."""
    return []


def frozen(layer_type, name):
    """The trunk does not learn."""
    return params(*(FROZEN for _ in PARAM_SUFFIXES[layer_type]))


def shared(layer_type, name):
    """The trunk does not learn, and branches share its parameters: conv1_w, bn_conv1_1, ..."""
    return [dict(name=f'{name}_{suffix}', lr_mult=0, decay_mult=0)
            for suffix in PARAM_SUFFIXES[layer_type]]


def conv_bn(n, name, bottom, num_output, kernel_size, pad=0, stride=1, relu=False,
            param=default_param, use_global_stats=True, bias_term=False, norm=None, **convolution):
    """Convolution, BatchNorm, Scale and, with `relu`, ReLU; all but the first in place.

    `norm` has further fields of the BatchNorm.
    """
    suffix = name[len('res'):] if name.startswith('res') else f'_{name}'
    bn, scale = f'bn{suffix}', f'scale{suffix}'
    n[name] = L.Convolution(bottom, num_output=num_output, kernel_size=kernel_size, pad=pad,
                            stride=stride, bias_term=bias_term, param=param('Convolution', name),
                            **convolution)
    n[bn] = L.BatchNorm(n[name], in_place=True, use_global_stats=use_global_stats,
                        param=param('BatchNorm', bn), **norm or {})
    n[scale] = L.Scale(n[bn], in_place=True, bias_term=True, param=param('Scale', scale))
    if not relu:
        return n[scale]
    n[f'{name}_relu'] = L.ReLU(n[scale], in_place=True)
    return n[f'{name}_relu']


def bottleneck(n, name, bottom, width, stride=1, project=False, eltwise=None, **learned):
    """1x1, 3x3 and 1x1 convolutions, added to the bottom or, with `project`, to a 1x1 of it.

    The first 1x1 has the stride, as in the release of He et al. `eltwise` sets fields of the sum.
    """
    shortcut = bottom
    if project:
        shortcut = conv_bn(n, f'{name}_branch1', bottom, 4 * width, 1, stride=stride, **learned)
    top = conv_bn(n, f'{name}_branch2a', bottom, width, 1, stride=stride, relu=True, **learned)
    top = conv_bn(n, f'{name}_branch2b', top, width, 3, pad=1, relu=True, **learned)
    top = conv_bn(n, f'{name}_branch2c', top, 4 * width, 1, **learned)
    n[name] = L.Eltwise(shortcut, top, **eltwise or {})
    n[f'{name}_relu'] = L.ReLU(n[name], in_place=True)
    return n[f'{name}_relu']


def stem(n, bottom, trunk, **learned):
    """conv1 and pool1, with stride 4 in total."""
    top = conv_bn(n, 'conv1', bottom, trunk.widths[0], 7, pad=3, stride=2, relu=True,
                  bias_term=trunk.conv1_bias, **learned)
    n['pool1'] = L.Pooling(top, pool='MAX', kernel_size=3, stride=2)
    return n['pool1']


def stage(n, bottom, trunk, number, **learned):
    """Stage `number`, 2 to 5; all except the first have stride 2."""
    top = bottom
    for block in trunk.blocks[number - 2]:
        first = top is bottom
        top = bottleneck(n, f'res{number}{block}', top, trunk.widths[number - 2], project=first,
                         stride=2 if first and number > 2 else 1, **learned)
    return top


def resnet(n, bottom, trunk, eltwise=None, **learned):
    """A whole trunk, conv1 to res5c, with stride 32 in total.

    `learned` is passed to each conv_bn: `param` (default_param, frozen, shared),
    `use_global_stats`, and fields of the convolutions such as `weight_filler`. A trunk whose parts
    learn differently is built from `stem` and `stage`.
    """
    top = stem(n, bottom, trunk, **learned)
    for number in range(2, 6):
        top = stage(n, top, trunk, number, eltwise=eltwise, **learned)
    return top


# Heads: from a feature map and the rois to one descriptor per image.

def python_layer(layer, param_str, *bottoms, **options):
    """A layer of custom_layers; `param_str` is a dict."""
    # YAML has lists, but no tuples
    values = {key: list(value) if isinstance(value, tuple) else value
              for key, value in param_str.items()}
    return L.Python(*bottoms, module='custom_layers', layer=layer, param_str=str(values), **options)


def normalize(n, name, bottom, python=False):
    """Divide each row by its L2 norm, with the built-in layer or with ours in Python."""
    n[name] = python_layer('NormalizeLayer', {}, bottom) if python else L.Normalize(bottom)
    return n[name]


def reshape(n, name, bottom, dim):
    """Reshape to `dim`, where 0 keeps the bottom's dimension."""
    n[name] = L.Reshape(bottom, shape=dict(dim=list(dim)))
    return n[name]


def pool_regions(n, name, features, rois, python=False, power=None):
    """Pool each region by its maximum, or its generalized mean of a `power`, and normalize."""
    scale = 1 / features.stride
    if power is None:
        n[name] = L.ROIPooling(features.top, rois, pooled_w=1, pooled_h=1, spatial_scale=scale)
    else:
        n[name] = python_layer('GeMLayer', {'p': power, 'spatial_scale': scale}, features.top,
                               rois)
    return normalize(n, f'{name}/normalized', n[name], python)


def region_vectors(n, name, features, rois, python=False, dim=(1, 1), power=None):
    """`pool_regions`, reshaped to R x channels x `dim`: `name`/normalized_flat."""
    top = pool_regions(n, name, features, rois, python, power)
    return reshape(n, f'{name}/normalized_flat', top, [0, features.channels, *dim])


def centre(n, name, bottom, param=()):
    """Subtract the mean: a Scale whose bias is minus the mean."""
    n[name] = L.Scale(bottom, bias_term=True, filler=dict(type='constant', value=1),
                      bias_filler=dict(type='constant', value=0), param=param)
    return n[name]


def project(n, name, bottom, num_output, layer=None, dim=(0, 0, 1, 1), relu=False, python=False,
            param=()):
    """An InnerProduct, then `name`/reshaped and `name`/normalized.

    The InnerProduct is called `layer`, by default `name`. If `dim` is None, there is no reshape.
    With our Python layer, which normalizes N x D directly, no layer reads the reshaped blob, as in
    the original.
    """
    layer = layer or name
    n[layer] = L.InnerProduct(bottom, num_output=num_output, weight_filler=dict(type='xavier'),
                              bias_filler=dict(type='constant', value=0), param=param)
    top = n[layer]
    if relu:
        top = n[f'{name}/relu'] = L.ReLU(top)
    if dim is not None:
        reshaped = reshape(n, f'{name}/reshaped', top, dim)
        top = top if python else reshaped
    return normalize(n, f'{name}/normalized', top, python)


def pca(n, name, bottom, num_output, centred_param=(), pca_param=(), **projection):
    """`name`/centered and `name`/pca; `projection` is passed to `project`."""
    top = centre(n, f'{name}/centered', bottom, centred_param)
    return project(n, f'{name}/pca', top, num_output, param=pca_param, **projection)


def aggregate(n, name, regions, rois=None, python=False, **param_str):
    """Sum each image's regions, and normalize.

    With the rois as second bottom, images may have different numbers of regions; without them, each
    image has `num_rois`.
    """
    bottoms = [regions] if rois is None else [regions, rois]
    n[name] = python_layer('AggregateLayer', param_str, *bottoms)
    return normalize(n, f'{name}/normalized', n[name], python)


def rmac(n, features, rois, num_output, suffix='', rois_to_aggregate=True, python=False,
         param_str=None, power=None, **projection):
    """Regional maximum activations (R-MAC) of `features`: pooled, centred, projected and summed.

    `suffix` is appended to the names pooled_rois and rmac, `param_str` is the AggregateLayer's,
    `power` is passed to `pool_regions`, and `projection` to `pca`. Without `num_output` the pooled
    regions are summed as they are.
    """
    pooled = f'pooled_rois{suffix}'
    top = region_vectors(n, pooled, features, rois, python, power=power)
    if num_output is not None:
        top = pca(n, pooled, top, num_output, python=python, **projection)
    return aggregate(n, f'rmac{suffix}', top, rois if rois_to_aggregate else None, python,
                     **param_str or {})
