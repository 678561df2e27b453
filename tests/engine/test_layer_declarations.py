"""What layer types declare: their parameter blobs, and whether a forward is repeatable."""

import caffe
import cv2
import h5py
import numpy as np
import pytest
from caffe.database import write_database
from caffe.layer import param_count
from caffe.proto import caffe_pb2
from google.protobuf import text_format

# fields of a layer of each type that has parameters, how many bottoms, and its number of blobs
COUNTS = [
    ('Convolution', 1, 'convolution_param { num_output: 2 kernel_size: 1 }', 2),
    ('Convolution', 2, 'convolution_param { num_output: 2 kernel_size: 1 bias_term: false }', 1),
    ('Deconvolution', 1, 'convolution_param { num_output: 2 kernel_size: 1 }', 2),
    ('InnerProduct', 1, 'inner_product_param { num_output: 2 }', 2),
    ('InnerProduct', 1, 'inner_product_param { num_output: 2 bias_term: false }', 1),
    ('Embed', 1, 'embed_param { input_dim: 3 num_output: 2 }', 2),
    ('BatchNorm', 1, '', 3),
    ('Scale', 1, '', 1), ('Scale', 1, 'scale_param { bias_term: true }', 2),
    ('Scale', 2, '', 0), ('Scale', 2, 'scale_param { bias_term: true }', 1),
    ('Bias', 1, '', 1), ('Bias', 2, '', 0), ('PReLU', 1, '', 1),
    # Caffe: W_xc, b_c, [W_xc_static,] W_hc; RNN: W_ho, b_o too
    ('LSTM', 2, 'recurrent_param { num_output: 2 }', 3),
    ('LSTM', 3, 'recurrent_param { num_output: 2 }', 4),
    ('LSTM', 4, 'recurrent_param { num_output: 2 expose_hidden: true }', 3),
    ('LSTM', 5, 'recurrent_param { num_output: 2 expose_hidden: true }', 4),
    ('RNN', 2, 'recurrent_param { num_output: 2 }', 5),
    ('RNN', 3, 'recurrent_param { num_output: 2 expose_hidden: true }', 5),
    ('RNN', 4, 'recurrent_param { num_output: 2 expose_hidden: true }', 6),
    ('Parameter', 0, 'parameter_param { shape { dim: 2 } }', 1),
    ('ReLU', 1, '', 0), ('Eltwise', 2, '', 0), ('Input', 0, '', 0), ('Data', 0, '', 0),
]


@pytest.mark.parametrize('kind, bottoms, fields, count', COUNTS)
def test_parameters_are_counted_without_the_net(kind, bottoms, fields, count):
    layer = text_format.Parse(f'name: "L" type: "{kind}" {fields}', caffe_pb2.LayerParameter())
    layer.bottom.extend('abcde'[:bottoms])
    assert param_count(layer) == count


def test_an_unknown_type_is_refused():
    with pytest.raises(caffe.CaffeError, match="unknown layer type 'Konvolution'; known types: A"):
        param_count(caffe_pb2.LayerParameter(type='Konvolution'))


@pytest.fixture
def sources(tmp_path):
    """Files for the layers that read some, by name."""
    cv2.imwrite(f'{tmp_path}/a.png', np.zeros((4, 4, 3), np.uint8))
    (tmp_path / 'list.txt').write_text(f'{tmp_path}/a.png 0\n')
    (tmp_path / 'windows.txt').write_text(
        f'# 0\n{tmp_path}/a.png\n3\n4\n4\n2\n1 0.9 0 0 3 3\n0 0.1 0 0 3 3\n')
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['y'] = np.zeros((2, 3), np.float32)
    (tmp_path / 'h5.txt').write_text(f'{tmp_path}/a.h5\n')
    datum = caffe_pb2.Datum(channels=1, height=2, width=2, data=b'abcd')
    write_database(tmp_path / 'lmdb', [(b'00000000', datum.SerializeToString())])
    return tmp_path


FILLED = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
LABEL = 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }'
IMAGES = ('layer { name: "i" type: "Input" top: "i" top: "j" '
          'input_param { shape { dim: 2 dim: 1 dim: 1 dim: 1 } } }')
# the types that test_gradients.py leaves out
OTHERS = {
    'Accuracy': FILLED + LABEL + 'layer { %s bottom: "x" bottom: "l" top: "y" }',
    'ArgMax': FILLED + 'layer { %s bottom: "x" top: "y" }',
    'Threshold': FILLED + 'layer { %s bottom: "x" top: "y" }',
    'Silence': FILLED + 'layer { %s bottom: "x" }',
    'Input': 'layer { %s top: "y" input_param { shape { dim: 2 } } }',
    'Parameter': 'layer { %s top: "y" parameter_param { shape { dim: 2 } } }',
    'DummyData': 'layer { %s top: "y" dummy_data_param { shape { dim: 2 } } }',
    'MemoryData': 'layer { %s top: "y" top: "t" memory_data_param { batch_size: 1 channels: 1 '
                  'height: 1 width: 1 } }',
    'HDF5Data': 'layer { %s top: "y" hdf5_data_param { source: "FOLDER/h5.txt" batch_size: 1 } }',
    'HDF5Output': IMAGES + 'layer { %s bottom: "i" bottom: "j" '
                           'hdf5_output_param { file_name: "FOLDER/out.h5" } }',
    'Data': 'layer { %s top: "y" data_param { source: "FOLDER/lmdb" batch_size: 1 '
            'backend: LMDB } }',
    'ImageData': 'layer { %s top: "y" top: "t" image_data_param { source: "FOLDER/list.txt" '
                 'batch_size: 1 } }',
    'WindowData': 'layer { %s top: "y" top: "t" transform_param { crop_size: 2 } '
                  'window_data_param { source: "FOLDER/windows.txt" batch_size: 1 } }',
    'Python': FILLED + 'layer { %s bottom: "x" top: "y" python_param { '
                       'module: "test_layer_declarations" layer: "Doubling" } }',
}
REPEATABLE = {'Accuracy', 'ArgMax', 'Threshold', 'Silence'}


class Doubling(caffe.Layer):
    """A user's layer that names its parameter."""

    @staticmethod
    def parameters(layer_param):
        return ['factor']

    def setup(self, bottom, top):
        self.blobs.add_blob(1)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)


@pytest.mark.parametrize('kind', OTHERS)
def test_other_types_declare_what_they_make(kind, make_net, sources):
    text = (OTHERS[kind] % f'name: "L" type: "{kind}"').replace('FOLDER', str(sources))
    net = make_net(text, caffe.TRAIN)
    layer = net.layer_dict['L']
    assert param_count(layer.layer_param) == len(layer.blobs)
    assert layer.repeatable == (kind in REPEATABLE)


def test_a_python_layer_whose_module_is_not_here_has_no_known_parameters():
    layer = caffe_pb2.LayerParameter(type='Python')
    layer.python_param.module = 'no_such_module'
    assert param_count(layer) == 0


def test_layers_are_not_repeatable_unless_they_say_so():
    from caffe.layer import TensorLayer
    assert not caffe.Layer.repeatable and not TensorLayer.repeatable
