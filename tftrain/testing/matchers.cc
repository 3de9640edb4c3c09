// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/matchers.h"

namespace tftrain::internal {

void StatusIsMatcher::DescribeTo(std::ostream* os) const {
  *os << "has a code that ";
  code_.DescribeTo(os);
  *os << " and a message that ";
  message_.DescribeTo(os);
}

void StatusIsMatcher::DescribeNegationTo(std::ostream* os) const {
  *os << "has a code that ";
  code_.DescribeNegationTo(os);
  *os << " or a message that ";
  message_.DescribeNegationTo(os);
}

bool StatusIsMatcher::MatchStatus(
    const absl::Status& status,
    ::testing::MatchResultListener* listener) const {
  *listener << "which is " << status.ToString();
  return code_.Matches(status.code()) &&
         message_.Matches(std::string(status.message()));
}

}  // namespace tftrain::internal
