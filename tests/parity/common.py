# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""What the parity programs share: a quiet TensorFlow, data, JSON, checkpoints.

Import this module before TensorFlow: it sets the environment TensorFlow reads
when it is loaded.
"""

import glob
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # pylint: disable=wrong-import-position
import tensorflow as tf  # pylint: disable=wrong-import-position
# pylint: disable-next=wrong-import-position
from tensorflow.core.framework import types_pb2

v1 = tf.compat.v1
v1.disable_eager_execution()
v1.logging.set_verbosity(v1.logging.ERROR)

# Examples in a batch of every model.
BATCH = 4
# Largest difference, absolute or relative, that two TensorFlow versions may
# show in a float of expected.json.
TOLERANCE = 1e-5


def fail(message):
    """Ends the program with exit code 1 and one clear line on stderr."""
    sys.exit("error: " + message)


def one_line(error):
    """An exception as one line of text, without the stack of the graph."""
    text = str(error).split("Original stack trace")[0]
    return f"{type(error).__name__}: " + " ".join(text.split())


def session_config():
    """A ConfigProto with one thread per pool, so that runs repeat exactly."""
    return v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )


def batch_at(step):
    """The batch (x, y) which the placeholder model is fed at a global step."""
    index = np.arange(step * BATCH, (step + 1) * BATCH)
    x = np.stack([index % 5 - 2.0, index % 3 - 1.0], axis=1) * 0.5
    y = x @ np.array([[2.0], [-1.0]]) + 0.5
    return x.astype(np.float32), y.astype(np.float32)


def feeds_at(graph, step):
    """The feeds of a step: batch_at, if the graph has placeholders."""
    names = {operation.name for operation in graph.get_operations()
             if operation.type == "Placeholder"}
    if not names:
        return {}
    if names != {"x", "y"}:
        fail(f"placeholders are {sorted(names)!r}, expected 'x' and 'y'")
    x, y = batch_at(step)
    return {"x:0": x, "y:0": y}


def plain(value):
    """Turns a fetched value into what JSON can hold; bytes become text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return value


def flat(value):
    """All elements of a tensor in row-major order, as JSON can hold them."""
    return plain(np.ravel(value))


def dtype_name(dtype):
    """The name of a dtype as in tensorflow.DataType, such as 'DT_FLOAT'."""
    return types_pb2.DataType.Name(tf.as_dtype(dtype).as_datatype_enum)


def variable_values(session):
    """All global variables of the session's graph, by name without ':0'."""
    with session.graph.as_default():
        variables = {variable.op.name: variable
                     for variable in v1.global_variables()}
    values = session.run(variables)
    return {
        name: {
            "dtype": dtype_name(variables[name].dtype.base_dtype),
            "shape": list(values[name].shape),
            "values": flat(values[name]),
        }
        for name in sorted(values)
    }


def global_step(session):
    """The global step as a plain integer."""
    return int(session.run(v1.train.get_global_step(session.graph)))


def cached_step_read():
    """The read of the global step that all hooks share, made if need be.

    It is made by a hook's `begin`, which is the public way to it.
    """
    v1.train.StepCounterHook(every_n_steps=1).begin()
    return v1.get_collection("global_step_read_op_cache")[0]


def checkpoint_entries(prefix):
    """Name -> dtype, shape and, where JSON can hold them, values."""
    reader = v1.train.NewCheckpointReader(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    entries = {}
    for name in sorted(shapes):
        entries[name] = {
            "dtype": dtype_name(dtypes[name]),
            "shape": list(shapes[name]),
        }
        if dtypes[name] != tf.variant:
            entries[name]["values"] = flat(reader.get_tensor(name))
    return entries


def checkpoint_prefixes(folder):
    """Base names of the checkpoints in a folder, ordered by step."""
    prefixes = [os.path.basename(path)[:-len(".index")]
                for path in glob.glob(os.path.join(folder, "*.index"))]
    return sorted(prefixes, key=lambda prefix: int(prefix.rsplit("-", 1)[-1]))


def import_meta(path):
    """Imports a .meta file into the default graph; returns its saver or None.

    Where the file names no saver but has something to save, the default saver
    is made, as `import_meta_graph` does it.
    """
    try:
        return v1.train.import_meta_graph(path)
    except (OSError, ValueError) as error:
        return fail(f"cannot import the MetaGraph '{path}': {error}")


def restored_scaffold(saver):
    """A Scaffold for an imported graph.

    The saver goes in only where the graph's own `savers` collection is empty:
    `import_meta_graph` makes a fresh object of the collected one.
    """
    if v1.get_collection(v1.GraphKeys.SAVERS):
        return v1.train.Scaffold()
    return v1.train.Scaffold(saver=saver)


def to_json(value):
    """Stable, pretty JSON text with a final newline; lines of 80 columns."""
    return _json(value, "") + "\n"


def _json(value, indent):
    text = json.dumps(value, sort_keys=True)
    if not isinstance(value, (dict, list)) or len(indent + text) <= 64:
        return text
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_json(value[key], inner)}"
                 for key in sorted(value)]
        return _enclosed("{", ",\n".join(inner + item for item in items),
                         indent + "}")
    if any(isinstance(item, (dict, list)) for item in value):
        body = ",\n".join(inner + _json(item, inner) for item in value)
    else:
        body = _filled([json.dumps(item) for item in value], inner)
    return _enclosed("[", body, indent + "]")


def _filled(items, indent):
    """Joins short items by commas into lines of at most 80 columns."""
    lines = [indent + items[0]]
    for item in items[1:]:
        if len(lines[-1]) + len(item) + 3 <= 80:
            lines[-1] += ", " + item
        else:
            lines[-1] += ","
            lines.append(indent + item)
    return "\n".join(lines)


def _enclosed(first, body, last):
    return f"{first}\n{body}\n{last}"
