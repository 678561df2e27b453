"""Checkpoints of deep-image-retrieval, and the reader that takes scikit-learn's PCA from them."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from deep_retrieval.surgery.importing import import_naver
from deep_retrieval.surgery.importing.imported import difference, normalized
from deep_retrieval.surgery.importing.unpickling import PCA, read_checkpoint
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD
from foreign_nets import Naver, randomize
from sklearn import decomposition

SIZES = [(97, 130), (64, 80), (33, 71)]


def fitted(dim, whiten=True):
    rows = np.random.default_rng(0).normal(size=(100, dim)) * np.linspace(1, 3, dim)
    return decomposition.PCA(whiten=whiten).fit(rows + 0.5)


def flat(dim):
    pca = fitted(dim)
    pca.explained_variance_[10:] = 0
    return pca


def checkpoint(model, **more):
    state = {f'module.{name}': value for name, value in model.state_dict().items()}
    return {'epoch': 3, 'state_dict': state, 'model_options': model.options, **more}


def saved(tmp_path, content, old=False):
    torch.save(content, tmp_path / 'a.pt', _use_new_zipfile_serialization=not old)
    return tmp_path / 'a.pt'


def source(model, pca=None, power=0.5, dim=None):
    """What deep-image-retrieval computes: the net, then its whiten_features."""
    def describe(rgb):
        rows = model(torch.from_numpy(normalized(rgb, TORCH_MEAN, TORCH_STD))).numpy()
        if pca is None:
            return rows
        rows = (rows - pca.mean_) @ pca.components_[:dim].T
        if pca.whiten:
            rows = rows / pca.explained_variance_[:dim] ** power
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return describe


@pytest.mark.parametrize('options', [
    dict(), dict(pooling='max'), dict(pooling='avg'), dict(norm_features=True),
    dict(without_fc=True), dict(bottleneck=False), dict(blocks=(3, 4, 7, 3))])
def test_descriptors_are_the_same(options, tmp_path):
    model = randomize(Naver(**options))
    made = import_naver(saved(tmp_path, checkpoint(model)))
    assert difference(made, source(model), sizes=SIZES) < 1e-5
    assert made.dimension == (model.channels if options.get('without_fc') else 24)


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('whiten, power, dim', [(True, 0.5, None), (True, 0.25, 10),
                                                (False, 0.5, None)])
def test_descriptors_with_the_pca_are_the_same(old, whiten, power, dim, tmp_path):
    model, pca = randomize(Naver()), fitted(24, whiten)
    path = saved(tmp_path, checkpoint(model, pca={'Landmarks_clean': pca}), old)
    made = import_naver(path, power=power, dim=dim)
    assert difference(made, source(model, pca, power, dim), sizes=SIZES) < 1e-5
    assert made.dimension == (dim or 24)
    without = import_naver(path, 'none')
    assert difference(without, source(model), sizes=SIZES) < 1e-5


def test_mean_and_deviation_of_the_checkpoint_are_taken(tmp_path):
    model = randomize(Naver())
    preprocess = {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4], 'input_size': 224}
    made = import_naver(saved(tmp_path, checkpoint(model, preprocess=preprocess)))
    describe = lambda rgb: model(torch.from_numpy(normalized(rgb, (0.5, 0.4, 0.3),
                                                             (0.2, 0.3, 0.4)))).numpy()
    assert difference(made, describe, sizes=SIZES) < 1e-5
    assert made.mean == pytest.approx((76.5, 102, 127.5))


@pytest.mark.parametrize('change, message', [
    (dict(model_options={'arch': 'resnet101_fpn_rmac'}), "'resnet101_fpn_rmac' cannot be imported"),
    (dict(model_options={'arch': 'resnet50_rmac', 'pooling': 'cov'}), "pooling 'cov' cannot"),
    (dict(model_options={'arch': 'resnet50_rmac', 'center_bias': 1}), 'center_bias cannot'),
    (dict(model_options=None), 'not of deep-image-retrieval'),
    (dict(state_dict=None), 'has no state_dict'),
    (dict(pca={'a': fitted(24), 'b': fitted(24)}), 'must name one of its PCAs: a, b$'),
    (dict(pca={'a': fitted(10)}), r'\(10, 10\).*must take 24 dimensions'),
    (dict(preprocess={'mean': [1, 2]}), 'the mean must be 3 numbers'),
    (dict(pca={'a': flat(24)}), 'component 11 of the PCA has the variance 0'),
])
def test_what_cannot_be_imported_is_named(change, message, tmp_path):
    path = saved(tmp_path, {**checkpoint(Naver()), **change})
    with pytest.raises(ValueError, match=message) as error:
        import_naver(path)
    assert '\n' not in str(error.value)


def test_other_mistakes_are_named(tmp_path):
    path = saved(tmp_path, checkpoint(Naver(), pca={'a': fitted(24)}))
    with pytest.raises(ValueError, match="has no PCA 'b', but a$"):
        import_naver(path, 'b')
    with pytest.raises(ValueError, match='30 dimensions were asked for, but the PCA has 24'):
        import_naver(path, dim=30)
    state = checkpoint(Naver())
    del state['state_dict']['module.fc.bias']
    with pytest.raises(ValueError, match='a.pt: fc.bias is missing$'):
        import_naver(saved(tmp_path, state))
    state['state_dict'] = {'module.layer1.0.conv1.weight': torch.zeros(2)}
    with pytest.raises(ValueError, match='conv1.weight is missing; bn1.weight is missing; '):
        import_naver(saved(tmp_path, state))


# The reader

CONTENT = {
    'a': torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)[1:], 'half': torch.ones(3).half(),
    'brain': torch.tensor([1.5, -2]).bfloat16(), 'parameter': torch.nn.Parameter(torch.ones(2)),
    'array': np.asfortranarray(np.arange(6.0).reshape(2, 3)), 'big': np.arange(3, dtype='>i4'),
    'scalar': np.float32(2.5), 'list': [1, 'two', (3.0, None, True)], 'size': torch.Size([2, 3]),
    'empty': torch.zeros(0, 3), 'set': {1, 2}, 'bytes': b'\x00\xff'}


@pytest.mark.parametrize('old', [False, True])
def test_tensors_containers_and_arrays_are_read(old, tmp_path):
    found = read_checkpoint(saved(tmp_path, CONTENT, old))
    assert list(found) == list(CONTENT)
    for name in ('a', 'half', 'brain', 'parameter', 'empty'):
        wanted = CONTENT[name].detach().float().numpy()
        assert type(found[name]) is np.ndarray
        np.testing.assert_array_equal(found[name].astype(np.float32), wanted)
    np.testing.assert_array_equal(found['array'], CONTENT['array'])
    np.testing.assert_array_equal(found['big'], [0, 1, 2])
    assert found['scalar'] == 2.5 and found['list'] == CONTENT['list']
    assert found['size'] == (2, 3) and found['set'] == {1, 2} and found['bytes'] == b'\x00\xff'


@pytest.mark.parametrize('old', [False, True])
def test_a_pca_becomes_its_arrays(old, tmp_path):
    pca = fitted(5)
    found = read_checkpoint(saved(tmp_path, {'pca': {'x': pca}}, old))['pca']['x']
    assert type(found) is PCA and found.whiten is True
    np.testing.assert_array_equal(found.components_, pca.components_)
    assert vars(found).keys() == {'whiten', 'mean_', 'components_', 'explained_variance_'}


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('content, kind', [
    (Call(print, 'this must not run'), 'print'), (Call(eval, '1 + 1'), 'eval'),
    (Call(getattr, 'a', 'upper'), 'getattr'), (torch.nn.Linear(2, 2), 'torch.nn.modules'),
    (decomposition.NMF(), 'sklearn.decomposition._nmf.NMF'), (np.array([{}], object), 'dtype'),
    (io.BytesIO(b'x'), '_io.BytesIO'), (zipfile.ZipInfo('x'), 'zipfile')])
def test_anything_else_is_refused_by_its_type(old, content, kind, tmp_path, capsys):
    path = saved(tmp_path, {'state_dict': {}, 'extra': content}, old)
    with pytest.raises(ValueError, match=f'a.pt: holds .*{kind}.*is refused$') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value) and 'must not' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['__builtin__ eval', 'os system', 'torch load',
                                  'torch._utils _rebuild_qtensor', 'numpy loads',
                                  'numpy.core.multiarray fromfile',
                                  'sklearn.externals.joblib load'])
def test_a_pickle_by_hand_is_refused(name, tmp_path):
    program = b'c' + name.replace(' ', '\n').encode() + b"\n(S'echo'\ntR."
    with zipfile.ZipFile(tmp_path / 'a.pt', 'w') as archive:
        archive.writestr('archive/data.pkl', program)
    with pytest.raises(ValueError, match=name.replace(' ', '.')):
        read_checkpoint(tmp_path / 'a.pt')


@pytest.mark.parametrize('program', [
    # a pickle may set attributes of what it finds: BUILD with a dict, and with slots
    b'ctorch._utils\n_rebuild_tensor_v2\n}(X\x08\x00\x00\x00__call__Nub.',
    b'ctorch\nFloatStorage\n(N}(X\x05\x00\x00\x00dtypeNutb.',
    b'csklearn.decomposition._pca\nPCA\n(N}(X\x0c\x00\x00\x00__setstate__Nutb.',
    b'ccollections\nOrderedDict\n(N}(X\x06\x00\x00\x00updateNutb.'])
def test_a_pickle_cannot_change_the_reader(program, tmp_path):
    from deep_retrieval.surgery.importing import unpickling
    before = {name: dict(vars(type(value) if not isinstance(value, type) else value))
              for name, value in unpickling.KNOWN.items()}
    with zipfile.ZipFile(tmp_path / 'a.pt', 'w') as archive:
        archive.writestr('archive/data.pkl', program)
    with pytest.raises(ValueError, match='a.pt'):
        read_checkpoint(tmp_path / 'a.pt')
    assert before == {name: dict(vars(type(value) if not isinstance(value, type) else value))
                      for name, value in unpickling.KNOWN.items()}
    assert unpickling.KNOWN['torch', 'FloatStorage'].dtype == 'f4'


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('keep', [0, 0.3, 0.7, 0.98])
def test_a_truncated_file_is_named(old, keep, tmp_path):
    path = saved(tmp_path, checkpoint(Naver(), pca={'x': fitted(24)}), old)
    path.write_bytes(path.read_bytes()[:int(keep * path.stat().st_size)])
    with pytest.raises(ValueError, match='a.pt: is damaged') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)


def test_tensors_beyond_their_data_and_other_pickles_are_refused(tmp_path):
    torch.save({'a': torch.ones(4)}, tmp_path / 'whole.pt')
    with zipfile.ZipFile(tmp_path / 'whole.pt') as whole, zipfile.ZipFile(
            tmp_path / 'a.pt', 'w') as short:
        for name in whole.namelist():
            data = whole.read(name)
            short.writestr(name, data[:8] if '/data/' in name else data)
    with pytest.raises(ValueError, match='larger than its data'):
        read_checkpoint(tmp_path / 'a.pt')
    with pytest.raises(ValueError, match='is a list, not a checkpoint'):
        read_checkpoint(saved(tmp_path, [1]))
    (tmp_path / 'b.pt').write_bytes(pickle.dumps({'a': 1}))
    with pytest.raises(ValueError, match='b.pt: is damaged'):
        read_checkpoint(tmp_path / 'b.pt')
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / 'c.pt')
