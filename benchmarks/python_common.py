# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""What the Python benchmarks share: a quiet TensorFlow and the usual hooks.

Import this module before TensorFlow: it sets the environment TensorFlow reads
when it is loaded.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf  # pylint: disable=wrong-import-position

v1 = tf.compat.v1
v1.disable_eager_execution()
v1.logging.set_verbosity(v1.logging.ERROR)

# A cadence that is never due in a benchmark, except for the first time.
NEVER = 10**9
# The fetches of a step.
FETCHES = {"train": "train", "loss": "loss:0"}


def session_config(calling_thread):
    """Runs steps in TensorFlow's pool, or on the thread that asks for them."""
    return v1.ConfigProto(
        inter_op_parallelism_threads=-1 if calling_thread else 0)


def usual_hooks(number, run_dir, summary_op):
    """The first `number` of the five usual hooks: none, one or five.

    One is StopAtStepHook; five adds those that save, summarise, count and log.
    """
    hooks = [
        v1.train.StopAtStepHook(last_step=NEVER),
        v1.train.CheckpointSaverHook(run_dir, save_steps=NEVER),
        v1.train.SummarySaverHook(
            save_steps=NEVER, output_dir=run_dir, summary_op=summary_op),
        v1.train.StepCounterHook(every_n_steps=NEVER, output_dir=run_dir),
        v1.train.LoggingTensorHook(["loss"], every_n_iter=NEVER),
    ]
    return hooks[:number]


def monitored_session(meta, number_of_hooks, run_dir, config):
    """Opens a SingularMonitoredSession on a fresh import of a MetaGraph."""
    with tf.Graph().as_default():
        v1.train.import_meta_graph(meta)
        hooks = usual_hooks(number_of_hooks, run_dir, v1.summary.merge_all())
        return v1.train.SingularMonitoredSession(hooks, config=config)
