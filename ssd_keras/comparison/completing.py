"""Doing what is left of a comparison, so that a stopped one goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ssd_keras.comparison.jobs import Task, run_tasks
from ssd_keras.comparison.measuring import measure_cost, train_and_measure
from ssd_keras.comparison.variants import Run, first_runs
from ssd_keras.errors import UserError
from ssd_keras.run_folder import changed_settings
from ssd_keras.training.settings import RunSettings


def complete(
    runs: Sequence[Run], *, jobs: int = 1, say: Callable[[str], object] = lambda line: None
):
    """Trains and measures what is not done yet.

    Args:
        runs: from `runs_of`.
        jobs: runs that train at a time. With more than one their output goes to a file beside the
            run folder. Times are always measured alone, at the end.
        say: is told how far it is.

    Raises:
        UserError: a run failed, or its folder holds a run with other settings. What is finished
            stays; the same call goes on.
    """
    for run in runs:
        _check_settings(run)
    left = [run for run in runs if not run.is_measured()]
    say(f"{len(runs) - len(left)} of {len(runs)} runs are finished.")
    run_tasks([_training(run, jobs) for run in left], jobs, say)
    unpriced = [run for run in first_runs(runs).values() if not run.is_priced()]
    run_tasks(
        [Task(f"time and size of {run.variant}", measure_cost, run) for run in unpriced], 1, say
    )


def _training(run: Run, jobs: int) -> Task:
    log = f"{run.folder.path}.log" if jobs > 1 else ""
    return Task(f"{run.variant}, seed {run.seed}", train_and_measure, run, log)


def _check_settings(run: Run):
    if not run.folder.settings_file.is_file():
        return
    # How many images there were, which a run says beside its settings, is none of them.
    known = RunSettings.__dataclass_fields__
    stored = {key: value for key, value in run.folder.settings().items() if key in known}
    changed = changed_settings(stored, run.settings.as_stored())
    if changed:
        raise UserError(
            f"'{run.folder.path}' holds a run with other settings ({', '.join(changed)} differ): "
            "repeat what the comparison was started with, or give another folder for the runs."
        )
