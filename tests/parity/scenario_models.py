# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""The models of scenarios.py, as MetaGraphs.

All are finalized by a Scaffold before they are exported. They compute with
numbers that floats hold exactly, so that values can be compared exactly.

What they share:

    train              adds `increment:0` (1 unless fed) to the global step, and
                       1 to the variable `w` and the local variable `local`
    loss:0             w before the update
    w_value:0          w; not to be fetched beside `train`
    local_value:0      `local`, 10 at first
    w_summary          a summary of w, in the collection `summaries`

The models:

    run                `x` (a placeholder), `y` [2] (nan unless fed), `total` of
                       both, `checked` (fails unless y is fed), `pair` (an
                       operation with two outputs), `constant_T` and `fed_T`
                       for each element type T, `empty` [0,2]; a queue with
                       `fill`, `next`, `close`; `missing_file` and `unset`,
                       which fail
    wider              one variable more, `v`
    partial            the same, but its saver does not know `v`
    misshapen          `w` is a vector
    queue_ends         one queue runner with two operations, which enqueue 1.0
                       three and five times; `next` dequeues
    queue_fails        a queue runner that enqueues 1, 2, 3 and fails
    queue_endless      two queue runners on one small queue
"""

import math
import os

import common

import numpy as np
import tensorflow as tf

v1 = common.v1

# One tensor of each element type.
CONSTANTS = {
    "half": np.array([1.5, -2.0], np.float16),
    "bfloat16": np.array([1.5, -2.0], tf.bfloat16.as_numpy_dtype),
    "float": np.array([1.5, -3.4028234663852886e38], np.float32),
    "double": np.array([0.1, -1e300], np.float64),
    "int8": np.array([-128, 127], np.int8),
    "int16": np.array([-32768, 32767], np.int16),
    "int32": np.array([-2**31, 2**31 - 1], np.int32),
    "int64": np.array([-2**63, 2**63 - 1], np.int64),
    "uint8": np.array([0, 255], np.uint8),
    "uint16": np.array([0, 65535], np.uint16),
    "uint32": np.array([0, 2**32 - 1], np.uint32),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "complex64": np.array([1.5 - 2j], np.complex64),
    "complex128": np.array([0.1 + 1e300j], np.complex128),
    "bool": np.array([True, False]),
    "string": np.array([b"", b"a b", b"\x00\xff\n", "ä".encode()], object),
}


def _add_counter(initial_w=0.0):
    step = v1.train.create_global_step()
    w = v1.get_variable("w", initializer=np.float32(initial_w),
                        use_resource=True)
    local = v1.get_variable(
        "local", initializer=np.float32(10), use_resource=True,
        collections=[v1.GraphKeys.LOCAL_VARIABLES])
    value = tf.identity(w, name="w_value")
    tf.identity(local, name="local_value")
    v1.summary.scalar("w_summary", tf.reduce_sum(value))
    increment = v1.placeholder_with_default(np.int64(1), [], name="increment")
    loss = tf.identity(w.read_value(), name="loss")
    # Hooks fetch the step beside the caller's fetches, and nothing else orders
    # their read and the update.
    with tf.control_dependencies([loss, common.cached_step_read()]):
        tf.group(v1.assign_add(step, increment),
                 w.assign_add(tf.ones_like(loss)), local.assign_add(1.0),
                 name="train")


def _add_inputs():
    x = v1.placeholder(tf.float32, [], name="x")
    y = v1.placeholder_with_default(
        np.array([math.nan, math.nan], np.float32), [2], name="y")
    tf.add(x, y, name="total")
    tf.debugging.check_numerics(y, "y is not fed", name="checked")
    tf.raw_ops.Split(axis=0, value=[1.0, 2.0], num_split=2, name="pair")
    tf.zeros([0, 2], name="empty")
    for name, value in CONSTANTS.items():
        constant = tf.constant(value, name="constant_" + name)
        v1.placeholder_with_default(constant, None, name="fed_" + name)


def _add_failures():
    tf.io.read_file("/nowhere/at/all", name="missing_file")
    unset = v1.Variable(0.0, collections=[], use_resource=True, name="unset")
    tf.identity(unset.read_value(), name="unset_value")


def _queue(capacity=100):
    queue = tf.queue.FIFOQueue(capacity, tf.float32, [], shared_name="queue",
                               name="queue")
    queue.dequeue(name="next")
    return queue


def build_run():
    """The model with a bit of everything."""
    _add_counter()
    _add_inputs()
    _add_failures()
    queue = _queue()
    queue.enqueue_many([[1.0, 2.0]], name="fill")
    queue.close(name="close")


def build_wider():
    """A variable more than the others."""
    _add_counter()
    v1.get_variable("v", initializer=np.float32(5), use_resource=True)


def build_partial():
    """A saver that leaves a variable out."""
    build_wider()
    v1.add_to_collection(v1.GraphKeys.SAVERS, v1.train.Saver(
        [variable for variable in v1.global_variables()
         if variable.op.name != "v"]))


def build_misshapen():
    """Another shape under the same name."""
    _add_counter(initial_w=[0.0, 0.0])


def _times(count):
    return v1.train.limit_epochs(tf.constant(1.0), num_epochs=count)


def build_queue_ends():
    """Two operations of one runner: eight elements."""
    _add_counter()
    queue = _queue()
    v1.train.add_queue_runner(v1.train.QueueRunner(
        queue, [queue.enqueue(_times(3)), queue.enqueue(_times(5))]))


def build_queue_fails():
    """Three elements, then an error."""
    _add_counter()
    queue = _queue()
    count = v1.get_variable(
        "count", initializer=np.int32(0), use_resource=False,
        collections=[v1.GraphKeys.LOCAL_VARIABLES])
    element = tf.gather([1.0, 2.0, 3.0], tf.raw_ops.CountUpTo(
        ref=count, limit=10))
    v1.train.add_queue_runner(
        v1.train.QueueRunner(queue, [queue.enqueue(element)]))


def build_queue_endless():
    """Two runners on one queue, which block when it is full."""
    _add_counter()
    queue = _queue(capacity=2)
    for _ in range(2):
        v1.train.add_queue_runner(
            v1.train.QueueRunner(queue, [queue.enqueue(1.0)]))


MODELS = {
    "run": build_run,
    "wider": build_wider,
    "partial": build_partial,
    "misshapen": build_misshapen,
    "queue_ends": build_queue_ends,
    "queue_fails": build_queue_fails,
    "queue_endless": build_queue_endless,
}


def export(folder):
    """Writes each model as FOLDER/MODEL.meta."""
    for name, build in MODELS.items():
        with tf.Graph().as_default():
            build()
            v1.train.Scaffold().finalize()
            meta_graph = v1.train.export_meta_graph()
        with open(os.path.join(folder, name + ".meta"), "wb") as file:
            file.write(meta_graph.SerializeToString(deterministic=True))
