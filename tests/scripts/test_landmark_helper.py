"""landmark_helper from the CSV file to what the nets train with; the server is on this machine."""

import os

import cv2
import landmark_helper
import numpy as np
import pytest
from caffe.datum import read_list
from deep_retrieval import subcommands
from deep_retrieval.datasets import Landmark
from deep_retrieval.listing import list_classes
from deep_retrieval.making import class_sets
from deep_retrieval.training.class_folders import ClassFolders
from image_server import serving
from picture_folders import save, tree


def call(mode, *flags):
    subcommands.run(landmark_helper.__doc__, landmark_helper.MODES, landmark_helper.FLAGS,
                    [mode, *map(str, flags)])


def refused(capsys, words, *args):
    with pytest.raises(SystemExit) as ended:
        call(*args)
    told = capsys.readouterr().err
    assert ended.value.code == 1 and words in told and told.count('\n') == 1


@pytest.fixture
def table(tmp_path):
    """Landmarks 7 (3 images), 30 (2), 4 (1) and 12 (2, with rows that do not count)."""
    path = tmp_path / 'train.csv'
    rows = [('a', 7), ('b', 30), ('c', 7), ('d', 4), ('e e', 30), ('f', 7), ('g', 12), ('h', 12),
            ('g', 12), ('i', 'None')]
    path.write_text('id,url,landmark_id\n' + ''.join(
        f'"{id}","HOST/{id.replace(" ", "%20")}.jpg?a=1,2",{landmark}\n' for id, landmark in rows)
        + 'k,None,12\n')
    return path


def test_read_url_from_file(table, tmp_path, capsys):
    call('read_url_from_file', '--csv', table, '--least', 2, '--most', 2, '--output',
         tmp_path / 'd/urls.csv')
    assert (tmp_path / 'd/urls.csv').read_text().splitlines() == [
        'id,url,landmark_id', 'b,"HOST/b.jpg?a=1,2",30', 'e e,"HOST/e%20e.jpg?a=1,2",30',
        'g,"HOST/g.jpg?a=1,2",12', 'h,"HOST/h.jpg?a=1,2",12']
    assert capsys.readouterr().out.endswith('urls.csv: 4 images of 2 landmarks\n')
    # what was written is such a file too
    assert class_sets.read_urls(tmp_path / 'd/urls.csv', 1, 9) == class_sets.read_urls(table, 2, 2)


def test_tables_that_are_refused(tmp_path, capsys):
    path = tmp_path / 't.csv'
    head = 'id,url,landmark_id\n'
    for text, words in (('id,url\na,b\n', 'has no column landmark_id'),
                        ('', 'has no column id, landmark_id'),
                        (f'{head}a,b,1\nc,d,tower\n', "t.csv:3: the landmark 'tower'")):
        path.write_text(text)
        refused(capsys, words, 'read_url_from_file', '--csv', path)
    path.write_bytes(b'\xff\xfe\x00')
    refused(capsys, 't.csv: is damaged or is not a CSV file', 'read_url_from_file', '--csv', path)
    path.write_text('id,url,landmark_id\n../a,http://127.0.0.1,1\n')
    refused(capsys, "'../a' cannot be", 'download_image', '--csv', path, '--least', 1, '--output',
            tmp_path / 'out')
    refused(capsys, 'nothing to download', 'download_image', '--csv', path, '--output',
            tmp_path / 'out')


def test_download_image(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with serving() as server:
        table.write_text(table.read_text().replace('HOST', server.url))
        for value, id in enumerate(('a', 'b', 'c', 'e%20e', 'g')):
            image = np.full((8, 8, 3), value, np.uint8)
            server.files[f'/{id}.jpg?a=1,2'] = cv2.imencode('.jpg', image)[1].tobytes()
        flags = ['download_image', '--csv', table, '--least', 2, '--most', 3, '--output',
                 tmp_path / 'out', '--pause', 0.001, '--jobs', 3]
        call(*flags)
        assert {path for path in tree(tmp_path / 'out') if path.endswith('.jpg')} == {
            '7/a.jpg', '7/c.jpg', '30/b.jpg', '30/e e.jpg', '12/g.jpg'}
        out, told = capsys.readouterr()
        assert out.endswith('out: 5 images fetched, 0 were there\n')
        assert '2 of 7 images are broken: see' in told
        assert [line.split('\t')[0] for line in
                (tmp_path / 'out/broken.txt').read_text().splitlines()] == ['f', 'h']
        server.asked.clear()
        call(*flags)
        assert {path[1] for path, _ in server.asked} == {'f', 'h'}
    # the class folders are what the next command takes
    assert {name: len(images) for name, images in list_classes(tmp_path / 'out').items()} == {
        '7': 2, '12': 1, '30': 2}


@pytest.fixture
def folder(tmp_path):
    """10 classes; class 3 i has i images."""
    for i in range(10):
        (tmp_path / f'in/{3 * i}').mkdir(parents=True)
        for number in range(i):
            save(tmp_path / f'in/{3 * i}/n {number}.jpg', 20 + 30 * (number % 2), 40, 10 * i)
    return tmp_path / 'in'


def test_count_img_per_class(folder, capsys):
    call('count_img_per_class', '--input', folder)
    assert capsys.readouterr().out.splitlines() == [
        f'classes of {i} images: 1' for i in range(10)] + [f'{folder}: 45 images of 10 classes']
    call('count_img_per_class', '--input', folder, '--classes')
    assert capsys.readouterr().out.splitlines() == [f'{3 * i}\t{i}' for i in range(10)]
    refused(capsys, 'contains no folders', 'count_img_per_class', '--input', folder / '3')
    refused(capsys, 'No such file', 'count_img_per_class', '--input', folder / 'none')


def test_clean_empty_dir(folder, capsys):
    (folder / '6/notes.txt').touch()
    before = tree(folder)
    call('clean_empty_dir', '--input', folder, '--th', 3)
    out, told = capsys.readouterr()
    assert out.splitlines() == [f'{folder}/0: 0 images', f'{folder}/3: 1 images',
                                f'{folder}/6: 2 images',
                                '3 classes of fewer than 3 images would be removed by --delete']
    assert tree(folder) == before and (folder / '0').exists()
    call('clean_empty_dir', '--input', folder, '--th', 3, '--delete')
    assert f"{folder}/6: is kept, since it also contains 'notes.txt'" in capsys.readouterr().err
    assert sorted(os.listdir(folder), key=int) == ['6', '9', '12', '15', '18', '21', '24', '27']


@pytest.mark.parametrize('mode', ['crop', 'resize'])
def test_unite_images_size(folder, tmp_path, mode):
    before = tree(folder)
    call('unite_images_size', '--input', folder, '--output', tmp_path / 'u', '--mode', mode)
    made = tree(tmp_path / 'u')
    assert tree(folder) == before and set(made) == {
        path for path in before if int(path.split('/')[0]) >= 9}
    for path in made:
        image = cv2.imread(str(tmp_path / 'u' / path)).astype(int)
        assert image.shape == (288, 384, 3)
        assert abs(image - 10 * int(path.split('/')[0]) // 3).max() <= 2


def test_an_output_among_the_classes_is_refused(folder, capsys):
    for mode in ('unite_images_size', 'make_training_test_set', 'make_queries_for_test'):
        refused(capsys, 'choose another folder', mode, '--input', folder, '--output', folder / 'x')
    assert not (folder / 'x').exists()


def test_training_and_test_classes_are_what_the_nets_read(folder, tmp_path, capsys):
    call('unite_images_size', '--input', folder, '--output', tmp_path / 'u')
    call('make_training_test_set', '--input', tmp_path / 'u', '--output', tmp_path / 'clean',
         '--test', tmp_path / 'test', '--share', 0.3, '--link')
    # 7 classes are left, of which 0.3 are 2
    training, test = (ClassFolders(tmp_path / name, 'landmark', own=2, others=1)
                      for name in ('clean', 'test'))
    assert (len(training.names), len(test.names)) == (5, 2)
    assert sorted(training.labels() + test.labels()) == [9, 12, 15, 18, 21, 24, 27]
    assert {**tree(tmp_path / 'clean'), **tree(tmp_path / 'test')} == tree(tmp_path / 'u')
    call('make_cls_annotations', '--input', tmp_path / 'clean', '--output', tmp_path / 'a/list.txt')
    text = (tmp_path / 'a/list.txt').read_text()
    pairs = read_list(str(tmp_path / 'a/list.txt'))     # as convert_imageset does
    assert sorted(pairs) == sorted((path, int(path.split('/')[0]))
                                   for path in tree(tmp_path / 'clean'))
    assert pairs != sorted(pairs) and text.endswith('\n')
    call('make_cls_annotations', '--input', tmp_path / 'clean', '--output', tmp_path / 'a/list.txt',
         '--seed', 1)
    again = (tmp_path / 'a/list.txt').read_text()
    assert again != text and sorted(again.splitlines()) == sorted(text.splitlines())


def test_annotations_need_integers_and_lines():
    with pytest.raises(ValueError, match="an integer: rename 'tower'"):
        class_sets.annotations({'3': ['a.jpg'], 'tower': ['b.jpg']})
    with pytest.raises(ValueError, match=r"'a\\nb.jpg' has a tab or a line break"):
        class_sets.annotations({'3': ['a\nb.jpg']})
    assert class_sets.annotations({'03': ['ü :a_b.jpg']}) == ['03/ü :a_b.jpg 3']


def test_make_queries_for_test(folder, tmp_path):
    call('make_queries_for_test', '--input', folder, '--output', tmp_path / 'r')
    dataset = Landmark(tmp_path / 'r')
    # classes of one image have no query
    assert len(dataset.queries) == 8 and len(dataset.images) == 45 - 8
    for query in dataset.queries:
        name = query.name.split('/')[0]
        wanted = {path for path in tree(folder) if path.split('/')[0] == name}
        positives = dataset.truth(query).positives
        assert {query.name, *positives} == wanted and query.name not in positives
    drawn = class_sets.class_queries(folder, list_classes(folder), seed=0)
    # which one is drawn does not depend on other classes
    less = class_sets.class_queries(folder, {'27': list_classes(folder)['27']}, seed=0)
    assert less.items() <= drawn.items()


def test_cal_mAP(tmp_path, capsys):
    """Answers at places 2 and 3 of 3: precision is 1/2 and 2/3, monotone 2/3 at both."""
    for name in ('queries/1/q', 'dataset/1/a', 'dataset/1/b', 'dataset/2/c'):
        save(tmp_path / f'{name}.jpg', 4, 4, 0)
    np.save(tmp_path / 'q.npy', np.float32([[1, 0]]))
    np.save(tmp_path / 'd.npy', np.float32([[.5, 0], [.4, 0], [.9, 0]]))
    flags = ['cal_mAP', '--test_set', tmp_path, '--queries_npy', tmp_path / 'q.npy',
             '--dataset_npy', tmp_path / 'd.npy']
    call(*flags)
    assert capsys.readouterr().out == 'mAP: 66.67 (VOC 2010, 1 queries)\n'
    # the row of an image that could not be read is left out: b stays unfound
    np.save(tmp_path / 'd.npy', np.float32([[.5, 0], [np.nan, 0], [.9, 0]]))
    call(*flags)
    assert capsys.readouterr().out == 'mAP: 25.00 (VOC 2010, 1 queries)\n'
    np.save(tmp_path / 'q.npy', np.float32([[np.nan, 0]]))
    refused(capsys, 'no query has both', *flags)
