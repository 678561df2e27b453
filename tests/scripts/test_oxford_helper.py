"""oxford_helper's sets, on a small dataset; pixels and boxes are worked out by hand."""

import os
import shutil
import threading

import cv2
import numpy as np
import oxford_helper
import pytest
from conftest import assert_one_line, run_script
from deep_retrieval import subcommands
from deep_retrieval.datasets.oxford import OxfordHelper
from deep_retrieval.images import read_image
from deep_retrieval.making import folders
from deep_retrieval.making.edits import fill, random_crop, stretch
from deep_retrieval.making.folders import How, Step, check_apart, make
from deep_retrieval.making.parallel import parallel
from picture_folders import save, tree

HELPER = 'myPython/dataset_helper/oxford_helper.py'
# name -> (height, width, value of all pixels)
IMAGES = {'bell_000001': (40, 80, 10), 'bell_000002': (80, 40, 20), 'bell_000003': (30, 30, 30),
          'gate_000001': (20, 60, 40), 'gate_000002': (60, 60, 50), 'town_000001': (10, 20, 60),
          'town_000002': (50, 50, 70), 'bär_000003': (64, 48, 80)}
LAB = {'bell_1_query': 'oxc1_bell_000001 8 4 40 20.5', 'bell_1_good': 'bell_000002',
       'bell_1_ok': 'bell_000001 gate_000002', 'bell_1_junk': 'bell_000003 nowhere_1',
       'gate_1_query': 'oxc1_gate_000001 0 0 60 20', 'gate_1_good': 'gate_000001 gate_000002',
       'gate_1_ok': '', 'gate_1_junk': ''}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'Oxford 5k'
    for name, image in IMAGES.items():
        save(path / f'jpg/{name}.jpg', *image)
    (path / 'lab').mkdir()
    for name, words in LAB.items():
        (path / f'lab/{name}.txt').write_text('\n'.join(words.split(' ')) if 'query' not in name
                                              else f'{words}\n')
    return path


def call(mode, *flags):
    subcommands.run(oxford_helper.__doc__, oxford_helper.MODES, oxford_helper.FLAGS,
                    [mode, *map(str, flags)])


def refused(*args):
    with pytest.raises(SystemExit) as ended:
        call(*args)
    assert ended.value.code == 1


def test_make_uni_dataset(folder, tmp_path, capsys):
    before = tree(folder)
    flags = ['--dataset', folder, '--output', tmp_path / 'uni', '--height', 20, '--width', 40]
    call('make_uni_dataset', *flags)
    assert capsys.readouterr().out == f'{tmp_path}/uni: 8 images\n' and tree(folder) == before
    made = OxfordHelper(tmp_path / 'uni')
    assert made.images == sorted(IMAGES)
    for name, (_, _, value) in IMAGES.items():
        image = cv2.imread(made.image_path(name))
        assert image.shape == (20, 40, 3) and abs(image.astype(int) - value).max() <= 1
    # 40 x 80 becomes 20 x 40, and 20 x 60 becomes 20 x 40
    assert [query.box for query in made.queries] == [(4, 2, 20, 10.25), (0, 0, 40, 20)]
    assert made.ground_truth(made.queries[0]) == (
        ['bell_000002'], ['bell_000001', 'gate_000002'], ['bell_000003', 'nowhere_1'])
    assert (tmp_path / 'uni/lab/bell_1_query.txt').read_text() == (
        'oxc1_bell_000001 4.00 2.00 20.00 10.25\n')


def test_the_same_command_makes_what_is_missing(folder, tmp_path):
    flags = ['--dataset', folder, '--output', tmp_path / 'uni']
    call('make_uni_dataset', *flags)
    whole, manifest = tree(tmp_path / 'uni'), (tmp_path / 'uni/.made_from.json').read_bytes()
    (tmp_path / 'uni/jpg/bell_000002.jpg').unlink()
    (tmp_path / 'uni/jpg/bell_000003.jpg.aside').write_bytes(b'half')   # as a kill leaves it
    (tmp_path / 'uni/jpg/bell_000003.jpg').unlink()
    shutil.rmtree(tmp_path / 'uni/lab')
    call('make_uni_dataset', *flags)
    assert tree(tmp_path / 'uni') == whole
    assert (tmp_path / 'uni/.made_from.json').read_bytes() == manifest


def test_another_folder_is_refused_without_overwrite(folder, tmp_path, capsys):
    output = tmp_path / 'uni'
    flags = ['--dataset', folder, '--output', output, '--height', 20, '--width', 40]
    call('make_uni_dataset', *flags)
    refused('make_uni_dataset', *flags[:-1], 50)
    assert 'other flags or from other images' in capsys.readouterr().err
    save(folder / 'jpg/new.jpg', 9, 9, 9)
    refused('make_uni_dataset', *flags)
    call('make_uni_dataset', *flags, '--overwrite')
    assert len(tree(output)) == 9 + 8
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/notes.txt').write_text('mine')
    flags[3] = tmp_path / 'mine'
    refused('make_uni_dataset', *flags)
    assert 'something else' in capsys.readouterr().err
    assert (tmp_path / 'mine/notes.txt').exists()
    flags[3] = folder / 'jpg/bell_000001.jpg'
    refused('make_uni_dataset', *flags)
    assert 'is a file' in capsys.readouterr().err


def test_overwrite_never_deletes_what_is_read(folder, tmp_path, capsys, monkeypatch):
    before = tree(folder)
    for output in (folder, folder / 'jpg', tmp_path):
        refused('make_uni_dataset', '--dataset', folder, '--output', output, '--overwrite')
        assert '--overwrite would delete' in capsys.readouterr().err
    (tmp_path / 'here/in').mkdir(parents=True)
    (tmp_path / 'here/x').touch()
    monkeypatch.chdir(tmp_path / 'here/in')
    refused('make_uni_dataset', '--dataset', folder, '--output', tmp_path / 'here', '--overwrite')
    assert tree(folder) == before and (tmp_path / 'here/x').exists()


def test_a_damaged_image(folder, tmp_path, capsys):
    path = folder / 'jpg/town_000001.jpg'
    path.write_bytes(path.read_bytes()[:200])
    flags = ['--dataset', folder, '--output', tmp_path / 'uni']
    refused('make_uni_dataset', *flags)
    told = capsys.readouterr().err
    assert str(path) in told and '--skip_bad leaves it out' in told and told.count('\n') == 1
    call('make_uni_dataset', *flags, '--skip_bad')
    out, told = capsys.readouterr()
    assert out == f'{tmp_path}/uni: 7 images\n' and 'left out:' in told and str(path) in told


def test_make_training_test_set(folder, tmp_path, capsys):
    call('make_training_test_set', '--dataset', folder, '--output', tmp_path / 'h', '--S', 32)
    assert capsys.readouterr().out.splitlines() == [
        f'{tmp_path}/h: 10 images', f'{tmp_path}/h/training: 5 images, 2 queries',
        f'{tmp_path}/h/test: 5 images, 2 queries']
    training, test = (OxfordHelper(tmp_path / 'h' / part) for part in ('training', 'test'))
    asked = {'bell_000001', 'gate_000001'}
    assert set(training.images) & set(test.images) == asked
    assert set(training.images) | set(test.images) == set(IMAGES)
    for half in (training, test):
        for name in half.images:
            height, width, _ = IMAGES[name]
            image = cv2.imread(half.image_path(name))
            assert image.shape[:2] == (round(height * 32 / max(height, width)),
                                       round(width * 32 / max(height, width)))
        bell, gate = half.queries
        assert bell.box == (3.2, 1.6, 16, 8.2) and gate.box == (0, 0, 32, 10.67)
        for query in half.queries:
            wanted = [LAB[f'{query.name}_{grade}'].split() for grade in ('good', 'ok', 'junk')]
            assert list(half.ground_truth(query)) == [
                [name for name in names if name in half.images] for names in wanted]


def test_a_query_without_a_positive_in_its_half_is_left_out(folder, tmp_path):
    (folder / 'lab/gate_1_good.txt').write_text('gate_000002')
    call('make_training_test_set', '--dataset', folder, '--output', tmp_path / 'h')
    parts = [OxfordHelper(tmp_path / 'h' / part) for part in ('training', 'test')]
    for part in parts:
        asked = [query.name for query in part.queries]
        assert asked == (['bell_1', 'gate_1'] if 'gate_000002' in part.images else ['bell_1'])


def test_the_mean(folder, capsys):
    call('cal_image_mean_channel', '--images', folder / 'jpg')
    # of 10, 20, ... 80, each image with the same weight
    words = capsys.readouterr().out.splitlines()
    assert words[0] == f'{folder}/jpg: 45.00000 45.00000 45.00000 (B G R, 8 images)'
    assert 'known, oxford: 99.74151 108.75074 113.17747' in words
    assert 'known, net: 103.93900 116.77900 123.68000' in words
    (folder / 'jpg/bell_000001.jpg').write_bytes(b'')
    refused('cal_image_mean_channel', '--images', folder / 'jpg')
    call('cal_image_mean_channel', '--images', folder / 'jpg', '--skip_bad')
    assert ': 50.00000 50.00000 50.00000 (B G R, 7 images)' in capsys.readouterr().out
    refused('cal_image_mean_channel', '--images', folder / 'lab')


def test_queries_sim_cluster(folder, tmp_path, capsys):
    """Descriptors at known angles: similarities are cosines."""
    names = sorted(IMAGES)
    cosine = dict(zip(names, (0.5, 0.9, 0.125, 0.25, 0.75, 0.0, np.nan, 0.6), strict=True))
    rows = np.array([[cosine[name], np.sqrt(1 - cosine[name] ** 2)] for name in names], np.float32)
    np.save(tmp_path / 'q.npy', np.float32([[1, 0], [np.nan, 0]]))
    np.save(tmp_path / 'd.npy', rows)
    flags = ['--dataset', folder, '--queries_npy', tmp_path / 'q.npy', '--dataset_npy',
             tmp_path / 'd.npy', '--output', tmp_path / 'c', '--count', 5]
    call('make_queries_sim_cluster', *flags)
    grade = {'bell_000002': 'good', 'bell_000001': 'ok', 'gate_000002': 'ok', 'bell_000003': 'junk'}
    ranked = sorted((name for name in names if cosine[name] >= 0), key=lambda name: -cosine[name])
    assert sorted(tree(tmp_path / 'c')) == [
        f'bell_1/{rank}_{grade.get(name, "bad")}_{cosine[name]:.3f}_{name}.jpg'
        for rank, name in enumerate(ranked[:5], 1)]
    np.save(tmp_path / 'd.npy', rows[:3])
    refused(*['make_queries_sim_cluster', *flags])
    assert '(3, 2) cannot be those of the 8 images' in capsys.readouterr().err
    (tmp_path / 'd.npy').write_text('x')
    refused(*['make_queries_sim_cluster', *flags])


def test_cls_img_into_dir(folder, tmp_path):
    """An image of two landmarks goes to the one that grades it best."""
    call('cls_img_into_dir', '--dataset', folder, '--output', tmp_path / 'c', '--link')
    made = {'bell': '123', 'gate': '12'}
    files = tree(tmp_path / 'c')
    assert sorted(files) == sorted(
        [f'{name}/{name}_00000{number}.jpg' for name, numbers in made.items() for number in numbers]
        + ['non/town_000001.jpg', 'non/town_000002.jpg', 'non/bär_000003.jpg'])
    for path in files:
        assert os.path.samefile(tmp_path / 'c' / path, folder / 'jpg' / path.split('/')[1])
    call('cls_img_into_dir', '--dataset', folder, '--output', tmp_path / 'd', '--grades', 'good')
    assert {path for path in tree(tmp_path / 'd') if not path.startswith('non/')} == {
        'bell/bell_000002.jpg', 'gate/gate_000001.jpg', 'gate/gate_000002.jpg'}
    assert not os.path.samefile(tmp_path / 'd/bell/bell_000002.jpg', folder / 'jpg/bell_000002.jpg')


def test_resizing():
    ramp = np.arange(12, dtype=np.uint8)[None, :, None] * np.ones((6, 1, 3), np.uint8) * 20
    assert stretch(ramp, (3, 4)).shape == (3, 4, 3)
    # 6 x 12 covers 6 x 4 as it is: the 4 columns in the middle
    assert (fill(ramp, (6, 4)) == ramp[:, 4:8]).all()
    assert (fill(ramp.transpose(1, 0, 2), (4, 6)) == ramp.transpose(1, 0, 2)[4:8]).all()
    for size in ((5, 7), (100, 3), (1, 1)):
        assert fill(ramp, size).shape == (*size, 3)
    for seed in range(20):
        part = random_crop(ramp, seed)
        assert 3 <= part.shape[0] <= 5 and 6 <= part.shape[1] <= 10
        left = int(part[0, 0, 0]) // 20
        assert (part == ramp[:part.shape[0], left:left + part.shape[1]]).all()


def test_interrupted_in_the_middle(folder, tmp_path, monkeypatch):
    steps = {f'{i}.png': Step(str(folder / f'jpg/{name}.jpg'), np.fliplr)
             for i, name in enumerate(IMAGES)}
    make(str(tmp_path / 'whole'), {}, steps, {'t.txt': 'x'})
    for place in range(1, 8):
        count = [0]

        def read(path, count=count, place=place):
            count[0] += 1
            if count[0] == place:
                raise KeyboardInterrupt
            return read_image(path)
        output = tmp_path / str(place)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(folders, 'read_image', read)
            make(str(output), {}, steps, {'t.txt': 'x'}, How(jobs=1))
        assert not (output / 't.txt').exists()
        assert make(str(output), {}, steps, {'t.txt': 'x'}) == 8
        assert tree(output) == tree(tmp_path / 'whole')


def test_links_that_lead_nowhere_and_names(tmp_path, caplog):
    """A dangling link is a damaged image; names may hold almost anything, bytes too."""
    source = tmp_path / 'in'
    name = 'a b\tc:d_ü\udcff.jpg'
    source.mkdir()
    (source / name).write_bytes(b'1')
    (source / 'gone.jpg').symlink_to(source / 'nowhere')
    (source / 'link.jpg').symlink_to(source / name)
    steps = {name: Step(str(source / name)), 'link.jpg': Step(str(source / 'link.jpg')),
             'gone.jpg': Step(str(source / 'gone.jpg'))}
    for link in (False, True):
        output = tmp_path / f'out{link}'
        with pytest.raises(ValueError, match='gone.jpg: there is no such file .--skip_bad'):
            make(str(output), {}, steps, how=How(link=link))
        caplog.clear()
        assert make(str(output), {}, steps, how=How(link=link, skip_bad=True)) == 2
        assert (output / name).read_bytes() == b'1' and len(caplog.messages) == 1
        assert (output / 'link.jpg').read_bytes() == b'1'
        assert not (output / 'link.jpg').is_symlink()
        assert os.path.samefile(output / 'link.jpg', source / name) is link


def test_check_apart(tmp_path):
    check_apart(tmp_path / 'a', tmp_path / 'ab')
    for one, other in (('a', 'a'), ('a', 'a/b'), ('a/b', 'a'), ('a', 'c/../a/b')):
        with pytest.raises(ValueError, match='choose another folder'):
            check_apart(tmp_path / one, tmp_path / other)


def test_parallel():
    """All items, few under way at once; an error ends it."""
    under_way, most, lock = [0], [0], threading.Lock()

    def work(item):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        with lock:
            under_way[0] -= 1
        if item == -1:
            raise OSError('x')
        return item * item
    assert dict(parallel(work, iter(range(100)), 3)) == {i: i * i for i in range(100)}
    assert most[0] <= 3 and list(parallel(work, [], 3)) == []
    with pytest.raises(OSError):
        list(parallel(work, [1, -1, *range(1000)], 2))


def test_what_a_user_sees(folder, tmp_path):
    done = run_script(HELPER, 'make_uni_dataset', '--dataset', folder, '--output', tmp_path / 'u')
    assert (done.stdout, done.stderr) == (f'{tmp_path}/u: 8 images\n', '')


def test_every_helper_runs_as_a_script(tmp_path):
    """All in one process, since imports take seconds; the last one fails."""
    code = """
import os, runpy, sys
for name in ('oxford', 'paris', 'landmark', 'cover', 'download'):
    path = f'myPython/dataset_helper/{name}_helper.py'
    sys.argv, sys.path[0] = [path, '-h'], os.path.dirname(os.path.abspath(path))
    try:
        runpy.run_path(path, run_name='__main__')
    except SystemExit as ended:
        assert ended.code == 0
sys.argv = [path, 'download', '--ids', 'none']
runpy.run_path(path, run_name='__main__')
"""
    done = run_script('-c', code)
    assert done.stdout.count('usage: ') == 5
    for mode in ('make_uni_dataset', 'make_triplet_set', 'unite_images_size', 'make_clean_set'):
        assert mode in done.stdout
    assert_one_line(done, 'download_helper.py: --service is required')
