// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/run_options.h"

#include "gtest/gtest.h"

namespace tftrain::internal {
namespace {

using tensorflow::RunOptions;

TEST(MergeRunOptionsTest, NumbersBecomeTheLargerOne) {  // MRG-04
  RunOptions into, from;
  into.set_timeout_in_ms(10);
  into.set_trace_level(RunOptions::FULL_TRACE);
  from.set_timeout_in_ms(20);
  from.set_trace_level(RunOptions::SOFTWARE_TRACE);
  from.set_inter_op_thread_pool(1);

  MergeRunOptions(from, &into);

  EXPECT_EQ(into.timeout_in_ms(), 20);
  EXPECT_EQ(into.trace_level(), RunOptions::FULL_TRACE);
  EXPECT_EQ(into.inter_op_thread_pool(), 1);
}

TEST(MergeRunOptionsTest, FlagsAreJoined) {  // MRG-05
  RunOptions into, from;
  into.set_output_partition_graphs(true);
  from.set_report_tensor_allocations_upon_oom(true);
  from.mutable_debug_options()->set_reset_disk_byte_usage(true);

  MergeRunOptions(from, &into);

  EXPECT_TRUE(into.output_partition_graphs());
  EXPECT_TRUE(into.report_tensor_allocations_upon_oom());
  EXPECT_TRUE(into.debug_options().reset_disk_byte_usage());
}

TEST(MergeRunOptionsTest, WatchedTensorsAreAppended) {  // MRG-06
  RunOptions into, from;
  into.mutable_debug_options()->add_debug_tensor_watch_opts()->set_node_name(
      "caller's");
  from.mutable_debug_options()->add_debug_tensor_watch_opts()->set_node_name(
      "hook's");

  MergeRunOptions(from, &into);

  const auto& watched = into.debug_options().debug_tensor_watch_opts();
  ASSERT_EQ(watched.size(), 2);
  EXPECT_EQ(watched[0].node_name(), "caller's");
  EXPECT_EQ(watched[1].node_name(), "hook's");
}

TEST(MergeRunOptionsTest, OtherFieldsStay) {  // MRG-07, MRG-08
  RunOptions into, from;
  from.mutable_debug_options()->set_global_step(7);
  from.mutable_experimental()->set_collective_graph_key(3);

  MergeRunOptions(RunOptions(), &into);
  EXPECT_FALSE(into.has_debug_options());
  MergeRunOptions(from, &into);

  EXPECT_EQ(into.debug_options().global_step(), 0);
  EXPECT_FALSE(into.has_experimental());
}

}  // namespace
}  // namespace tftrain::internal
