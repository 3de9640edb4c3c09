# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Times what Python's Saver does with the model of a MetaGraph.

    python_checkpoints.py META --init OPERATION --dir DIR

Opens a session and initialises the model, saves it three times and restores it
three times, the first time into a new session without initialising it, and
prints one JSON object with the seconds of each: `init`, `first_save`, `save`
(the median), `first_restore` and `restore` (the median).
"""

import argparse
import json
import os
import statistics
import time

import tensorflow.compat.v1 as tf

ROUNDS = 3


def seconds(function):
    """How long `function` takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(meta, init, folder):
    """The report for the MetaGraph file `meta`."""
    tf.disable_eager_execution()
    saver = tf.train.import_meta_graph(meta)
    start = time.perf_counter()
    session = tf.Session()
    session.run(init)
    report = {"init": time.perf_counter() - start}
    prefix = os.path.join(folder, "python")
    saves = [seconds(lambda: saver.save(session, prefix))
             for _ in range(ROUNDS)]
    session.close()
    session = tf.Session()
    restores = [seconds(lambda: saver.restore(session, prefix))
                for _ in range(ROUNDS)]
    session.close()
    report.update(first_save=saves[0], save=statistics.median(saves),
                  first_restore=restores[0],
                  restore=statistics.median(restores))
    return report


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description="Time Python TensorFlow's Saver.")
    parser.add_argument("meta", help="MetaGraph file")
    parser.add_argument("--init", required=True, help="initialising operation")
    parser.add_argument("--dir", required=True, help="folder for checkpoints")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.meta, arguments.init, arguments.dir)))


if __name__ == "__main__":
    main()
