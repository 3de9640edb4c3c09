// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// GoogleTest matchers for `absl::Status` and `absl::StatusOr`.
//
//   EXPECT_THAT(session->Close(), IsOk());
//   EXPECT_THAT(ReadFile(path, 10), IsOkAndHolds("text"));
//   EXPECT_THAT(saver->Restore(path), StatusIs(absl::StatusCode::kDataLoss,
//                                              HasSubstr(path)));
//
// There is deliberately no matcher for "any error": a test names the code it
// expects.
//
// Thread-compatible: const calls may run together.

#ifndef TFTRAIN_TESTING_MATCHERS_H_
#define TFTRAIN_TESTING_MATCHERS_H_

#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tftrain {
namespace internal {

inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}

template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// What StatusIs does to a plain status, apart from any type parameter.
class StatusIsMatcher {
 public:
  StatusIsMatcher(::testing::Matcher<absl::StatusCode> code,
                  ::testing::Matcher<const std::string&> message)
      : code_(std::move(code)), message_(std::move(message)) {}

  void DescribeTo(std::ostream* os) const;
  void DescribeNegationTo(std::ostream* os) const;

  template <typename T>
  bool MatchAndExplain(const T& result,
                       ::testing::MatchResultListener* listener) const {
    return MatchStatus(StatusOf(result), listener);
  }

 private:
  bool MatchStatus(const absl::Status& status,
                   ::testing::MatchResultListener* listener) const;

  ::testing::Matcher<absl::StatusCode> code_;
  ::testing::Matcher<const std::string&> message_;
};

// Matches a `StatusOr` whose value matches `inner`.
template <typename Inner>
class IsOkAndHoldsMatcher {
 public:
  explicit IsOkAndHoldsMatcher(Inner inner) : inner_(std::move(inner)) {}

  template <typename Result>
  operator ::testing::Matcher<Result>() const {  // NOLINT: as gmock needs it.
    return ::testing::Matcher<Result>(new Typed<Result>(inner_));
  }

 private:
  template <typename Result>
  class Typed : public ::testing::MatcherInterface<Result> {
   public:
    using Value =
        typename std::remove_cv_t<std::remove_reference_t<Result>>::value_type;

    explicit Typed(const Inner& inner)
        : inner_(::testing::SafeMatcherCast<const Value&>(inner)) {}

    void DescribeTo(std::ostream* os) const override {
      *os << "is OK and holds a value that ";
      inner_.DescribeTo(os);
    }
    void DescribeNegationTo(std::ostream* os) const override {
      *os << "is not OK or holds a value that ";
      inner_.DescribeNegationTo(os);
    }
    bool MatchAndExplain(
        Result result,
        ::testing::MatchResultListener* listener) const override {
      if (!result.ok()) {
        *listener << "which is " << result.status().ToString();
        return false;
      }
      return inner_.MatchAndExplain(*result, listener);
    }

   private:
    const ::testing::Matcher<const Value&> inner_;
  };

  const Inner inner_;
};

}  // namespace internal

// Matches an `absl::Status` or `absl::StatusOr` whose code matches `code` and
// whose message matches `message`.
template <typename Code, typename Message>
::testing::PolymorphicMatcher<internal::StatusIsMatcher> StatusIs(
    Code code, Message message) {
  return ::testing::MakePolymorphicMatcher(internal::StatusIsMatcher(
      ::testing::MatcherCast<absl::StatusCode>(code),
      ::testing::MatcherCast<const std::string&>(message)));
}

template <typename Code>
::testing::PolymorphicMatcher<internal::StatusIsMatcher> StatusIs(Code code) {
  return StatusIs(code, ::testing::_);
}

// Matches an `absl::Status` or `absl::StatusOr` that is OK.
inline ::testing::PolymorphicMatcher<internal::StatusIsMatcher> IsOk() {
  return StatusIs(absl::StatusCode::kOk);
}

// Matches an `absl::StatusOr` that is OK and whose value matches `inner`, a
// matcher or a value.
template <typename Inner>
internal::IsOkAndHoldsMatcher<std::decay_t<Inner>> IsOkAndHolds(Inner&& inner) {
  return internal::IsOkAndHoldsMatcher<std::decay_t<Inner>>(
      std::forward<Inner>(inner));
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_MATCHERS_H_
