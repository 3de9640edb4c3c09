# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Plays the scenarios of scenarios.py in Python TensorFlow.

    scenario_trace.py OUT_DIR

Makes the folder OUT_DIR/scenarios with the MetaGraphs of scenario_models.py
and scenarios.json, which has for each scenario what was played (`given`) and
what happened (`trace`), in lines:

    A.begin, A.after_create_session, A.before_run, A.end
    A.after_run VALUE       and, where there are any: with OPTIONS, STATS
    run: VALUE at step N    also raw_run, step_fn, should_stop, close, ...
    run: !ERROR             what it raised, by the name of the class
    options: OPTIONS        the caller's own, after the run
    metadata: STATS         what came back in the caller's
    create: !ERROR          the session could not be opened
    context: ok             how the `with` block ended
    graph finalized: true   after the session and those within it

and, where a folder is in play, its content at the end: files (event files
without their unique suffix), the state file's checkpoints and the events.

Values are text: tensors as TYPE[SHAPE] ELEMENTS, with floats in seventeen
digits, operations as "-", and brackets and braces around what is nested.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import threading

import common
import lifecycle_trace
import scenario_models
import scenarios

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

v1 = common.v1


def make_error(name):
    """An error by the name of its class."""
    if hasattr(tf.errors, name):
        return getattr(tf.errors, name)(None, None, "injected")
    if name == "NanLossDuringTrainingError":
        return v1.train.NanLossDuringTrainingError()
    return {"ValueError": ValueError, "RuntimeError": RuntimeError,
            "StopIteration": StopIteration}[name]("injected")


def _escaped(text):
    return '"' + "".join(
        chr(byte) if 32 < byte < 127 and chr(byte) not in '"\\'
        else f"\\{byte:03o}" for byte in text) + '"'


def _element(value):
    if isinstance(value, bytes):
        return _escaped(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if np.iscomplexobj(value):
        return f"({float(value.real):.17g},{float(value.imag):.17g})"
    if np.issubdtype(value.dtype, np.integer):
        return str(int(value))
    return f"{float(value):.17g}"


def describe(value):
    """The text of a fetched value."""
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(describe, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(
            f"{key}: {describe(value[key])}" for key in sorted(value)) + "}"
    is_text = isinstance(value, bytes) or value.dtype == object
    array = np.array(value, dtype=object if is_text else None)
    dtype = common.dtype_name(tf.string if is_text else array.dtype)
    shape = ",".join(map(str, array.shape))
    return " ".join([f"{dtype}[{shape}]", *map(_element, array.ravel())])


def parse_tensor(text):
    """The array that `describe` writes as `text`."""
    head, *elements = text.split(" ")
    name, shape = re.fullmatch(r"DT_(\w+)\[(.*)\]", head).groups()
    dtype = tf.as_dtype(name.lower())
    read = {
        tf.string: lambda item: re.sub(
            rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]),
            item[1:-1].encode()),
        tf.bool: lambda item: item == "true",
        tf.complex64: lambda item: complex(*map(float,
                                                item[1:-1].split(","))),
    }
    read[tf.complex128] = read[tf.complex64]
    convert = read.get(dtype, int if dtype.is_integer else float)
    return np.array([convert(item) for item in elements],
                    dtype.as_numpy_dtype).reshape(
                        [int(size) for size in shape.split(",") if size])


def element_of(graph, name):
    """What Python is given for a name: the name, or for "@" the object."""
    if not name.startswith("@"):
        return name
    return graph.as_graph_element(name[1:])


def fetch_of(graph, asked):
    """The `fetches` argument of a run."""
    if isinstance(asked, str):
        return element_of(graph, asked)
    if isinstance(asked, list):
        return [fetch_of(graph, item) for item in asked]
    if set(asked) == {"()"}:
        return tuple(fetch_of(graph, item) for item in asked["()"])
    return {key: fetch_of(graph, item) for key, item in asked.items()}


def feed_of(graph, fed):
    """The `feed_dict` argument of a run."""
    if fed is None:
        return None
    return {element_of(graph, name):
            parse_tensor(value) if isinstance(value, str) else value
            for name, value in fed.items()}


def options_of(text):
    """The `options` argument of a run."""
    return None if text is None else text_format.Parse(text, v1.RunOptions())


def describe_options(options):
    """RunOptions in one line."""
    return text_format.MessageToString(options, as_one_line=True).strip()


def describe_metadata(metadata):
    """Which parts of a RunMetadata are there."""
    return " ".join(
        (["stats"] if metadata.step_stats.dev_stats else [])
        + (["graphs"] if metadata.partition_graphs else [])) or "nothing"


class ScenarioHook(v1.train.SessionRunHook):
    """Notes each callback, and does in it what it is told to."""

    def __init__(self, given, lines):
        self._given = given
        self._lines = lines
        self._runs = 0

    def _note(self, callback, more=""):
        self._lines.append(f"{self._given['hook']}.{callback}{more}")
        if self._is_told("fail", callback):
            raise make_error(self._given["fail"][1])

    def _is_told(self, what, callback):
        in_run = callback in ("before_run", "after_run")
        return self._given.get(what, [None])[0] == callback and (
            not in_run or self._runs == self._given.get("at", 1))

    def begin(self):
        self._note("begin")

    def after_create_session(self, session, coord):
        self._note("after_create_session")

    def before_run(self, run_context):
        self._runs += 1
        if self._is_told("stop", "before_run"):
            run_context.request_stop()
        self._note("before_run")
        given, graph = self._given, run_context.session.graph
        if not given.keys() & {"ask", "feed", "options"}:
            return None
        return v1.train.SessionRunArgs(
            fetch_of(graph, given["ask"]) if "ask" in given else None,
            feed_of(graph, given.get("feed")),
            options_of(given.get("options")))

    def after_run(self, run_context, run_values):
        more = " " + describe(run_values.results)
        options = describe_options(run_values.options)
        if options:
            stats = describe_metadata(run_values.run_metadata)
            more += f" with {options}, {stats}"
        if self._is_told("stop", "after_run"):
            run_context.request_stop()
        self._note("after_run", more)

    def end(self, session):
        self._note("end" if session is not None else "end_without_session")


class Stage:
    """Where one scenario is played: its folder, and what happened in it."""

    def __init__(self, models, folder):
        self.models = models
        self.folder = folder
        self.uses_folder = False
        self.lines = []

    def play(self, act):
        """Plays one act."""
        (kind, given), = act.items()
        if kind == "remove":
            for name in os.listdir(self.folder):
                if given in name:
                    os.remove(os.path.join(self.folder, name))
        elif kind == "write":
            with open(os.path.join(self.folder, given[0]), "w",
                      encoding="utf-8") as file:
                file.write(given[1])
        else:
            self._play_first_session(given)

    def _play_first_session(self, given):
        with tf.Graph().as_default() as graph:
            model = given.get("model", "run")
            saver = common.import_meta(
                os.path.join(self.models, model + ".meta"))
            if given.get("finalized"):
                common.restored_scaffold(saver).finalize()
            self.play_session(given)
            finalized = str(graph.finalized).lower()
            self.lines.append(f"graph finalized: {finalized}")
            v1.summary.FileWriterCache.clear()

    def play_session(self, given, outer=None):
        """One session's life on the default graph."""
        try:
            session = self._open(given)
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.lines.append(f"create: !{type(error).__name__}")
            return
        try:
            with session:
                Player(self, session, outer).play(given["body"])
            self.lines.append("context: ok")
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.lines.append(f"context: !{type(error).__name__}")

    def _open(self, given):
        restore = given.get("restore")
        path = os.path.join(self.folder, restore) if isinstance(
            restore, str) else None
        in_folder = restore is True or given.get("also_folder")
        self.uses_folder |= restore is not None

        def init_fn(unused_scaffold, unused_session):
            self.lines.append("init_fn")

        return v1.train.SingularMonitoredSession(
            hooks=[hook for one in given["hooks"] for hook in self._hooks(one)],
            scaffold=v1.train.Scaffold(init_fn=init_fn)
            if given.get("init_fn") else None,
            config=common.session_config(),
            checkpoint_dir=self.folder if in_folder else None,
            checkpoint_filename_with_path=path)

    def _hooks(self, given):
        if "hook" in given:
            return [ScenarioHook(given, self.lines)] * given.get("times", 1)
        (name, arguments), = given.items()
        arguments = dict(arguments)
        if name == "CheckpointSaverHook":
            arguments["checkpoint_dir"] = self.folder
        elif name != "StopAtStepHook":
            arguments["output_dir"] = self.folder
        if name == "SummarySaverHook":
            arguments["summary_op"] = v1.get_collection(
                v1.GraphKeys.SUMMARY_OP)[0]
        self.uses_folder |= name != "StopAtStepHook"
        return [getattr(v1.train, name)(**arguments)]

    def note_folder(self):
        """Notes what lies in the folder at the end."""
        if not self.uses_folder:
            return
        names = sorted(os.listdir(self.folder))
        self.lines += [
            f"file {name}" for name in sorted(
                {re.sub(r"(?<=tfevents).*", "", name) for name in names})]
        self._note_state()
        for name in names:
            if "tfevents" in name:
                self.lines += [
                    f"event {step} {what}" for step, what in
                    lifecycle_trace.read_events(
                        os.path.join(self.folder, name))]

    def _note_state(self):
        try:
            state = tf.train.get_checkpoint_state(self.folder)
        except ValueError:
            self.lines.append("state: !ValueError")
            return
        if state is not None:
            self.lines += [f"state {os.path.basename(path)}"
                           for path in state.all_model_checkpoint_paths]


class _StepSession:
    """The context of a step function, with the words of a session."""

    def __init__(self, context, session):
        self.run = context.run_with_hooks
        self.raw_session = lambda: context.session
        self.request_stop = context.request_stop
        self.close = session.close
        self.graph = session.graph


class Player:
    """Plays the actions of a session's body, or of a step function."""

    def __init__(self, stage, session, outer=None):
        self._stage = stage
        self._running = session
        self._outer = outer

    def play(self, actions):
        """Plays until an action raises."""
        for action in actions:
            if isinstance(action, str):
                getattr(self, "_" + action)()
            else:
                (name, given), = action.items()
                getattr(self, "_" + name)(given)

    def _note(self, line):
        self._stage.lines.append(line)

    def _noted(self, what, call):
        try:
            value = call()
        except Exception as error:
            self._note(f"{what}: !{type(error).__name__}")
            raise
        return value

    def _run(self, given):
        self._run_in("run", self._running, given)

    def _raw_run(self, given):
        self._run_in("raw_run", self._running.raw_session(), given)

    def _run_in(self, what, session, given):
        graph = self._running.graph
        options = options_of(given.get("options"))
        metadata = v1.RunMetadata() if given.get("metadata") else None
        value = self._noted(what, lambda: session.run(
            fetch_of(graph, given["fetch"]), feed_of(graph, given.get("feed")),
            options=options, run_metadata=metadata))
        line = f"{what}: {describe(value)}"
        if what == "run":
            step = common.global_step(self._running.raw_session())
            line += f" at step {step}"
        self._note(line)
        if options is not None:
            self._note("options: " + describe_options(options))
        if metadata is not None:
            self._note("metadata: " + describe_metadata(metadata))

    def _raise(self, error):
        raise make_error(error)

    def _try(self, actions):
        try:
            self.play(actions)
        except Exception:  # pylint: disable=broad-exception-caught
            self._note("caught")

    def _should_stop(self):
        answer = self._noted("should_stop", self._running.should_stop)
        self._note(f"should_stop: {str(bool(answer)).lower()}")
        return answer

    def _until_stop(self, actions):
        while not self._should_stop():
            self.play(actions)

    def _step_fn(self, actions):
        def step_fn(step_context):
            session = _StepSession(step_context, self._running)
            Player(self._stage, session).play(actions)

        self._noted("step_fn", lambda: self._running.run_step_fn(step_fn))
        self._note("step_fn: ok")

    def _request_stop(self):
        self._running.request_stop()

    def _coord(self):
        # pylint: disable-next=protected-access
        return self._running._coordinated_creator.coord

    def _thread(self, error):
        coordinator = self._coord()

        def main():
            with coordinator.stop_on_exception():
                if error:
                    raise make_error(error)
                coordinator.request_stop()

        thread = threading.Thread(target=main)
        coordinator.register_thread(thread)
        thread.start()
        thread.join()

    def _coordinator(self, error):
        try:
            if error:
                raise make_error(error)
            self._coord().request_stop()
        except Exception:  # pylint: disable=broad-exception-caught
            self._coord().request_stop(sys.exc_info()[1])

    def _session(self, given):
        self._stage.play_session(given, outer=self._running)

    def _close(self):
        self._noted("close", self._running.close)
        self._note("close: ok")

    def _close_outer(self):
        self._noted("close_outer", self._outer.close)
        self._note("close_outer: ok")


def play_all(models):
    """Plays every scenario in a folder of its own; name -> given, trace."""
    records = {}
    for name, acts in scenarios.SCENARIOS.items():
        folder = tempfile.mkdtemp(prefix="tftrain_scenario_")
        try:
            stage = Stage(models, folder)
            for act in acts:
                stage.play(act)
            stage.note_folder()
            records[name] = {"given": acts, "trace": stage.lines}
        finally:
            shutil.rmtree(folder)
    return records


def main():
    """Writes the MetaGraphs and the records."""
    parser = argparse.ArgumentParser(description="Play the scenarios.")
    parser.add_argument("out_dir", help="folder that gets the folder scenarios")
    folder = os.path.join(parser.parse_args().out_dir, "scenarios")
    os.makedirs(folder, exist_ok=True)
    scenario_models.export(folder)
    with open(os.path.join(folder, "scenarios.json"), "w",
              encoding="utf-8") as file:
        file.write(common.to_json(play_all(folder)))


if __name__ == "__main__":
    main()
