// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/fork.h"

#include <gtest/gtest.h>

#include "tftrain/testing/holds_in_child.h"

namespace tftrain {
namespace {

TEST(ForkCheckTest, AProcessThatForksIsNoChild) {
  const ForkCheck here;
  EXPECT_TRUE(HoldsInChild([] { return true; }));

  EXPECT_FALSE(here.InChild());
}

TEST(ForkCheckTest, AChildIsOneForWhatItInheritsOnly) {
  const ForkCheck here;

  EXPECT_TRUE(HoldsInChild([&here] {
    const ForkCheck child;
    return here.InChild() && !child.InChild() &&
           HoldsInChild([&] { return here.InChild() && child.InChild(); });
  }));
}

}  // namespace
}  // namespace tftrain
