// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Shows what a step did, operation by operation, in a browser.

#ifndef TFTRAIN_SUMMARY_TIMELINE_H_
#define TFTRAIN_SUMMARY_TIMELINE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace tensorflow {
class StepStats;
}  // namespace tensorflow

namespace tftrain {

// Turns the statistics of a step that ran with FULL_TRACE into a Chrome trace,
// which `chrome://tracing` and https://ui.perfetto.dev show: for each device
// the operations in as many lanes as ran at once, arrows from producers to
// consumers and, on request, the life of each tensor and the memory in use.
//
// Any statistics make a trace that is valid JSON: text that is not UTF-8 is
// replaced by U+FFFD, and times beyond the range of int64_t end at its limits.
//
// Python: `timeline.Timeline` of `tensorflow.python.client`, which writes the
// lanes into the statistics it was given; here they stay as they are. The text
// is the same, byte for byte, but for text that Python cannot hold.
//
// Thread-compatible: const calls may run together.
//
//   const Timeline timeline(metadata.step_stats());
//   std::ofstream("timeline.json") << timeline.GenerateChromeTraceFormat();
class Timeline {
 public:
  // From when to when an operation that starts kernels on a GPU is shown.
  enum class OpTime {
    kSchedule,  // While it starts them, as the statistics say.
    kGpu,       // From the start of its first kernel to the end of its last,
                // or its own end if that is later.
    kAll,       // From its own start to the end of its last kernel.
  };

  struct Options {
    // Arrows between operations of different lanes.
    bool show_dataflow = true;

    // The tensors and the memory in use. Makes the trace several times longer.
    bool show_memory = false;

    OpTime op_time = OpTime::kSchedule;
  };

  // The most memory that the tensors of an allocator took at one time.
  struct AllocationMaximum {
    int64_t timestamp = 0;  // In microseconds since 1970.
    int64_t num_bytes = 0;
    // Those that were alive at that time.
    std::set<std::string> tensors;
  };

  struct StepStatsAnalysis {
    std::string chrome_trace;  // JSON.
    // By the names of the allocators; empty unless memory is shown.
    std::map<std::string, AllocationMaximum> allocator_maximums;
  };

  // `step_stats` must outlive the timeline.
  explicit Timeline(const tensorflow::StepStats& step_stats)
      : step_stats_(step_stats) {}
  explicit Timeline(tensorflow::StepStats&&) = delete;

  // The trace as JSON.
  std::string GenerateChromeTraceFormat(const Options& options) const {
    return AnalyzeStepStats(options).chrome_trace;
  }
  std::string GenerateChromeTraceFormat() const {
    return GenerateChromeTraceFormat(Options());
  }

  // The same with what the allocators needed; with memory unless told
  // otherwise.
  StepStatsAnalysis AnalyzeStepStats(const Options& options) const;
  StepStatsAnalysis AnalyzeStepStats() const {
    return AnalyzeStepStats({true, true, OpTime::kSchedule});
  }

 private:
  const tensorflow::StepStats& step_stats_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_TIMELINE_H_
