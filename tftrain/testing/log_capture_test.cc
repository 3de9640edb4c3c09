// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/log_capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/log/log.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;

TEST(LogCaptureTest, HoldsWhatIsLoggedWhileItLives) {
  LOG(WARNING) << "before";
  LogCapture log;
  LOG(WARNING) << "one";
  LOG(ERROR) << "two";

  EXPECT_THAT(log.lines(), ElementsAre("WARNING: one", "ERROR: two"));
}

TEST(LogCaptureTest, HoldsInformationWhereTheLogPassesItOn) {
  LogCapture log;
  LOG(INFO) << "three";

  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), ElementsAre("INFO: three"));
  }
}

}  // namespace
}  // namespace tftrain
