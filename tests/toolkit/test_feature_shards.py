import json

import numpy as np
import pytest
from deep_retrieval.feature_shards import FeatureFolder, Shard, plan, save, write_rows
from deep_retrieval.vectors import unit

NAMES = ['a b.jpg', 'one/c:d_e.jpg', 'one/tab\t.jpg', 'two/c:d_e.jpg', 'ü/日本%.jpg', '\udcff.jpg',
         'line\nbreak.jpg']


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((7, 5))


@pytest.fixture
def path(tmp_path, features):
    save(tmp_path / 'x', NAMES, features, shard_size=3, made_from={'L': 2})
    return tmp_path / 'x'


def test_every_slice_is_that_of_one_matrix(path, features):
    folder = FeatureFolder(path)
    whole = np.array([row / np.sqrt(sum(x * x for x in row)) for row in features])
    assert len(folder) == 7 and folder.dim == 5
    for start in [*range(-8, 9), None]:
        for stop in [*range(-8, 9), None]:
            rows = folder.rows(start, stop)
            assert rows.dtype == np.float32 and rows.shape[1] == 5
            np.testing.assert_allclose(rows, whole[start:stop], atol=1e-6)


def test_names_come_back_as_they_are(path):
    folder = FeatureFolder(str(path))
    assert folder.names == NAMES and folder.bad == {} and folder.missing == []
    assert folder.made_from == {'L': 2}
    assert sorted(file.name for file in path.iterdir() if file.name[0] != '.') == [
        'manifest.json', *(f'shard_0000{i}.{kind}' for i in range(3) for kind in ('json', 'npy'))]


def test_images_without_a_row_are_not_among_the_names(path):
    write_rows(path, 3, Shard(['x.jpg', 'y.jpg', 'z.jpg'], {'y.jpg': 'is truncated'}),
               np.eye(5, dtype=np.float32)[:2])
    write_rows(path, 4, Shard(['bad.jpg'], {'bad.jpg': 'is empty'}), np.empty((0, 0), np.float32))
    folder = FeatureFolder(path)
    assert folder.names[7:] == ['x.jpg', 'z.jpg']
    assert folder.bad == {'y.jpg': 'is truncated', 'bad.jpg': 'is empty'}
    np.testing.assert_array_equal(folder.rows(7), np.eye(5)[:2])


def test_rows_of_unit_length_keep_their_bits():
    rows = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    once = unit(rows)
    np.testing.assert_array_equal(unit(once), once)
    np.testing.assert_allclose(np.linalg.norm(once.astype(np.float64), axis=1), 1, atol=2e-7)
    nothing = unit([[0, 0], [np.nan, 1], [np.inf, 1], [3, 4]])
    assert np.isnan(nothing[:3]).all() and nothing[3].tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize('names, rows, words', [
    (['a', 'a'], np.eye(2), 'different names'), (['a'], np.eye(2), 'different names'),
    (['a', 'b'], np.zeros((2, 2)), 'no direction'),
    (['a', 'b'], np.full((2, 2), np.nan), 'no direction')])
def test_what_cannot_be_saved(tmp_path, names, rows, words):
    with pytest.raises(ValueError, match=words):
        save(tmp_path / 'y', names, rows)
    assert not (tmp_path / 'y').exists()


def test_a_folder_is_not_written_twice(path, features):
    with pytest.raises(ValueError, match='already has features'):
        save(path, NAMES, features)


def test_planned_shards_take_each_name_once_and_never_move(path):
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    shards = plan(path, ['new/1', *NAMES, 'new/2', 'new/3'], shard_size=2)
    assert [shards[i].names for i in (3, 4)] == [['new/1', 'new/2'], ['new/3']]
    assert plan(path, ['new/3', 'new/1'], shard_size=2) == shards
    assert before.items() <= {file.name: file.read_bytes() for file in path.iterdir()}.items()
    with pytest.raises(ValueError, match='2 of 5 shards are not finished'):
        FeatureFolder(path)
    folder = FeatureFolder(path, partial=True)
    assert folder.missing == [3, 4] and folder.names == NAMES
    (path / 'shard_00001.json').unlink()        # to have it made anew
    assert plan(path, NAMES, shard_size=9)[1].names == NAMES[3:6]


def test_a_shard_counts_when_its_json_says_so(path):
    (path / 'shard_00002.json').write_text(json.dumps({'names': NAMES[6:]}))
    assert FeatureFolder(path, partial=True).missing == [2]


@pytest.mark.parametrize('file, content, words', [
    ('shard_00001.npy', b'\x93NUMPY', 'shard_00001.npy: is damaged'),
    ('shard_00001.npy', b'', 'shard_00001.npy: is damaged'),
    ('shard_00001.json', b'{"names": ["a"', 'shard_00001.json: is damaged'),
    ('shard_00001.json', b'{"rows": 3}', 'shard_00001.json: does not describe'),
    ('manifest.json', b'[]', 'manifest.json: is damaged')])
def test_damaged_files_are_named(path, file, content, words):
    (path / file).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        FeatureFolder(path).rows()


def test_rows_of_another_shape_are_damage(path):
    for shape in ((2, 5), (3, 4), (3,)):
        np.save(path / 'shard_00001.npy', np.zeros(shape, np.float32))
        with pytest.raises(ValueError, match='shard_00001.npy: is damaged'):
            FeatureFolder(path).rows()


def test_folders_without_features(tmp_path):
    with pytest.raises(ValueError, match='is not a folder of features'):
        FeatureFolder(tmp_path)
    with pytest.raises(ValueError, match='is not a folder of features'):
        FeatureFolder(tmp_path / 'none')
    (tmp_path / 'manifest.json').write_text('{"made_from": {}, "files": {}}')
    with pytest.raises(ValueError, match='has no features'):
        FeatureFolder(tmp_path)
