// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The project's vocabulary on `absl::Status`: what ended a program, told apart
// by payload and never by the bare code.
//
// A code alone cannot tell the end of the input from a bad index or a cut
// file: TensorFlow answers OUT_OF_RANGE to all three. So the session marks the
// end of input that one of its own steps met, and everybody else asks for the
// mark.
//
//   absl::Status status = session->Run(train);
//   if (tftrain::IsCleanStop(status)) return absl::OkStatus();
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_BASE_ERRORS_H_
#define TFTRAIN_BASE_ERRORS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace tftrain {

// The payload addresses by which the kinds below are told apart.
inline constexpr std::string_view kNanLossPayload = "tftrain/NanLoss";
inline constexpr std::string_view kStopIterationPayload =
    "tftrain/StopIteration";
inline constexpr std::string_view kEndOfInputPayload = "tftrain/EndOfInput";

// The answer of a step function that asked to stop: kOutOfRange with the
// payload `tftrain/StopIteration`.
//
// Python: `StopIteration`, raised by `StepContext.request_stop`.
absl::Status StopIterationError();
bool IsStopIteration(const absl::Status& status);

// The end of the input, said explicitly by a caller whose own data ran out:
// kOutOfRange with the payload `tftrain/EndOfInput`.
//
// Python: `tf.errors.OutOfRangeError`.
absl::Status EndOfInputError(std::string_view message);

// `status` with the payload `tftrain/EndOfInput` if its code is kOutOfRange,
// else `status` as it is. Only for the status of a step that ran: nothing else
// that is out of range ends an input.
absl::Status MarkEndOfInput(absl::Status status);

// True for the payload `tftrain/EndOfInput`; the bare code kOutOfRange is no
// end of input.
bool IsEndOfInput(const absl::Status& status);

// True for the end of input and for StopIteration: the two ways to end
// training that are no failure.
//
// Python: what a session's `with` block forgives.
bool IsCleanStop(const absl::Status& status);

// kFailedPrecondition with the payload `tftrain/NanLoss`.
//
// Python: `tf.compat.v1.train.NanLossDuringTrainingError`.
absl::Status NanLossError(std::string_view message);
bool IsNanLoss(const absl::Status& status);

// True for kAborted and kUnavailable: another process was lost, and making
// the session anew may help. tftrain passes these codes on and never makes
// them itself.
bool IsPreemption(const absl::Status& status);

// `status` with "; " and `suffix` behind its message. Code and payloads stay.
// An OK status stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view suffix);

// `status` with `prefix` and ": " before its message. Code and payloads stay.
// An OK status stays OK.
absl::Status AnnotateBefore(const absl::Status& status,
                            std::string_view prefix);

// Calls `fn` and answers with its status; a C++ exception that leaves it
// becomes a status: `std::bad_alloc` kResourceExhausted, any other kUnknown
// with the text of `what()`.
absl::Status CallCatching(absl::FunctionRef<absl::Status()> fn);

// The same for the callbacks of hooks and listeners, whose exceptions are all
// kInternal.
absl::Status CallUserCode(absl::FunctionRef<absl::Status()> fn);

// Collects the outcomes of several duties of which each must be tried, such as
// those of closing. The first error by time decides code, payloads and the
// beginning of the message; each later one is appended to it as "; also:" and
// its text, once, up to `kMaxLater` of them.
//
// Thread-compatible: const calls may run together.
//
//   FirstError result;
//   result.Update(hook->End(session));
//   result.Update(session->Close());
//   return result.status();
class FirstError {
 public:
  static constexpr int kMaxLater = 8;

  FirstError() = default;
  explicit FirstError(const absl::Status& status) { Update(status); }

  // Takes note of `status`; an OK status is ignored.
  void Update(const absl::Status& status);

  bool ok() const { return first_.ok(); }

  // OK, or the first error with the later ones attached.
  absl::Status status() const;

 private:
  absl::Status first_;
  std::vector<std::string> later_;
  int dropped_ = 0;
};

}  // namespace tftrain

#endif  // TFTRAIN_BASE_ERRORS_H_
