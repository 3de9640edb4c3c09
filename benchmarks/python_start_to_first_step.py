# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Does the least a Python program must do for its first step; time it whole.

    python_start_to_first_step.py META [--hooks 0|1|5] [--run-dir DIR]

Imports TensorFlow, loads the MetaGraph, opens a SingularMonitoredSession with
the hooks of python_step_overhead.py, runs one step and prints one JSON object
with its loss. The session is left to the end of the process, as the question
is the start. The hooks' files go to DIR, by default a temporary folder.
"""

import argparse
import json
import shutil
import tempfile

import python_common


def first_step(meta, hooks, run_dir):
    """The loss of the first step."""
    session = python_common.monitored_session(
        meta, hooks, run_dir, python_common.session_config(False))
    return float(session.run(python_common.FETCHES)["loss"])


def main():
    """Runs the step and prints its loss."""
    parser = argparse.ArgumentParser(
        description="Start Python TensorFlow and run one step.")
    parser.add_argument("meta", help="MetaGraph file")
    parser.add_argument("--hooks", type=int, choices=(0, 1, 5), default=5,
                        help="number of hooks; default: 5")
    parser.add_argument("--run-dir", help="folder for the hooks' files")
    arguments = parser.parse_args()
    run_dir = arguments.run_dir or tempfile.mkdtemp(prefix="tftrain_bench_")
    try:
        loss = first_step(arguments.meta, arguments.hooks, run_dir)
    finally:
        if arguments.run_dir is None:
            shutil.rmtree(run_dir)
    print(json.dumps({"loss": loss}))


if __name__ == "__main__":
    main()
