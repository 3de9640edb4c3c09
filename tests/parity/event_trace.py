# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Trains with the hooks that write events, or prints what events there are.

    event_trace.py train FOLDER META STEPS
    event_trace.py read FOLDER

`train` runs STEPS steps of the MetaGraph file META in a
SingularMonitoredSession whose SummarySaverHook (every two steps),
StepCounterHook (every three) and CheckpointSaverHook (every four) write into
FOLDER. Both print a line for each event of the event files in FOLDER, in the
order of their names: the step and all that the event says, but for times,
rates, how full queues were, and the content of graphs.
"""

import argparse
import glob
import os

import common

v1 = common.v1


def train(folder, meta, steps):
    """Trains as the program's description says."""
    with v1.Graph().as_default() as graph:
        scaffold = common.restored_scaffold(common.import_meta(meta))
        hooks = [
            v1.train.SummarySaverHook(
                save_steps=2, output_dir=folder, scaffold=scaffold),
            v1.train.StepCounterHook(every_n_steps=3, output_dir=folder),
            v1.train.CheckpointSaverHook(
                folder, save_steps=4, scaffold=scaffold),
        ]
        with v1.train.SingularMonitoredSession(
                hooks, scaffold=scaffold,
                config=common.session_config()) as session:
            for step in range(steps):
                session.run("train", common.feeds_at(graph, step))
    # Nobody else writes what the hooks noted last.
    v1.summary.FileWriterCache.clear()


def describe_value(value):
    """A value of a summary, but for rates and how full a queue was."""
    if value.tag.endswith(("/sec", "_full")):
        return f"{value.tag}=CHANCE"
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    if kind != "simple_value":
        content = content.SerializeToString(deterministic=True).hex()
    metadata = value.metadata.SerializeToString(deterministic=True).hex()
    return f"{value.tag}={kind}:{content!r}:{metadata}"


def describe(event, folder):
    """All that an event says, but for what differs from run to run."""
    what = event.WhichOneof("what")
    text = ""
    if what == "file_version":
        text = event.file_version
    elif what == "summary":
        text = " ".join(describe_value(value) for value in event.summary.value)
    elif what == "session_log":
        log = event.session_log
        path = os.path.relpath(log.checkpoint_path, folder) \
            if log.checkpoint_path else ""
        text = f"{log.status} {path} {log.msg}"
    elif what == "tagged_run_metadata":
        text = event.tagged_run_metadata.tag
    return f"{event.step} {what} {text}".rstrip()


def read(folder):
    """The lines of all events in a folder."""
    return [describe(event, folder)
            for path in sorted(glob.glob(os.path.join(folder, "*tfevents*")))
            for event in v1.train.summary_iterator(path)]


def main():
    """Does what the arguments ask for, and prints."""
    parser = argparse.ArgumentParser(description="Train, and print events.")
    parser.add_argument("action", choices=["train", "read"])
    parser.add_argument("folder", help="folder of event files")
    parser.add_argument("meta", nargs="?", help="MetaGraph file")
    parser.add_argument("steps", nargs="?", type=int)
    arguments = parser.parse_args()
    if arguments.action == "train":
        train(arguments.folder, arguments.meta, arguments.steps)
    print("\n".join(read(arguments.folder)))


if __name__ == "__main__":
    main()
