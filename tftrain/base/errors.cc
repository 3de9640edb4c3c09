// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/errors.h"

#include <cxxabi.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

absl::Status Marked(absl::Status status, std::string_view payload) {
  status.SetPayload(payload, absl::Cord());
  return status;
}

bool HasPayload(const absl::Status& status, std::string_view payload) {
  return !status.ok() && status.GetPayload(payload).has_value();
}

absl::Status WithMessage(const absl::Status& status, std::string_view message) {
  absl::Status result(status.code(), message);
  status.ForEachPayload([&result](auto url, const absl::Cord& payload) {
    result.SetPayload(url, payload);
  });
  return result;
}

std::string Text(const absl::Status& status) {
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                      status.message());
}

}  // namespace

absl::Status StopIterationError() {
  return Marked(absl::OutOfRangeError("a step function requested the stop"),
                kStopIterationPayload);
}

bool IsStopIteration(const absl::Status& status) {
  return HasPayload(status, kStopIterationPayload);
}

absl::Status EndOfInputError(std::string_view message) {
  return Marked(absl::OutOfRangeError(message), kEndOfInputPayload);
}

absl::Status MarkEndOfInput(absl::Status status) {
  if (!absl::IsOutOfRange(status)) return status;
  return Marked(std::move(status), kEndOfInputPayload);
}

bool IsEndOfInput(const absl::Status& status) {
  return HasPayload(status, kEndOfInputPayload);
}

bool IsCleanStop(const absl::Status& status) {
  return IsEndOfInput(status) || IsStopIteration(status);
}

absl::Status NanLossError(std::string_view message) {
  return Marked(absl::FailedPreconditionError(message), kNanLossPayload);
}

bool IsNanLoss(const absl::Status& status) {
  return HasPayload(status, kNanLossPayload);
}

bool IsPreemption(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsUnavailable(status);
}

absl::Status Annotate(const absl::Status& status, std::string_view suffix) {
  if (status.ok() || suffix.empty()) return status;
  return WithMessage(status, absl::StrCat(status.message(), "; ", suffix));
}

absl::Status AnnotateBefore(const absl::Status& status,
                            std::string_view prefix) {
  if (status.ok() || prefix.empty()) return status;
  return WithMessage(status, absl::StrCat(prefix, ": ", status.message()));
}

absl::Status CallCatching(absl::FunctionRef<absl::Status()> fn) {
  try {
    return fn();
  } catch (const abi::__forced_unwind&) {
    throw;  // The end of a cancelled thread must not be stopped.
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "the call ran out of memory and threw std::bad_alloc");
  } catch (const std::exception& e) {
    return absl::UnknownError(
        absl::StrCat("the call threw an exception: ", e.what()));
  } catch (...) {
    return absl::UnknownError("the call threw an exception of unknown type");
  }
}

absl::Status CallUserCode(absl::FunctionRef<absl::Status()> fn) {
  absl::Status status;
  const absl::Status thrown = CallCatching([&] {
    status = fn();
    return absl::OkStatus();
  });
  return thrown.ok() ? status : absl::InternalError(thrown.message());
}

void FirstError::Update(const absl::Status& status) {
  if (status.ok()) return;
  if (first_.ok()) {
    first_ = status;
    return;
  }
  std::string text = Text(status);
  if (text == Text(first_) ||
      std::find(later_.begin(), later_.end(), text) != later_.end()) {
    return;
  }
  if (later_.size() == kMaxLater) {
    ++dropped_;
    return;
  }
  later_.push_back(std::move(text));
}

absl::Status FirstError::status() const {
  if (later_.empty()) return first_;
  std::string suffix;
  for (const std::string& text : later_) {
    absl::StrAppend(&suffix, suffix.empty() ? "also: " : "; also: ", text);
  }
  if (dropped_ > 0) absl::StrAppend(&suffix, "; and ", dropped_, " more");
  return Annotate(first_, suffix);
}

}  // namespace tftrain
