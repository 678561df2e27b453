"""Reading a prototxt, and bringing what older versions of Caffe wrote up to date."""

from google.protobuf import text_format

from ..errors import CaffeError
from . import caffe_pb2


def read_net(path):
    """The NetParameter in the prototxt `path`, upgraded.

    Raises CaffeError that names file, line and column where the text is no net.
    """
    net = read_prototxt(path, caffe_pb2.NetParameter())
    if net.layers:
        raise CaffeError(f'{path}: holds `layers` of an older Caffe; upgrade them to `layer` first')
    upgrade_input(net)
    return net


def read_prototxt(path, message):
    """Parse the text file `path` into `message` and return it; CaffeError as above."""
    try:
        with open(path, encoding='utf-8') as file:
            return text_format.Parse(file.read(), message)
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise CaffeError(f'{path}: is not a text file') from None
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        place = f'{path}:{line}:{column}' if line else f'{path}'
        # the error's own text begins with the place, as 'line:column : '
        message = str(error).split(' : ', 1)[-1].replace('\n', ' ')
        raise CaffeError(f'{place}: {message}') from None


def upgrade_input(net):
    """Turn the fields `input`, `input_shape` and `input_dim` into one Input layer in front."""
    if not net.input:
        return
    layer = caffe_pb2.LayerParameter(name='input', type='Input', top=net.input)
    if net.input_shape:
        layer.input_param.shape.extend(net.input_shape)
    for i in range(0, len(net.input_dim), 4):
        layer.input_param.shape.add(dim=net.input_dim[i:i + 4])
    others = list(net.layer)
    del net.layer[:]
    net.layer.extend([layer, *others])
    for field in ('input', 'input_shape', 'input_dim'):
        net.ClearField(field)
