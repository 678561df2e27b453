"""ONNX graphs, imported, give what onnxruntime gives."""

import sys

import numpy as np
import pytest
from deep_retrieval.surgery.importing import import_onnx
from deep_retrieval.surgery.importing.imported import difference, normalized
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

onnx = pytest.importorskip('onnx')
runtime = pytest.importorskip('onnxruntime')
SIZES = [(97, 130), (64, 64), (65, 66), (33, 71)]


class Net:
    """A graph that is written node by node; constants are random."""

    def __init__(self, size=(None, None), opset=13):
        self.nodes, self.constants, self.opset = [], [], opset
        self.random = np.random.default_rng(0)
        self.input = onnx.helper.make_tensor_value_info('x', 1, [None, 3, *size])

    def constant(self, *shape, values=None, low=-0.5, high=0.5):
        values = self.random.uniform(low, high, shape) if values is None else np.array(values)
        name = f'c{len(self.constants)}'
        values = values.astype(np.float32)
        self.constants.append(onnx.numpy_helper.from_array(values, name))
        return name

    def add(self, kind, *inputs, outputs=1, **attributes):
        name = f'{kind}_{len(self.nodes)}'
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x, inputs, outputs, kernel=3, bias=True, group=1, **attributes):
        attributes = {'pads': [kernel // 2] * 4, **attributes}
        weights = [self.constant(outputs, inputs // group, kernel, kernel)]
        weights += [self.constant(outputs)] if bias else []
        return self.add('Conv', x, *weights, group=group, **attributes)

    def norm(self, x, channels, **attributes):
        return self.add('BatchNormalization', x, self.constant(channels, low=0.5, high=1.5),
                        self.constant(channels), self.constant(channels),
                        self.constant(channels, low=0.5, high=2), **attributes)

    def save(self, path, *outputs):
        infos = [onnx.helper.make_tensor_value_info(
            name, 1, [None] * (2 if name.startswith(('Gemm', 'Flatten')) else 4))
            for name in outputs]
        graph = onnx.helper.make_graph(self.nodes, 'net', [self.input], infos, self.constants)
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid('', self.opset)], ir_version=8)
        onnx.save(model, str(path))
        return path


def source(path, name=None, mean=TORCH_MEAN, std=TORCH_STD, step=1):
    session = runtime.InferenceSession(str(path))
    return lambda rgb: session.run(name and [name], {
        'x': np.ascontiguousarray(normalized(rgb, mean, std)[:, ::step])})[0]


def check(path, sizes=SIZES, **options):
    made = import_onnx(path, **options)
    assert difference(made, source(path), made.map, sizes) < 1e-5
    assert made.checked[0] == 'onnxruntime' and made.checked[1] < 1e-5
    return made


def test_a_net_of_all_operators(tmp_path):
    net = Net()
    x = net.add('Relu', net.norm(net.conv('x', 3, 8, 7, bias=False, strides=[2, 2]), 8,
                                 epsilon=1e-3))
    x = net.add('MaxPool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = net.add('Clip', net.conv(x, 8, 8, group=8), net.constant(values=0), net.constant(values=6))
    x = net.add('Identity', net.add('Add', net.norm(net.conv(y, 8, 8, 1), 8), x))
    x = net.add('Concat', x, net.add('AveragePool', x, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                     count_include_pad=1), axis=1)
    x = net.add('Flatten', net.add('GlobalAveragePool', x))
    x = net.add('Gemm', x, net.constant(10, 16), net.constant(10), transB=1, alpha=0.5, beta=2.0)
    path = net.save(tmp_path / 'a.onnx', x)
    made = check(path)
    assert (made.dimension, made.stride) == (10, 4)
    normalized_too = import_onnx(path, normalize=True)
    describe = source(path)
    unit = lambda rgb: describe(rgb) / np.linalg.norm(describe(rgb))
    assert difference(normalized_too, unit, sizes=SIZES) < 1e-5


@pytest.mark.parametrize('kernel, pads, strides', [
    (3, [0, 0, 1, 1], 2), (3, [1, 1, 0, 0], 2), (5, [1, 1, 2, 2], 2), (3, [0, 1, 2, 1], 1),
    (2, [0, 0, 1, 1], 1), (4, [1, 2, 1, 0], 3)])
def test_uneven_padding_of_convolutions(kernel, pads, strides, tmp_path):
    net = Net()
    x = net.conv(net.conv('x', 3, 4, kernel, pads=pads, strides=[strides] * 2), 4, 4, 3)
    check(net.save(tmp_path / 'a.onnx', x))


@pytest.mark.parametrize('attributes', [
    dict(auto_pad='SAME_UPPER'), dict(auto_pad='SAME_LOWER'), dict(auto_pad='VALID'),
    dict(dilations=[2, 2], pads=[2, 2, 2, 2]), dict(dilations=[2, 1], pads=[0, 1, 2, 1]),
    dict(strides=[2, 1])])
@pytest.mark.parametrize('kernel', [3, 4])
def test_other_geometry_of_convolutions(attributes, kernel, tmp_path):
    net = Net()
    if 'auto_pad' in attributes:
        attributes = {**attributes, 'pads': None}
    x = net.conv('x', 3, 4, kernel, **attributes)
    check(net.save(tmp_path / 'a.onnx', x))


@pytest.mark.parametrize('kind, attributes', [
    (kind, dict(kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, **more))
    for kind in ('MaxPool', 'AveragePool') for kernel, stride, pad in ((3, 2, 0), (3, 2, 1),
                                                                       (2, 2, 0), (3, 1, 1))
    for more in ([{}, {'ceil_mode': 1}] if kind == 'MaxPool' else [{'count_include_pad': 1}])])
def test_pooling_at_every_size(kind, attributes, tmp_path):
    net = Net()
    x = net.add(kind, net.conv('x', 3, 4), **attributes)
    check(net.save(tmp_path / 'a.onnx', x), [(height, 40 - height) for height in range(12, 28)])


def test_tensors_that_several_nodes_read_stay_as_they_are(tmp_path):
    net = Net()
    a = net.conv('x', 3, 4)
    b = net.add('Relu', a)
    c = net.norm(a, 4)
    x = net.add('Add', net.add('Add', net.add('Relu', c), c), net.add('Add', a, b))
    path = net.save(tmp_path / 'a.onnx', x, a)
    check(path)
    made = import_onnx(path, end=a)
    assert difference(made, source(path, a), sizes=SIZES) < 1e-5


def test_a_graph_that_does_not_begin_with_a_convolution(tmp_path):
    net = Net()
    check(net.save(tmp_path / 'a.onnx', net.conv(net.norm('x', 3), 3, 4)))


def test_clip_without_a_limit_and_of_an_old_version(tmp_path):
    net = Net()
    x = net.add('Clip', net.conv('x', 3, 4), '', net.constant(values=0.3))
    check(net.save(tmp_path / 'a.onnx', net.add('Clip', x, net.constant(values=-0.2))))
    net = Net(opset=10)
    check(net.save(tmp_path / 'a.onnx', net.add('Clip', net.conv('x', 3, 4), min=-0.1, max=0.2)))


@pytest.mark.parametrize('pool', ['gem', 'mac', 'spoc', 'rmac'])
def test_heads_on_a_map_and_other_colours(pool, tmp_path):
    net = Net()
    x = net.add('Relu', net.conv(net.conv('x', 3, 4, strides=[2, 2]), 4, 6, strides=[2, 2]))
    path = net.save(tmp_path / 'a.onnx', x)
    made = import_onnx(path, pool=pool, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2), colour='BGR')
    # mean and deviation are those of the graph's channels, in the order R, G, B
    theirs = source(path, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2), step=-1)
    assert difference(made, theirs, made.map, SIZES) < 1e-5
    rows = made.run(np.random.default_rng(0).uniform(0, 255, (2, 3, 40, 50)).astype(np.float32))
    assert made.dimension == 6 and made.stride == 4
    np.testing.assert_allclose(np.linalg.norm(rows.reshape(2, -1), axis=1), 1, rtol=1e-5)


def test_a_fixed_size_of_images(tmp_path):
    net = Net(size=(32, 40))
    x = net.add('Flatten', net.conv('x', 3, 2, strides=[4, 4]))
    path = net.save(tmp_path / 'a.onnx', net.add('Gemm', x, net.constant(2 * 8 * 10, 5)))
    made = check(path, [(32, 40)])
    assert made.dimension == 5


@pytest.mark.parametrize('build, message', [
    (lambda net: net.add('Sigmoid', net.add('Softplus', 'x')),
     'has the operators Sigmoid, Softplus, which cannot be imported; known are Add, AveragePool'),
    (lambda net: net.add('MaxPool', 'x', kernel_shape=[3, 3], pads=[0, 0, 1, 1]),
     r"MaxPool 'MaxPool_0': uneven padding \(0, 0\) and \(1, 1\) cannot"),
    (lambda net: net.add('AveragePool', 'x', kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
     'padding that does not count'),
    (lambda net: net.conv('x', 3, 4, strides=[2, 2], auto_pad='SAME_UPPER', pads=None),
     'auto_pad SAME_UPPER with a stride depends on the size'),
    (lambda net: net.add('Add', 'x', net.constant(1, 3, 1, 1)), 'equal numbers of channels'),
    (lambda net: net.add('Concat', 'x', 'x', axis=2), 'must join channels'),
    (lambda net: net.conv('x', 3, 4, dilations=[2, 2], pads=[1, 1, 2, 2]), 'the dilation 2'),
    (lambda net: net.add('Conv', 'x', net.add('Relu', 'x')), 'must be a constant'),
    (lambda net: net.add('Gemm', net.add('Flatten', net.conv('x', 3, 4)), net.constant(7, 5)),
     r"the net takes parameters of the shapes|layer 'Gemm_2'"),
])
def test_what_cannot_be_imported_is_named(build, message, tmp_path):
    net = Net()
    path = net.save(tmp_path / 'a.onnx', build(net))
    with pytest.raises(ValueError, match=message) as error:
        import_onnx(path)
    assert str(error.value).startswith(str(path)) and '\n' not in str(error.value)


def test_damaged_files_and_a_missing_package(tmp_path, monkeypatch):
    net = Net()
    path = net.save(tmp_path / 'a.onnx', net.conv('x', 3, 64, 7))
    whole = path.read_bytes()
    for keep in (0, 0.5, 0.9):
        path.write_bytes(whole[:int(keep * len(whole))])
        with pytest.raises(ValueError, match='a.onnx: is damaged or is not an ONNX') as error:
            import_onnx(path)
        assert '\n' not in str(error.value)
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / 'b.onnx')
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="has no tensor 'y'"):
        import_onnx(path, end='y')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(RuntimeError, match=r"pip install 'my-deep-retrieval\[onnx\]'"):
        import_onnx(path)
