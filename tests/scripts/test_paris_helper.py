"""paris_helper's sets, on a small dataset, and its mAP by hand."""

import cv2
import numpy as np
import paris_helper
import pytest
from deep_retrieval import subcommands
from deep_retrieval.datasets import ParisClasses, ParisHelper
from deep_retrieval.images import read_image
from deep_retrieval.listing import list_images
from deep_retrieval.training.class_folders import ClassFolders
from picture_folders import save, tree

DAMAGED = 'paris_louvre_000136'
NAMES = ([f'paris_eiffel_00000{i}' for i in range(6)] + [f'paris_louvre_00000{i}' for i in range(4)]
         + [f'paris_general_00000{i}' for i in range(5)])
LAB = {'eiffel_1_query': 'paris_eiffel_000000 1 1 9 9',
       'eiffel_1_good': 'paris_eiffel_000000 paris_eiffel_000001',
       'eiffel_1_ok': 'paris_eiffel_000002 paris_general_000001',
       'eiffel_1_junk': 'paris_eiffel_000003',
       'louvre_1_query': 'paris_louvre_000000 1 1 9 9',
       'louvre_1_good': 'paris_louvre_000000',
       'louvre_1_ok': f'paris_eiffel_000005 paris_louvre_000001 {DAMAGED}',
       'louvre_1_junk': 'paris_general_000001'}
EIFFEL = ['paris_eiffel_000000', 'paris_eiffel_000001', 'paris_eiffel_000002',
          'paris_general_000001']
LOUVRE = ['paris_eiffel_000005', 'paris_louvre_000000', 'paris_louvre_000001']


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'Paris'
    for number, name in enumerate(NAMES):
        save(path / f'jpg/{name}.jpg', 20 + number, 40, 10 * number)
    (path / f'jpg/{DAMAGED}.jpg').write_bytes(b'damaged')
    (path / 'lab').mkdir()
    for name, words in LAB.items():
        (path / f'lab/{name}.txt').write_text(words)
    return path


def call(mode, *flags):
    subcommands.run(paris_helper.__doc__, paris_helper.MODES, paris_helper.FLAGS,
                    [mode, *map(str, flags)])


def value(path):
    """What all pixels of an image have."""
    image = cv2.imread(str(path)).astype(int)
    assert np.ptp(image) <= 2
    return int(image.mean().round())


def test_blacklist(folder, tmp_path, capsys):
    (folder / 'jpg/paris_general_000004.jpg').write_bytes(b'')
    path = tmp_path / 'blacklist.txt'
    call('make_blacklist', '--dataset', folder, '--output', path)
    assert path.read_text() == f'paris_general_000004\n{DAMAGED}\n'
    assert capsys.readouterr().out == f'{path}: 2 of 16 images are damaged\n'
    flags = ['--dataset', folder, '--output', tmp_path / 'uni']
    with pytest.raises(SystemExit):
        call('make_test_set', *flags)
    path.write_text(f'\n paris_general_000004.jpg\n{DAMAGED}\n')
    call('make_test_set', *flags, '--blacklist', path, '--overwrite')
    assert ParisHelper(tmp_path / 'uni').images == sorted(set(NAMES) - {'paris_general_000004'})
    for name in list_images(tmp_path / 'uni/jpg'):
        assert read_image(tmp_path / 'uni/jpg' / name).shape == (384, 512, 3)


def test_make_triplet_set(folder, tmp_path, capsys):
    """The class folders are what TripletDataLayer reads: of one size, and nothing else there."""
    call('make_triplet_set', '--dataset', folder, '--output', tmp_path / 't', '--useless',
         tmp_path / 'u')
    assert capsys.readouterr().out == f'{tmp_path}/t: 8 images\n{tmp_path}/u: 7 images\n'
    made = {'eiffel': [*EIFFEL, 'paris_eiffel_000003'], 'louvre': LOUVRE}
    assert sorted(tree(tmp_path / 't')) == sorted(
        f'{landmark}/{name}.jpg' for landmark, names in made.items() for name in names)
    shown = {name for names in made.values() for name in names}
    assert list_images(tmp_path / 'u') == sorted(f'{name}.jpg' for name in set(NAMES) - shown)
    for landmark, names in made.items():
        for name in names:
            assert abs(value(tmp_path / f't/{landmark}/{name}.jpg') - 10 * NAMES.index(name)) <= 1
    folders = ClassFolders(tmp_path / 't', 'landmark', own=2, others=1)
    assert folders.names == ['eiffel', 'louvre'] and folders.size == (288, 384)


def test_make_aug_set(folder, tmp_path):
    flags = ['--dataset', folder, '--height', 24, '--width', 32, '--crops', 2]
    call('make_aug_set', *flags, '--output', tmp_path / 'a')
    files = tree(tmp_path / 'a')
    assert sorted(files) == sorted(f'{name}{end}.jpg' for name in NAMES
                                   for end in ('', '_crop1', '_crop2'))
    for path in files:
        image = cv2.imread(str(tmp_path / 'a' / path))
        assert image.shape == (24, 32, 3)
    # a crop depends on its image alone, whatever other images there are
    (folder / 'jpg/paris_general_000004.jpg').unlink()
    call('make_aug_set', *flags, '--output', tmp_path / 'b')
    again = tree(tmp_path / 'b')
    assert len(again) == len(files) - 3 and again.items() <= files.items()


def test_crops_are_parts_and_differ(folder, tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    for path in (folder / 'jpg').glob('*general*'):
        cv2.imwrite(str(path), random)
    call('make_aug_set', '--dataset', folder, '--output', tmp_path / 'a', '--seed', 1)
    crops = [path.read_bytes() for path in (tmp_path / 'a').glob('*general*_crop*')]
    assert len(set(crops)) == len(crops) == 15
    (folder / 'jpg/paris_eiffel_000000_crop1.jpg').write_bytes(b'x')
    with pytest.raises(SystemExit):
        call('make_aug_set', '--dataset', folder, '--output', tmp_path / 'b')


def test_make_dataset_for_test(folder, tmp_path):
    call('make_dataset_for_test', '--dataset', folder, '--output', tmp_path / 't', '--num_cls', 3,
         '--num_useless', 4)
    lines = dict(line.split('\t') for line in
                 (tmp_path / 't/sources.txt').read_text().splitlines())
    assert sorted(tree(tmp_path / 't')) == sorted([*lines, 'sources.txt'])
    drawn = {'eiffel': [], 'louvre': [], 'useless': []}
    for path, name in lines.items():
        assert (tmp_path / 't' / path).read_bytes() == (folder / f'jpg/{name}.jpg').read_bytes()
        drawn[path.split('/')[1].split('_')[0]].append(name)
    assert set(drawn['eiffel']) <= set(EIFFEL) and len(set(drawn['eiffel'])) == 3
    assert set(drawn['louvre']) == set(LOUVRE) and len(drawn['louvre']) == 3
    assert len(set(drawn['useless'])) == 4
    # junk shows a landmark a little, and so is not useless
    assert not set(drawn['useless']) & {*EIFFEL, *LOUVRE, 'paris_eiffel_000003'}
    dataset = ParisClasses(tmp_path / 't')
    assert [query.name.split('_')[0] for query in dataset.queries] == ['eiffel', 'louvre']
    assert [len(dataset.truth(query).positives) for query in dataset.queries] == [2, 2]
    assert len(dataset.images) == 2 + 2 + 4


def test_cal_mAP(tmp_path, capsys):
    """eiffel's answers are at places 1 and 3 of 4: (1 + 2/3) / 2; louvre's at 2: 1/2."""
    for name in ('queries/eiffel_0', 'queries/louvre_0', 'dataset/eiffel_1', 'dataset/eiffel_2',
                 'dataset/louvre_1', 'dataset/useless_1'):
        save(tmp_path / f'{name}.jpg', 4, 4, 0)
    np.save(tmp_path / 'q.npy', np.float32([[1, 0, 0, 0], [0, 1, 0, 0]]))
    np.save(tmp_path / 'd.npy', np.float32([[.9, .1, 0, 0], [.5, .2, 0, 0], [.4, .3, 0, 0],
                                            [.6, .8, 0, 0]]))
    flags = ['--test_set', tmp_path, '--queries_npy', tmp_path / 'q.npy', '--dataset_npy',
             tmp_path / 'd.npy']
    call('cal_mAP', *flags)
    assert capsys.readouterr().out == 'mAP: 66.67 (VOC 2010, 2 queries)\n'
    np.save(tmp_path / 'd.npy', np.zeros((3, 4), np.float32))
    with pytest.raises(SystemExit):
        call('cal_mAP', *flags)
    assert 'shape (3, 4), but needs one row for each of 4' in capsys.readouterr().err
