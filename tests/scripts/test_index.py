"""index, milvus_store and search_index.py: against comparison with every row."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import saved_set
from conftest import assert_one_line
from deep_retrieval import feature_shards
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.features import Features
from deep_retrieval.search import faiss_index, milvus_store

MODEL = {'weights': 'abc', 'proto': 'def', 'end': 'x'}


def clustered(count, dim, seed=0, spread=0.5):
    rng = np.random.default_rng(seed)
    rows = np.random.default_rng(99).standard_normal((20, dim))[rng.integers(0, 20, count)]
    rows = rows + spread * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def rows_of(values, path='some', made_from=MODEL):
    return Features(path, [f'{i}.jpg' for i in range(len(values))], values, made_from)


def brute_force(queries, rows, k):
    order = np.argsort(-(queries.astype(float) @ rows.T.astype(float)), axis=1)[:, :k]
    return order, np.take_along_axis(queries @ rows.T, order, axis=1)


def recall(places, truth):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(places, truth)])


@pytest.fixture(scope='module')
def rows():
    return clustered(2000, 32)


@pytest.fixture(scope='module')
def queries():
    return clustered(40, 32, seed=1)


def test_flat_is_exact(rows, queries):
    places, scores = faiss_index.search(faiss_index.build(rows_of(rows)), queries, 7)
    order, values = brute_force(queries, rows, 7)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(scores, values, atol=1e-6)


def test_ivfpq(rows, queries):
    order, _ = brute_force(queries, rows, 10)
    rough = faiss_index.build(rows_of(rows), 'ivfpq', cells=16, code_bytes=8)
    fine = faiss_index.build(rows_of(rows), 'ivfpq', cells=16, code_bytes=8, refine=True)
    found = {name: faiss_index.search(stored, queries, 10, probes)[0] for name, stored, probes in (
        ('one cell', rough, 1), ('all cells', rough, 16), ('refined', fine, 16))}
    recalls = {name: recall(places, order) for name, places in found.items()}
    assert 0.2 < recalls['one cell'] <= recalls['all cells'] < recalls['refined'] > 0.9
    places, scores = faiss_index.search(fine, queries, 10, 16)
    for query, row, values in zip(queries, places, scores):     # refined scores are exact
        np.testing.assert_allclose(values, rows[row] @ query, atol=1e-6)
    coarse = faiss_index.build(rows_of(rows), 'ivfpq', cells=500, code_bytes=8)
    few, _ = faiss_index.search(coarse, queries, 300, probes=1)
    assert (few == -1).any()


@pytest.mark.parametrize('kind', faiss_index.KINDS)
def test_saving(kind, rows, queries, tmp_path):
    path = str(tmp_path / 'deep/i')
    stored = faiss_index.build(rows_of(rows), kind)
    faiss_index.save(path, stored)
    loaded = faiss_index.load(path)
    assert loaded[1:] == stored[1:]
    for one, other in zip(*(faiss_index.search(found, queries, 5) for found in (loaded, stored))):
        np.testing.assert_array_equal(one, other)
    first = [(tmp_path / f'deep/i.{end}').read_bytes() for end in ('faiss', 'json')]
    faiss_index.save(path, faiss_index.build(rows_of(rows), kind))  # equal runs give equal bytes
    assert first == [(tmp_path / f'deep/i.{end}').read_bytes() for end in ('faiss', 'json')]
    (tmp_path / 'deep/i.faiss').write_bytes(first[0][:-1])
    with pytest.raises(ValueError, match='i.faiss: is damaged, or is not the file that .*i.json'):
        faiss_index.load(path)
    (tmp_path / 'deep/i.json').write_text('[]')
    with pytest.raises(ValueError, match='i.json: is damaged'):
        faiss_index.load(path)
    (tmp_path / 'deep/i.json').unlink()
    with pytest.raises(ValueError, match='i.json: there is no such file'):
        faiss_index.load(path)


@pytest.mark.parametrize('options, words', [
    ({'kind': 'hnsw'}, 'hnsw.* known are flat, ivfpq'),
    ({'kind': 'ivfpq', 'code_bytes': 5}, '5 bytes do not divide 32'),
    ({'kind': 'ivfpq', 'cells': 3000}, '2000 rows cannot fill 3000 cells')])
def test_builds_that_cannot_be(options, words, rows):
    with pytest.raises(ValueError, match=words):
        faiss_index.build(rows_of(rows), **options)


def test_mistakes(rows, queries):
    with pytest.raises(ValueError, match='at least 256 rows to learn from, but there are 100'):
        faiss_index.build(rows_of(rows[:100]), 'ivfpq')
    stored = faiss_index.build(rows_of(rows))
    with pytest.raises(ValueError, match='32 dimensions.*30'):
        faiss_index.search(stored, queries[:, :30], 3)
    with pytest.raises(ValueError, match='k is 2001'):
        faiss_index.search(stored, queries, 2001)
    broken = rows_of(rows.copy(), 'that')
    broken.rows()[1234, 5] = np.nan
    for kind in faiss_index.KINDS:
        with pytest.raises(ValueError, match=r'that: row 1234 \(1234.jpg\) .*not finite'):
            faiss_index.build(broken, kind)


@pytest.fixture
def store(tmp_path):
    pytest.importorskip('pymilvus', reason='pymilvus is not installed')
    pytest.importorskip('milvus_lite', reason='milvus-lite is not installed')
    stores = []

    def store(name='m.db', **options):
        stores.append(milvus_store.Store(tmp_path / name, **options))
        return stores[-1]
    yield store
    for one in stores:
        one._client.close()


def test_milvus_gives_what_comparison_gives(store, rows, queries):
    ours = store()
    ours.load(rows_of(rows))
    assert ours.count() == 2000
    order, values = brute_force(queries, rows, 5)
    hits = ours.search(queries, 5, MODEL)
    assert [[hit.name for hit in row] for row in hits] == [
        [f'{place}.jpg' for place in row] for row in order]
    np.testing.assert_allclose([[hit.similarity for hit in row] for row in hits], values, atol=1e-5)
    with pytest.raises(ValueError, match='another model than the queries'):
        ours.search(queries, 5, {**MODEL, 'weights': 'zzz'})
    with pytest.raises(ValueError, match='another model .* 32 dimensions'):
        ours.search(queries[:, :30], 5, MODEL)


def test_milvus_goes_on_where_it_was_cut_off(store, rows, queries, monkeypatch):
    monkeypatch.setattr(milvus_store, 'BATCH', 100)
    small = rows_of(rows[:350])
    cut = rows_of(rows[:350].copy())
    cut.rows()[250] = np.nan
    with pytest.raises(ValueError, match='row 250 '):
        store().load(cut)
    again = store()
    assert again.count() == 200
    again.load(small)
    again.load(small)
    assert again.count() == 350
    order, _ = brute_force(queries, rows[:350], 5)
    assert [[hit.name for hit in row] for row in again.search(queries, 5)] == [
        [f'{place}.jpg' for place in row] for row in order]
    for other in (rows_of(rows[:300]), Features('new', [f'x{i}' for i in range(400)],
                                                           rows[:400], MODEL)):
        with pytest.raises(ValueError, match='other images than'):
            again.load(other)
    with pytest.raises(ValueError, match='another model than'):
        again.load(rows_of(rows, made_from={}))
    again.load(rows_of(rows[:90], made_from={}), overwrite=True)
    assert again.count() == 90


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *flags: saved_set.run(capsys, monkeypatch, 'myPython/search_index.py', *flags)


@pytest.fixture
def folders(rows, queries, tmp_path):
    """Folders of shards: 'features' and 'queries'."""
    for name, values in (('features', rows), ('queries', queries)):
        feature_shards.save(str(tmp_path / name), [f'{name} {i}.jpg' for i in range(len(values))],
                            values, made_from=MODEL)


def hits_of(path):
    return [(anchor, [name for name, _ in items]) for anchor, items in mapped_files.read(path)]


def test_the_script(run, folders, rows, queries):
    done = run('build', '--features', 'features', '--index', 'i')
    assert done.returncode == 0 and done.stdout.startswith(
        'i.faiss: 2000 x 32, flat, 128 bytes per row'), done
    done = run('search', '--queries', 'queries', '--index', 'i', '--k', 3, '--output', 'hits.txt')
    assert done.returncode == 0 and done.stdout.startswith('hits.txt: 120 hits of 40 queries')
    order, _ = brute_force(queries, rows, 3)
    assert hits_of('hits.txt') == [(f'queries {i}.jpg', [f'features {place}.jpg' for place in row])
                                   for i, row in enumerate(order)]
    done = run('build', '--features', 'features', '--index', 'pq', '--kind', 'ivfpq', '--refine',
               '--code_bytes', 8)
    assert done.returncode == 0, done.stderr
    done = run('search', '--queries', 'queries', '--index', 'pq', '--probes', 2, '--output', 'x')
    assert done.returncode == 0 and len(hits_of('x')) == 40


def test_the_script_with_milvus(run, folders, store):       # store: skips without Milvus
    run('build', '--features', 'features', '--index', 'i')
    run('search', '--queries', 'queries', '--index', 'i', '--k', 3, '--output', 'a')
    done = run('milvus_load', '--features', 'features', '--uri', 's/m.db')
    assert done.stdout == 's/m.db: 2000 x 32 in the collection descriptors\n', done
    done = run('milvus_search', '--queries', 'queries', '--uri', 's/m.db', '--k', 3,
               '--output', 'b')
    assert done.returncode == 0 and hits_of('a') == hits_of('b')
    assert_one_line(run('milvus_search', '--queries', 'queries', '--uri', 's/m.db',
                        '--collection', 'none'), 's/m.db: has no collection none')
    assert_one_line(run('milvus_search', '--queries', 'queries', '--uri', 'http://localhost:1'),
                    'localhost:1')


def test_the_features_of_test_py(run, tmp_path):
    folder = saved_set.make(tmp_path / 'data')
    stem = saved_set.save_features(tmp_path / 'f/Oxford', saved_set.opened(folder))
    flags = '--dataset', folder, '--index', 'i'
    assert run('build', '--features', stem, *flags).returncode == 0
    done = run('search', '--queries', stem, *flags, '--output', 'hits.txt', '--k', 99)
    assert done.returncode == 0, done.stderr
    q, d = (np.load(f'{stem}_{part}.npy') for part in ('queries', 'dataset'))
    order, _ = brute_force(q, d, 24)
    names = saved_set.opened(folder).images
    assert hits_of('hits.txt') == [(f'{thing}_1', [names[place] for place in row])
                                   for thing, row in zip(saved_set.THINGS, order)]


def test_descriptors_of_another_model(run, folders, queries):
    run('build', '--features', 'features', '--index', 'i')
    shutil.rmtree('queries')
    feature_shards.save('queries', [str(i) for i in range(40)], queries,
                        made_from={**MODEL, 'proto': 'zzz'})
    assert_one_line(run('search', '--queries', 'queries', '--index', 'i'), 'queries: ',
                    'another proto')
    assert not os.path.exists('tmp')


@pytest.mark.parametrize('flags, words', [
    (['build', '--features', 'nowhere'], ['nowhere_dataset.npy', 'no such file']),
    (['search', '--queries', 'queries', '--index', 'no'], ['no.faiss', 'search_index.py build']),
    (['build', '--features', 'features', '--kind', 'ivfpq', '--code_bytes', '7'], ['7 bytes'])])
def test_mistakes_of_users(flags, words, run, folders):
    dataset = saved_set.make(Path('data')) if 'nowhere' in flags else 'none'
    assert_one_line(run(*flags, '--dataset', dataset), *words)


def test_a_run_killed_between_index_and_manifest(rows, tmp_path):
    """The index of other rows beside the old names is refused, never searched."""
    faiss_index.save(str(tmp_path / 'i'), faiss_index.build(rows_of(rows)))
    faiss_index.save(str(tmp_path / 'other'), faiss_index.build(rows_of(rows[::-1].copy())))
    os.replace(tmp_path / 'other.faiss', tmp_path / 'i.faiss')
    with pytest.raises(ValueError, match='i.faiss: is damaged, or is not the file'):
        faiss_index.load(str(tmp_path / 'i'))


@pytest.mark.parametrize('mode, package', [('build', 'faiss'), ('milvus_search', 'pymilvus')])
def test_a_missing_package_is_one_line(mode, package, run, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    flag = '--features' if mode == 'build' else '--queries'
    assert_one_line(run(mode, flag, 'queries'), f'{package} is needed', 'my-deep-retrieval[')


def test_named_rows_are_searched(run, rows, tmp_path):
    np.save(tmp_path / 'f.npy', rows)
    (tmp_path / 'f.txt').write_text(''.join(f'{i}\t{i}.jpg\n' for i in range(len(rows))))
    assert run('build', '--features', 'f.npy', '--index', 'i').returncode == 0
    done = run('search', '--queries', 'f.npy', '--index', 'i', '--k', 1, '--output', 'hits.txt')
    assert done.returncode == 0, done.stderr
    assert hits_of('hits.txt') == [(f'{i}.jpg', [f'{i}.jpg']) for i in range(len(rows))]
