# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Records how Python's SingularMonitoredSession lives through many scenarios.

    lifecycle_trace.py [--out FILE]

Runs each scenario below with recording hooks and prints (or writes) one JSON
object: scenario name -> record. A record holds

    calls         hook and listener calls in order, as 'hook.callback'
    runs          one item per call of run: the global step after it, or the
                  error it raised
    should_stop   each answer of should_stop, or the error it raised
    losses        the loss of each run that returned
    error         what left the session's constructor ('create') or its context
                  ('context'), as {"kind", "where"}; null when nothing did
    last_step     the global step after the last run, null if none succeeded
    graph_finalized  whether the graph is finalized at the end

and, where the scenario uses a folder,

    checkpoints   base names of the checkpoints that exist at the end
    files         all files, event files without their unique suffix
    state         base names in the state file, oldest first
    events        [step, what] of each event in the event files

and, in scenarios with logs, `logs`: [run, text] pairs, run counting from 1.

The output is the same at each run, up to the rounding of losses. The graphs
are those of make_metagraph.py with one more control edge, see order_step_read.
"""

import argparse
import collections
import glob
import logging
import os
import re
import shutil
import sys
import tempfile

import common
import make_metagraph

import tensorflow as tf

v1 = common.v1

SCENARIOS = collections.OrderedDict()


def scenario(function):
    """Registers a scenario under its function's name."""
    SCENARIOS[function.__name__] = function
    return function


class Trace:
    """What one scenario did."""

    def __init__(self, folder):
        self.folder = folder
        self.record = {
            "calls": [], "runs": [], "losses": [], "should_stop": [],
            "error": None, "last_step": None, "graph_finalized": False,
        }

    def call(self, name):
        """Notes a call of a hook or a listener."""
        self.record["calls"].append(name)

    def failed(self, error, where):
        """Notes the error that left the session."""
        self.record["error"] = {"kind": type(error).__name__, "where": where}


class RecordingHook(v1.train.SessionRunHook):
    """Notes each callback; raises in the one it is told to fail in."""

    def __init__(self, trace, name="A", failing=None, error=None, at_run=1,
                 stop_at_run=None):
        self._trace = trace
        self._name = name
        self._failing = failing
        self._error = error or ValueError("injected")
        self._at_run = at_run
        self._stop_at_run = stop_at_run
        self._runs = 0

    def _note(self, callback):
        self._trace.call(f"{self._name}.{callback}")
        in_run = callback in ("before_run", "after_run")
        if callback == self._failing and (
                not in_run or self._runs == self._at_run):
            raise self._error

    def begin(self):
        self._note("begin")

    def after_create_session(self, session, coord):
        self._note("after_create_session")

    def before_run(self, run_context):
        self._runs += 1
        self._note("before_run")

    def after_run(self, run_context, run_values):
        self._note("after_run")
        if self._runs == self._stop_at_run:
            run_context.request_stop()

    def end(self, session):
        self._note("end" if session is not None else "end_without_session")


class RecordingListener(v1.train.CheckpointSaverListener):
    """Notes each callback; may ask for a stop after a save."""

    def __init__(self, trace, name="L", stop_after_step=None):
        self._trace = trace
        self._name = name
        self._stop_after_step = stop_after_step

    def begin(self):
        self._trace.call(f"{self._name}.begin")

    def before_save(self, session, global_step_value):
        self._trace.call(f"{self._name}.before_save {global_step_value}")

    def after_save(self, session, global_step_value):
        self._trace.call(f"{self._name}.after_save {global_step_value}")
        return global_step_value == self._stop_after_step

    def end(self, session, global_step_value):
        self._trace.call(f"{self._name}.end {global_step_value}")


class Body:
    """What a scenario does inside the session's context."""

    def __init__(self, trace, session):
        self.session = session
        self._trace = trace

    def step(self):
        """The global step, read without hooks."""
        return common.global_step(self.session.raw_session())

    def run(self, times=1, fetches=("loss:0", "train")):
        """Fetches the loss first; notes loss and step, or the error."""
        record = self._trace.record
        for _ in range(times):
            feeds = common.feeds_at(self.session.graph, self.step())
            try:
                values = self.session.run(list(fetches), feed_dict=feeds)
            except Exception as error:
                record["runs"].append(type(error).__name__)
                raise
            now = self.step()
            record["losses"].append(common.plain(values[0]))
            record["runs"].append(now)
            record["last_step"] = now

    def should_stop(self):
        """Asks should_stop, notes and returns its answer or raises."""
        try:
            answer = self.session.should_stop()
        except Exception as error:
            self._trace.record["should_stop"].append(type(error).__name__)
            raise
        self._trace.record["should_stop"].append(bool(answer))
        return answer

    def run_until_stop(self):
        """Python's usual training loop."""
        while not self.should_stop():
            self.run()

    @property
    def coordinator(self):
        """The session's Coordinator, which Python does not offer publicly."""
        # pylint: disable-next=protected-access
        return self.session._coordinated_creator.coord


def order_step_read():
    """Makes `train` wait for the hooks' read of the global step.

    Hooks fetch the step beside the caller's fetches and take the value for the
    one before the update. Nothing orders the two: without this edge a summary
    due every 8 steps is sometimes written every 7.
    """
    train = v1.get_default_graph().get_operation_by_name("train")
    # pylint: disable-next=protected-access
    train._add_control_input(common.cached_step_read().op)


def live(trace, hooks, body, kind="linear", checkpoint_dir=None, **build):
    """One session's life: graph, constructor, body in its context, close.

    Args:
      trace: receives the record.
      hooks: function of the trace's graph, returning the hooks.
      body: function of a Body.
      kind: which model of make_metagraph.py.
      checkpoint_dir: where to restore from.
      **build: further arguments of SingularMonitoredSession.
    """
    where = "create"
    with tf.Graph().as_default() as graph:
        make_metagraph.KINDS[kind][0]()
        order_step_read()
        try:
            session = v1.train.SingularMonitoredSession(
                hooks(), config=common.session_config(),
                checkpoint_dir=checkpoint_dir, **build)
            where = "context"
            with session:
                body(Body(trace, session))
        except Exception as error:  # pylint: disable=broad-exception-caught
            trace.failed(error, where)
        trace.record["graph_finalized"] = graph.finalized
        v1.summary.FileWriterCache.clear()


def two_hooks(trace, **first):
    """Hooks A and B, A with the given behaviour."""
    return lambda: [RecordingHook(trace, "A", **first),
                    RecordingHook(trace, "B")]


def note_folder(trace):
    """Adds what lies in the scenario's folder to the record."""
    record, folder = trace.record, trace.folder
    names = sorted(os.listdir(folder))
    record["checkpoints"] = common.checkpoint_prefixes(folder)
    record["files"] = sorted({re.sub(r"(?<=tfevents).*", "", name)
                              for name in names})
    state = tf.train.get_checkpoint_state(folder)
    record["state"] = [] if state is None else [
        os.path.basename(path) for path in state.all_model_checkpoint_paths]
    record["events"] = [
        event for name in names if "tfevents" in name
        for event in read_events(os.path.join(folder, name))]


def read_events(path):
    """[step, what] of each event of one file, in order."""
    return [[event.step, describe_event(event)]
            for event in v1.train.summary_iterator(path)]


def describe_event(event):
    """What an event is, without anything that depends on time or values."""
    what = event.WhichOneof("what")
    if what == "session_log":
        log = event.session_log
        status = type(log).SessionStatus.Name(log.status)
        path = os.path.basename(log.checkpoint_path)
        return f"session_log {status} {path}".rstrip()
    if what == "summary":
        tags = ",".join(value.tag for value in event.summary.value)
        return f"summary {tags}"
    return what


class LogRecorder(logging.Handler):
    """Collects TensorFlow's INFO lines as [run, text] while it is entered."""

    def __init__(self, trace):
        super().__init__()
        self._logger = logging.getLogger("tensorflow")
        self._trace = trace
        trace.record["logs"] = []

    def emit(self, record):
        """Keeps a line; elapsed times become the letter T."""
        run = len(self._trace.record["runs"]) + 1
        text = re.sub(r"\(\d+\.\d+ sec\)", "(T sec)", record.getMessage())
        self._trace.record["logs"].append([run, text])

    def __enter__(self):
        v1.logging.set_verbosity(v1.logging.INFO)
        self._handlers = self._logger.handlers[:]
        self._logger.handlers[:] = [self]

    def __exit__(self, *unused_error):
        self._logger.handlers[:] = self._handlers
        v1.logging.set_verbosity(v1.logging.ERROR)


# Order of the calls.


@scenario
def plain_three_steps(trace):
    """Three runs, nothing asks for a stop."""
    live(trace, two_hooks(trace), lambda body: body.run(3))


@scenario
def plain_three_steps_with_feeds(trace):
    """The same on the model with placeholders."""
    live(trace, two_hooks(trace), lambda body: body.run(3),
         kind="placeholder")


@scenario
def hook_requests_stop_at_second_run(trace):
    """A hook's request ends the usual loop after the run."""
    live(trace, two_hooks(trace, stop_at_run=2),
         lambda body: body.run_until_stop())


@scenario
def hook_requests_stop_at_second_run_with_feeds(trace):
    """The same on the model with placeholders."""
    live(trace, two_hooks(trace, stop_at_run=2),
         lambda body: body.run_until_stop(), kind="placeholder")


@scenario
def run_after_stop(trace):
    """A run after a hook asked for the stop is refused."""
    live(trace, two_hooks(trace, stop_at_run=1), lambda body: body.run(2))


@scenario
def input_ends(trace):
    """Queues run dry after twelve batches: a clean end."""
    live(trace, two_hooks(trace), lambda body: body.run_until_stop(),
         kind="adam_queue")


# Errors of the body.


def _raise_after_run(error):
    def body(body):
        body.run()
        raise error
    return body


@scenario
def body_raises_out_of_range(trace):
    """The end of input in the body is a clean end."""
    live(trace, two_hooks(trace),
         _raise_after_run(tf.errors.OutOfRangeError(None, None, "injected")))


@scenario
def body_raises_stop_iteration(trace):
    """StopIteration in the body is a clean end."""
    live(trace, two_hooks(trace), _raise_after_run(StopIteration()))


@scenario
def body_raises_value_error(trace):
    """Any other error skips the hooks' end."""
    live(trace, two_hooks(trace), _raise_after_run(ValueError("injected")))


@scenario
def body_raises_aborted(trace):
    """A preemption error is an error like others here."""
    live(trace, two_hooks(trace),
         _raise_after_run(tf.errors.AbortedError(None, None, "injected")))


@scenario
def unknown_fetch(trace):
    """A fetch that is not in the graph."""
    live(trace, two_hooks(trace), lambda body: body.run(fetches=["nowhere:0"]))


# Errors of hooks.


@scenario
def begin_raises(trace):
    """Later hooks do not begin; there is no session."""
    live(trace, two_hooks(trace, failing="begin"), lambda body: body.run())


@scenario
def second_begin_raises(trace):
    """The first hook has begun and is told nothing more."""
    live(trace,
         lambda: [RecordingHook(trace, "A"),
                  RecordingHook(trace, "B", failing="begin")],
         lambda body: body.run())


@scenario
def after_create_session_raises(trace):
    """The constructor raises; the graph stays finalized."""
    live(trace, two_hooks(trace, failing="after_create_session"),
         lambda body: body.run())


@scenario
def before_run_raises(trace):
    """The step does not run; later hooks are not asked."""
    live(trace, two_hooks(trace, failing="before_run", at_run=2),
         lambda body: body.run(3))


@scenario
def before_run_raises_out_of_range(trace):
    """A hook's end of input leaves run as such and is a clean end."""
    live(trace,
         two_hooks(trace, failing="before_run", at_run=2,
                   error=tf.errors.OutOfRangeError(None, None, "injected")),
         lambda body: body.run(3))


@scenario
def after_run_raises(trace):
    """The step has run; later hooks do not see it."""
    live(trace, two_hooks(trace, failing="after_run", at_run=2),
         lambda body: body.run(3))


@scenario
def after_run_raises_then_body_goes_on(trace):
    """The session still runs when the body catches a hook's error."""
    def body(body):
        try:
            body.run()
        except ValueError:
            body.run(2)
    live(trace, two_hooks(trace, failing="after_run"), body)


@scenario
def end_raises(trace):
    """Later hooks' end is skipped; the session is closed all the same."""
    live(trace, two_hooks(trace, failing="end"), lambda body: body.run())


@scenario
def end_raises_out_of_range(trace):
    """An end of input out of end is not swallowed."""
    live(trace,
         two_hooks(trace, failing="end",
                   error=tf.errors.OutOfRangeError(None, None, "injected")),
         lambda body: body.run())


# Closing.


@scenario
def close_inside_context(trace):
    """The context closes a second time."""
    def body(body):
        body.run()
        body.session.close()
    live(trace, two_hooks(trace), body)


@scenario
def close_after_failed_run(trace):
    """close runs the hooks' end even after a failed run."""
    def body(body):
        try:
            body.run()
        except ValueError:
            body.session.close()
            raise
    live(trace, two_hooks(trace, failing="after_run"), body)


@scenario
def run_after_close(trace):
    """A run after close."""
    def body(body):
        body.run()
        body.session.close()
        try:
            body.session.run("train")
        except Exception as error:
            trace.record["runs"].append(type(error).__name__)
            raise
    live(trace, two_hooks(trace), body)


# The coordinator.


@scenario
def coordinator_stop(trace):
    """A stop through the coordinator: should_stop, yet run works."""
    def body(body):
        body.run()
        body.coordinator.request_stop()
        body.should_stop()
        body.run()
    live(trace, two_hooks(trace), body)


def _store(body, error):
    try:
        raise error
    except Exception:  # pylint: disable=broad-exception-caught
        body.coordinator.request_stop(sys.exc_info()[1])


@scenario
def coordinator_exception_then_should_stop(trace):
    """should_stop raises the stored exception; end is skipped."""
    def body(body):
        body.run()
        _store(body, ValueError("injected"))
        body.should_stop()
    live(trace, two_hooks(trace), body)


@scenario
def coordinator_exception_then_run(trace):
    """run works on; closing raises the stored exception."""
    def body(body):
        body.run()
        _store(body, ValueError("injected"))
        body.run()
    live(trace, two_hooks(trace), body)


@scenario
def coordinator_out_of_range_then_run(trace):
    """A stored end of input is raised by closing, and not swallowed."""
    def body(body):
        body.run()
        _store(body, tf.errors.OutOfRangeError(None, None, "injected"))
        body.run()
    live(trace, two_hooks(trace), body)


@scenario
def coordinator_exception_beats_body_error(trace):
    """Closing raises the stored exception instead of the body's."""
    def body(body):
        _store(body, KeyError("stored"))
        raise ValueError("injected")
    live(trace, two_hooks(trace), body)


# step_fn.


@scenario
def step_fn_runs_with_hooks(trace):
    """run_with_hooks sees the hooks, a raw run does not."""
    def step_fn(step_context):
        step_context.session.run("train")
        step_context.run_with_hooks("train")

    def body(body):
        body.session.run_step_fn(step_fn)
        trace.record["last_step"] = body.step()
    live(trace, two_hooks(trace), body)


@scenario
def step_fn_requests_stop(trace):
    """request_stop leaves the step function and is a clean end."""
    def step_fn(step_context):
        step_context.request_stop()

    live(trace, two_hooks(trace),
         lambda body: body.session.run_step_fn(step_fn))


# Hooks of the library.


def _checkpoint_hooks(trace, *others, save_steps=2, listeners=()):
    return lambda: [
        v1.train.CheckpointSaverHook(
            trace.folder, save_steps=save_steps, listeners=list(listeners)),
        *others]


@scenario
def checkpoint_every_second_step(trace):
    """Saves at the start, at steps 2 and 4, and at the end."""
    live(trace,
         _checkpoint_hooks(trace, listeners=[RecordingListener(trace)]),
         lambda body: body.run(5))
    note_folder(trace)


@scenario
def checkpoint_every_second_step_ending_on_a_save(trace):
    """The last step is saved once."""
    live(trace,
         _checkpoint_hooks(trace, listeners=[RecordingListener(trace)]),
         lambda body: body.run(4))
    note_folder(trace)


@scenario
def checkpoint_without_meta_graph(trace):
    """save_graph_def=False: neither .meta nor graph.pbtxt."""
    live(trace,
         lambda: [v1.train.CheckpointSaverHook(
             trace.folder, save_steps=2, save_graph_def=False)],
         lambda body: body.run(3))
    note_folder(trace)


@scenario
def checkpoints_beyond_five(trace):
    """Only the five newest are kept."""
    live(trace, _checkpoint_hooks(trace, save_steps=1),
         lambda body: body.run(7))
    note_folder(trace)


@scenario
def checkpoint_after_body_error(trace):
    """An error in the body leaves the last periodic save the newest."""
    def body(body):
        body.run(3)
        raise ValueError("injected")
    live(trace,
         _checkpoint_hooks(trace, listeners=[RecordingListener(trace)]), body)
    note_folder(trace)


@scenario
def checkpoint_listener_stops_training(trace):
    """A listener's wish after the save of step 2 ends the loop."""
    listeners = [RecordingListener(trace, "L", stop_after_step=2),
                 RecordingListener(trace, "M")]
    live(trace, _checkpoint_hooks(trace, listeners=listeners),
         lambda body: body.run_until_stop())
    note_folder(trace)


@scenario
def checkpoint_listener_wish_at_start_is_ignored(trace):
    """A wish after the save at creation stops nothing."""
    listeners = [RecordingListener(trace, "L", stop_after_step=0)]
    live(trace,
         _checkpoint_hooks(trace, RecordingHook(trace, stop_at_run=3),
                           listeners=listeners),
         lambda body: body.run_until_stop())
    note_folder(trace)


def _train_to_three(trace):
    """Leaves checkpoints 0, 2 and 3, and no event file.

    Event files are named by the second: one of the next session might take the
    place of this one's.
    """
    live(Trace(trace.folder), _checkpoint_hooks(trace),
         lambda body: body.run(3))
    for path in glob.glob(os.path.join(trace.folder, "*tfevents*")):
        os.remove(path)


@scenario
def checkpoint_resumed(trace):
    """A resumed run saves its starting step again."""
    _train_to_three(trace)
    live(trace,
         _checkpoint_hooks(trace, listeners=[RecordingListener(trace)]),
         lambda body: body.run(2), checkpoint_dir=trace.folder)
    note_folder(trace)


def _stop_at(trace, resumed, **limit):
    if resumed:
        _train_to_three(trace)
    live(trace, lambda: [v1.train.StopAtStepHook(**limit)],
         lambda body: body.run_until_stop(),
         checkpoint_dir=trace.folder if resumed else None)


@scenario
def stop_at_num_steps_fresh(trace):
    """Four steps from zero."""
    _stop_at(trace, False, num_steps=4)


@scenario
def stop_at_last_step_fresh(trace):
    """Up to step four."""
    _stop_at(trace, False, last_step=4)


@scenario
def stop_at_num_steps_resumed(trace):
    """Four steps more, from step three."""
    _stop_at(trace, True, num_steps=4)


@scenario
def stop_at_last_step_resumed(trace):
    """One step more, from step three."""
    _stop_at(trace, True, last_step=4)


@scenario
def stop_at_last_step_already_reached(trace):
    """One more step is run all the same."""
    _stop_at(trace, True, last_step=3)


@scenario
def summary_every_eighth_step(trace):
    """Thirty runs: summaries at 1, 9, 17, 25."""
    live(trace,
         lambda: [v1.train.SummarySaverHook(
             save_steps=8, output_dir=trace.folder,
             scaffold=v1.train.Scaffold(
                 summary_op=v1.summary.merge_all()))],
         lambda body: body.run(30))
    note_folder(trace)


@scenario
def step_counter_every_tenth_step(trace):
    """Thirty runs: rates at 11 and 21."""
    live(trace,
         lambda: [v1.train.StepCounterHook(
             every_n_steps=10, output_dir=trace.folder)],
         lambda body: body.run(30))
    note_folder(trace)


@scenario
def logging_every_tenth_run(trace):
    """Twenty-five runs: lines at runs 1, 11, 21."""
    with LogRecorder(trace):
        live(trace,
             lambda: [v1.train.LoggingTensorHook(
                 {"step": "global_step/Read/ReadVariableOp:0",
                  "constant": tf.constant(1.5)}, every_n_iter=10)],
             lambda body: body.run(25, fetches=["loss:0"]))
    trace.record["logs"] = [log for log in trace.record["logs"]
                            if "constant" in log[1]]


@scenario
def logging_at_end(trace):
    """at_end alone: one line after the last run."""
    with LogRecorder(trace):
        live(trace,
             lambda: [v1.train.LoggingTensorHook(
                 {"constant": tf.constant(1.5)}, at_end=True)],
             lambda body: body.run(3))
    trace.record["logs"] = [log for log in trace.record["logs"]
                            if "constant" in log[1]]


@scenario
def five_hooks(trace):
    """The usual hooks together, stopped at step six."""
    live(trace,
         lambda: [
             v1.train.StopAtStepHook(last_step=6),
             v1.train.CheckpointSaverHook(trace.folder, save_steps=4),
             v1.train.SummarySaverHook(
                 save_steps=4, output_dir=trace.folder,
                 summary_op=v1.summary.merge_all()),
             v1.train.StepCounterHook(
                 every_n_steps=2, output_dir=trace.folder),
             v1.train.LoggingTensorHook(["loss"], every_n_iter=4),
             RecordingHook(trace),
         ],
         lambda body: body.run_until_stop())
    note_folder(trace)


def record_all():
    """Runs each scenario in a folder of its own; name -> record."""
    records = {}
    for name, run in SCENARIOS.items():
        folder = tempfile.mkdtemp(prefix="tftrain_lifecycle_")
        try:
            trace = Trace(folder)
            run(trace)
            records[name] = trace.record
        finally:
            shutil.rmtree(folder)
    return records


def main():
    """Prints or writes the records."""
    parser = argparse.ArgumentParser(
        description="Record the life of SingularMonitoredSession.")
    parser.add_argument("--out", help="file to write; default: stdout")
    arguments = parser.parse_args()
    text = common.to_json(record_all())
    if arguments.out is None:
        print(text, end="")
        return
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
