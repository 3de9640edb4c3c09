// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/shared_step.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/testing/requests.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain::internal {
namespace {

TEST(SharedStepTest, TakesInWhatOnlyReads) {
  const GraphPtr graph = CountingGraph();
  const RequestPtr caller = Asks({}, {"train"});
  const RequestPtr summary = Asks({"w_summary:0"});
  const RequestPtr value = Asks({"w_value:0", "constant:0"});
  const SharedStep shared(*graph, caller, {summary, value, summary});

  EXPECT_EQ(shared.caller(), caller);
  ASSERT_EQ(shared.parts().size(), 3u) << "what is declared twice joins once";
  EXPECT_EQ(shared.PartOf(summary), 1);
  EXPECT_EQ(shared.PartOf(value), 2);
  EXPECT_TRUE(shared.parts()[0].wanted);
  EXPECT_FALSE(shared.parts()[1].wanted);
  EXPECT_EQ(*shared.parts()[2].request, value);
}

TEST(SharedStepTest, TellsWhatWouldBeComputedForNobody) {
  const GraphPtr graph = CountingGraph();
  const RequestPtr summary = Asks({"w_summary:0"});
  const RequestPtr value = Asks({"w_value:0"});
  const SharedStep shared(*graph, Asks({"w_value:0"}, {"train"}),
                          {summary, value});

  std::vector<StepPart> parts = shared.parts();
  EXPECT_TRUE(shared.WorksInVain(parts));
  parts[1].wanted = true;
  EXPECT_FALSE(shared.WorksInVain(parts)) << "the caller computes the value";
}

TEST(SharedStepTest, LeavesOutWhatHasEffects) {
  const GraphPtr graph = CountingGraph();
  const RequestPtr target = Asks({}, {"fill"});
  const RequestPtr fed = Asks({"w_value:0"}, {}, {"increment:0"});
  const RequestPtr reads_queue = Asks({"next_summary:0"});
  const SharedStep shared(*graph, Asks({}, {"train"}),
                          {target, fed, reads_queue});

  EXPECT_EQ(shared.parts().size(), 1u);
  EXPECT_EQ(shared.PartOf(target), -1);
}

TEST(SharedStepTest, TakesInEffectsOfTheCallersOwn) {
  const GraphPtr graph = CountingGraph();
  const RequestPtr reads_queue = Asks({"next_summary:0"});

  EXPECT_EQ(SharedStep(*graph, Asks({}, {"train_next"}), {reads_queue})
                .PartOf(reads_queue),
            1);
}

TEST(SharedStepTest, APlaceholderJoinsWhenTheCallerFeedsIt) {
  const GraphPtr graph = CountingGraph();
  const RequestPtr needs_x = Asks({"x_summary:0"});

  EXPECT_EQ(SharedStep(*graph, Asks({}, {"train"}), {needs_x}).PartOf(needs_x),
            -1);
  EXPECT_EQ(SharedStep(*graph, Asks({}, {"train"}, {"x:0"}), {needs_x})
                .PartOf(needs_x),
            1);
}

}  // namespace
}  // namespace tftrain::internal
