# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what a step costs in Python: the plain session against hooks.

    python_step_overhead.py META [--blocks N]

META is a MetaGraph with the fetches `train` and `loss:0` and a summary, such
as `tests/parity/make_metagraph.py --kind linear` makes. Prints one JSON
object: thread mode ('pool' or 'calling_thread') -> microseconds per step of

    session_run    Session.run, no hooks
    monitored_0    SingularMonitoredSession.run without hooks
    monitored_1    with StopAtStepHook
    monitored_5    with StopAtStep-, CheckpointSaver-, SummarySaver-,
                   StepCounter- and LoggingTensorHook, none of them due

All are measured in turn, block by block, and each figure is the median of its
blocks, so that a change of the machine's speed hits all of them alike.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time

import python_common

import tensorflow as tf

v1 = python_common.v1

STEPS_PER_BLOCK = 50
# Long enough for every hook's first action and for warm caches.
WARM_UP_STEPS = 100
HOOKS = (0, 1, 5)


def _plain_run(meta, config):
    """A run function of a plain session, and that session."""
    with tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(meta)
        initialize = v1.global_variables_initializer()
        session = v1.Session(graph=graph, config=config)
        session.run(initialize)
    return session.run, session


def _block(run):
    """Microseconds per step of one block."""
    start = time.perf_counter()
    for _ in range(STEPS_PER_BLOCK):
        run(python_common.FETCHES)
    return (time.perf_counter() - start) / STEPS_PER_BLOCK * 1e6


def measure(meta, blocks, calling_thread, run_dir):
    """Name -> median microseconds per step, in one thread mode."""
    config = python_common.session_config(calling_thread)
    run, plain = _plain_run(meta, config)
    runs, sessions = {"session_run": run}, [plain]
    for number in HOOKS:
        session = python_common.monitored_session(
            meta, number, f"{run_dir}/{number}", config)
        runs[f"monitored_{number}"] = session.run
        sessions.append(session)

    for run in runs.values():
        for _ in range(WARM_UP_STEPS):
            run(python_common.FETCHES)
    times = {name: [] for name in runs}
    for _ in range(blocks):
        for name, run in runs.items():
            times[name].append(_block(run))
    for session in sessions:
        session.close()
    return {name: round(statistics.median(block_times), 2)
            for name, block_times in times.items()}


def main():
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description="Measure the cost of a step in Python.")
    parser.add_argument("meta", help="MetaGraph file")
    parser.add_argument("--blocks", type=int, default=40,
                        help="blocks of 50 steps per figure; default: 40")
    arguments = parser.parse_args()
    run_dir = tempfile.mkdtemp(prefix="tftrain_bench_")
    try:
        report = {
            mode: measure(arguments.meta, arguments.blocks,
                          mode == "calling_thread", f"{run_dir}/{mode}")
            for mode in ("pool", "calling_thread")
        }
    finally:
        shutil.rmtree(run_dir)
    report.update({
        "unit": "us_per_step",
        "steps_per_block": STEPS_PER_BLOCK,
        "blocks": arguments.blocks,
        "tensorflow": tf.__version__,
    })
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
