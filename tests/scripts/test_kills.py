"""Every writing command of the pipeline is killed, and a rerun ends as if nothing had happened.

Its files must be those of an undisturbed run, byte for byte, and nothing may be left over: no
temporary file, no lock, no process. Of a training's log, the last run's lines count, without date,
time, thread and speed; of a trunk cache, the records. Here a command is killed at a few renames and
random moments; `python tests/helpers/kill_campaign.py` kills at every change of the disk, and has
more commands.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import killing
import pytest
from kill_commands import COMMANDS, make_inputs

POINTS, MOMENTS = 2, 1
# test_made_folders.py has the first; the others write as those without `over another`, `in HDF5` do
LEFT_OUT = {'demo over another', 'model over another', 'training in HDF5'}


@pytest.fixture(scope='module')
def nursery():
    """A process that has imported everything and has no threads, to be forked."""
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, spawn, killing.preload) as pool:
        yield pool


@pytest.fixture(scope='module')
def inputs(nursery, scorer, tmp_path_factory):
    folder = tmp_path_factory.mktemp('kills') / 'inputs'
    nursery.submit(make_inputs, folder, scorer).result()
    return folder


@pytest.mark.parametrize('name', [name for name in COMMANDS if name not in LEFT_OUT])
def test_a_killed_command(name, nursery, inputs, tmp_path):
    report = nursery.submit(killing.try_kills, COMMANDS[name], inputs, tmp_path, moments=MOMENTS,
                            most=POINTS).result()
    assert not report.faults, '\n'.join(report.faults)
    assert report.renames
