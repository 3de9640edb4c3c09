# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Times how fast Python's FileWriter takes scalars.

    python_summaries.py --dir DIR [--events N]

Adds N summaries of one scalar each to an event file in DIR, five times, and
prints one JSON object with the events taken per second, the median
(`accepted_per_s`).
"""

import argparse
import json
import os
import statistics
import time

import python_common

v1 = python_common.v1

ROUNDS = 5


def measure(folder, events):
    """The rate of one writer."""
    writer = v1.summary.FileWriter(folder)
    writer.flush()
    start = time.perf_counter()
    for step in range(events):
        summary = v1.Summary(
            value=[v1.Summary.Value(tag="loss", simple_value=0.5)])
        writer.add_summary(summary, step)
    seconds = time.perf_counter() - start
    writer.close()
    return events / seconds


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description="Time Python TensorFlow's FileWriter.")
    parser.add_argument("--dir", required=True, help="folder for event files")
    parser.add_argument("--events", type=int, default=20000,
                        help="events per round; default: 20000")
    arguments = parser.parse_args()
    rates = [measure(os.path.join(arguments.dir, str(number)),
                     arguments.events) for number in range(ROUNDS)]
    print(json.dumps({"accepted_per_s": statistics.median(rates)}))


if __name__ == "__main__":
    main()
