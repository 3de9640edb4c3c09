# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Exports small MetaGraphs with Python TensorFlow, and what they compute.

    make_metagraph.py OUT_DIR [--kind KIND]

For each kind a folder OUT_DIR/KIND is made with

    model.meta         the MetaGraph
    model.ckpt-5.*     a checkpoint written by Python after five steps
    expected.json      losses, values and checkpoint entries to compare with

The values of a tensor in expected.json are a flat list in row-major order.
The entries of a mutable table have no order: compare them as pairs.

All kinds share these names:

    loss               the loss before the update, a float scalar (`loss:0`)
    train              one update of all variables and of the global step
    global_step        an int64 scalar variable, 0 at first
    train_op           the collection that holds `train`
    loss_summary       a scalar summary of `loss`, in collection `summaries`

The kinds, with what else they name and what their MetaGraph carries:

    linear             `x` and `y` (constants), `w`, `b` (resource variables),
                       `prediction`; gradient descent. Without saver_def and
                       without the collections of a Scaffold. Batch of four:
                       also the model of the benchmarks.
    placeholder        as linear with placeholders `x` [?, 2] and `y` [?, 1],
                       Adam, and the saver_def of a plain Saver. The feeds of
                       each step are in expected.json.
    adam_queue         a `range_input_producer` named `input` feeds
                       `train.batch` named `batch`: two queue runners; the
                       input ends after 12 batches. Reference variables
                       `hidden/kernel`, `out/offset` and `global_step`, resource
                       variables `hidden/offset` and `out/kernel`; Adam;
                       `residual_histogram`; finalized by a Scaffold (sharded
                       saver, all its collections, and the cached read of the
                       global step); with saver_def.
    table_iterator     `words` (an iterator over 12 words, saved with the
                       checkpoint), `vocabulary` (a static table) and `counts`
                       (a mutable table: how often each word was seen),
                       resource variable `embedding` with sparse updates;
                       finalized by a Scaffold; with saver_def (Python
                       cannot import a saved iterator without one).
    partitioned        `embedding` [6, 2] in three parts `embedding/part_N`,
                       saved as slices of one tensor; finalized by a Scaffold;
                       without saver_def.
"""

import argparse
import os
import subprocess
import sys

import common

import numpy as np
import tensorflow as tf

v1 = common.v1

CHECKPOINT_STEP = 5
STEPS = 10
WORDS = ["red", "green", "blue", "red"] * 3


def _variable(name, value, use_resource=True):
    return v1.get_variable(
        name,
        initializer=np.asarray(value, np.float32),
        use_resource=use_resource,
    )


def _minimize(loss, optimizer):
    v1.summary.scalar("loss_summary", loss)
    step = v1.train.get_or_create_global_step()
    optimizer.minimize(loss, global_step=step, name="train")


def _linear_model(x, y):
    prediction = tf.add(
        tf.matmul(x, _variable("w", [[0.5], [-0.25]])),
        _variable("b", [0.0]),
        name="prediction",
    )
    return tf.reduce_mean(tf.square(prediction - y), name="loss")


def build_linear():
    """Constant batch of four, gradient descent."""
    x, y = common.batch_at(0)
    loss = _linear_model(tf.constant(x, name="x"), tf.constant(y, name="y"))
    _minimize(loss, v1.train.GradientDescentOptimizer(0.125))


def build_placeholder():
    """Fed batches, Adam."""
    x = v1.placeholder(tf.float32, [None, 2], name="x")
    y = v1.placeholder(tf.float32, [None, 1], name="y")
    _minimize(_linear_model(x, y), v1.train.AdamOptimizer(0.05))


def _queued_batch(batches):
    limit = batches * common.BATCH
    index = v1.train.range_input_producer(
        limit, num_epochs=1, shuffle=False, capacity=8, name="input"
    ).dequeue(name="next_index")
    table = np.concatenate(
        [np.hstack(common.batch_at(step)) for step in range(batches)]
    )
    row = tf.gather(tf.constant(table, name="examples"), index)
    batch = v1.train.batch([row], common.BATCH, capacity=8, name="batch")
    return batch[:, :2], batch[:, 2:]


def build_adam_queue():
    """Input through queues that ends; both kinds of variables; Adam."""
    with v1.variable_scope("", use_resource=False):
        v1.train.create_global_step()
    x, y = _queued_batch(batches=12)
    hidden = tf.tanh(
        tf.matmul(
            x,
            _variable("hidden/kernel", [[0.5, -0.5, 0.25], [0.125, 0.5, -1.0]],
                      use_resource=False),
        ) + _variable("hidden/offset", [0.0, 0.0, 0.0])
    )
    prediction = tf.matmul(
        hidden, _variable("out/kernel", [[0.5], [-0.25], [0.75]])
    ) + _variable("out/offset", [0.0], use_resource=False)
    residual = tf.subtract(prediction, y, name="residual")
    v1.summary.histogram("residual_histogram", residual)
    loss = tf.reduce_mean(tf.square(residual), name="loss")
    _minimize(loss, v1.train.AdamOptimizer(0.05))
    common.cached_step_read()


def _word_iterator():
    iterator = v1.data.make_initializable_iterator(
        tf.data.Dataset.from_tensor_slices(WORDS)
    )
    v1.add_to_collection(
        v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer
    )
    v1.add_to_collection(
        v1.GraphKeys.SAVEABLE_OBJECTS,
        tf.data.experimental.make_saveable_from_iterator(iterator),
    )
    return iterator.get_next(name="words")


def build_table_iterator():
    """Tables of both kinds, a saved iterator, sparse updates."""
    word = _word_iterator()
    names = sorted(set(WORDS))
    vocabulary = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            names, np.arange(len(names), dtype=np.int64)
        ),
        default_value=-1,
        name="vocabulary",
    )
    counts = tf.lookup.experimental.MutableHashTable(
        tf.string, tf.int64, default_value=0, name="counts"
    )
    counted = counts.insert(word, counts.lookup(word) + 1)
    embedding = _variable("embedding", [0.5, 1.0, -0.5])
    value = tf.gather(embedding, vocabulary.lookup(word))
    target = tf.cast(v1.strings.length(word), tf.float32)
    with tf.control_dependencies([counted]):
        loss = tf.square(value - target, name="loss")
    _minimize(loss, v1.train.GradientDescentOptimizer(0.125))


def _rows_of_part(shape, dtype=None, partition_info=None):
    """Initial values of one part: the rows of 0, 1/8, 2/8, ... it covers."""
    whole = np.arange(
        np.prod(partition_info.full_shape), dtype=np.float32
    ).reshape(partition_info.full_shape) * 0.125
    first = partition_info.var_offset[0]
    return tf.constant(whole[first:first + shape[0]], dtype)


def build_partitioned():
    """One variable in three parts."""
    embedding = v1.get_variable(
        "embedding",
        shape=[6, 2],
        initializer=_rows_of_part,
        partitioner=v1.fixed_size_partitioner(3),
        use_resource=True,
    )
    row_weight = tf.constant([[1.0], [2.0], [3.0], [1.0], [2.0], [3.0]])
    loss = tf.reduce_mean(
        tf.square(tf.convert_to_tensor(embedding) - 1.0) * row_weight,
        name="loss",
    )
    _minimize(loss, v1.train.GradientDescentOptimizer(0.5))


# Kind -> its builder; whether a Scaffold finalizes the graph before the
# export; whether the export has a saver_def.
KINDS = {
    "linear": (build_linear, False, False),
    "placeholder": (build_placeholder, False, True),
    "adam_queue": (build_adam_queue, True, True),
    "table_iterator": (build_table_iterator, True, True),
    "partitioned": (build_partitioned, True, False),
}


def _exported(kind):
    """Builds a graph and returns its MetaGraphDef."""
    build, finalized, with_saver = KINDS[kind]
    with tf.Graph().as_default():
        v1.set_random_seed(1)
        build()
        saver = None
        if finalized:
            saver = v1.train.Scaffold().finalize().saver
        elif with_saver:
            saver = v1.train.Saver()
        meta_graph = v1.train.export_meta_graph(
            saver_def=saver.as_saver_def() if with_saver else None
        )
    _name_static_tables(meta_graph)
    return meta_graph


def _name_static_tables(meta_graph):
    """Replaces the random shared names of static tables by their node names."""
    for node in meta_graph.graph_def.node:
        if node.op == "HashTableV2":
            node.attr["shared_name"].s = node.name.encode()


class _Trainer:
    """Steps through an imported MetaGraph and notes what it computes."""

    def __init__(self, meta, prefix=None):
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._scaffold = common.restored_scaffold(common.import_meta(meta))
            self._session = v1.train.SingularMonitoredSession(
                scaffold=self._scaffold,
                config=common.session_config(),
                checkpoint_filename_with_path=prefix,
            )
        self.raw = self._session.raw_session()

    def step(self):
        """One step; returns its loss."""
        now = common.global_step(self.raw)
        loss, _ = self._session.run(
            ["loss:0", "train"], feed_dict=common.feeds_at(self._graph, now)
        )
        return common.plain(loss)

    def save(self, prefix):
        """Saves the variables under PREFIX-STEP, and only those files."""
        self._scaffold.saver.save(
            self.raw, prefix, global_step=CHECKPOINT_STEP,
            write_meta_graph=False, write_state=False,
        )

    def steps_to_end(self):
        """How many more steps run before the input ends."""
        count = 0
        try:
            while True:
                self.step()
                count += 1
        except tf.errors.OutOfRangeError:
            return count

    def close(self):
        """Ends the session as its context would."""
        with self._graph.as_default():
            self._session.close()


def _expected(meta, folder):
    """Runs the MetaGraph, saves after five steps, returns what it saw."""
    prefix = os.path.join(folder, "model.ckpt")
    trainer = _Trainer(meta)
    expected = {"initial": common.variable_values(trainer.raw), "losses": []}
    for step in range(STEPS):
        if step == CHECKPOINT_STEP:
            trainer.save(prefix)
            expected["at_checkpoint"] = common.variable_values(trainer.raw)
        expected["losses"].append(trainer.step())
    expected["after_last_step"] = common.variable_values(trainer.raw)
    if _input_ends(meta):
        expected["steps_in_input"] = STEPS + trainer.steps_to_end()
    trainer.close()

    expected["resumed_by_python"] = _resumed(
        meta, f"{prefix}-{CHECKPOINT_STEP}")
    return expected


def _resumed(meta, prefix):
    """What Python's own session does when it starts from the checkpoint.

    A new session starts the queues from the beginning, so these losses may
    differ from those of the run that went on. Python restores before it runs
    the local init op, so a saved iterator fails there.
    """
    try:
        trainer = _Trainer(meta, prefix)
    except tf.errors.OpError as error:
        return {"error": type(error).__name__}
    losses = [trainer.step() for _ in range(STEPS - CHECKPOINT_STEP)]
    trainer.close()
    return {"losses": losses}


def _input_ends(meta):
    return os.path.basename(os.path.dirname(meta)) in (
        "adam_queue", "table_iterator")


def _collections(meta_graph):
    """Collection -> kind of its items and their number."""
    summary = {}
    for key, collection in meta_graph.collection_def.items():
        kind = collection.WhichOneof("kind")
        size = len(getattr(collection, kind).value) if kind else 0
        summary[key] = {"kind": kind, "size": size}
    return summary


def make(kind, out_dir):
    """Writes the folder of one kind."""
    folder = os.path.join(out_dir, kind)
    os.makedirs(folder, exist_ok=True)
    meta_graph = _exported(kind)
    meta = os.path.join(folder, "model.meta")
    with open(meta, "wb") as file:
        file.write(meta_graph.SerializeToString(deterministic=True))

    expected = _expected(meta, folder)
    checkpoint = f"model.ckpt-{CHECKPOINT_STEP}"
    expected.update({
        "kind": kind,
        "tensorflow_version": tf.__version__,
        "tolerance": common.TOLERANCE,
        "nodes": len(meta_graph.graph_def.node),
        "collections": _collections(meta_graph),
        "saver_def": meta_graph.HasField("saver_def"),
        "checkpoint": checkpoint,
        "checkpoint_step": CHECKPOINT_STEP,
        "checkpoint_entries": common.checkpoint_entries(
            os.path.join(folder, checkpoint)),
    })
    if kind == "placeholder":
        expected["feeds"] = [
            dict(zip(("x", "y"), map(common.flat, common.batch_at(step))))
            for step in range(STEPS)
        ]
    with open(os.path.join(folder, "expected.json"), "w",
              encoding="utf-8") as file:
        file.write(common.to_json(expected))


def main():
    """Makes one kind here, or all, each in a process of its own.

    TensorFlow numbers functions through one counter per process, so a process
    for each kind keeps the files independent of the other kinds.
    """
    parser = argparse.ArgumentParser(
        description="Export small MetaGraphs and what they compute.")
    parser.add_argument("out_dir", help="folder that gets a folder per kind")
    parser.add_argument("--kind", choices=sorted(KINDS), help="default: all")
    arguments = parser.parse_args()
    if arguments.kind:
        make(arguments.kind, arguments.out_dir)
        return
    for kind in KINDS:
        subprocess.run(
            [sys.executable, os.path.abspath(__file__), arguments.out_dir,
             "--kind", kind],
            check=True,
        )


if __name__ == "__main__":
    main()
