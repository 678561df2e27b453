"""NetSpec writes the nets that genuine Caffe's writes: its output is in data/genuine."""

import copy
from pathlib import Path

import pytest
from caffe import NetSpec, to_proto
from caffe import layers as L
from caffe import params as P
from caffe.net_spec import Function, Top, assign_proto, param_name_dict
from caffe.proto import caffe_pb2
from google.protobuf import text_format

GENUINE = Path(__file__).parents[1] / 'data' / 'genuine'


def lenet():
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[50, 1, 28, 28]), dict(dim=[50, 1, 1, 1])],
                                  transform_param=dict(scale=1. / 255), ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type='xavier'))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=10, weight_filler=dict(type='xavier'))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu1, n.label)
    return n.to_proto()


def anonymous():
    data, label = L.Data(source='some_lmdb', backend=P.Data.LMDB, batch_size=4, ntop=2)
    conv = L.Convolution(data, kernel_size=5, num_output=20)
    conv = L.Convolution(L.ReLU(conv, in_place=True), kernel_size=[3, 5], num_output=20)
    loss = L.SoftmaxWithLoss(L.InnerProduct(conv, num_output=10), label, loss_weight=0.5)
    return to_proto(loss, L.Silence(data, ntop=1))


def silent():
    n = NetSpec()
    n.data, n.data2 = L.DummyData(shape=dict(dim=3), ntop=2)
    n.silence_data = L.Silence(n.data, ntop=0)
    n.silence_data2 = L.Silence(n.data2, ntop=0)
    return n.to_proto()


def options():
    n = NetSpec()
    shared = [dict(name='w', lr_mult=0, decay_mult=0), dict(lr_mult=2)]
    n['in/data'] = L.Input(input_param=dict(shape=dict(dim=[1, 3, 8, 8])), include=dict(phase=1))
    n.rois = L.Python(n['in/data'], module='custom_layers', layer='RigidGridLayer',
                      param_str="{'dataset': 'paris'}")
    n.other = L.Python(n.rois, python_param=dict(module='m', layer='l'), name='renamed')
    n['p_conv/1'] = L.Convolution(n['in/data'], num_output=4, kernel_size=1, param=shared,
                                  include=[dict(phase=0, stage=['a', 'b']), dict(not_stage='c')])
    n.up = L.Deconvolution(n['p_conv/1'], param=dict(lr_mult=0), propagate_down=[True],
                           convolution_param=dict(num_output=4, kernel_size=4, bias_term=False))
    n.norm = L.BatchNorm(n.up, in_place=True, use_global_stats=True)
    n.sum = L.Eltwise(n.norm, n['p_conv/1'], operation=P.Eltwise.SUM, coeff=[1, -1])
    n.unknown = L.NoSuchType(n.sum)
    n.loss = L.EuclideanLoss(n.unknown, n.sum, loss_weight=2)
    return n.to_proto()


@pytest.mark.parametrize('spec', [lenet, anonymous, silent, options])
def test_genuine_caffe_writes_the_same_net(spec):
    text = (GENUINE / f'net_spec_{spec.__name__}.prototxt').read_text()
    genuine = text_format.Parse(text, caffe_pb2.NetParameter())
    assert spec() == genuine
    assert text_format.MessageToString(spec()) == text_format.MessageToString(genuine)


def test_a_net_survives_its_text():
    net = lenet()
    assert text_format.Parse(text_format.MessageToString(net), caffe_pb2.NetParameter()) == net


def test_layers_come_in_the_order_of_naming_with_what_they_need_first():
    n = NetSpec()
    data = L.Input(shape=dict(dim=[1]))
    n.b = L.ReLU(data)
    n.a = L.ReLU(n.b)
    assert [layer.name for layer in n.to_proto().layer] == ['Input1', 'b', 'a']
    assert list(n.tops) == ['b', 'a'] and n.tops['a'] is n.a


def test_caffe_loads_what_is_written(make_net):
    net = make_net(str(lenet()))
    assert len(net.layers) == 6
    assert net.blobs['ip1'].data.shape == (50, 10)
    silence = make_net(str(silent()))
    assert silence.forward() == {}


def test_one_top_writes_the_part_that_it_needs():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1]))
    n.used = L.ReLU(n.data)
    n.unused = L.ReLU(n.data)
    net = n.used.to_proto()
    assert [layer.name for layer in net.layer] == ['Input1', 'ReLU1']
    assert net == to_proto(n.used)


def test_a_net_of_500_layers_in_a_row_is_written_from_its_last_top():
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(500):
        top = L.ReLU(top)
    assert len(to_proto(top).layer) == 501


def test_in_place_layers_have_their_own_name_and_the_bottom_as_top():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1]))
    n.relu = L.ReLU(n.data, in_place=True)
    n.next = L.ReLU(n.relu)
    _, relu, after = n.to_proto().layer
    assert (relu.name, list(relu.bottom), list(relu.top)) == ('relu', ['data'], ['data'])
    assert list(after.bottom) == ['data']


def test_an_enum_is_a_number_or_a_name():
    by_number = to_proto(L.Pooling(pool=P.Pooling.AVE))
    assert by_number == to_proto(L.Pooling(pool='AVE'))
    assert by_number.layer[0].pooling_param.pool == caffe_pb2.PoolingParameter.AVE
    rule = to_proto(L.ReLU(include=dict(phase='TEST'))).layer[0].include[0]
    assert rule.phase == caffe_pb2.TEST


def test_repeated_fields_take_tuples_and_nothing():
    layer = to_proto(L.Convolution(kernel_size=(3, 5), stride=[], param=[])).layer[0]
    assert list(layer.convolution_param.kernel_size) == [3, 5]
    assert not layer.convolution_param.stride and not layer.param


def test_messages_are_taken_as_they_are():
    shape = caffe_pb2.BlobShape(dim=[1, 2])
    assert to_proto(L.Input(shape=shape)) == to_proto(L.Input(shape=dict(dim=[1, 2])))


def test_the_arguments_of_a_layer_are_not_changed():
    params = dict(num_output=4, ntop=2, in_place=False)
    fn = Function('InnerProduct', (), params)
    assert params == dict(num_output=4, ntop=2, in_place=False)
    assert (fn.ntop, fn.in_place, fn.params) == (2, False, dict(num_output=4))
    assert [top.n for top in fn.tops] == [0, 1] and all(isinstance(t, Top) for t in fn.tops)


def test_param_name_dict_covers_every_parameter_of_a_layer():
    names = param_name_dict()
    assert names['InnerProduct'] == 'inner_product'
    assert names['ROIPooling'] == 'roi_pooling'
    assert names['LiftedStructSimilaritySoftmaxLoss'] == 'lifted_struct_sim_softmax_loss'
    fields = {f.name for f in caffe_pb2.LayerParameter.DESCRIPTOR.fields}
    assert {f'{name}_param' for name in names.values()} == {f for f in fields
                                                           if f.endswith('_param')}


def test_assign_proto_fills_messages_in_depth():
    net = caffe_pb2.NetParameter()
    assign_proto(net, 'name', 'n')
    assign_proto(net, 'layer', [dict(name='a', include=dict(phase='TRAIN')), dict(name='b')])
    assert net.name == 'n'
    assert [layer.name for layer in net.layer] == ['a', 'b']
    assert net.layer[0].include[0].phase == caffe_pb2.TRAIN


@pytest.mark.parametrize('bottom', [0, 'data', NetSpec(), None])
def test_a_bottom_that_is_no_top_is_a_type_error(bottom):
    with pytest.raises(TypeError, match='Data input 0 is not a Top'):
        L.Data(bottom)


def test_the_tuple_of_several_tops_is_neither_bottom_nor_name():
    tops = L.Data(ntop=2)
    with pytest.raises(TypeError, match='input 0 is not a Top'):
        L.ReLU(tops)
    with pytest.raises(TypeError, match="'data' must be one top"):
        NetSpec().data = tops


@pytest.mark.parametrize('top, error, words', [
    (L.Convolution(kernal_size=3), AttributeError, r"'n'.*'kernal_size' in convolution_param"),
    (L.Convolution(weight_filler=dict(tipe='xavier')), AttributeError, "FillerParameter.*'tipe'"),
    (L.EuclideanLoss(margin=1), AttributeError, "EuclideanLoss 'n'.*'margin' in the layer"),
    (L.ReLU(nosuch_param=dict(a=1)), AttributeError, "'nosuch_param'"),
    (L.Convolution(num_output='many'), TypeError, "Convolution 'n': num_output:"),
    (L.Convolution(num_output=-1), ValueError, "Convolution 'n': num_output:"),
    (L.Convolution(weight_filler='xavier'), TypeError, "weight_filler: .* a dict, not 'xavier'"),
    (L.Convolution(weight_filler=dict(std='x')), TypeError, "'n': weight_filler: std:"),
    (L.Pooling(pool='MIN'), ValueError, "pool: 'MIN' is not one of MAX, AVE, STOCHASTIC"),
    (L.Python(module=b'\xff'), ValueError, "Python 'n': module:"),
])
def test_a_wrong_argument_names_layer_and_field(top, error, words):
    n = NetSpec()
    n.n = top
    with pytest.raises(error, match=words):
        n.to_proto()


def test_a_missing_name_says_which():
    with pytest.raises(AttributeError, match="no top 'conv1'"):
        _ = NetSpec().conv1
    with pytest.raises(KeyError, match='conv1'):
        _ = NetSpec()['conv1']
    with pytest.raises(AttributeError, match='NothingParameter'):
        _ = P.Nothing
    assert not hasattr(NetSpec(), 'conv1')


def test_specs_and_pseudo_modules_can_be_copied():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1]))
    assert copy.deepcopy(n).to_proto() == copy.copy(n).to_proto() == n.to_proto()
    copy.copy(L), copy.copy(P)
