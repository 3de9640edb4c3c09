// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ErrorsTest, StopIterationIsACleanStopAndNoEndOfInput) {
  const absl::Status status = StopIterationError();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_TRUE(IsStopIteration(status));
  EXPECT_FALSE(IsEndOfInput(status));
  EXPECT_TRUE(IsCleanStop(status));
}

TEST(ErrorsTest, EndOfInputIsACleanStopAndNoStopIteration) {
  const absl::Status status = EndOfInputError("the file has no more lines");

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange,
                               "the file has no more lines"));
  EXPECT_TRUE(IsEndOfInput(status));
  EXPECT_FALSE(IsStopIteration(status));
  EXPECT_TRUE(IsCleanStop(status));
}

TEST(ErrorsTest, TheBareCodeEndsNoInput) {
  EXPECT_FALSE(IsEndOfInput(absl::OutOfRangeError("port 3 of 2")));
  EXPECT_FALSE(IsCleanStop(absl::OutOfRangeError("port 3 of 2")));
  EXPECT_FALSE(IsCleanStop(absl::OkStatus()));
}

TEST(ErrorsTest, OnlyOutOfRangeCanBeMarkedAsTheEndOfInput) {
  EXPECT_TRUE(IsEndOfInput(MarkEndOfInput(absl::OutOfRangeError("empty"))));
  EXPECT_FALSE(IsEndOfInput(MarkEndOfInput(absl::DataLossError("cut"))));
  EXPECT_THAT(MarkEndOfInput(absl::OkStatus()), IsOk());
}

TEST(ErrorsTest, NanLossIsAFailure) {
  const absl::Status status = NanLossError("loss is NaN");

  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kFailedPrecondition, "loss is NaN"));
  EXPECT_TRUE(IsNanLoss(status));
  EXPECT_FALSE(IsCleanStop(status));
  EXPECT_FALSE(IsNanLoss(absl::FailedPreconditionError("loss is NaN")));
}

TEST(ErrorsTest, PreemptionIsAbortedOrUnavailable) {
  EXPECT_TRUE(IsPreemption(absl::AbortedError("x")));
  EXPECT_TRUE(IsPreemption(absl::UnavailableError("x")));
  EXPECT_FALSE(IsPreemption(absl::CancelledError("x")));
  EXPECT_FALSE(IsPreemption(absl::OkStatus()));
}

TEST(ErrorsTest, AnnotationsKeepCodeAndPayloads) {
  absl::Status status = EndOfInputError("empty");
  status.SetPayload("other", absl::Cord("kept"));

  const absl::Status after = Annotate(status, "while reading \"x\"");
  const absl::Status before = AnnotateBefore(status, "step 3");

  EXPECT_THAT(after, StatusIs(absl::StatusCode::kOutOfRange,
                              "empty; while reading \"x\""));
  EXPECT_THAT(before, StatusIs(absl::StatusCode::kOutOfRange, "step 3: empty"));
  for (const absl::Status& annotated : {after, before}) {
    EXPECT_TRUE(IsEndOfInput(annotated));
    EXPECT_EQ(annotated.GetPayload("other"), absl::Cord("kept"));
  }
}

TEST(ErrorsTest, NothingToAnnotateChangesNothing) {
  EXPECT_THAT(Annotate(absl::OkStatus(), "x"), IsOk());
  EXPECT_THAT(AnnotateBefore(absl::OkStatus(), "x"), IsOk());
  EXPECT_EQ(Annotate(absl::InternalError("x"), ""), absl::InternalError("x"));
}

TEST(CallCatchingTest, PassesStatusesOn) {
  EXPECT_THAT(CallCatching([] { return absl::OkStatus(); }), IsOk());
  EXPECT_EQ(CallCatching([] { return EndOfInputError("x"); }),
            EndOfInputError("x"));
}

TEST(CallCatchingTest, TurnsExceptionsIntoStatuses) {
  EXPECT_THAT(CallCatching([]() -> absl::Status {
                throw std::runtime_error("no such file");
              }),
              StatusIs(absl::StatusCode::kUnknown, HasSubstr("no such file")));
  EXPECT_THAT(
      CallCatching([]() -> absl::Status { throw std::bad_alloc(); }),
      StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("memory")));
  EXPECT_THAT(CallCatching([]() -> absl::Status { throw 3; }),
              StatusIs(absl::StatusCode::kUnknown, HasSubstr("unknown type")));
}

TEST(CallUserCodeTest, AnExceptionIsInternalAndAStatusIsItself) {
  EXPECT_THAT(CallUserCode([]() -> absl::Status { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("memory")));
  EXPECT_EQ(CallUserCode([] { return EndOfInputError("x"); }),
            EndOfInputError("x"));
}

TEST(FirstErrorTest, IsOkUntilAnErrorComes) {
  FirstError result;
  result.Update(absl::OkStatus());

  EXPECT_TRUE(result.ok());
  EXPECT_THAT(result.status(), IsOk());
}

TEST(FirstErrorTest, TheFirstByTimeWinsAndLaterOnesAreAttached) {
  FirstError result;
  result.Update(NanLossError("loss is NaN"));
  result.Update(absl::OkStatus());
  result.Update(absl::NotFoundError("no folder"));
  result.Update(absl::InternalError("no end"));

  EXPECT_THAT(result.status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "loss is NaN; also: NOT_FOUND: no folder; also: "
                       "INTERNAL: no end"));
  EXPECT_TRUE(IsNanLoss(result.status()));
}

TEST(FirstErrorTest, RepetitionsAreSaidOnce) {
  FirstError result(absl::InternalError("a"));
  for (int i = 0; i < 3; ++i) {
    result.Update(absl::InternalError("a"));
    result.Update(absl::InternalError("b"));
  }

  EXPECT_THAT(result.status(),
              StatusIs(absl::StatusCode::kInternal, "a; also: INTERNAL: b"));
}

TEST(FirstErrorTest, ManyErrorsStayReadable) {
  FirstError result(absl::InternalError("first"));
  for (int i = 0; i < 1000; ++i) {
    result.Update(absl::InternalError(absl::StrCat("number ", i)));
  }

  EXPECT_THAT(std::string(result.status().message()),
              AllOf(StartsWith("first; also: INTERNAL: number 0"),
                    HasSubstr("number 7"), Not(HasSubstr("number 8")),
                    EndsWith("; and 992 more")));
}

}  // namespace
}  // namespace tftrain
