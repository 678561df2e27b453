"""Region vectors of several maps: resumed, skipped, damaged, and never those of another run."""

import json

import numpy as np
import pytest
from deep_retrieval import store
from deep_retrieval.images import ImageError
from deep_retrieval.studies import MAPS
from deep_retrieval.studies.combinations import COMBINATIONS, describe
from deep_retrieval.studies.maps import MapNet, SavedMaps, extract_maps
from offline_case import NETS, TINY, S, branches, folder, items_of, make_dataset  # noqa: F401


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level('INFO', 'deep_retrieval')
    return caplog


class FakeNet:
    """Region vectors that are known: three per image, multiples of its mean colour."""

    def __init__(self, breaks_after=None, factor=1):
        self.calls, self.breaks_after, self.factor = 0, breaks_after, factor

    def __call__(self, images):
        if self.calls == self.breaks_after:
            raise KeyboardInterrupt
        self.calls += len(images)
        return [{'8': np.outer([1, 2, 3], self.factor * image.mean((0, 1))).astype(np.float32)}
                for image in images]


def content(folder):  # noqa: F811
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_run_resumes_to_the_same_bytes(folder, tmp_path, log):      # noqa: F811
    _, items = items_of(folder)
    extract_maps(FakeNet, items, S, str(tmp_path / 'whole'), {})
    with pytest.raises(KeyboardInterrupt):
        extract_maps(lambda: FakeNet(33), items, S, str(tmp_path / 'torn'), {})
    net = FakeNet()
    found = extract_maps(lambda: net, items, S, str(tmp_path / 'torn'), {})
    assert net.calls == 2 and 'resuming after 32 of 34 images' in log.text
    assert content(tmp_path / 'torn') == content(tmp_path / 'whole')
    assert found.count() == (34, 102)
    assert found.summary() == (f'{tmp_path}/torn: 34 images, 102 regions; 3-d at stride 8')
    extract_maps(None, items, S, str(tmp_path / 'torn'), {})       # needs no net any more
    extract_maps(FakeNet, items, S, str(tmp_path / 'torn'), {'L': 3})
    assert 'was made with another L; recomputing it' in log.text


@pytest.mark.parametrize('killed_at', ['manifest.json', '00000.npz', '00000.json', '00001.npz',
                                       '00001.json'])
def test_a_killed_run_never_leaves_rows_of_another(killed_at, folder, tmp_path,     # noqa: F811
                                                   monkeypatch):
    """Killed after any file of a run that replaces another one's features, in place."""
    _, items = items_of(folder)
    extract_maps(lambda: FakeNet(factor=2), items, S, str(tmp_path / 'whole'), {'weights': 'new'})
    out = tmp_path / 'out'
    extract_maps(FakeNet, items, S, str(out), {'weights': 'old'})
    write = store.manifest.write

    def write_and_die(path, data):
        write(path, data)
        if path.endswith(killed_at):
            raise KeyboardInterrupt
    monkeypatch.setattr(store.manifest, 'write', write_and_die)
    with pytest.raises(KeyboardInterrupt):
        extract_maps(lambda: FakeNet(factor=2), items, S, str(out), {'weights': 'new'})
    monkeypatch.undo()
    if killed_at != '00001.json':
        with pytest.raises(ValueError, match=r'0000\d.npz: (was made from something else|is dam)'):
            list(SavedMaps(out).blocks())
    extract_maps(lambda: FakeNet(factor=2), items, S, str(out), {'weights': 'new'})
    assert content(out) == content(tmp_path / 'whole')


def test_fewer_images_leave_no_blocks_behind(folder, tmp_path):     # noqa: F811
    _, items = items_of(folder)
    for some in (items, items[:20]):
        extract_maps(FakeNet, some, S, str(tmp_path), {})
    assert sorted(content(tmp_path)) == ['00000.json', '00000.npz', 'manifest.json']


def test_a_damaged_image_is_named_or_skipped(tmp_path, log):
    folder = make_dataset(tmp_path / 'data', 12, seed=1)  # noqa: F811
    (folder / 'jpg/i03.jpg').write_bytes(b'\xff\xd8\xff')
    _, items = items_of(folder)
    out = str(tmp_path / 'out')
    with pytest.raises(ImageError, match='i03.jpg'):
        extract_maps(FakeNet, items, S, out, {})
    found = extract_maps(FakeNet, items, S, out, {}, skip_bad=True)
    rows = describe(COMBINATIONS['raw_concat']((8,)), found, [])
    assert np.isnan(rows[3]).all() and np.isfinite(np.delete(rows, 3, 0)).all()
    assert found.count() == (11, 33) and 'i03.jpg' in log.messages[0]
    with pytest.raises(ImageError, match='i03.jpg'):        # the saved features do not hide it
        extract_maps(FakeNet, items, S, out, {})


def test_features_that_are_not_as_they_were_made(folder, tmp_path):     # noqa: F811
    _, items = items_of(folder)
    out = tmp_path / 'out'
    found = extract_maps(FakeNet, items, S, str(out), {})
    path, note = out / '00001.npz', store.Manifest.beside(out / '00001.npz').note()
    with np.load(path) as file:
        arrays = dict(file)
    arrays['8'][4] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match='00001.npz: is damaged'):
        list(found.blocks())
    note['files'][path.name]['sha256'] = store.sha256(path)
    path.with_suffix('.json').write_text(json.dumps(note))
    with pytest.raises(ValueError, match='image i33 have a value that is not finite'):
        list(found.blocks())
    path.write_bytes(b'PK\x03\x04 no zip')
    with pytest.raises(ValueError, match='00001.npz: is damaged'):
        list(found.blocks())
    note['files'][path.name]['sha256'] = store.sha256(path)
    path.with_suffix('.json').write_text(json.dumps(note))
    with pytest.raises(ValueError, match='00001.npz: is damaged or is not a block of features'):
        list(found.blocks())
    path.unlink()
    with pytest.raises(ValueError, match='00001.npz: is missing'):
        found.count()
    (out / 'manifest.json').write_text('{}')
    with pytest.raises(ValueError, match='manifest.json: is damaged'):
        SavedMaps(out)
    with pytest.raises(ValueError, match='contains no features'):
        SavedMaps(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='contains other files'):
        extract_maps(FakeNet, items, S, str(folder), {})


def test_a_net_whose_values_are_not_finite(folder, tmp_path):       # noqa: F811
    class Broken(FakeNet):
        def __call__(self, images):
            return [{'8': part['8'] * np.inf} for part in super().__call__(images)]
    with pytest.raises(ValueError, match='image i00 have a value that is not finite'):
        extract_maps(Broken, items_of(folder)[1], S, str(tmp_path), {})


def test_all_nets_give_the_same_vectors(folder, branches, tmp_path):    # noqa: F811
    for proto in sorted(NETS.rglob('*.prototxt')):
        other = extract_maps(lambda proto=proto: MapNet(proto, TINY, L=2), items_of(folder)[0], S,
                             str(tmp_path / proto.stem), {})
        for ours, theirs in zip(branches[0].blocks(), other.blocks(), strict=True):
            assert ours.counts.tolist() == theirs.counts.tolist() == [8, 5]
            for stride in MAPS['4']:
                np.testing.assert_allclose(ours.regions(stride), theirs.regions(stride), atol=1e-6)
            assert (theirs.master is None) == ('raw_concat' in proto.stem)
