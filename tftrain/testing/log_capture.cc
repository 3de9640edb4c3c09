// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/log_capture.h"

#include <string_view>

#include "absl/base/log_severity.h"
#include "absl/base/thread_annotations.h"
#include "absl/log/globals.h"
#include "absl/log/log_entry.h"
#include "absl/log/log_sink.h"
#include "absl/log/log_sink_registry.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/mutex.h"

namespace tftrain {
namespace {

class Lines {
 public:
  void Add(absl::LogSeverity severity, std::string_view text) {
    MutexLock lock(mu_);
    lines_.push_back(absl::StrCat(absl::LogSeverityName(severity), ": ", text));
  }

  std::vector<std::string> Get() const {
    MutexLock lock(mu_);
    return lines_;
  }

 private:
  mutable Mutex mu_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

class AbslSink : public absl::LogSink {
 public:
  explicit AbslSink(Lines* lines)
      : lines_(lines), former_level_(absl::MinLogLevel()) {
    absl::SetMinLogLevel(absl::LogSeverityAtLeast::kInfo);
    absl::AddLogSink(this);
  }
  ~AbslSink() override {
    absl::RemoveLogSink(this);
    absl::SetMinLogLevel(former_level_);
  }

  void Send(const absl::LogEntry& entry) override {
    lines_->Add(entry.log_severity(), entry.text_message());
  }

 private:
  Lines* const lines_;
  const absl::LogSeverityAtLeast former_level_;
};

// The macro tells versions of TensorFlow whose LOG is not absl's.
#ifdef _TF_LOG_INFO
class TensorFlowSink : public tsl::TFLogSink {
 public:
  explicit TensorFlowSink(Lines* lines) : lines_(lines) {
    tsl::TFAddLogSink(this);
  }
  ~TensorFlowSink() override { tsl::TFRemoveLogSink(this); }

  void Send(const tsl::TFLogEntry& entry) override {
    lines_->Add(entry.log_severity(), entry.text_message());
  }
  void WaitTillSent() override {}

 private:
  Lines* const lines_;
};
constexpr bool kHoldsInfo = false;
#else
constexpr bool kHoldsInfo = true;
#endif

}  // namespace

class LogCapture::Sinks {
 public:
  std::vector<std::string> Get() const { return lines_.Get(); }

 private:
  Lines lines_;
  AbslSink absl_sink_{&lines_};
#ifdef _TF_LOG_INFO
  TensorFlowSink tensorflow_sink_{&lines_};
#endif
};

LogCapture::LogCapture() : sinks_(std::make_unique<Sinks>()) {}

LogCapture::~LogCapture() = default;

std::vector<std::string> LogCapture::lines() const { return sinks_->Get(); }

bool LogCapture::HoldsInfo() { return kHoldsInfo; }

}  // namespace tftrain
