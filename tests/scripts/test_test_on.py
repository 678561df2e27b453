"""The scripts of myPython/test as a user runs them, on small generated folders and the tiny net."""

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import images, model
from deep_retrieval.datasets import DATASETS
from deep_retrieval.features import find_file
from naive_scores import naive_precision, naive_precisions, naive_voc, within
from region_generator import get_rmac_region_coordinates, pack_regions_for_network
from tiny import PROTO
from tiny import WEIGHTS as TINY

SCRIPTS = ROOT / 'myPython/test'
CLASSES = ('big ben', 'tower_1', 'Brücke')      # with a space, an underscore and an umlaut
COVER_MEAN = (117.80904, 130.27611, 134.65074)  # B, G, R


def write_image(path, look, seed, size=(48, 64)):
    """An image of a look (a pattern of few colours), which the seed disturbs."""
    pattern = np.random.default_rng(look).integers(0, 256, (3, 4, 3))
    noise = np.random.default_rng(seed).integers(-90, 91, (3, 4, 3))
    image = cv2.resize(np.clip(pattern + noise, 0, 255).astype(np.uint8), size[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode('.jpg', image)[1])


@pytest.fixture(scope='session')
def landmark(tmp_path_factory):
    """3 classes with 4 images and a query each, and 5 images of a class without a query."""
    folder = tmp_path_factory.mktemp('landmark')
    for look, name in enumerate(CLASSES):
        write_image(folder / 'queries' / name / 'a query.jpg', look, 100 + look)
        for i in range(4):
            write_image(folder / f'dataset/{name}/{i}.jpg', look, 10 * look + i, (40 + 8 * i, 64))
    for i in range(5):
        write_image(folder / f'dataset/other/{i}.jpg', 50 + i, 50 + i)
    return folder


@pytest.fixture(scope='session')
def cover(landmark, tmp_path_factory):
    """The same images, flat, in the layout of cover_helper."""
    folder = tmp_path_factory.mktemp('cover') / 'clean'
    asked, answers = [], []
    for name in CLASSES:
        flatten(landmark / 'queries' / name, folder / 'queries')
        flatten(landmark / 'dataset' / name, folder / 'dataset')
        asked.append(f'{name} a query.jpg\n')
        answers.append(''.join(f'{name} {i}.jpg\t' for i in range(4)) + '\n')
    flatten(landmark / 'dataset/other', folder / 'dataset')
    (folder / 'query.txt').write_text(''.join(asked))
    (folder / 'answer.txt').write_text(''.join(answers))
    return folder.parent


def flatten(source, target):
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        shutil.copy(path, target / f'{source.name} {path.name}')


@pytest.fixture
def call(monkeypatch, capsys):
    """Function: run a script in this process, as a process: returncode, stdout and stderr."""
    def call(name, *flags):
        monkeypatch.setattr(sys, 'argv', [str(SCRIPTS / name), *map(str, flags)])
        monkeypatch.syspath_prepend(SCRIPTS)
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
            code = 0
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=told.out, stderr=told.err)
    return call


@pytest.fixture
def score(call, tmp_path):
    """Function: a script that scores, with the tiny net."""
    def score(name, *flags):
        return call(name, '--gpu', -1, '--proto', PROTO, '--weights', TINY, '--temp_dir',
                    tmp_path / 'tmp', *flags)
    return score


def describe(paths, S, mean=None, scales=(1,)):
    """Descriptors of images one at a time, N x D."""
    net = model.DescriptorNet(PROTO, TINY, L=2)
    rows = []
    for path in paths:
        total = 0
        for scale in scales:
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            ratio = round(S * scale) / max(image.shape[:2])
            image = cv2.resize(image, (round(image.shape[1] * ratio),
                                       round(image.shape[0] * ratio)))
            blob = image.astype(np.float32) - (images.MEAN if mean is None
                                               else np.float32(mean))
            net.feed('data', blob.transpose(2, 0, 1)[None])
            regions = get_rmac_region_coordinates(*image.shape[:2], 2)
            net.feed('rois', pack_regions_for_network([regions]))
            net.net.forward(end='rmac/normalized')
            total = total + net.net.blobs['rmac/normalized'].data[0].reshape(-1)
        rows.append(total / np.linalg.norm(total))
    return np.array(rows)


def expected_scores(queries, database, class_of, S, **options):
    """{query path: (AP, precision at R, [(rank, path) of the wrong answers])}."""
    Q, X = describe(queries, S, **options), describe(database, S, **options)
    result = {}
    for path, row in zip(queries, Q @ X.T):
        order = sorted(range(len(row)), key=lambda i: -row[i])
        relevance = [class_of(database[i]) == class_of(path) for i in order]
        R = sum(relevance)
        wrong = [(rank, database[i]) for rank, i in enumerate(order[:R], 1)
                 if not relevance[rank - 1]]
        result[path] = naive_voc(relevance, R), naive_precision(relevance, R), wrong
    return result


def check_printed(done, expected, name_of):
    """The script has printed these scores."""
    assert done.returncode == 0, done.stderr
    *lines, dashes, precision, mean = done.stdout.splitlines()
    assert [line.rpartition(': ')[0] for line in lines] == [name_of(path) for path in expected]
    for line, (ap, _, _) in zip(lines, expected.values()):
        assert re.fullmatch(r'.*: \d+\.\d\d', line)
        assert float(line.rpartition(': ')[2]) == pytest.approx(100 * float(ap), abs=0.011)
    assert dashes == '-' * 20
    shown = re.fullmatch(r'mAP: (\d+\.\d\d) \(VOC 2010\)', mean)
    means = np.mean([[float(ap), float(at)] for ap, at, _ in expected.values()], axis=0)
    assert float(shown[1]) == pytest.approx(100 * means[0], abs=0.011)
    shown = re.match(r'precision: (\d+\.\d\d) \(at R, ', precision)
    assert float(shown[1]) == pytest.approx(100 * means[1], abs=0.011)


def test_landmark(score, landmark, tmp_path):
    wrong = tmp_path / 'wrong'
    flags = '--test_dir', landmark, '--S', 64, '--wrong_dir', wrong
    done = score('test_on_landmark.py', *flags)
    expected = expected_scores(sorted(landmark.glob('queries/*/*')),
                               sorted(landmark.glob('dataset/*/*')),
                               lambda path: path.parent.name, 64)
    check_printed(done, expected, lambda path: str(path.relative_to(landmark / 'queries')))
    assert done.stderr == ''
    assert any(answers for _, _, answers in expected.values())      # something to see
    listed = []
    for number, (path, (_, _, answers)) in enumerate(expected.items(), 1):
        name = f'{number:04d}_{path.parent.name}_a query'
        strip = cv2.imdecode(np.fromfile(wrong / f'{name}.jpg', np.uint8), cv2.IMREAD_COLOR)
        assert strip.shape[1] > 11 * 200 and strip.shape[0] < 300       # query and top 10
        found = sorted((wrong / name).iterdir()) if answers else []
        assert len(found) == len(answers)
        for copy, (rank, image) in zip(found, answers):
            assert re.fullmatch(rf'{rank:05d}_{image.parent.name}_{image.stem}_-?\d\.\d\d\d\.jpg',
                                copy.name)
            assert copy.read_bytes() == image.read_bytes()
        listed += [f'{name}.jpg', *(f'{name}/{copy.name}' for copy in found)]
    assert json.loads((wrong / 'pictures.json').read_text()) == sorted(listed)
    # the same again, and what an interrupted run has left
    before = contents(wrong)
    (wrong / listed[0]).unlink()
    (wrong / f'{listed[-1]}.aside').write_bytes(b'half')
    again = score('test_on_landmark.py', *flags)
    assert again.stdout == done.stdout and again.stderr == '' and contents(wrong) == before


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('flags, scales', [([], (1,)), (['--multires'], (1 / 2, 1, 3 / 2))])
def test_cover(flags, scales, score, cover, tmp_path):
    done = score('test_on_cover.py', '--dataset', cover, '--S', 64, *flags)
    database = sorted((cover / 'clean/dataset').iterdir())
    expected = expected_scores([cover / f'clean/queries/{name} a query.jpg' for name in CLASSES],
                               database,
                               lambda path: path.name.rsplit(' ', 1)[0].removesuffix(' a'), 64,
                               mean=COVER_MEAN, scales=scales)
    check_printed(done, expected, lambda path: path.name)
    # the mean that is subtracted moves descriptors by more than ranks show
    stored = np.load(find_file(tmp_path / 'tmp/test_on_cover_S64_L2_dataset.npy'))
    np.testing.assert_allclose(stored, describe(database, 64, COVER_MEAN), atol=1e-5)
    assert np.abs(stored - describe(database, 64)).max() > 1e-3


def test_the_scales_of_cover(call):
    text = ' '.join(call('test_on_cover.py', '--help').stdout.split())
    assert '(default: 496)' in text and 'S / 2, S and 3 S / 2' in text and '134.65074' in text


@pytest.mark.parametrize('layout', ['triplet', 'flags', 'landmarks'])
def test_paris(layout, score, landmark, tmp_path):
    names = (('eiffel', 'louvre', 'sacrecoeur') if layout == 'landmarks' else
             ('alpha', 'beta', 'beta2'))
    folder = tmp_path / 'paris'
    inside = folder / 'test' if layout == 'triplet' else folder
    for name, look in zip(names, CLASSES):
        for part, start in (('queries', 'paris_'), ('dataset', '')):
            for path in (landmark / part / look).iterdir():
                (inside / part).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, inside / part / f'{start}{name}_{path.name}')
    flatten(landmark / 'dataset/other', inside / 'dataset')
    for name in (*names, 'junk', 'useless'):
        if layout == 'triplet':
            (folder / 'triplet' / name).mkdir(parents=True)
    flags = ['--classes', *names] if layout == 'flags' else []
    done = score('test_on_paris.py', '--dataset', folder, '--S', 64, *flags)
    expected = expected_scores(sorted((inside / 'queries').iterdir()),
                               sorted((inside / 'dataset').iterdir()),
                               lambda path: path.name.removeprefix('paris_').split('_')[0], 64,
                               mean=COVER_MEAN)
    check_printed(done, expected, lambda path: path.name)


@pytest.fixture
def oxford(landmark, tmp_path):
    """The images of landmark in Oxford's layout; a query's image is a positive of itself."""
    folder = tmp_path / 'oxford'
    (folder / 'jpg').mkdir(parents=True)
    (folder / 'lab').mkdir()
    for look, name in enumerate([*CLASSES, 'other']):
        for path in (landmark / 'dataset' / name).iterdir():
            shutil.copy(path, folder / f'jpg/look{look}_{path.name}')
    for look in range(3):
        for end, lines in (('query', f'oxc1_look{look}_0 4 5 50 40'),
                           ('good', f'look{look}_0\nlook{look}_1'),
                           ('ok', f'look{look}_2\nof_another_dataset'), ('junk', f'look{look}_3')):
            (folder / f'lab/look{look}_{end}.txt').write_text(lines + '\n')
    return folder


def test_oxford(score, oxford, scorer, tmp_path):
    flags = '--dataset', oxford, '--eval_binary', scorer, '--S', 128
    wrong = tmp_path / 'wrong'
    done = score('test_on_oxford.py', *flags, '--wrong_dir', wrong)
    check_mean(done, naive_precisions(DATASETS['Oxford'](oxford), 128, crop=False), 'full')
    assert done.stderr == '' and len(list(wrong.glob('*.jpg'))) == 3
    for number, look in enumerate(range(3), 1):
        ranked = (tmp_path / f'tmp/look{look}.rnk').read_text().split()
        listed = [name for name in ranked if name != f'look{look}_3'][:4]      # 4 positives
        names = [path.name for path in sorted(wrong.glob(f'{number:04d}_look{look}/*'))]
        assert [name.rsplit('_', 1)[0] for name in names] == [
            f'{ranked.index(name) + 1:05d}_{name}' for name in listed
            if not re.fullmatch(rf'look{look}_[012]', name)]
    done = score('test_on_oxford.py', *flags, '--query_crop', 'roi', '--aqe', 1, '--dbe', 5)
    check_mean(done, naive_precisions(DATASETS['Oxford'](oxford), 128, dbe=5, aqe=1), 'roi')
    # another blob of the net is another descriptor, with files of its own
    first = score('test_on_oxford.py', *flags).stdout.splitlines()[-1]
    done = score('test_on_oxford.py', *flags, '--end', 'rmac')
    assert done.returncode == 0 and done.stderr == ''
    assert done.stdout.splitlines()[-1] != first


def check_mean(done, expected, crop):
    assert done.returncode == 0, done.stderr
    *lines, dashes, mean = done.stdout.splitlines()
    for line, (name, value) in zip(lines, sorted(expected.items()), strict=True):
        assert line.startswith(f'{name}: ')
        assert within(float(line.split(': ')[1]), value)
    shown = re.fullmatch(rf'Mean: (\d+\.\d\d) \(compute_ap, query_crop {crop}\)', mean)
    assert within(float(shown[1]), np.mean(list(expected.values()), axis=0))


@pytest.fixture
def clusters(call, tmp_path):
    """Function: test_SimilarCluster.py with 12 images, whose similarities are exact and tie."""
    rng = np.random.default_rng(3)
    features = rng.integers(-1, 2, (12, 3)).astype(np.float32)
    names = [f'{"no ASCII ä" if i % 2 else "folder/under_score"} {i}' for i in range(12)]
    for i, name in enumerate(names):
        write_image(tmp_path / f'images/{name}.jpg', i, i)
    np.save(tmp_path / 'f.npy', features)
    (tmp_path / 'f.txt').write_text(''.join(f'{i}\t{name}\n' for i, name in enumerate(names)))

    def run(*flags):
        return call('test_SimilarCluster.py', '--npy', tmp_path / 'f.npy', '--img_dir',
                    tmp_path / 'images', '--cluster_dir', tmp_path / 'out', *flags)
    run.features, run.names, run.out = features, names, tmp_path / 'out'
    return run


def check_clusters(run, similarities, rows, top):
    listed = []
    for row in range(rows):
        order = sorted(range(12), key=lambda i: (-similarities[row][i], i))[:top]
        for rank, i in enumerate(order):
            name = run.names[i].replace('/', '_')
            path = run.out / f'{row}/{rank:05d}_{name}_{similarities[row][i]:.3f}.jpg'
            assert path.read_bytes() == (run.out.parent / f'images/{run.names[i]}.jpg').read_bytes()
            listed.append(str(path))
    assert sorted(contents(run.out)) == sorted([*listed, str(run.out / 'pictures.json')])


def test_similar_clusters(clusters, tmp_path):
    similarities = clusters.features @ clusters.features.T
    done = clusters()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{clusters.out}: 12 folders, 144 pictures\n' and done.stderr == ''
    check_clusters(clusters, similarities, 12, 12)
    # fewer pictures are others: refused, and with --overwrite what stood there goes
    assert_one_line(clusters('--rows', 3, '--top', 5), 'out', 'other files', '--overwrite')
    (clusters.out / 'mine.txt').write_text('a note')
    done = clusters('--rows', 3, '--top', 5, '--overwrite', '--sim', tmp_path / 'new/sim.npy')
    assert (clusters.out / 'mine.txt').read_text() == 'a note'
    (clusters.out / 'mine.txt').unlink()
    check_clusters(clusters, similarities, 3, 5)
    assert np.load(tmp_path / 'new/sim.npy').tolist() == similarities[:3].tolist()
    # the similarities of a file go before those of the features
    np.save(tmp_path / 'sim.npy', -similarities)
    clusters('--rows', 2, '--top', 4, '--overwrite', '--sim', tmp_path / 'sim.npy')
    check_clusters(clusters, -similarities, 2, 4)


@pytest.mark.parametrize('break_it, words', [
    (lambda folder: (folder / 'f.npy').write_bytes(b'no array'), ['f.npy']),
    (lambda folder: (folder / 'f.txt').unlink(), ['f.txt']),
    (lambda folder: (folder / 'f.txt').write_text('0\ta\n99\tb\n'), ['f.txt', '99']),
    (lambda folder: (folder / 'images/no ASCII ä 3.jpg').unlink(), ['images', 'no ASCII ä 3']),
    (lambda folder: np.save(folder / 'sim.npy', np.ones((12, 5))), ['sim.npy', '12', '(12, 5)']),
    (lambda folder: np.save(folder / 'sim.npy', np.full((12, 12), np.nan)), ['sim.npy', 'finite']),
    (lambda folder: write_image(folder / 'out/my.jpg', 0, 0), ['out', 'my.jpg', '--overwrite'])])
def test_clusters_of_broken_files(break_it, words, clusters, tmp_path):
    break_it(tmp_path)
    before = contents(clusters.out)
    assert_one_line(clusters('--sim', tmp_path / 'sim.npy'), *words)
    assert contents(clusters.out) == before


def test_queries_that_cannot_be_scored(score, landmark, tmp_path):
    folder = Path(shutil.copytree(landmark, tmp_path / 'copy'))
    path = next((folder / 'queries/big ben').iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    damaged = folder / 'dataset/tower_1/0.jpg'
    damaged.write_bytes(damaged.read_bytes()[:-100])
    write_image(folder / 'queries/nowhere/else.jpg', 0, 0)
    flags = '--test_dir', folder, '--S', 64
    assert_one_line(score('test_on_landmark.py', *flags), 'a query.jpg', 'truncated')
    done = score('test_on_landmark.py', *flags, '--skip_bad')
    for words in ('without a positive are left out of the mean: nowhere/else.jpg',
                  'damaged are left out of the mean: big ben/a query.jpg',
                  '1 of 17 images are left out'):
        assert words in done.stderr
    # the damaged positive counts as never found: of 4 positives 3 at the most
    lines = dict(line.rsplit(': ', 1) for line in done.stdout.splitlines()[:2])
    assert list(lines) == ['Brücke/a query.jpg', 'tower_1/a query.jpg']
    assert float(lines['tower_1/a query.jpg']) <= 75
    shutil.rmtree(folder / 'dataset')
    write_image(folder / 'dataset/none/a.jpg', 0, 0)
    assert_one_line(score('test_on_landmark.py', *flags), 'no query')


def test_names_that_are_no_text(score, cover, tmp_path):
    """Bytes that are no UTF-8, and a name as long as systems allow."""
    folder = Path(shutil.copytree(cover / 'clean', tmp_path / 'copy'))
    odd, long = os.fsdecode(b'\xff\xfe odd.jpg'), 'ö' * 125 + '.jpg'
    write_image(folder / 'queries' / odd, 0, 0)
    write_image(folder / 'dataset' / long, 0, 1)
    for name, line in (('query', odd), ('answer', long)):
        with open(folder / f'{name}.txt', 'ab') as file:
            file.write(os.fsencode(line) + b'\n')
    done = score('test_on_cover.py', '--dataset', folder, '--S', 64, '--wrong_dir',
                 tmp_path / 'wrong')
    assert done.returncode == 0, done.stderr
    assert '\ufffd\ufffd odd.jpg: ' in done.stdout
    assert (tmp_path / 'wrong/0004___ odd.jpg').is_file()
    assert len(list((tmp_path / 'wrong').glob('*/*öö_0.9*.jpg'))) > 0


@pytest.mark.parametrize('change, words', [
    (lambda folder: (folder / 'query.txt').unlink(), ['query.txt', 'cover_helper']),
    (lambda folder: (folder / 'query.txt').open('a').write('lost.jpg\n'), ['4 lines', '3']),
    (lambda folder: (folder / 'answer.txt').open('a').write('lost.jpg\n'), ['3 lines', '4']),
    (lambda folder: (folder / 'dataset/tower_1 2.jpg').unlink(),
     ['answer.txt:2', 'tower_1 2.jpg', 'dataset/']),
    (lambda folder: shutil.rmtree(folder / 'queries'), ['queries/']),
    (lambda folder: shutil.rmtree(folder), ['copy', 'query.txt'])])
def test_a_broken_cover_folder_is_one_line(change, words, score, cover, tmp_path):
    folder = Path(shutil.copytree(cover / 'clean', tmp_path / 'copy'))
    change(folder)
    done = score('test_on_cover.py', '--dataset', folder)
    assert_one_line(done, *words)
    assert done.stdout == ''


@pytest.mark.parametrize('script, flags, words', [
    ('test_on_landmark.py', ['--end', 'no/such'], ['no/such']),
    ('test_on_landmark.py', ['--wrong_dir', SCRIPTS], ['myPython/test', '--overwrite']),
    ('test_on_landmark.py', ['--wrong_dir', os.devnull], [os.devnull]),
    ('test_on_landmark.py', ['--test_dir', 'nowhere'], ['nowhere', 'queries/']),
    ('test_on_landmark.py', ['--weights', 'nowhere.caffemodel'], ['nowhere.caffemodel']),
    ('test_on_oxford.py', ['--dbe', 99], ['--dbe 99', '16']),
    ('test_on_oxford.py', ['--eval_binary', 'nowhere'], ['nowhere', 'make install']),
    ('test_on_paris.py', ['--dataset', 'nowhere'], ['nowhere', 'dataset/']),
    ('test_on_cover.py', ['--mean', 1, 2], ['--mean'])])
def test_a_users_mistake_is_one_line(script, flags, words, score, landmark, oxford):
    folder = {'test_on_landmark.py': ['--test_dir', landmark],
              'test_on_oxford.py': ['--dataset', oxford]}.get(script, [])
    done = score(script, *folder, '--S', 64, *flags)
    assert_one_line(done, *words)
    assert done.stdout == ''


def test_as_a_process(landmark, tmp_path):
    """From another folder, where Python must find the script's own modules."""
    done = run_script(SCRIPTS / 'test_on_landmark.py', '--gpu', -1, '--proto', PROTO, '--weights',
                      TINY, '--temp_dir', 'tmp', '--test_dir', landmark, '--S', 64, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith('(VOC 2010)')


@pytest.mark.parametrize('script', sorted(path.name for path in SCRIPTS.glob('test_*.py')))
def test_help_explains_every_flag(script, call):
    text = call(script, '--help').stdout
    flags = re.findall(r'^  (--?\w+)', text, re.M)
    assert len(flags) >= 8
    for line in text.split('options:')[1].split('\n  -')[1:]:
        assert len(line.split()) > 3, line       # the flag is followed by words


def test_they_are_not_installed():
    text = (ROOT / 'setup.py').read_text()
    assert "'test'" not in re.search(r'packages=\[.*?\]', text, re.S)[0]
    assert not (SCRIPTS / '__init__.py').exists()
