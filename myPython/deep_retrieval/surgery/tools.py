"""The operations on nets and weights that model_tools.py offers, one call each."""

from pathlib import Path

from deep_retrieval import store
from deep_retrieval.surgery import branches, edit, report


class ModelTools:
    """The methods of the original's class, on the net in `proto` with the weights in `weights`."""

    def __init__(self, proto, weights=None):
        self.proto, self.weights = proto, weights

    def check_blob_shape(self):
        """Name -> shape of each blob and parameter."""
        return report.shapes(self.proto)

    def check_blob_data(self, layers=(), **image):
        """(name, statistics) of the layers' parameters, and of their blobs: report.data."""
        return report.data(self.proto, self.weights, layers, **image)

    def compare_model(self, other_proto):
        """Names of the layers with parameters that differ: see edit.compare."""
        return edit.compare(self._net(), edit.read_net(str(other_proto)))

    def remove_learning_params(self, new_proto):
        """Write the net without any `param`."""
        edit.write_net(new_proto, edit.strip(self._net()))

    def add_learning_params(self, new_proto, l=None, h=None):
        """Write the net with lr_mult 0 from layer `l` to layer `h`: see edit.freeze."""
        edit.write_net(new_proto, edit.freeze(self._net(), l, h))

    def make_teacher_network(self, new_proto, **size):
        """Write the net three times, l_, m_ and h_: see branches.make_teacher."""
        edit.write_net(new_proto, branches.make_teacher(self._net(), **size))

    def save_teacher_network_weights(self, teacher_proto, caffemodel):
        """Write the weights of a net that is made of copies of this one."""
        copies = edit.read_net(str(teacher_proto))
        weights = branches.branch_weights(copies, edit.load_weights(self.weights))
        edit.save_weights(caffemodel, copies, weights)

    def make_triplet_network(self, new_proto, **options):
        """Write the net three times, as it is, p_ and n_: see branches.make_triplet."""
        edit.write_net(new_proto, branches.make_triplet(self._net(), **options))

    def clip_blob_data(self, layer, dim, rows=None):
        """The parameters of the InnerProduct `layer` with `dim` outputs, arrays."""
        weights = edit.load_weights(self.weights)
        return edit.clip(self._net(), weights, layer, dim, 'new', rows)[1]['new']

    def assign_blob_data(self, layers, new_layers, new_proto, new_weights, dim, rows=None,
                         mix=None):
        """Write net and weights in which each of `layers` has `dim` outputs and a new name."""
        net, weights = self._net(), edit.load_weights(self.weights)
        for layer, new_layer in zip(layers, new_layers, strict=True):
            net, weights = edit.clip(net, weights, layer, dim, new_layer, rows, mix)
        write(new_proto, new_weights, net, weights)

    def _net(self):
        return edit.read_net(str(self.proto))


def write(proto, path, net, weights):
    """Write a net and its weights."""
    for file in (proto, path):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    edit.save_weights(path, net, weights)
    edit.write_net(proto, net)


def fold(proto, weights, output_proto, output):
    """Write the net with BatchNorm and Scale folded into the convolutions.

    Returns how many layers were folded, and how many are left.
    """
    net, arrays, gone = edit.fold(proto, weights)
    write(output_proto, output, net, arrays)
    return len(gone), len(net.layer)


def import_torch(proto, state_dict, output_proto, output, mean, std):
    """Write net and weights from a PyTorch ResNet; returns the names of tensors not used."""
    from deep_retrieval.surgery.torch_import import convert, read_state_dict
    net, weights, unused = convert(edit.read_net(str(proto)), read_state_dict(state_dict), mean,
                                   std)
    write(output_proto, output, net, weights)
    return unused


def export_onnx(proto, weights, end, output):
    """Write a deploy net as ONNX."""
    from deep_retrieval.surgery import onnx_export
    model = onnx_export.export(proto, weights, end)
    store.write(output, model.SerializeToString(deterministic=True))


def read_integers(path):
    """Return the integers in a text file, separated by spaces or lines."""
    with store.reading(path, 'a list of integers'):
        return [int(word) for word in Path(path).read_text().split()]


def read_mixtures(path, layer):
    """Return the weights of an InnerProduct layer in a caffemodel."""
    weights = edit.load_weights(path)
    if layer not in weights or weights[layer][0].ndim != 2:
        raise ValueError(f'{path}: has no InnerProduct layer {layer!r}')
    return weights[layer][0]
