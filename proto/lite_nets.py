"""EfficientNet-Lite trunks and the nets on them.

The layers are those of EfficientNet-Lite 0, 1 and 2 (Tan and Le, ICML 2019; the Lite variants have
no squeeze-and-excitation, and ReLU6 instead of swish), and all of them are in BVLC's Caffe.

The nets were trained with as much padding as keeps ceil(size / 2) at stride 2 for the side that
they were trained at. For an even size that is one row and column less before the map than behind
it, which Caffe cannot pad. A kernel one larger, whose first row and column are zero, with equal
padding on both sides gives the same at every size of image.
"""

import re
from collections import namedtuple
from dataclasses import replace

import distilling_nets
import metric_nets
from blocks import Features, conv_bn, rmac
from caffe import layers as L
from frames import ROIS, TINY, deploy

EPS = 1e-3      # of the BatchNorms
# Kernel, stride and expansion of the inverted residual blocks of stages 1 to 7.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
STEM, LAST = 32, 1280       # channels of the first and of the last convolution
MEAN = (127.0,) * 3
POWER = 3                   # of GeM


class Lite(namedtuple('Lite', 'widths repeats side')):
    """Width and number of blocks of stages 1 to 7, and the side in pixels trained at."""

    def features(self, n, number):
        """The Features in `n` of the last map that is 2 ** `number` times smaller than images."""
        if number == 5:
            return Features(n['conv_last/clip'], LAST, 32)
        stage = {2: 2, 3: 3, 4: 5}[number]
        return Features(n[f'mb{stage}{"abcde"[self.repeats[stage - 1] - 1]}'],
                        self.widths[stage - 1], 2 ** number)

    def build(self, n, bottom, eltwise=None, **learned):
        """Add the whole trunk; the arguments are as of `blocks.resnet`."""
        top = conv_clip(n, 'conv1', bottom, STEM, 3 + (self.side % 2 == 0), pad=1, stride=2,
                        **learned)
        channels, side = STEM, (self.side + 1) // 2
        for number, (kernel, stride, expansion) in enumerate(STAGES, 1):
            width = self.widths[number - 1]
            for block in 'abcde'[:self.repeats[number - 1]]:
                top = inverted_residual(
                    n, f'mb{number}{block}', top, channels, width, kernel, stride, expansion,
                    asymmetric=stride == 2 and side % 2 == 0, eltwise=eltwise, **learned)
                side = (side + stride - 1) // stride
                channels, stride = width, 1
        return conv_clip(n, 'conv_last', top, LAST, 1, **learned)


def conv_clip(n, name, *args, **fields):
    """`conv_bn`, and ReLU6 as `name`/clip: in place, Caffe's Clip has a wrong gradient."""
    top = conv_bn(n, name, *args, norm=dict(eps=EPS), **fields)
    n[f'{name}/clip'] = L.Clip(top, min=0, max=6)
    return n[f'{name}/clip']


def inverted_residual(n, name, bottom, channels, width, kernel, stride, expansion, asymmetric,
                      eltwise=None, **learned):
    """Expansion, a convolution per channel, and projection, added to the bottom if it fits.

    With `asymmetric` padding the kernel is one larger, and its first row and column are zero.
    """
    top, wide = bottom, channels * expansion
    if expansion > 1:
        top = conv_clip(n, f'{name}_expand', top, wide, 1, **learned)
    top = conv_clip(n, f'{name}_depthwise', top, wide, kernel + asymmetric, pad=kernel // 2,
                    stride=stride, group=wide, **learned)
    top = conv_bn(n, f'{name}_project', top, width, 1, norm=dict(eps=EPS), **learned)
    if stride > 1 or channels != width:
        return top
    n[name] = L.Eltwise(bottom, top, **eltwise or {})
    return n[name]


WIDTHS = (16, 24, 40, 80, 112, 192, 320)
TRUNKS = {
    'lite0': Lite(WIDTHS, (1, 2, 2, 3, 3, 4, 1), side=224),
    'lite1': Lite(WIDTHS, (1, 3, 3, 4, 4, 5, 1), side=240),
    'lite2': Lite((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1), side=260),
}
SIZES = {file: replace(TINY, folder='lite/', trunk=trunk, file=file,
                       name=f'EfficientNet-{file.title()}', dim=1024, reduced=512, mean=MEAN)
         for file, trunk in TRUNKS.items()}


def described(size, dim=None, power=None):
    """R-MAC or, with `power`, GeM of the whole image; with `dim`, the pooled regions projected."""
    def head(n, trunk, rois):
        return rmac(n, trunk.features(n, 5), rois, dim, power=power, python=True)
    return deploy(size, head, rois=[1, 5] if power else ROIS)


def rmac_pca(size):
    return described(size, size.dim)


def gem(size):
    return described(size, power=POWER)


def gem_pca(size):
    return described(size, size.reduced, POWER)


NETS = {
    'deploy_{file}_rmac.prototxt': described,
    'deploy_{file}_rmac_pca{dim}.prototxt': rmac_pca,
    'deploy_{file}_gem.prototxt': gem,
    'deploy_{file}_gem_pca{reduced}.prototxt': gem_pca,
}
# those of the families that only need the last map
FAMILIES = {template: net for nets in (distilling_nets.NETS, metric_nets.NETS)
            for template, net in nets.items()
            if not re.search('student.prototxt|student_sum|file50', template)}
