// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/run_options.h"

#include <algorithm>

namespace tftrain::internal {

void MergeRunOptions(const tensorflow::RunOptions& from,
                     tensorflow::RunOptions* into) {
  into->set_trace_level(std::max(from.trace_level(), into->trace_level()));
  into->set_timeout_in_ms(
      std::max(from.timeout_in_ms(), into->timeout_in_ms()));
  into->set_inter_op_thread_pool(
      std::max(from.inter_op_thread_pool(), into->inter_op_thread_pool()));
  into->set_output_partition_graphs(from.output_partition_graphs() ||
                                    into->output_partition_graphs());
  into->set_report_tensor_allocations_upon_oom(
      from.report_tensor_allocations_upon_oom() ||
      into->report_tensor_allocations_upon_oom());
  if (!from.has_debug_options()) return;
  const tensorflow::DebugOptions& debug = from.debug_options();
  tensorflow::DebugOptions* merged = into->mutable_debug_options();
  merged->set_reset_disk_byte_usage(debug.reset_disk_byte_usage() ||
                                    merged->reset_disk_byte_usage());
  merged->mutable_debug_tensor_watch_opts()->MergeFrom(
      debug.debug_tensor_watch_opts());
}

}  // namespace tftrain::internal
