"""Region vectors of several maps: resumed, skipped, damaged."""

import numpy as np
import pytest
from deep_retrieval.images import ImageError
from deep_retrieval.studies import MAPS, branch_features
from deep_retrieval.studies.branch_features import Branches, BranchNet, extract_branches
from deep_retrieval.studies.experiments import EXPERIMENTS, describe
from offline_case import NETS, TINY, S, branches, folder, items_of, make_dataset  # noqa: F401


class FakeNet:
    """Region vectors that are known: three an image, of its mean colour."""

    def __init__(self, breaks_after=None):
        self.calls, self.breaks_after = 0, breaks_after

    def __call__(self, images):
        if self.calls == self.breaks_after:
            raise KeyboardInterrupt
        self.calls += len(images)
        return [{'8': np.outer([1, 2, 3], image.mean((0, 1))).astype(np.float32)}
                for image in images]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_run_goes_on_to_the_same_bytes(folder, tmp_path, caplog):
    _, items = items_of(folder)
    extract_branches(FakeNet, items, S, str(tmp_path / 'whole'), {})
    caplog.set_level('INFO')
    with pytest.raises(KeyboardInterrupt):
        extract_branches(lambda: FakeNet(33), items, S, str(tmp_path / 'torn'), {})
    net = FakeNet()
    found = extract_branches(lambda: net, items, S, str(tmp_path / 'torn'), {})
    assert net.calls == 2 and 'resuming after 32 of 34 images' in caplog.messages[0]
    assert content(tmp_path / 'torn') == content(tmp_path / 'whole')
    assert found.count() == (34, 102)
    extract_branches(None, items, S, str(tmp_path / 'torn'), {})       # needs no net any more
    extract_branches(FakeNet, items, S, str(tmp_path / 'torn'), {'L': 3})
    assert 'made with another L' in caplog.messages[1]


def test_a_damaged_image_is_named_or_skipped(tmp_path, caplog):
    folder = make_dataset(tmp_path / 'data', 12, seed=1)
    (folder / 'jpg/i03.jpg').write_bytes(b'\xff\xd8\xff')
    _, items = items_of(folder)
    out = str(tmp_path / 'out')
    with pytest.raises(ImageError, match='i03.jpg'):
        extract_branches(FakeNet, items, S, out, {})
    found = extract_branches(FakeNet, items, S, out, {}, skip_bad=True)
    rows = describe(EXPERIMENTS['raw_concat']((8,)), found, [])
    assert np.isnan(rows[3]).all() and np.isfinite(np.delete(rows, 3, 0)).all()
    assert found.count() == (11, 33) and 'i03.jpg' in caplog.messages[0]
    with pytest.raises(ImageError, match='i03.jpg'):        # the saved features do not hide it
        extract_branches(FakeNet, items, S, out, {})


def test_features_that_are_not_as_they_were_made(folder, tmp_path):
    _, items = items_of(folder)
    out = tmp_path / 'out'
    found = extract_branches(FakeNet, items, S, str(out), {})
    with np.load(out / '00001.npz') as file:
        arrays = dict(file)
    arrays['8'][4] = np.nan
    np.savez(out / '00001.npz', **arrays)
    with pytest.raises(ValueError, match='image i33 hold a value that is not finite'):
        list(found.blocks())
    (out / '00001.npz').write_bytes(b'PK\x03\x04 no zip')
    with pytest.raises(ValueError, match='00001.npz: is damaged'):
        list(found.blocks())
    (out / '00001.npz').unlink()
    with pytest.raises(ValueError, match='00001.npz: is missing'):
        found.count()
    (out / branch_features.MANIFEST).write_text('{}')
    with pytest.raises(ValueError, match='manifest.json: is no manifest'):
        Branches(out)
    with pytest.raises(ValueError, match='holds no features'):
        Branches(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='holds something else'):
        extract_branches(FakeNet, items, S, str(folder), {})


def test_a_net_whose_values_are_not_finite(folder, tmp_path):
    class Broken(FakeNet):
        def __call__(self, images):
            return [{'8': part['8'] * np.inf} for part in super().__call__(images)]
    with pytest.raises(ValueError, match='image i00 hold a value that is not finite'):
        extract_branches(Broken, items_of(folder)[1], S, str(tmp_path), {})


def test_all_nets_give_the_same_vectors(folder, branches, tmp_path):
    for proto in sorted(NETS.rglob('*.prototxt')):
        other = extract_branches(lambda: BranchNet(proto, TINY, L=2), items_of(folder)[0], S,
                                 str(tmp_path / proto.stem), {})
        for ours, theirs in zip(branches[0].blocks(), other.blocks()):
            assert ours.counts.tolist() == theirs.counts.tolist() == [8, 5]
            for stride in MAPS['4']:
                np.testing.assert_allclose(ours.regions(stride), theirs.regions(stride), atol=1e-6)
            assert (theirs.master is None) == ('raw_concat' in proto.stem)
