// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A monitored session and TensorFlow's own under it, to be timed against each
// other.

#ifndef TFTRAIN_BENCHMARKS_SUBJECT_H_
#define TFTRAIN_BENCHMARKS_SUBJECT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/core/platform/logging.h"
#include "tftrain/tftrain.h"

namespace tftrain::benchmarks {

constexpr int64_t kNever = int64_t{1} << 40;

// The settings that --config gave, for every session.
inline tensorflow::ConfigProto& Config() {
  static auto* const config = new tensorflow::ConfigProto;
  return *config;
}

// Opens a session of `graph` with hooks and steps it in several ways.
// Confined: use from one thread.
class Subject {
 public:
  Subject(GraphPtr graph, SingularMonitoredSession::Options options)
      : thread_mode_(options.thread_mode) {
    options.config = Config();
    auto session =
        SingularMonitoredSession::Create(std::move(graph), std::move(options));
    CHECK(session.ok()) << session.status();
    session_ = *std::move(session);
    if (thread_mode_ == ThreadMode::kCallingThread) {
      run_options_.set_inter_op_thread_pool(-1);
    }
  }

  ~Subject() {
    if (has_callable_) CHECK(engine()->ReleaseCallable(callable_).ok());
    const absl::Status closed = session_->Close();
    CHECK(closed.ok()) << closed;
  }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  SingularMonitoredSession& session() { return *session_; }

  // What RunCallable() and SessionRun() run, without us.
  void Bind(std::vector<std::string> fetches,
            std::vector<std::string> targets) {
    fetches_ = std::move(fetches);
    targets_ = std::move(targets);
    tensorflow::CallableOptions options;
    for (const std::string& name : fetches_) options.add_fetch(name);
    for (const std::string& name : targets_) options.add_target(name);
    *options.mutable_run_options() = run_options_;
    const absl::Status made = engine()->MakeCallable(options, &callable_);
    CHECK(made.ok()) << made;
    has_callable_ = true;
  }
  void RunCallable() {
    const absl::Status run =
        engine()->RunCallable(callable_, {}, &outputs_, nullptr);
    CHECK(run.ok()) << run;
  }
  void SessionRun() {
    std::vector<tensorflow::Tensor> outputs;
    tensorflow::RunMetadata metadata;
    const absl::Status run = engine()->Run(run_options_, {}, fetches_, targets_,
                                           &outputs, &metadata);
    CHECK(run.ok()) << run;
  }

 private:
  tensorflow::Session* engine() { return session_->raw_session().engine(); }

  const ThreadMode thread_mode_;
  std::unique_ptr<SingularMonitoredSession> session_;
  tensorflow::RunOptions run_options_;
  std::vector<std::string> fetches_;
  std::vector<std::string> targets_;
  bool has_callable_ = false;
  tensorflow::Session::CallableHandle callable_ = 0;
  std::vector<tensorflow::Tensor> outputs_;
};

// A function that runs `step`, a PreparedStep, and ends the program if it
// fails.
template <typename F>
auto Stepping(SingularMonitoredSession& session, F fetches) {
  auto prepared = session.Prepare(std::move(fetches));
  CHECK(prepared.ok()) << prepared.status();
  return [step = *std::move(prepared)] {
    auto result = step();
    CHECK(result.ok());
  };
}

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_SUBJECT_H_
