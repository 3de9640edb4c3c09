# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""What happens in each scenario, as data that Python and C++ both play.

A scenario is a list of acts:

    {"session": SESSION}       opens a monitored session, plays its body, closes
    {"remove": "PART"}         removes the folder's files with PART in the name
    {"write": [NAME, TEXT]}    writes a file into the folder

A session is a dictionary with

    model           a model of scenario_models.py; default "run"
    hooks           in their order, see below
    body            actions, see below
    restore         true: checkpoint_dir is the folder; a name: that checkpoint
                    of the folder is checkpoint_filename_with_path
    also_folder     beside a name: checkpoint_dir is the folder too
    init_fn         true: the scaffold has one, which is noted
    finalized       true: a Scaffold finalized the graph before

A hook is the class name of a library hook with its arguments, the folder being
understood, or a recording hook {"hook": NAME, ...}:

    ask             what it fetches; not there: nothing
    feed, options   as for a run
    fail, stop      [CALLBACK, ERROR], [CALLBACK]; one around a run does it
                    in the first one, or in the run number `at`
    times           2: the same hook twice

An action is a word or a dictionary with one key:

    {"run": RUN}                a run with hooks
    {"raw_run": RUN}            a run of the raw session
    {"raise": ERROR}            the body, or the step function, raises
    {"try": ACTIONS}            an error ends these only
    {"until_stop": ACTIONS}     while should_stop is false
    {"step_fn": ACTIONS}        run_step_fn; "request_stop" is possible in it
    {"thread": ERROR}           a registered thread ends with it; "" stops
    {"coordinator": ERROR}      request_stop of the coordinator; "" is no error
    {"session": SESSION}        a second session on the same graph
    "should_stop", "close"
    "close_outer"               closes the session around this second one

A RUN has `fetch` (a name with ":" is a tensor, one without an operation; "@"
before a name makes Python use the object; {"()": [...]} is a tuple), `feed` (a
number, a list of numbers, or a tensor as text), `options` (a RunOptions as
text) and `metadata` (true: a RunMetadata is given).
"""

import itertools

SCENARIOS = {}


def add(name, *acts):
    """Adds a scenario."""
    assert name not in SCENARIOS, name
    SCENARIOS[name] = list(acts)


def session(body, *hooks, **more):
    """An act: one session."""
    return {"session": {"body": body, "hooks": list(hooks), **more}}


def run(fetch, **more):
    """An action: one run."""
    return {"run": {"fetch": fetch, **more}}


def raw_run(fetch, **more):
    """An action: one run of the raw session."""
    return {"raw_run": {"fetch": fetch, **more}}


def hook(name, **more):
    """A recording hook."""
    return {"hook": name, **more}


TRAIN = run("train")
LOSS = run(["loss:0", "train"])
A, B = hook("A"), hook("B")

# Errors of each kind at each point of a session's life.

ERRORS = [
    "OutOfRangeError", "StopIteration", "ValueError", "RuntimeError",
    "AbortedError", "UnavailableError", "CancelledError",
    "DeadlineExceededError", "NotFoundError", "NanLossDuringTrainingError",
]
CALLBACKS = ["begin", "after_create_session", "before_run", "after_run", "end"]


def add_errors():
    """Hooks, body, step function and threads fail in every way."""
    for error, callback in itertools.product(ERRORS, CALLBACKS):
        failing = hook("A", fail=[callback, error], at=2)
        add(f"{error}_in_{callback}", session([TRAIN] * 3, failing, B))
    for error in ERRORS:
        add(f"{error}_in_body", session([TRAIN, {"raise": error}], A, B))
        add(f"{error}_in_step_fn",
            session([{"step_fn": [TRAIN, {"raise": error}]}], A, B))
        add(f"{error}_in_thread",
            session([TRAIN, {"thread": error}, TRAIN], A, B))
        add(f"{error}_in_coordinator",
            session([{"coordinator": error}, "should_stop"], A))
    for name, body in {
            "invalid_argument": [run("checked:0", feed={"x:0": 1})],
            "not_found": [run("missing_file:0")],
            "failed_precondition": [run("unset_value:0")],
            "end_of_input": [raw_run("close"), run("next:0")],
            "cancelled": [raw_run("close"), run("fill")],
            "deadline_exceeded": [
                run("next:0", options="timeout_in_ms: 20")],
    }.items():
        add(f"run_fails_with_{name}", session([TRAIN, *body, TRAIN], A, B))
        add(f"run_fails_with_{name}_and_goes_on",
            session([{"try": body}, LOSS], A, B))


def add_several_errors():
    """Which of several errors wins."""
    bad = run("missing_file:0")
    add("preempted_thread_explains_a_failed_run",
        session([{"thread": "AbortedError"}, bad], A))
    add("other_thread_error_does_not_explain_a_failed_run",
        session([{"thread": "ValueError"}, bad], A))
    add("first_thread_error_wins",
        session([{"thread": "ValueError"}, {"thread": "NotFoundError"}], A))
    add("thread_error_after_a_plain_stop_is_dropped",
        session([{"coordinator": ""}, {"thread": "ValueError"}], A))
    add("thread_error_beats_body_error",
        session([{"thread": "NotFoundError"}, {"raise": "ValueError"}], A))
    add("thread_error_beats_error_of_end",
        session([{"thread": "NotFoundError"}],
                hook("A", fail=["end", "ValueError"]), B))
    add("both_ends_fail",
        session([TRAIN], hook("A", fail=["end", "ValueError"]),
                hook("B", fail=["end", "NotFoundError"])))


def add_stops():
    """Who may ask for a stop, and what it does."""
    loop = {"until_stop": [LOSS]}
    for callback in ("before_run", "after_run"):
        stopping = hook("A", stop=[callback], at=2)
        add(f"stop_in_{callback}", session([loop], stopping, B))
        add(f"stop_in_{callback}_by_second_hook", session([loop], A, stopping))
        add(f"run_after_stop_in_{callback}",
            session([TRAIN, TRAIN, {"try": [TRAIN]}, "should_stop"], stopping))
        add(f"raw_run_after_stop_in_{callback}",
            session([TRAIN, TRAIN, raw_run("w_value:0")], stopping))
    add("stop_in_before_run_then_later_before_run_fails",
        session([{"try": [TRAIN]}, "should_stop"],
                hook("A", stop=["before_run"]),
                hook("B", fail=["before_run", "ValueError"])))
    add("stop_in_before_run_then_run_fails",
        session([{"try": [run("missing_file:0")]}, "should_stop"],
                hook("A", stop=["before_run"])))
    add("stop_in_step_fn",
        session([{"step_fn": [TRAIN, "request_stop", TRAIN]}, TRAIN], A))
    add("stop_in_step_fn_goes_on_after_it",
        session([{"try": [{"step_fn": ["request_stop"]}]}, TRAIN], A))
    add("step_fn_after_stop_of_hook",
        session([TRAIN, {"step_fn": [raw_run("w_value:0"), TRAIN]}],
                hook("A", stop=["after_run"])))
    add("step_fn_within_loop",
        session([{"until_stop": [{"step_fn": [raw_run("w_value:0"), TRAIN]}]}],
                hook("A", stop=["after_run"], at=3)))
    add("stop_by_coordinator", session([{"coordinator": ""}, loop, TRAIN], A))
    add("stop_by_thread", session([{"thread": ""}, loop, TRAIN], A))
    add("stop_by_thread_and_hook",
        session([{"thread": ""}, TRAIN, {"try": [TRAIN]}],
                hook("A", stop=["after_run"])))


def add_odd_closes():
    """should_stop, run and close at odd moments."""
    add("close_twice", session([TRAIN, "close", "close"], A, B))
    add("close_twice_and_goes_on",
        session([TRAIN, "close", {"try": ["close"]}, "should_stop"], A))
    add("close_at_once", session(["close"], A))
    add("close_never_run", session([], A))
    add("should_stop_after_close", session(["close", "should_stop"], A))
    add("run_step_fn_after_close",
        session(["close", {"try": [{"step_fn": [TRAIN]}]}], A))
    add("close_in_step_fn",
        session([{"step_fn": [TRAIN, "close", {"try": [TRAIN]}]}], A))
    add("close_after_thread_error",
        session([{"thread": "ValueError"}, "close"], A))
    add("close_after_failed_should_stop",
        session([{"thread": "ValueError"}, {"try": ["should_stop"]},
                 "close"], A))
    add("close_after_stop", session([TRAIN, "close"],
                                    hook("A", stop=["after_run"])))
    add("should_stop_asked_often",
        session(["should_stop", TRAIN, "should_stop", "should_stop"], A))
    add("run_after_error_then_clean_end",
        session([{"try": [run("nowhere:0")]}, LOSS, LOSS], A))


def add_orders():
    """Three hooks in each order."""
    roles = {
        "fails": hook("fails", fail=["after_run", "ValueError"], at=2),
        "stops": hook("stops", stop=["after_run"], at=2),
        "feeds": hook("feeds", feed={"x:0": 0.5, "y:0": [1, 2]}, ask="total:0"),
    }
    body = [run(["x:0", "train"]), {"try": [TRAIN]}, "should_stop"]
    for order in itertools.permutations(roles):
        add("order_" + "_".join(order),
            session(body, *(roles[name] for name in order)))
    library = {
        "stop": {"StopAtStepHook": {"last_step": 5}},
        "save": {"CheckpointSaverHook": {"save_steps": 3}},
        "summarize": {"SummarySaverHook": {"save_steps": 2}},
    }
    for order in itertools.permutations(library):
        add("files_" + "_".join(order),
            session([{"until_stop": [LOSS]}],
                    *(library[name] for name in order)))


# What is asked for.

TYPES = [
    "half", "bfloat16", "float", "double", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "complex64", "complex128", "bool",
    "string",
]


def add_fetches():
    """Every shape of question."""
    feed = {"x:0": 1.5, "y:0": [1, 2]}
    shapes = {
        "tensor": "total:0",
        "operation": "train",
        "list": ["total:0", "x:0"],
        "list_of_one": ["total:0"],
        "tuple": {"()": ["total:0", "x:0"]},
        "dict": {"b": "total:0", "a": "x:0"},
        "list_of_lists": [["total:0"], ["x:0", "y:0"]],
        "two_deep": {"a": [{"b": "total:0"}, "x:0"], "c": {"()": [["y:0"]]}},
        "three_deep": [[["total:0", {"a": ["x:0"]}]]],
        "empty_list": [],
        "empty_tuple": {"()": []},
        "empty_dict": {},
        "empty_within": [[], "total:0", {}, [[], {"a": []}]],
        "nothing_but_empty": [[], {"a": {}}],
        "operations_between": ["train", "total:0", {"a": "train", "b": "x:0"}],
        "operations_only": {"a": "train", "b": ["train"]},
        "duplicates": ["total:0", "total:0", {"a": "total:0"}],
        "tensor_by_name_and_object": ["total:0", "@total:0"],
        "operation_by_name_and_object": ["train", "@train"],
        "fed": ["x:0", "total:0", "@x:0"],
        "fed_alone": "x:0",
        "two_outputs": ["pair:1", "pair:0"],
        "empty_tensor": "empty:0",
        "each_type": {name: f"constant_{name}:0" for name in TYPES},
    }
    for name, fetch in shapes.items():
        add(f"fetch_{name}",
            session([run(fetch, feed=feed), LOSS], hook("A", ask="loss:0")))
        add(f"hook_asks_{name}", session([run("train", feed=feed)],
                                         hook("A", ask=fetch), B))
        add(f"raw_fetch_{name}", session([raw_run(fetch, feed=feed)]))
    for name, fetch in {
            "unknown_tensor": "nowhere:0",
            "unknown_operation": "nowhere",
            "output_beyond_the_last": "pair:2",
            "output_of_an_operation_without": "train:0",
            "unknown_within_a_list": ["loss:0", ["nowhere:0"]],
    }.items():
        add(f"fetch_{name}", session([{"try": [run(fetch)]}, LOSS], A))
        add(f"hook_asks_{name}",
            session([{"try": [TRAIN]}], hook("A", ask=fetch), B))


# What is fed.

FED = {
    "half": "DT_HALF[2] 0.5 -inf",
    "bfloat16": "DT_BFLOAT16[1,2] 0.5 nan",
    "float": "DT_FLOAT[] 0.25",
    "double": "DT_DOUBLE[2,1] 0.10000000000000001 5e-324",
    "int8": "DT_INT8[0]",
    "int16": "DT_INT16[] -5",
    "int32": "DT_INT32[3] 1 2 3",
    "int64": "DT_INT64[] 9007199254740993",
    "uint8": "DT_UINT8[] 200",
    "uint16": "DT_UINT16[] 60000",
    "uint32": "DT_UINT32[] 4000000000",
    "uint64": "DT_UINT64[] 18446744073709551615",
    "complex64": "DT_COMPLEX64[] (0.5,-1)",
    "complex128": "DT_COMPLEX128[2] (1,0) (0,1)",
    "bool": "DT_BOOL[2] false true",
    "string": 'DT_STRING[3] "" "\\000a\\000" "\\303\\244"',
}


def add_feeds():
    """Who feeds what, and which feeds do not go together."""
    x, y, asked = {"x:0": 1.5}, {"y:0": [1, 2]}, run("total:0")
    add("feed_by_caller", session([run("total:0", feed={**x, **y})], A))
    add("feed_by_hook", session([asked], hook("A", feed={**x, **y})))
    add("feed_by_both", session([run("total:0", feed=x)], hook("A", feed=y)))
    add("feed_by_two_hooks",
        session([asked], hook("A", feed=x), hook("B", feed=y)))
    add("feed_by_two_hooks_and_caller",
        session([run(["total:0", "increment:0"], feed={"increment:0": 5})],
                hook("A", feed=x), hook("B", feed=y)))
    add("feed_for_hook_only",
        session([TRAIN], hook("A", ask="total:0", feed={**x, **y})))
    add("hook_fetches_what_caller_feeds",
        session([run("train", feed=x)], hook("A", ask="x:0")))
    add("caller_fetches_what_hook_feeds",
        session([run("x:0")], hook("A", feed=x)))
    add("hook_fetches_what_other_hook_feeds",
        session([TRAIN], hook("A", ask="x:0"), hook("B", feed=x)))
    add("hook_asks_nothing", session([TRAIN], A))
    add("hook_feeds_and_asks_empty_list",
        session([asked], hook("A", ask=[], feed={**x, **y})))
    add("same_hook_twice", session([LOSS], hook("A", ask="loss:0", times=2)))
    add("feed_jumps_over_the_limit",
        session([{"until_stop": [run("train", feed={"increment:0": 4})]}],
                {"StopAtStepHook": {"last_step": 6}}))
    again = [{"try": [run("total:0", feed=x)]}, run("loss:0")]
    add("conflict_of_two_hooks",
        session(again, hook("A", feed=y), hook("B", feed=y)))
    add("conflict_of_hook_and_caller",
        session(again, hook("A", feed={**x, **y})))
    add("conflict_by_name_and_object",
        session([run("x:0", feed={"x:0": 2})], hook("A", feed={"@x:0": 3})))
    add("conflict_of_hooks_by_name_and_object",
        session([run("x:0")], hook("A", feed={"x:0": 2}),
                hook("B", feed={"@x:0": 3})))
    for name, bad in {
            "unknown_tensor": {"nowhere:0": 1},
            "operation": {"train": 1},
            "wrong_shape": {"x:0": [1, 2]},
            "wrong_rank": {"y:0": "DT_FLOAT[1,2] 1 2"},
            "text_for_a_number": {"x:0": 'DT_STRING[] "one"'},
            "number_for_text": {"fed_string:0": 3},
            "integer_that_would_change": {"fed_bool:0": 3},
            "fraction_for_an_integer": {"fed_int32:0": 1.5},
            "tensor_of_another_type": {"x:0": "DT_DOUBLE[] 1.5"},
    }.items():
        fetch = [key if ":" in key else "x:0" for key in bad]
        add(f"feed_{name}", session([{"try": [run(fetch, feed=bad)]}, LOSS], A))
        add(f"hook_feeds_{name}",
            session([{"try": [run(fetch)]}], hook("A", feed=bad)))
    add("feed_missing", session([{"try": [asked]}, LOSS], A))
    add("feed_by_name_and_object",
        session([run("x:0", feed={"x:0": 2, "@x:0": 3})]))
    add("feed_each_type",
        session([run({name: f"fed_{name}:0" for name in FED},
                     feed={f"fed_{name}:0": text
                           for name, text in FED.items()})]))
    add("feed_converts_numbers",
        session([run([f"fed_{name}:0" for name in ("half", "double", "int8",
                                                   "uint64", "complex64")],
                     feed={"fed_half:0": 3, "fed_double:0": [1, 2],
                           "fed_int8:0": -7, "fed_uint64:0": [4],
                           "fed_complex64:0": 2})]))


# Options of a run.

WATCH = ("debug_options {{ debug_tensor_watch_opts {{ node_name: '{}' "
         "debug_ops: 'DebugIdentity' }} }}")


def add_options():
    """RunOptions of the caller and of hooks, RunMetadata."""
    trace = "trace_level: FULL_TRACE"
    add("options_trace_of_caller",
        session([run("loss:0", options=trace, metadata=True)], A))
    add("options_trace_of_caller_without_metadata",
        session([run("loss:0", options=trace)], A))
    add("options_metadata_without_trace",
        session([run("loss:0", metadata=True)], A))
    add("options_trace_of_hook",
        session([run("loss:0", metadata=True)], hook("A", options=trace), B))
    add("options_trace_of_hook_without_metadata",
        session([run("loss:0")], hook("A", options=trace), B))
    add("options_of_raw_run",
        session([raw_run("loss:0", options=trace, metadata=True)], A))
    add("options_metadata_is_overwritten",
        session([run("loss:0", options=trace, metadata=True),
                 run("loss:0", metadata=True)], A))
    add("options_larger_numbers_win",
        session([run("loss:0", options="timeout_in_ms: 60000",
                     metadata=True)],
                hook("A", options="timeout_in_ms: 90000 trace_level: "
                                  "SOFTWARE_TRACE inter_op_thread_pool: -1"),
                hook("B", options="timeout_in_ms: 70000 trace_level: "
                                  "FULL_TRACE")))
    add("options_booleans_are_joined",
        session([run("loss:0", options="output_partition_graphs: true",
                     metadata=True)],
                hook("A", options="report_tensor_allocations_upon_oom: true"),
                hook("B", options="debug_options { reset_disk_byte_usage: "
                                  "true }")))
    add("options_watches_keep_their_order",
        session([run("loss:0", options=WATCH.format("loss"))],
                hook("A", options=WATCH.format("w")),
                hook("B", options=WATCH.format("x"))))
    add("options_of_hook_leave_the_rest_alone",
        session([run("loss:0")],
                hook("A", options="debug_options { global_step: 7 } "
                                  "experimental { use_run_handler_pool: true }"
                     )))
    add("options_longer_timeout_of_hook_wins",
        session([{"try": [run("next:0", options="timeout_in_ms: 20")]},
                 run(["loss:0", "train"], options="timeout_in_ms: 60000")],
                hook("A", options="timeout_in_ms: 40")))


# Queues and sessions.


def add_queues():
    """Queue runners that end, fail and are stopped."""
    take = {"until_stop": [run(["next:0", "train"])]}
    nine = [run(["next:0", "train"])] * 9
    add("queue_ends", session(nine, A, model="queue_ends"))
    add("queue_ends_and_is_saved",
        session(nine, A, {"CheckpointSaverHook": {"save_steps": 100}},
                model="queue_ends"))
    add("queue_starts_anew_in_the_next_session",
        session(nine[:5], {"CheckpointSaverHook": {"save_steps": 100}},
                model="queue_ends"),
        {"remove": "tfevents"},
        session(nine, A, model="queue_ends", restore=True))
    add("queue_fails", session(nine, A, B, model="queue_fails"))
    add("queue_fails_and_is_saved",
        session(nine, A, {"CheckpointSaverHook": {"save_steps": 100}},
                model="queue_fails"))
    add("queue_endless_is_stopped_by_hook",
        session([take], {"StopAtStepHook": {"last_step": 5}}, A,
                model="queue_endless"))
    add("queue_endless_and_body_fails",
        session([*nine[:2], {"raise": "ValueError"}], A,
                model="queue_endless"))
    add("queue_endless_is_closed_by_body",
        session([*nine[:2], "close"], A, model="queue_endless"))
    add("queue_endless_and_after_create_session_fails",
        session([], hook("A", fail=["after_create_session", "ValueError"]),
                model="queue_endless"))


def add_sessions_on_one_graph():
    """Sessions beside and after each other on one graph."""
    value = run("w_value:0")
    inner = session([TRAIN, value], B)
    add("two_sessions_on_one_graph",
        session([TRAIN, TRAIN, inner, value], A))
    add("two_sessions_and_the_inner_one_fails",
        session([TRAIN, {"try": [session([TRAIN, {"raise": "ValueError"}])]},
                 value], A))
    add("two_sessions_and_the_outer_one_is_closed_first",
        session([TRAIN, session([TRAIN, "close_outer", TRAIN, value])]))
    add("graph_finalized_before", session([LOSS], A, finalized=True))
    add("graph_finalized_before_and_body_fails",
        session([{"raise": "ValueError"}], A, finalized=True))


# Checkpoints.

SAVE = {"CheckpointSaverHook": {"save_steps": 2}}
TO_THREE = session([TRAIN] * 3, SAVE)
NO_EVENTS = {"remove": "tfevents"}
VALUES = [run("loss:0"), run("w_value:0"), run("local_value:0")]


def add_restores():
    """What a session starts from."""
    def after_three(name, *acts):
        add(name, TO_THREE, NO_EVENTS, *acts)

    add("restore_finds_no_folder_content", session(VALUES, A, restore=True))
    add("restore_finds_no_such_path",
        session(VALUES, A, restore="model.ckpt-9"))
    after_three("restore_newest", session(VALUES, A, restore=True))
    after_three("restore_by_path",
                session(VALUES, A, restore="model.ckpt-2"))
    after_three("restore_by_path_beside_folder",
                session(VALUES, A, restore="model.ckpt-2", also_folder=True))
    after_three("restore_by_missing_path",
                session(VALUES, A, restore="model.ckpt-1"))
    after_three("restore_by_missing_path_beside_folder",
                session(VALUES, A, restore="model.ckpt-1", also_folder=True))
    after_three("restore_not_asked_for", session(VALUES, A))
    after_three("restore_skips_init_fn",
                session(VALUES, A, restore=True, init_fn=True))
    add("init_fn_without_checkpoint",
        session(VALUES, A, restore=True, init_fn=True))
    newest = 'model_checkpoint_path: "model.ckpt-{}"\n'
    after_three("state_names_older",
                {"write": ["checkpoint", newest.format(2)]},
                session(VALUES, A, restore=True))
    after_three("state_names_missing",
                {"write": ["checkpoint", newest.format(7)]},
                session(VALUES, A, restore=True))
    after_three("state_is_empty", {"write": ["checkpoint", ""]},
                session(VALUES, A, restore=True))
    after_three("state_is_garbage", {"write": ["checkpoint", "no state"]},
                session(VALUES, A, restore=True))
    after_three("state_is_lost", {"remove": "checkpoint"},
                session(VALUES, A, restore=True))
    after_three("newest_lost_its_index", {"remove": "ckpt-3.index"},
                session(VALUES, A, restore=True))
    after_three("newest_lost_its_data", {"remove": "ckpt-3.data"},
                session(VALUES, A, restore=True))
    after_three("path_lost_its_data", {"remove": "ckpt-3.data"},
                session(VALUES, A, restore="model.ckpt-3"))
    add("state_names_missing_and_nothing_else_is_there",
        {"write": ["checkpoint", newest.format(7)]},
        session(VALUES, A, restore=True))
    after_three("restore_into_wider_model",
                session(VALUES, A, model="wider", restore=True))
    after_three("restore_into_other_shape",
                session(VALUES, A, model="misshapen", restore=True))
    add("restore_into_narrower_model",
        session([TRAIN], SAVE, model="wider"), NO_EVENTS,
        session(VALUES, A, restore=True))
    add("partial_saver_fresh", session(VALUES, A, model="partial"))
    after_three("partial_saver_restored",
                session(VALUES, A, model="partial", restore=True))
    after_three("restored_and_trained_on",
                session([LOSS] * 2, SAVE, A, restore=True))
    after_three("restored_by_path_and_trained_on",
                session([LOSS] * 2, SAVE, A, restore="model.ckpt-2"))
    after_three("not_restored_and_trained_into_the_same_folder",
                session([LOSS], SAVE, A))
    after_three("trained_in_three_sessions",
                session([LOSS] * 2, SAVE, restore=True), NO_EVENTS,
                session([LOSS] * 2, SAVE, A, restore=True))
    often = {"CheckpointSaverHook": {"save_steps": 1}}
    add("old_checkpoints_of_former_session_are_deleted",
        session([TRAIN] * 4, often), NO_EVENTS,
        session([LOSS] * 3, often, restore=True))
    for limit, stop in itertools.product(("num_steps", "last_step"), (1, 5)):
        after_three(f"{limit}_{stop}_after_restore",
                    session([{"until_stop": [LOSS]}], A,
                            {"StopAtStepHook": {limit: stop}}, SAVE,
                            restore=True))


def add_files():
    """What hooks leave in the folder."""
    every_second = {"SummarySaverHook": {"save_steps": 2}}
    add("files_of_summaries", session([LOSS] * 5, every_second))
    add("files_of_save_and_summaries",
        session([LOSS] * 5, SAVE, every_second))
    add("files_of_summaries_and_body_fails",
        session([LOSS] * 3 + [{"raise": "ValueError"}], SAVE, every_second))
    add("files_of_failed_creation",
        session([], SAVE, hook("A", fail=["begin", "ValueError"])))
    add("files_of_failed_after_create_session",
        session([], SAVE, hook("A", fail=["after_create_session",
                                          "ValueError"])))
    add("files_of_step_counter",
        session([LOSS] * 5, {"StepCounterHook": {"every_n_steps": 2}}))
    add("files_when_steps_jump",
        session([run("train", feed={"increment:0": 3})] * 4, SAVE,
                every_second))
    add("files_when_nothing_is_trained",
        session([run("loss:0")] * 3, SAVE, every_second))
    add("files_when_nothing_is_run", session([], SAVE, every_second))
    add("files_after_restore",
        TO_THREE, NO_EVENTS,
        session([LOSS] * 3, SAVE, every_second, restore=True))


add_errors()
add_several_errors()
add_stops()
add_odd_closes()
add_orders()
add_fetches()
add_feeds()
add_options()
add_queues()
add_sessions_on_one_graph()
add_restores()
add_files()
