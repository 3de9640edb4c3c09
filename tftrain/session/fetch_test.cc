// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/graph/graph.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

template <typename F>
using Result = typename FetchTraits<F>::Result;

// RUN-01, RUN-02: the type of the answer follows from that of the question.
static_assert(std::is_same_v<Result<Fetch<float>>, float>);
static_assert(std::is_same_v<Result<Target>, void>);
static_assert(std::is_same_v<Result<FetchTree>, Value>);
static_assert(std::is_same_v<Result<std::tuple<>>, void>);
static_assert(std::is_same_v<Result<std::tuple<Target, Target>>, void>);
static_assert(std::is_same_v<Result<std::tuple<Target, Fetch<float>>>, float>);
static_assert(
    std::is_same_v<Result<std::tuple<Fetch<float>, Target, Fetch<Tensor>>>,
                   std::tuple<float, Tensor>>);
static_assert(
    std::is_same_v<
        Result<std::tuple<Fetch<int>, std::tuple<Fetch<bool>, Fetch<float>>>>,
        std::tuple<int, std::tuple<bool, float>>>);
static_assert(std::is_same_v<RunResult<Target>, absl::Status>);
static_assert(std::is_same_v<RunResult<Fetch<int>>, absl::StatusOr<int>>);
// RUN-04: nothing is not a fetch.
static_assert(!std::is_constructible_v<FetchTree, std::nullptr_t>);

// The values `request` gets when its fetches are `fetched`, in order.
class Answer {
 public:
  Answer(Request request, std::vector<Tensor> fetched)
      : request_(std::move(request)), fetched_(std::move(fetched)) {
    for (size_t i = 0; i < fetched_.size(); ++i) {
      slots_.push_back(static_cast<int>(i));
    }
  }

  template <typename F>
  auto To(const F& fetches) {
    size_t next = 0;
    return FetchTraits<F>::Take(
        fetches, StepValues(&request_, slots_.data(), &fed_, &fetched_), &next);
  }

 private:
  const Request request_;
  std::vector<Tensor> fetched_;
  const std::vector<Tensor> fed_;
  std::vector<int> slots_;
};

TEST(FetchTest, MeansANameOrWhatWasBuilt) {
  const GraphPtr graph = Graph::Create();
  const auto op =
      tensorflow::ops::Const(graph->scope().WithOpName("loss"), 1.0f);

  EXPECT_EQ(Fetch<float>("loss:0").name(), "loss:0");
  EXPECT_EQ(Fetch<float>(op).name(), "loss:0");
  EXPECT_EQ(Target("loss").name(), "loss");
  EXPECT_EQ(Target(op.op()).name(), "loss");
}

TEST(FetchTest, RequestNamesEverythingInOrder) {
  const Request request = MakeRequest(
      std::tuple{Target("train"), Fetch<float>("loss:0"),
                 std::tuple{Fetch<Tensor>("y:0"), Target("count")},
                 List({Fetch<std::vector<int64_t>>("n:0"), Target("log")})},
      {"x:0"});

  EXPECT_THAT(request.fetches, ElementsAre("loss:0", "y:0", "n:0"));
  EXPECT_THAT(request.dtypes,
              ElementsAre(tensorflow::DT_FLOAT, tensorflow::DT_INVALID,
                          tensorflow::DT_INT64));
  EXPECT_THAT(request.targets, ElementsAre("train", "count", "log"));
  EXPECT_THAT(request.feeds, ElementsAre("x:0"));
  EXPECT_FALSE(request.empty());
}

// RUN-05
TEST(FetchTest, NothingIsAnEmptyRequest) {
  EXPECT_TRUE(MakeRequest(std::tuple<>()).empty());
  EXPECT_TRUE(MakeRequest(List({})).empty());
  EXPECT_TRUE(MakeRequest(Map({{"a", List({})}, {"b", Map({})}})).empty());
  EXPECT_EQ(MakeRequest(List({})), Request());
}

TEST(FetchTest, RequestsAreEqualByAllTheyName) {
  const auto fetch = [](const char* name) { return Fetch<float>(name); };

  EXPECT_EQ(MakeRequest(fetch("a:0")), MakeRequest(fetch("a:0")));
  EXPECT_FALSE(MakeRequest(fetch("a:0")) == MakeRequest(fetch("b:0")));
  EXPECT_FALSE(MakeRequest(fetch("a:0")) == MakeRequest(Fetch<int>("a:0")));
  EXPECT_FALSE(MakeRequest(fetch("a:0")) == MakeRequest(fetch("a:0"), {"x:0"}));
  EXPECT_FALSE(MakeRequest(Target("a")) == MakeRequest(fetch("a")));
}

// RUN-01
TEST(FetchTest, TuplesAreAnsweredByTuples) {
  const auto fetches =
      std::tuple{Fetch<float>("loss:0"), Target("train"),
                 std::tuple{Fetch<int>("n:0"), Fetch<std::string>("text:0")}};
  Answer answer(MakeRequest(fetches),
                {Tensor(0.5f), Tensor(3), Tensor(tensorflow::tstring("some"))});

  const auto values = answer.To(fetches);

  EXPECT_THAT(values, IsOkAndHolds(FieldsAre(0.5f, FieldsAre(3, "some"))));
}

TEST(FetchTest, ItemThatDoesNotFitFailsTheTuple) {
  const auto fetches = std::tuple{Fetch<float>("loss:0"), Fetch<int>("n:0")};
  Answer answer(MakeRequest(fetches), {Tensor(0.5f), Tensor(3.0f)});

  EXPECT_THAT(answer.To(fetches),
              StatusIs(kInvalid, AllOf(HasSubstr("\"n:0\""), HasSubstr("int32"),
                                       HasSubstr("float"))));
}

// RUN-01, RUN-06
TEST(FetchTest, ListsAndMapsAreAnsweredInTheirShape) {
  const FetchTree fetches =
      List({Fetch<float>("loss:0"), Target("train"),
            Map({{"z", Fetch<int>("n:0")},
                 {"a", List({Fetch<Tensor>("y:0"), List({})})}})});
  // A map is asked in the order of its keys.
  EXPECT_THAT(MakeRequest(fetches).fetches,
              ElementsAre("loss:0", "y:0", "n:0"));
  Answer answer(MakeRequest(fetches), {Tensor(0.5f), Tensor(1.5f), Tensor(3)});

  const auto value = answer.To(fetches);

  ASSERT_THAT(value, IsOk());
  EXPECT_TRUE(value->is_list());
  EXPECT_EQ(value->size(), 3);
  EXPECT_THAT(value->Get<float>({0}), IsOkAndHolds(0.5f));
  EXPECT_THAT(value->Get<int>({2, "z"}), IsOkAndHolds(3));
  EXPECT_THAT(value->Get<float>({2, "a", 0}), IsOkAndHolds(1.5f));
  EXPECT_THAT(value->Get<Tensor>({2, std::string("a"), 0}), IsOk());
}

// The answer to `fetches`, whose tensors are `fetched`, in order.
Value Answered(const FetchTree& fetches, std::vector<Tensor> fetched) {
  return Answer(MakeRequest(fetches), std::move(fetched)).To(fetches).value();
}

TEST(ValueTest, TellsWhatItIs) {
  EXPECT_TRUE(Value().empty());
  EXPECT_TRUE(Answered(Target("train"), {}).empty());
  EXPECT_TRUE(Answered(Fetch<float>("x:0"), {Tensor(1.0f)}).is_tensor());
  EXPECT_EQ(Answered(Fetch<float>("x:0"), {Tensor(1.0f)}).size(), 0);
  const Value list = Answered(List({Target("a"), Target("b")}), {});
  EXPECT_TRUE(list.is_list());
  EXPECT_EQ(list.size(), 2);
  const Value map = Answered(Map({{"b", List({})}, {"a", Target("a")}}), {});
  EXPECT_TRUE(map.is_map());
  EXPECT_EQ(map.size(), 2);
  EXPECT_THAT(map.keys(), ElementsAre("a", "b"));
}

TEST(ValueTest, TensorAloneIsAtTheEmptyPath) {
  EXPECT_THAT(Answered(Fetch<float>("x:0"), {Tensor(1.5f)}).Get<float>(),
              IsOkAndHolds(1.5f));
  EXPECT_THAT(Value().Get<float>(), StatusIs(kInvalid));
}

TEST(ValueTest, APartOfAnAnswerIsAnAnswer) {
  const Value value =
      Answered(List({Fetch<float>("x:0"),
                     Map({{"y", List({Fetch<int>("n:0"), Target("train")})}})}),
               {Tensor(1.5f), Tensor(3)});

  const auto part = value.At({1, "y"});
  ASSERT_THAT(part, IsOk());
  EXPECT_TRUE(part->is_list());
  EXPECT_THAT(part->Get<int>({0}), IsOkAndHolds(3));
  EXPECT_THAT(part->At({1})->empty(), true);
  EXPECT_THAT(value.At({2}), StatusIs(kInvalid, HasSubstr("\"2\"")));
}

TEST(ValueTest, PathThatLeadsNowhereIsInvalid) {
  const Value value =
      Answered(Map({{"list", List({Fetch<float>("x:0"), Target("train")})}}),
               {Tensor(1.5f)});

  EXPECT_THAT(value.Get<float>({"list", 0}), IsOkAndHolds(1.5f));
  for (const int index : {-1, 2, 1 << 30}) {
    EXPECT_THAT(value.Get<float>({"list", index}),
                StatusIs(kInvalid, HasSubstr("\"list/")));
  }
  EXPECT_THAT(value.Get<float>({"absent"}),
              StatusIs(kInvalid, HasSubstr("nothing at \"absent\"")));
  EXPECT_THAT(value.Get<float>({0}), StatusIs(kInvalid));
  EXPECT_THAT(value.Get<float>({"list", "0"}), StatusIs(kInvalid));
  EXPECT_THAT(value.Get<float>({"list", 0, 0}), StatusIs(kInvalid));
  EXPECT_THAT(value.Get<float>(), StatusIs(kInvalid, HasSubstr("a map")));
  EXPECT_THAT(value.Get<float>({"list"}),
              StatusIs(kInvalid, HasSubstr("a list")));
  EXPECT_THAT(value.Get<float>({"list", 1}),
              StatusIs(kInvalid, HasSubstr("an operation")));
  EXPECT_THAT(value.Get<int>({"list", 0}),
              StatusIs(kInvalid, HasSubstr("list/0")));
}

TEST(StepValuesTest, FedTensorsAreAnsweredByWhatWasFed) {
  const Request request = MakeRequest(
      std::tuple{Fetch<float>("x:0"), Fetch<float>("y:0")}, {"x:0"});
  const int slots[] = {-1, 0};
  std::vector<Tensor> fetched = {Tensor(2.0f)};
  const std::vector<Tensor> fed = {Tensor(1.0f)};

  const StepValues values(&request, slots, &fed, &fetched);

  ASSERT_EQ(values.size(), 2);
  EXPECT_EQ(values[0].scalar<float>()(), 1.0f);
  EXPECT_EQ(values[1].scalar<float>()(), 2.0f);
  EXPECT_EQ(values.name(1), "y:0");
  EXPECT_EQ(StepValues().size(), 0);
}

TEST(StepValuesTest, AValueIsTakenAwayWithItsLastUse) {
  const Request request = MakeRequest(std::tuple{
      Fetch<float>("y:0"), Fetch<float>("x:0"), Fetch<float>("y:0")});
  const int slots[] = {0, -1, 0};
  const char last_uses[] = {false, false, true};
  std::vector<Tensor> fetched = {Tensor(2.0f)};
  const std::vector<Tensor> fed = {Tensor(1.0f)};
  const StepValues values(&request, slots, &fed, &fetched, last_uses);

  const std::vector<Tensor> taken = values.Take(0, 3);
  EXPECT_TRUE(taken[0].SharesBufferWith(taken[2]));
  EXPECT_TRUE(taken[1].SharesBufferWith(fed[0]));
  EXPECT_FALSE(fetched[0].SharesBufferWith(taken[2]));
}

TEST(StepValuesTest, WhatWasFetchedIsTakenAsAWhole) {
  const Request request =
      MakeRequest(std::tuple{Fetch<float>("y:0"), Fetch<float>("z:0")});
  const int slots[] = {0, 1};
  const char last_uses[] = {true, true};
  std::vector<Tensor> fetched = {Tensor(2.0f), Tensor(3.0f)};
  const std::vector<Tensor> fed;

  EXPECT_EQ(StepValues(&request, slots, &fed, &fetched).Take(0, 2).size(), 2);
  EXPECT_EQ(fetched.size(), 2) << "a hook takes nothing away";
  EXPECT_EQ(
      StepValues(&request, slots, &fed, &fetched, last_uses).Take(0, 2).size(),
      2);
  EXPECT_THAT(fetched, testing::IsEmpty());
}

}  // namespace
}  // namespace tftrain
