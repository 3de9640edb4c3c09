// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Lets a test see what the library logs.

#ifndef TFTRAIN_TESTING_LOG_CAPTURE_H_
#define TFTRAIN_TESTING_LOG_CAPTURE_H_

#include <memory>
#include <string>
#include <vector>

namespace tftrain {

// Collects what this process logs from its construction to its end, whatever
// the log's level: through absl's log and, with older versions of TensorFlow,
// through TensorFlow's own, which their headers put in the place of absl's.
//
// WART: those versions drop messages below $TF_CPP_MIN_LOG_LEVEL before
// anybody can see them; test for INFO only if `HoldsInfo()`.
//
// Thread-safe.
//
//   LogCapture log;
//   timer.Warn();
//   EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("WARNING: too late")));
class LogCapture {
 public:
  LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;
  ~LogCapture();

  // Each message so far, as "INFO: ", "WARNING: " or "ERROR: " and its text.
  std::vector<std::string> lines() const;

  static bool HoldsInfo();

 private:
  class Sinks;

  const std::unique_ptr<Sinks> sinks_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_LOG_CAPTURE_H_
