# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Continues a training run with Python's SingularMonitoredSession.

    continue_training.py META RUN_DIR STEPS [--save-steps N]

Starts from the latest checkpoint of RUN_DIR, or from the initial values when
there is none, runs at most STEPS steps of `train`, saves at the start, every N
steps and at the end, and prints one JSON object:

    first_step         the global step before the first run
    last_step          the global step at the end
    steps              the global step after each run
    losses             the loss of each run, before its update
    variables          name -> dtype, shape, values at the end
    end_of_input       whether the input ended before STEPS steps
    checkpoints        base names of the checkpoints in RUN_DIR at the end

Placeholders `x` and `y` are fed common.batch_at(step), step being the global
step before the run. Exit code 1 and one line on stderr on failure.
"""

import argparse

import common

import tensorflow as tf

v1 = common.v1


def train(meta, run_dir, steps, save_steps):
    """Runs the steps and returns what this program prints."""
    report = {"steps": [], "losses": [], "end_of_input": False}
    with tf.Graph().as_default() as graph:
        scaffold = common.restored_scaffold(common.import_meta(meta))
        hooks = [
            v1.train.CheckpointSaverHook(
                run_dir, save_steps=save_steps, scaffold=scaffold),
            v1.train.StopAtStepHook(num_steps=steps),
        ]
        session = v1.train.SingularMonitoredSession(
            hooks, scaffold=scaffold, config=common.session_config(),
            checkpoint_dir=run_dir)
        with session:
            raw = session.raw_session()
            report["first_step"] = now = common.global_step(raw)
            while not session.should_stop():
                try:
                    loss, _ = session.run(
                        ["loss:0", "train"],
                        feed_dict=common.feeds_at(graph, now))
                except tf.errors.OutOfRangeError:
                    report["end_of_input"] = True
                    break
                now = common.global_step(raw)
                report["steps"].append(now)
                report["losses"].append(common.plain(loss))
            report["last_step"] = now
            report["variables"] = common.variable_values(raw)
    report["checkpoints"] = common.checkpoint_prefixes(run_dir)
    return report


def main():
    """Prints the report, or one line and exit code 1."""
    parser = argparse.ArgumentParser(
        description="Continue a training run with Python TensorFlow.")
    parser.add_argument("meta", help="MetaGraph file")
    parser.add_argument("run_dir", help="folder of the checkpoints")
    parser.add_argument("steps", type=int, help="number of steps to add")
    parser.add_argument("--save-steps", type=int, default=10**9,
                        help="save every N steps; default: first and last only")
    arguments = parser.parse_args()
    try:
        report = train(arguments.meta, arguments.run_dir, arguments.steps,
                       arguments.save_steps)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        common.fail(f"cannot continue '{arguments.run_dir}': " +
                    common.one_line(error))
    print(common.to_json(report), end="")


if __name__ == "__main__":
    main()
