// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/near_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NearNamesTest, FindsNamesAFewLettersAway) {
  const std::vector<std::string> known = {"accuracy", "loss", "lost", "logits"};

  EXPECT_THAT(NearNames("los", known), ElementsAre("loss", "lost"));
  EXPECT_THAT(NearNames("acuracy", known), ElementsAre("accuracy"));
  EXPECT_THAT(NearNames("looits", known), ElementsAre("logits"));
  EXPECT_THAT(NearNames("learning_rate", known), IsEmpty());
}

TEST(NearNamesTest, CapitalsAloneAreNearest) {
  EXPECT_THAT(NearNames("Loss_1", {"loss_2", "LOSS_1", "Loss_12"}),
              ElementsAre("LOSS_1", "loss_2", "Loss_12"));
}

TEST(NearNamesTest, FindsTheLastPartOfAPath) {
  EXPECT_THAT(NearNames("kernel", {"dense/kernel", "dense/bias", "kernels",
                                   "dense/my_kernel"}),
              ElementsAre("kernels", "dense/kernel"));
}

TEST(NearNamesTest, KeepsTheNearestAndTheirOrder) {
  const std::vector<std::string> known = {"weight_xx", "weight_1", "weight_2",
                                          "weight_3", "weights"};

  EXPECT_THAT(NearNames("weight_4", known, 3),
              ElementsAre("weight_1", "weight_2", "weight_3"));
  EXPECT_THAT(NearNames("weights", known, 2),
              ElementsAre("weights", "weight_1"));
  EXPECT_THAT(NearNames("weights", known, 0), IsEmpty());
}

TEST(NearNamesTest, CountsEachKindOfEdit) {
  for (const char* const near : {"bcdefghij", "abcdefghi", "abcdXfghij",
                                 "Xabcdefghij", "abcdefghijX", "abdcefghij"}) {
    EXPECT_THAT(NearNames("abcdefghij", {near}), ElementsAre(near));
  }
}

TEST(NearNamesTest, OddNamesDoNoHarm) {
  EXPECT_THAT(NearNames("", {"a", ""}), IsEmpty());
  EXPECT_THAT(NearNames("a", {""}), ElementsAre(""));
  EXPECT_THAT(NearNames(std::string(10000, 'a'), {"a", std::string(9999, 'a')}),
              ElementsAre(std::string(9999, 'a')));
}

TEST(NearNamesTest, SearchesAWholeGraph) {
  std::vector<std::string> known;
  for (int i = 0; i < 130'000; ++i) {
    known.push_back(absl::StrCat("model/layer_", i, "/dense/kernel/read"));
  }

  EXPECT_THAT(NearNames("model/layer_77777/dense/kernal/read", known, 1),
              ElementsAre("model/layer_77777/dense/kernel/read"));
}

TEST(DidYouMeanTest, EndsASentence) {
  EXPECT_EQ(DidYouMean("x", {"abc"}), "");
  EXPECT_EQ(DidYouMean("los", {"loss"}), "; did you mean \"loss\"");
  EXPECT_EQ(DidYouMean("los", {"loss", "lost"}),
            "; did you mean \"loss\" or \"lost\"");
  EXPECT_EQ(DidYouMean("los", {"loss", "lost", "lose"}),
            "; did you mean \"loss\", \"lost\" or \"lose\"");
}

}  // namespace
}  // namespace tftrain
