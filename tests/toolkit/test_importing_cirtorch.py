"""Networks of cnnimageretrieval-pytorch, imported, give the same descriptors."""

import numpy as np
import pytest
import torch
from custom_layers import MapGridLayer  # noqa: F401  (which the nets name)
from deep_retrieval.surgery.importing import import_cirtorch
from deep_retrieval.surgery.importing.imported import difference, normalized
from foreign_nets import Cirtorch, map_regions, randomize
from region_generator import get_map_region_coordinates

SIZES = [(97, 130), (64, 64), (31, 70), (130, 200)]


def saved(tmp_path, model, **meta):
    torch.save({'meta': {**model.meta, **meta}, 'state_dict': model.state_dict(), 'epoch': 1},
               tmp_path / 'a.pth')
    return tmp_path / 'a.pth'


def source(model, whitening=None, dim=None):
    def describe(rgb):
        rows = model(torch.from_numpy(normalized(rgb, model.meta['mean'], model.meta['std'])))
        if whitening is None:
            return rows.numpy()
        rows = (rows.numpy() - whitening['m'].T) @ whitening['P'][:dim].T
        return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
    return describe


@pytest.mark.parametrize('options', [
    dict(), dict(pooling='mac'), dict(pooling='spoc'), dict(pooling='rmac'), dict(whitening=True),
    dict(regional=True, whitening=True), dict(regional=True, pooling='mac'),
    dict(regional=True, pooling='spoc'), dict(local_whitening=True, whitening=True),
    dict(bottleneck=False), dict(vgg=True, whitening=True), dict(vgg=True, pooling='rmac')],
    ids=lambda options: ' '.join(f'{key}-{value}' for key, value in options.items()) or 'gem')
def test_descriptors_are_the_same(options, tmp_path):
    model = randomize(Cirtorch(**options))
    made = import_cirtorch(saved(tmp_path, model))
    assert difference(made, source(model), sizes=SIZES) < 1e-5
    assert made.dimension == model.meta['outputdim']
    assert made.stride == (4 if options.get('vgg') else 32)
    two = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 80)).astype(np.float32)
    np.testing.assert_allclose(made.run(two)[1:], made.run(two[1:]), atol=1e-5)


@pytest.mark.parametrize('dim', [None, 12])
def test_a_whitening_that_was_learned_afterwards(dim, tmp_path):
    model, random = randomize(Cirtorch()), np.random.default_rng(0)
    learned = {kind: {'m': random.normal(0, 0.05, (256, 1)), 'P': random.normal(size=(256, 256))}
               for kind in ('ss', 'ms')}
    path = saved(tmp_path, model, Lw={'retrieval-SfM-120k': learned})
    for multires, kind in ((False, 'ss'), (True, 'ms')):
        made = import_cirtorch(path, 'retrieval-SfM-120k', multires, dim)
        assert difference(made, source(model, learned[kind], dim), sizes=SIZES) < 1e-5
        assert made.dimension == (dim or 256)
    assert difference(import_cirtorch(path), source(model), sizes=SIZES) < 1e-5
    with pytest.raises(ValueError, match="no whitening 'other', but retrieval-SfM-120k$"):
        import_cirtorch(path, 'other')
    with pytest.raises(ValueError, match='300 dimensions were asked for'):
        import_cirtorch(path, 'retrieval-SfM-120k', dim=300)


@pytest.mark.parametrize('meta, message', [
    (dict(architecture='densenet121'), "'densenet121' cannot be imported; known are ResNets"),
    (dict(pooling='gemmp'), "'gemmp' cannot be imported; known are mac"),
    (dict(pooling='rmac', regional=True), "'rmac' cannot be imported of regions"),
    (dict(whitening=True), 'whiten.weight and whiten.bias is missing'),
    (dict(std=[1, 0, 1]), 'above 0'),
    (dict(architecture='vgg16'), 'is not a VGG'),
])
def test_what_cannot_be_imported_is_named(meta, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        import_cirtorch(saved(tmp_path, Cirtorch(), **meta))
    assert '\n' not in str(error.value)


def test_other_files_are_named(tmp_path):
    torch.save({'state_dict': Cirtorch().state_dict()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='not of cnnimageretrieval-pytorch'):
        import_cirtorch(tmp_path / 'a.pth')
    torch.save({'meta': {'architecture': 'resnet50'}, 'x': torch.nn.ReLU()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='holds torch.nn.modules.activation.ReLU'):
        import_cirtorch(tmp_path / 'a.pth')


def test_the_regions_of_every_map():
    for H in range(1, 40):
        for W in range(1, 40):
            wanted = [(left, top, *side[::-1]) for top, left, side in map_regions(H, W)]
            assert get_map_region_coordinates(H, W, 3).astype(int).tolist() == [
                list(region) for region in wanted]
