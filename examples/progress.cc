// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace char_lm {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kRedraw = absl::Milliseconds(200);
constexpr absl::Duration kNewLine = absl::Seconds(5);

std::string Bar(double share) {
  const int filled = static_cast<int>(share * kBarWidth);
  return std::string(filled, '#') + std::string(kBarWidth - filled, '.');
}

}  // namespace

ProgressHook::ProgressHook(int64_t last_step, tftrain::Fetch<float> bits)
    : last_step_(last_step),
      bits_(std::move(bits)),
      on_terminal_(isatty(STDOUT_FILENO) != 0),
      args_(bits_) {}

absl::Status ProgressHook::Begin(tftrain::BeginContext& context) {
  context.Declare(args_);
  return absl::OkStatus();
}

absl::Status ProgressHook::AfterCreateSession(tftrain::Session& session,
                                              tftrain::Coordinator&) {
  TF_ASSIGN_OR_RETURN(first_step_, session.GlobalStep());
  return absl::OkStatus();
}

absl::StatusOr<tftrain::SessionRunArgs> ProgressHook::BeforeRun(
    tftrain::SessionRunContext&) {
  if (start_ == absl::Time()) start_ = shown_ = absl::Now();
  return args_;
}

absl::Status ProgressHook::AfterRun(tftrain::SessionRunContext& context,
                                    const tftrain::SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const float bits, values.Get(bits_));
  sum_of_bits_ += bits;
  ++num_bits_;
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  const absl::Time now = absl::Now();
  if (now - shown_ >= (on_terminal_ ? kRedraw : kNewLine)) Show(step, now);
  return absl::OkStatus();
}

void ProgressHook::Show(int64_t step, absl::Time now) {
  const double secs = absl::ToDoubleSeconds(now - start_);
  const double rate = static_cast<double>(step - first_step_) / secs;
  const int left =
      static_cast<int>(static_cast<double>(last_step_ - step) / rate);
  const std::string text = absl::StrFormat(
      "step %d/%d  %.0f steps/s  %.3f bits/character  %d:%02d left", step,
      last_step_, rate, sum_of_bits_ / num_bits_, left / 60, left % 60);
  if (on_terminal_) {
    const double share =
        static_cast<double>(step) / static_cast<double>(last_step_);
    std::printf("\r[%s] %s\033[K", Bar(share).c_str(), text.c_str());
  } else {
    std::printf("%s\n", text.c_str());
  }
  std::fflush(stdout);
  in_line_ = on_terminal_;
  shown_ = now;
  sum_of_bits_ = num_bits_ = 0;
}

absl::Status ProgressHook::End(tftrain::Session& session) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  if (num_bits_ > 0) Show(step, absl::Now());
  LeaveLine();
  return absl::OkStatus();
}

void ProgressHook::OnAbort(const absl::Status&) { LeaveLine(); }

void ProgressHook::LeaveLine() {
  if (in_line_) std::printf("\n");
  in_line_ = false;
}

}  // namespace char_lm
