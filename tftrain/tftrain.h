// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Everything a program needs that trains. Each header may also be included by
// itself; README.md walks through them.

#ifndef TFTRAIN_TFTRAIN_H_
#define TFTRAIN_TFTRAIN_H_

#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/import_meta_graph.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/coordination/looper_thread.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/meta_graph.h"
#include "tftrain/graph/summary_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/hooks/best_checkpoint_hook.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/early_stopping_hook.h"
#include "tftrain/hooks/eval_hook.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/logging_tensor_hook.h"
#include "tftrain/hooks/metric_source.h"
#include "tftrain/hooks/metrics_hook.h"
#include "tftrain/hooks/profile_window_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/progress_hook.h"
#include "tftrain/hooks/resource_usage_hook.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/hooks/stop_at_step_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/hooks/time_limit_hook.h"
#include "tftrain/monitored/hook_costs.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/monitored/step_context.h"
#include "tftrain/optimizers/adam.h"
#include "tftrain/optimizers/gradient_descent.h"
#include "tftrain/optimizers/optimizer.h"
#include "tftrain/session/fetch.h"
#include "tftrain/session/runnable.h"
#include "tftrain/session/session.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/setup/session_creator.h"
#include "tftrain/setup/session_manager.h"
#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/timeline.h"

#endif  // TFTRAIN_TFTRAIN_H_
