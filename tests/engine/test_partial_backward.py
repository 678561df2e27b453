"""Forward and backward of parts of a net, with blobs and diffs changed by hand in between.

A run of in-place layers must give what the same layers give that are not in place.
"""

import caffe
import numpy as np
import pytest

DATA = ('layer { name: "data" type: "Input" top: "data" '
        'input_param { shape { dim: 3 dim: 2 dim: 5 dim: 4 } } }')
LAYERS = {
    'conv': 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 '
            'weight_filler { type: "msra" } bias_filler { type: "gaussian" } }',
    'bn': 'type: "BatchNorm"',
    'global': 'type: "BatchNorm" batch_norm_param { use_global_stats: true }',
    'scale': 'type: "Scale" scale_param { bias_term: true '
             'filler { type: "gaussian" mean: 1 std: 0.5 } bias_filler { type: "gaussian" } }',
    'plain_scale': 'type: "Scale" scale_param { filler { type: "gaussian" mean: 1 std: 0.5 } }',
    'bias': 'type: "Bias" bias_param { filler { type: "gaussian" } }',
    'relu': 'type: "ReLU"', 'leaky': 'type: "ReLU" relu_param { negative_slope: 0.1 }',
    'prelu': 'type: "PReLU"', 'tanh': 'type: "TanH"', 'sigmoid': 'type: "Sigmoid"',
    'elu': 'type: "ELU"', 'dropout': 'type: "Dropout"',
    'ip': 'type: "InnerProduct" inner_product_param { num_output: 5 '
          'weight_filler { type: "xavier" } }',
}
RUNS = ['conv bn scale relu', 'conv bn scale', 'conv bn plain_scale relu', 'conv global scale relu',
        'conv bn relu', 'conv relu scale', 'conv bias scale leaky', 'conv bn scale prelu dropout',
        'conv bn scale tanh', 'conv sigmoid scale', 'conv bn scale relu bias elu',
        'conv scale relu bn plain_scale relu', 'conv relu dropout bn scale']


def chain(names, in_place):
    """Prototxt of the layers 'L0', 'L1'... in a row, and the name of each one's bottom and top."""
    text, blobs, bottom = 'force_backward: true ' + DATA, [], 'data'
    for i, name in enumerate(names):
        top = bottom if in_place and name not in ('conv', 'ip') else f'L{i}'
        text += f'layer {{ name: "L{i}" bottom: "{bottom}" top: "{top}" {LAYERS[name]} }}'
        blobs.append((bottom, top))
        bottom = top
    return text, blobs


class Pair:
    """A net whose layers are in place, and one whose layers are not, with equal parameters."""

    def __init__(self, make_net, run, images):
        names = [*run.split(), 'ip']
        self.last = len(names) - 1
        (text, self.tied), (other, self.free) = chain(names, True), chain(names, False)
        self.nets = [make_net(text, caffe.TRAIN), make_net(other, caffe.TRAIN)]
        rng = np.random.default_rng(3)
        for name, blobs in self.nets[0].params.items():
            if self.nets[0].layer_dict[name].type == 'BatchNorm':
                for blob in blobs:
                    blob.data[...] = rng.uniform(0.5, 2, blob.shape)
            for mine, theirs in zip(blobs, self.nets[1].params[name]):
                theirs.data[...] = mine.data
        data = rng.normal(size=(images, 2, 5, 4))
        for net in self.nets:
            net.blobs['data'].reshape(*data.shape)
            net.reshape()
            net.blobs['data'].data[...] = data

    def both(self, action):
        caffe.set_random_seed(5)
        action(self.nets[0], self.tied)
        caffe.set_random_seed(5)
        action(self.nets[1], self.free)

    def seed_diff(self):
        top = np.random.default_rng(4).normal(size=(len(self.nets[0].blobs['data'].data), 5))
        for net in self.nets:
            net.blobs[f'L{self.last}'].diff[...] = top

    def backward(self, first, last, factor=1):
        """Run layers first .. last, first >= last, backward, and multiply the diff below them."""
        def action(net, blobs):
            net.backward(start=f'L{first}', end=f'L{last}')
            net.blobs[blobs[last][0]].diff[...] *= factor
        self.both(action)
        tied, free = (net.blobs[blobs[last][0]].diff
                      for net, blobs in zip(self.nets, (self.tied, self.free)))
        np.testing.assert_allclose(tied, free, rtol=1e-4, atol=1e-5, err_msg=f'below L{last}')

    def check(self):
        tied, free = self.nets
        assert np.abs(tied.blobs['data'].diff).max() > 1e-4
        np.testing.assert_allclose(tied.blobs['data'].diff, free.blobs['data'].diff,
                                   rtol=1e-4, atol=1e-5)
        for name, blobs in tied.params.items():
            for i, blob in enumerate(blobs):
                other = free.params[name][i]
                np.testing.assert_allclose(blob.data, other.data, rtol=1e-5, err_msg=f'{name} {i}')
                np.testing.assert_allclose(blob.diff, other.diff, rtol=1e-4, atol=2e-5,
                                           err_msg=f'{name} {i}')


@pytest.fixture(params=[(run, images) for run in RUNS for images in [3, 1]],
                ids=lambda param: f'{param[0]}, {param[1]} images')
def pair(request, make_net):
    return Pair(make_net, *request.param)


def test_backward_in_two_parts_cut_anywhere(pair):
    for cut in range(pair.last, 0, -1):
        pair.both(lambda net, blobs: (net.clear_param_diffs(), net.forward()))
        pair.seed_diff()
        pair.backward(pair.last, cut, factor=-2)
        pair.backward(cut - 1, 0)
        pair.check()


def test_backward_layer_by_layer_and_again(pair):
    pair.both(lambda net, blobs: net.forward())
    for _ in range(2):
        pair.seed_diff()
        for i in range(pair.last, -1, -1):
            pair.backward(i, i, factor=1.5)
    pair.check()


def test_backward_whole_after_a_part_of_it(pair):
    pair.both(lambda net, blobs: net.forward())
    pair.seed_diff()
    pair.backward(pair.last, 2)
    pair.seed_diff()
    pair.backward(pair.last, 0)
    pair.check()


def test_forward_in_two_parts_cut_anywhere(pair):
    for cut in range(1, pair.last):
        def action(net, blobs, cut=cut):
            net.clear_param_diffs()
            net.forward(end=f'L{cut - 1}')
            net.blobs[blobs[cut][0]].data[...] += 0.25
            net.forward(start=f'L{cut}')
        pair.both(action)
        pair.seed_diff()
        pair.backward(pair.last, 0)
        pair.check()


def test_with_every_array_held(pair):
    held = [(blob, blob.data, blob.diff) for net in pair.nets for blob in net.blobs.values()]
    for _ in range(2):
        pair.both(lambda net, blobs: (net.clear_param_diffs(), net.forward()))
        pair.seed_diff()
        pair.backward(pair.last, 0)
        pair.check()
        tied, free = (net.blobs[f'L{pair.last}'].data for net in pair.nets)
        np.testing.assert_allclose(tied, free, rtol=1e-4, atol=1e-5)
        for blob, data, diff in held:
            assert np.shares_memory(blob.data, data) and np.shares_memory(blob.diff, diff)


def test_with_callbacks(pair):
    seen = []
    for net in pair.nets:
        net.after_backward(seen.append)
    pair.both(lambda net, blobs: net.forward())
    pair.seed_diff()
    pair.backward(pair.last, 0)
    pair.check()
    assert seen == 2 * list(range(pair.last + 1, 0, -1))
