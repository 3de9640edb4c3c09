# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Restores a checkpoint in Python TensorFlow and prints what it found.

    restore_check.py PREFIX META

PREFIX is a checkpoint (`run/model.ckpt-10`) or a folder, which stands for its
latest checkpoint. META is the MetaGraph whose fresh import is restored. Prints
one JSON object:

    prefix             the checkpoint that was restored
    step               its global step, null when the graph has none
    variables          name -> dtype, shape, values as restored by the saver
    checkpoint_entries name -> dtype, shape, values as stored in the checkpoint
    list_variables     [name, shape] pairs as `tf.train.list_variables` has them
    latest_checkpoint  of the checkpoint's folder, null without a state file
    state              model_checkpoint_path and all_model_checkpoint_paths of
                       the state file, null without one
    missing            latest or listed checkpoints that do not exist

Exit code 1 and one line on stderr when anything fails, a state file that lists
missing checkpoints included.
"""

import argparse
import os

import common

import tensorflow as tf

v1 = common.v1


def resolve_prefix(path):
    """The prefix itself, or the latest checkpoint of a folder."""
    if not os.path.isdir(path):
        return path
    prefix = tf.train.latest_checkpoint(path)
    if prefix is None:
        common.fail(f"no checkpoint in the folder '{path}'")
    return prefix


def restore(prefix, meta):
    """Restores PREFIX into a fresh import of META; returns step and values."""
    with tf.Graph().as_default():
        saver = common.import_meta(meta)
        if saver is None:
            common.fail(f"the graph of '{meta}' has nothing to restore")
        # Tables and iterators must exist before they can be restored.
        prepare = [v1.local_variables_initializer(), v1.tables_initializer()]
        with v1.Session(config=common.session_config()) as session:
            session.run(prepare)
            saver.restore(session, prefix)
            has_step = v1.train.get_global_step() is not None
            return {
                "step": common.global_step(session) if has_step else None,
                "variables": common.variable_values(session),
            }


def state_of(folder):
    """What TensorFlow's readers say of the folder's state file."""
    state = tf.train.get_checkpoint_state(folder)
    if state is None:
        return {"latest_checkpoint": None, "state": None, "missing": []}
    paths = list(state.all_model_checkpoint_paths)
    return {
        "latest_checkpoint": tf.train.latest_checkpoint(folder),
        "state": {
            "model_checkpoint_path": state.model_checkpoint_path,
            "all_model_checkpoint_paths": paths,
        },
        "missing": [path for path in paths
                    if not v1.train.checkpoint_exists(path)],
    }


def check(path, meta):
    """Everything this program prints, as a dictionary."""
    prefix = resolve_prefix(path)
    report = {
        "prefix": prefix,
        "checkpoint_entries": common.checkpoint_entries(prefix),
        "list_variables": [[name, list(shape)] for name, shape
                           in tf.train.list_variables(prefix)],
    }
    report.update(restore(prefix, meta))
    report.update(state_of(os.path.dirname(prefix) or "."))
    return report


def main():
    """Prints the report, or one line and exit code 1."""
    parser = argparse.ArgumentParser(
        description="Restore a checkpoint with Python TensorFlow.")
    parser.add_argument("prefix", help="checkpoint prefix or folder")
    parser.add_argument("meta", help="MetaGraph file")
    arguments = parser.parse_args()
    try:
        report = check(arguments.prefix, arguments.meta)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        common.fail(f"cannot restore '{arguments.prefix}': " +
                    common.one_line(error))
    print(common.to_json(report), end="")
    if report["missing"]:
        common.fail(f"the state file lists {report['missing']!r}, "
                    "which do not exist")


if __name__ == "__main__":
    main()
