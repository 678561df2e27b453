"""Nets through pycaffe's interface. Names, orders and errors were seen in genuine Caffe 1.0."""

import os

import caffe
import numpy as np
import pytest
from conftest import run_script

DIAMOND = '''
layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 2 kernel_size: 1
                            weight_filler { type: "constant" value: 1 } } }
layer { name: "r" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "a" type: "Pooling" bottom: "conv1" top: "a" pooling_param { kernel_size: 1 } }
layer { name: "b" type: "Pooling" bottom: "conv1" top: "b" pooling_param { kernel_size: 1 } }
layer { name: "c" type: "Eltwise" bottom: "conv1" bottom: "a" top: "c" }
'''


def test_names_and_splits_are_caffes(make_net):
    net = make_net(DIAMOND)
    assert list(net.blobs) == ['data', 'conv1', 'conv1_r_0_split_0', 'conv1_r_0_split_1',
                               'conv1_r_0_split_2', 'a', 'b', 'c']
    assert list(net.layer_dict) == ['d', 'conv1', 'r', 'conv1_r_0_split', 'a', 'b', 'c']
    assert [layer.type for layer in net.layers] == [
        'Input', 'Convolution', 'ReLU', 'Split', 'Pooling', 'Pooling', 'Eltwise']
    assert net.inputs == ['data'] and net.outputs == ['b', 'c']
    assert list(net.params) == ['conv1'] and len(net.params['conv1']) == 2
    assert net.bottom_names['c'] == ['conv1_r_0_split_2', 'a']
    assert net.top_names['conv1_r_0_split'] == [
        'conv1_r_0_split_0', 'conv1_r_0_split_1', 'conv1_r_0_split_2']


LOSS = '''
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 3
        weight_filler { type: "constant" value: 0.5 } } }
layer { name: "L" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" %s }
layer { name: "P" type: "Power" bottom: "loss" top: "p" power_param { scale: 3 } %s }
'''


@pytest.mark.parametrize('weights, blobs, loss, slope', [
    # as genuine Caffe: the loss of 51.25 is counted by its default too, the gradient is not
    (('loss_weight: 2', ''),
     [('loss', 1), ('loss_L_0_split_0', 2), ('loss_L_0_split_1', 0), ('p', 0)], 3 * 51.25, 2),
    (('loss_weight: 2', 'loss_weight: 0.5'),
     [('loss', 1), ('loss_L_0_split_0', 2), ('loss_L_0_split_1', 0), ('p', 0.5)], 4.5 * 51.25, 3.5),
    (('', 'loss_weight: 0.5'), [('loss', 1), ('p', 0.5)], 2.5 * 51.25, 1.5),
    (('loss_weight: 0', 'loss_weight: 0.5'), [('loss', 0), ('p', 0.5)], 1.5 * 51.25, 1.5),
])
def test_a_loss_that_is_read_has_its_weight_at_the_split(weights, blobs, loss, slope, make_net):
    net = make_net(LOSS % weights, caffe.TRAIN)
    net.blobs['x'].data[...] = np.arange(6).reshape(2, 3)
    net.blobs['t'].data[...] = -np.arange(6).reshape(2, 3) / 2
    assert list(net.blob_loss_weights.items())[3:] == blobs
    assert net._forward(0, len(net.layers) - 1) == pytest.approx(loss)
    net.backward()
    np.testing.assert_allclose(net.blobs['ip'].diff[0], slope * np.array([0.75, 1, 1.25]))


def test_forward_returns_outputs_and_more(make_net):
    net = make_net(DIAMOND)
    data = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4) - 40
    out = net.forward(blobs=['conv1'], data=data)
    expected = np.maximum(data.sum(1, keepdims=True), 0).repeat(2, 1)
    assert set(out) == {'b', 'c', 'conv1'}
    np.testing.assert_allclose(out['conv1'], expected)
    np.testing.assert_allclose(out['c'], 2 * expected)
    assert set(net.forward(end='a')) == {'a'}


def test_forward_of_a_part_leaves_the_rest(make_net):
    net = make_net(DIAMOND)
    net.blobs['data'].data[...] = 1
    net.forward()
    net.blobs['a'].data[...] = 10
    net.forward(start='c')
    assert (net.blobs['c'].data == 13).all() and (net.blobs['b'].data == 3).all()


def test_forward_refuses_wrong_arguments(make_net):
    net = make_net(DIAMOND)
    with pytest.raises(ValueError, match='no layer'):
        net.forward(end='zz')
    with pytest.raises(Exception, match='inputs are'):
        net.forward(foo=np.zeros(1))
    with pytest.raises(Exception, match='batch size'):
        net.forward(data=np.zeros((2, 3, 4, 4)))
    with pytest.raises(Exception, match='no blob'):
        net.forward(blobs=['zz'])


def test_forward_follows_an_input_reshaped(make_net):
    net = make_net(DIAMOND)
    net.blobs['data'].reshape(2, 3, 5, 6)
    assert net.blobs['c'].shape == (1, 2, 4, 4)
    net.reshape()
    assert net.blobs['c'].shape == (2, 2, 5, 6)
    net.blobs['data'].reshape(1, 3, 2, 2)
    assert net.forward()['c'].shape == (1, 2, 2, 2)


def test_a_held_output_is_updated(make_net):
    net = make_net(DIAMOND)
    data, out = net.blobs['data'].data, net.blobs['c'].data
    data[...] = 1
    net.forward()
    assert (out == 6).all()
    data[...] = 2
    net.forward()
    assert (out == 12).all()


CONV = ('layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 dim: 5 '
        'dim: 5 }} }} }} layer {{ name: "L" type: "{}" bottom: "x" top: "y" {} }}')


@pytest.mark.parametrize('text, words', [
    ('layer { name: "a" type: "ReLU" bottom: "nope" top: "y" }', ['a', 'nope']),
    (CONV.format('Nonsense', ''), ['L', 'Nonsense', 'Convolution, Crop']),
    (CONV.format('Convolution', ''), ['L', 'kernel_size']),
    (CONV.format('Convolution', 'convolution_param { num_output: 1 kernel_size: 9 }'),
     ['L', '(1, 2, 5, 5)', '(9, 9)']),
    (CONV.format('ReLU', 'bottom: "x"'), ['L', '2 bottoms', 'but takes 1']),
    (CONV.format('Reshape', 'reshape_param { shape { dim: 7 dim: -1 } }'), ['L', '(1, 2, 5, 5)']),
    (CONV.format('Concat', 'concat_param { axis: 4 }'), ['L', 'axis 4']),
    (CONV.format('Python', 'python_param { module: "no_such_module" layer: "A" }'),
     ['L', 'no_such_module', 'PYTHONPATH']),
    (CONV.format('Python', 'python_param { module: "custom_layers" layer: "A" }'),
     ['L', 'custom_layers', "'A'"]),
    (CONV.format('ReLU', '') + 'layer { name: "M" type: "ReLU" bottom: "y" top: "x" }',
     ['M', 'top', "'x'"]),
    (CONV.format('InnerProduct', 'include { phase: TEST } exclude { phase: TRAIN }'),
     ['L', 'include and exclude']),
    (CONV.format('InnerProduct', 'inner_product_param { num_output: 1 weight_filler '
                                 '{ type: "zzz" } }'), ['L', 'zzz', 'xavier']),
    (CONV.format('Normalize', 'normalize_param { normalize_type: "L1" }'), ['L', 'L1', 'L2']),
])
def test_errors_name_file_and_layer(text, words, make_net):
    with pytest.raises(caffe.CaffeError) as error:
        make_net(text)
    message = str(error.value)
    assert '\n' not in message
    for word in ['net.prototxt', *words]:
        assert word in message


def test_a_syntax_error_names_line_and_column(make_net):
    with pytest.raises(caffe.CaffeError, match=r'net\.prototxt:2:\d+: .*no_such_field'):
        make_net('name: "x"\nno_such_field: 3\n')


def test_a_missing_prototxt_is_named():
    with pytest.raises(RuntimeError, match='nowhere.prototxt'):
        caffe.Net('nowhere.prototxt', caffe.TEST)


@pytest.mark.parametrize('shapes', [
    'input_shape { dim: 1 dim: 2 dim: 3 dim: 3 } input_shape { dim: 4 dim: 5 }',
    'input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3 '
    'input_dim: 4 input_dim: 5 input_dim: 1 input_dim: 1'])
def test_inputs_of_older_prototxts(shapes, make_net):
    net = make_net(f'input: "data" input: "rois" {shapes}')
    assert net.inputs == ['data', 'rois']
    assert net.blobs['data'].shape == (1, 2, 3, 3)
    assert net.blobs['rois'].shape[:2] == (4, 5)


def test_layers_by_phase_level_and_stage(make_net):
    text = CONV.format('ReLU', '')
    for i, rule in enumerate(['include { phase: TRAIN }', 'exclude { phase: TRAIN }',
                              'include { min_level: 2 }', 'include { stage: "a" not_stage: "b" }']):
        text += f'layer {{ name: "r{i}" type: "ReLU" bottom: "y" top: "r{i}" {rule} }}'

    def kept(*args, **kwargs):
        return [name for name in make_net(text, *args, **kwargs).layer_dict if name[0] == 'r']
    assert kept(caffe.TEST) == ['r1']
    assert kept(caffe.TRAIN, level=2) == ['r0', 'r2']
    assert kept(caffe.TEST, stages=['a']) == ['r1', 'r3']
    assert kept(caffe.TEST, stages=['a', 'b']) == ['r1']


def test_parameters_of_one_name_are_shared(make_net):
    layer = ('layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" '
             'param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 3 '
             'weight_filler {{ type: "xavier" }} }} }}')
    text = ('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }'
            + layer.format('p') + layer.format('q'))
    net = make_net(text)
    net.params['q'][0].data[0, 0] = 42
    assert net.params['p'][0].data[0, 0] == 42
    out = net.forward(x=np.ones((2, 4), np.float32))
    np.testing.assert_array_equal(out['p'], out['q'])


@pytest.mark.parametrize('param, words', [
    ('num_output: 3 bias_term: false', ["layer 'p'", '1 parameter blobs', '2 in ']),
    ('num_output: 2', ["layer 'p'", 'parameter 0', r'(2, 4)', '(3, 4)'])])
def test_nets_of_other_parameters_cannot_share(param, words, make_net):
    text = ('layer {{ name: "x" type: "Input" top: "x" '
            'input_param {{ shape {{ dim: 2 dim: 4 }} }} }} '
            'layer {{ name: "p" type: "InnerProduct" bottom: "x" top: "p" '
            'inner_product_param {{ {} }} }}')
    with pytest.raises(caffe.CaffeError) as error:
        make_net(text.format(param)).share_with(make_net(text.format('num_output: 3')))
    assert all(word in str(error.value) for word in words)


class ShapeShifter(caffe.Layer):
    """Doubles its input; keeps a parameter of its own."""

    def setup(self, bottom, top):
        assert self.param_str == self.param_str_ == 'factor: 2' and self.phase == caffe.TEST
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 2

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].num, bottom[0].count // bottom[0].num)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data.reshape(bottom[0].num, -1)


class Broken(caffe.Layer):
    def forward(self, bottom, top):
        raise KeyError('my own mistake')


def python_layer(name):
    return CONV.format('Python', f'python_param {{ module: "{__name__}" layer: "{name}" '
                                 'param_str: "factor: 2" }')


def test_a_python_layer(make_net):
    net = make_net(python_layer('ShapeShifter'))
    net.blobs['x'].reshape(3, 2, 5, 5)
    net.blobs['x'].data[...] = 4
    assert net.forward()['y'].shape == (3, 50)
    assert (net.blobs['y'].data == 8).all()
    assert list(net.params) == ['L']


def test_an_error_in_a_python_layer_reaches_the_caller(make_net):
    net = make_net(python_layer('Broken'))
    with pytest.raises(KeyError, match='my own mistake') as error:
        net.forward()
    assert error.traceback[-1].name == 'forward'


def test_a_pycaffe_on_pythonpath_comes_first(tmp_path):
    (tmp_path / 'caffe').mkdir()
    (tmp_path / 'caffe/__init__.py').write_text('name = "genuine"')
    done = run_script('-c', 'import caffe; print(caffe.name)',
                      env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    assert done.stdout == 'genuine\n'


def test_layer_type_list_names_the_types():
    types = caffe.layer_type_list()
    assert types == sorted(types)
    assert {'Convolution', 'Python', 'ROIPooling', 'Normalize', 'Split', 'Input'} <= set(types)
