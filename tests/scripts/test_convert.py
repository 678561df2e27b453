"""Teachers' features of a folder's images, the list of them, and its LMDB."""

import os

import caffe
import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval.images import MEAN, ImageError, resize
from deep_retrieval.model import DescriptorNet
from deep_retrieval.training.student_data import make_lmdb, places
from deep_retrieval.training.teacher import (
    TeacherNet,
    convert,
    images_of,
    longer_side,
    write_list,
)
from region_generator import get_rmac_region_coordinates

TEACHER = 'proto/tiny/distilling/deploy_resnet_tiny_teacher_pca32.prototxt'
DEPLOY = 'proto/deploy_resnet_tiny.prototxt'
STUDENT = 'proto/tiny/distilling/pca32/train_resnet_tiny_student_pca32.prototxt'
SCRIPTS = ROOT / 'myPython/convert'
NAMES = ['a b.jpg', 'c.png', 'one/d.JPG', 'one/e.jpg', 'two/f.jpg']     # as they are sorted


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Function: prototxt -> a file of random weights."""
    made = {}

    def make(proto):
        if proto not in made:
            net, random = caffe.Net(str(ROOT / proto), caffe.TEST), np.random.default_rng(0)
            for name, params in net.params.items():
                kind = net.layer_dict[name].type
                if kind in ('Convolution', 'InnerProduct'):
                    shape = params[0].data.shape
                    params[0].data[...] = random.standard_normal(shape) / np.sqrt(shape[1])
                elif kind == 'BatchNorm':
                    for blob, value in zip(params, (0, 1, 1)):
                        blob.data[...] = value
                else:
                    params[0].data[...] = 1
            made[proto] = str(tmp_path_factory.mktemp('weights') / 'net.caffemodel')
            net.save(made[proto])
        return made[proto]
    return make


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(small, (48, 64) if i == 2 else (64, 48)))
    (tmp_path / 'images/notes.txt').write_text('no image')
    (tmp_path / 'images/.hidden.jpg').write_text('no image')
    return str(tmp_path / 'images')


class FakeNet:
    """Descriptors that are known: the mean colour of each image, and its size."""

    def __init__(self, breaks_after=None):
        self.calls, self.breaks_after = 0, breaks_after

    def __call__(self, images):
        if self.calls == self.breaks_after:
            raise KeyboardInterrupt
        self.calls += 1
        return np.array([known(image) for image in images], np.float32)


def known(image):
    return [*image.mean((0, 1)), *image.shape[:2]]


def read_pairs(path):
    """The (name, row) pairs of a list."""
    with open(path) as file:
        return [(name, int(row)) for name, _, row in
                (line.rstrip('\n').rpartition(' ') for line in file)]


def script(name, *flags, cwd):
    path = os.pathsep.join([str(ROOT / 'myPython'), os.environ.get('PYTHONPATH', '')])
    return run_script(SCRIPTS / f'{name}.py', '--gpu', -1, *flags, cwd=cwd,
                      env={**os.environ, 'PYTHONPATH': path})


# The net that makes its own regions

def test_a_teachers_features_are_a_forward_of_it_on_each_image(folder, weights, tmp_path):
    items = images_of(folder)
    rows = convert(TeacherNet(ROOT / TEACHER, weights(TEACHER)), items, longer_side(items),
                   str(tmp_path / 'features.npy'), {}, batch_size=2)
    net = caffe.Net(str(ROOT / TEACHER), weights(TEACHER), caffe.TEST)
    for item, row in zip(items, rows):
        pixels = cv2.imread(item.path).transpose(2, 0, 1)[None]     # the net subtracts the mean
        net.blobs['data'].reshape(*pixels.shape)
        net.blobs['data'].data[...] = pixels
        expected = net.forward()['rmac/eltwise/normalized'].ravel()
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert rows.shape == (5, 32) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert np.abs(rows[0] - rows[1:]).max(1).min() > 1e-3       # they do tell images apart


@pytest.mark.parametrize('resizes', [True, False])
def test_the_mean_is_subtracted_once(tmp_path, resizes):
    layers = 'layer { name: "y" type: "Python" bottom: "data" top: "y" python_param {' \
        ' module: "custom_layers" layer: "ResizeLayer" param_str: "{h: 4, w: 4}" } }'
    if not resizes:
        layers = 'layer { name: "y" type: "Power" bottom: "data" top: "y" }'
    proto, file = tmp_path / 'net.prototxt', tmp_path / 'net.caffemodel'
    proto.write_text('layer { name: "data" type: "Input" top: "data" input_param {'
                     ' shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }' + layers)
    file.write_bytes(caffe_pb2.NetParameter().SerializeToString())
    image = np.full((4, 4, 3), 200, np.uint8)
    rows = TeacherNet(proto, file, end='y')([image])
    np.testing.assert_allclose(rows.reshape(3, 16), np.tile(200 - MEAN[:, None], 16), rtol=1e-5)


def test_nets_that_do_not_fit_are_refused(weights, tmp_path):
    with pytest.raises(ValueError, match="'nothing'; --end"):
        TeacherNet(ROOT / TEACHER, weights(TEACHER), end='nothing')
    with pytest.raises(ValueError, match='multires'):
        TeacherNet(ROOT / DEPLOY, weights(DEPLOY))
    with pytest.raises(ValueError, match='lacks the weights'):
        TeacherNet(ROOT / TEACHER, weights(DEPLOY))
    with pytest.raises(FileNotFoundError):
        TeacherNet(ROOT / TEACHER, tmp_path / 'none.caffemodel')
    # a row a region
    net = TeacherNet(ROOT / TEACHER, weights(TEACHER), end='l_pooled_rois/pca/normalized')
    with pytest.raises(ValueError, match='8 rows for 1 images; --end'):
        net([np.zeros((48, 64, 3), np.uint8)])


# Images, rows and lists

def test_rows_are_in_the_order_of_the_names_and_the_list_has_each_once(folder, tmp_path):
    items = images_of(folder)
    assert [item.name for item in items] == NAMES
    rows = convert(FakeNet(), items, longer_side(items), str(tmp_path / 'x.npy'), {}, 2)
    lists = []
    for i, seed in enumerate((0, 0, 1)):
        path = tmp_path / f'{i}.txt'
        write_list(str(path), items, rows, seed)
        lists.append(read_pairs(path))
    for name, row in lists[0]:
        np.testing.assert_allclose(rows[row], known(cv2.imread(os.path.join(folder, name))),
                                   rtol=1e-6)
    assert lists[0] == lists[1] != lists[2]
    assert sorted(lists[0]) == sorted(lists[2]) == list(zip(NAMES, range(5)))
    np.testing.assert_array_equal(np.load(tmp_path / 'x.npy'), rows)


@pytest.mark.parametrize('scales', [64, [16, 32]])
def test_a_resumed_run_gives_the_bytes_of_an_unbroken_one(folder, tmp_path, scales):
    items = images_of(folder)
    paths = [str(tmp_path / name / 'x.npy') for name in ('whole', 'broken')]
    convert(FakeNet(), items, scales, paths[0], {}, 2)
    for calls in (2, 1):    # batches of 2, 2, 1 a scale
        with pytest.raises(KeyboardInterrupt):
            convert(FakeNet(breaks_after=calls - 1), items, scales, paths[1], {}, 2)
        assert not os.path.exists(paths[1])
    net = FakeNet()
    convert(net, items, scales, paths[1], {}, 2)
    whole, broken = (open(path, 'rb').read() for path in paths)
    assert whole == broken and net.calls == (2 if scales == 64 else 5)


def test_a_damaged_image_is_named_or_left_out(folder, tmp_path, caplog):
    damaged = os.path.join(folder, NAMES[0])
    with open(damaged, 'r+b') as file:
        file.truncate(100)
    items = images_of(folder)
    for run in (lambda: longer_side(items),
                lambda: convert(FakeNet(), items, 64, str(tmp_path / 'x.npy'), {}, 2)):
        with pytest.raises(ImageError, match=NAMES[0]):
            run()
    assert longer_side(items, skip_bad=True) == 64
    for scales in (64, [16, 32]):
        rows = convert(FakeNet(), items, scales, str(tmp_path / 'x.npy'), {}, 2, True)
        assert np.isnan(rows[0]).all() and np.isfinite(rows[1:]).all()
        write_list(str(tmp_path / 'x.txt'), items, rows, 0)
        assert sorted(read_pairs(tmp_path / 'x.txt')) == list(zip(NAMES, range(5)))[1:]
    assert any(NAMES[0] in line for line in caplog.messages)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match='contains no images'):
        images_of(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        images_of(str(tmp_path / 'none'))
    (tmp_path / 'a\nb.jpg').touch()
    with pytest.raises(ValueError, match='line break'):
        images_of(str(tmp_path))


# Several scales

def test_scales_are_summed_and_normalized(folder, weights, tmp_path):
    items, path = images_of(folder), str(tmp_path / 'x.npy')
    rows = convert(DescriptorNet(ROOT / DEPLOY, weights(DEPLOY), L=2), items, [64, 96, 128], path,
                   {}, batch_size=2)
    net = caffe.Net(str(ROOT / DEPLOY), weights(DEPLOY), caffe.TEST)
    for item, row in zip(items, rows):
        total = 0
        for S in (64, 96, 128):
            image = resize(cv2.imread(item.path), S)[0]
            x, y, w, h = get_rmac_region_coordinates(*image.shape[:2], 2).T
            rois = np.stack([0 * x, x, y, x + w - 1, y + h - 1], 1)
            net.blobs['rois'].reshape(*rois.shape)
            net.blobs['data'].reshape(1, 3, *image.shape[:2])
            total += net.forward(data=(image - MEAN).transpose(2, 0, 1)[None],
                                 rois=rois)['rmac/normalized'].ravel()
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-5)


def test_sums_are_not_taken_for_features_of_one_scale(folder, tmp_path, caplog):
    items, path = images_of(folder), str(tmp_path / 'x.npy')
    single = convert(FakeNet(), items, 64, path, {}, 2)
    convert(FakeNet(), items, [16, 32], path, {}, 2)
    net = FakeNet()
    again = convert(net, items, 64, path, {}, 2)
    assert net.calls and caplog.messages
    np.testing.assert_array_equal(again, single)


# Where a student reads from

@pytest.mark.parametrize('proto, phase, expected', [
    (STUDENT, 'TRAIN', ('datasets/tiny/landmark/training/Landmark_training_lmdb',
                        'datasets/tiny/landmark/training/features.npy', (192, 256))),
    ('proto/distilling/1x1conv-eltwise-pca/train_resnet101_student.prototxt', 'TRAIN',
     ('datasets/cover/training/cover_training_lmdb', 'datasets/cover/training/features.npy',
      (280, 496))),
    ('proto/distilling/1x1conv-eltwise-pca/train_resnet101_student.prototxt', 'TEST',
     ('datasets/Oxford/val/val_oxford_lmdb', 'datasets/Oxford/val/features.npy', (384, 512)))])
def test_the_training_net_names_the_files(proto, phase, expected):
    assert places(ROOT / proto, phase) == expected


def test_a_net_that_does_not_learn_from_features_names_none():
    with pytest.raises(ValueError, match='does not learn from features'):
        places(ROOT / TEACHER)


def test_one_command_makes_what_the_student_reads(folder, weights, tmp_path):
    flags = ['--proto', ROOT / TEACHER, '--weights', weights(TEACHER), '--img_dir', folder,
             '--train_proto', ROOT / STUDENT, '--seed', 3]
    done = script('make_features_lmdb', *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / 'datasets/tiny/landmark/training'
    pairs = read_pairs(made / 'features.txt')
    assert sorted(pairs) == list(zip(NAMES, range(5)))
    # the layers that the student begins with
    source = made / 'Landmark_training_lmdb'
    proto = tmp_path / 'net.prototxt'
    proto.write_text(f'''
        layer {{ name: "data" type: "Data" top: "data" top: "label" data_param {{
            source: "{source}" batch_size: 5 backend: LMDB }} }}
        layer {{ name: "features" type: "Python" bottom: "label" top: "features" python_param {{
            module: "custom_layers" layer: "FeatureLayer"
            param_str: "{{'features': '{made / 'features.npy'}'}}" }} }}''')
    net = caffe.Net(str(proto), caffe.TEST)
    net.forward()
    assert net.blobs['label'].data.tolist() == [row for _, row in pairs]
    teacher = TeacherNet(ROOT / TEACHER, weights(TEACHER))
    for i, (name, _) in enumerate(pairs):
        image = cv2.imread(os.path.join(folder, name))
        np.testing.assert_array_equal(net.blobs['data'].data[i].transpose(1, 2, 0),
                                      cv2.resize(image, (256, 192)))
        np.testing.assert_allclose(net.blobs['features'].data[i].ravel(), teacher([image])[0],
                                   atol=1e-5)
    # again: all is there
    before = (source / 'data.mdb').stat().st_mtime_ns
    make_lmdb(folder, str(made / 'features.txt'), str(source), (192, 256))
    assert (source / 'data.mdb').stat().st_mtime_ns == before
    with pytest.raises(ValueError, match='remove it'):
        make_lmdb(folder, str(made / 'features.txt'), str(source), (96, 128))
    write_list(str(made / 'features.txt'), images_of(folder), np.zeros((5, 1)), seed=4)
    with pytest.raises(ValueError, match='remove it'):
        make_lmdb(folder, str(made / 'features.txt'), str(source), (192, 256))


def test_the_script_of_several_scales(folder, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import convert_image2features_multires as multires
    npy, txt = tmp_path / 'out/x.npy', tmp_path / 'lists/x.txt'
    flags = ['--gpu', -1, '--proto', ROOT / DEPLOY, '--weights', weights(DEPLOY), '--scales', 32,
             64, '--img_dir', folder, '--features_npy', npy, '--features_txt', txt]
    monkeypatch.setattr('sys.argv', ['x', *map(str, flags)])
    multires.main(multires.parse_args())
    assert capsys.readouterr().out == f'{npy}: 5 x 128\n'
    assert sorted(read_pairs(txt)) == list(zip(NAMES, range(5)))
    assert np.load(npy).shape == (5, 128)


def test_a_mistake_is_told_in_one_line(weights, tmp_path):
    done = script('convert_image2features', '--proto', ROOT / TEACHER, '--weights',
                  weights(TEACHER), '--img_dir', tmp_path / 'none', cwd=tmp_path)
    assert_one_line(done, 'none', 'No such file')
