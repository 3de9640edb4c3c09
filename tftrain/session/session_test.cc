// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/step_stats.pb.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::RunMetadata;
using ::tensorflow::RunOptions;
using ::tensorflow::Scope;
using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::HasSubstr;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

// Comes first: without a runtime linked in, nothing below can work.
TEST(SessionSmokeTest, RunsANoOp) {
  const GraphPtr graph = Graph::Create();
  ops::NoOp(graph->scope().WithOpName("nothing"));
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->Run(Target("nothing")), IsOk());
}

// "y" = 2 * "x" and "z" = "x" + "y" of a float scalar; constants "text",
// "words", "numbers" (int64), "flag", "matrix"; a variable "w", 1 at first,
// and "grow", which adds 1 to it.
class SessionTest : public testing::Test {
 protected:
  SessionTest() : graph_(Graph::Create()) {
    const Scope scope = graph_->scope();
    const auto x =
        ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT,
                         ops::Placeholder::Shape(tensorflow::TensorShape({})));
    const auto y = ops::Mul(scope.WithOpName("y"), x, ops::Const(scope, 2.0f));
    ops::Add(scope.WithOpName("z"), x, y);
    ops::Const(scope.WithOpName("text"), std::string("some text"));
    ops::Const(scope.WithOpName("words"), {"a", "b"});
    ops::Const(scope.WithOpName("numbers"), {int64_t{1}, int64_t{-2}});
    ops::Const(scope.WithOpName("flag"), true);
    ops::Const(scope.WithOpName("matrix"), {{1.0f, 2.0f}});
    const auto w = Variable::Create(*graph_, scope, "w",
                                    ops::Const(scope.WithOpName("one"), 1.0f));
    EXPECT_THAT(w, IsOk());
    ops::AssignAddVariableOp(scope.WithOpName("grow"), w->handle(),
                             ops::Const(scope, 1.0f));
    EXPECT_THAT(graph_->status(), IsOk());
  }

  std::shared_ptr<Session> Open(
      const Session::Options& options = Session::Options()) {
    auto session = Session::Create(graph_, options);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }

  const GraphPtr graph_;
  const Fetch<float> y_{"y:0"};
  const Fetch<float> z_{"z:0"};
  const Fetch<float> w_{"w/Read/ReadVariableOp:0"};
  const Target init_{"w/Assign"};
  const Target grow_{"grow"};
};

// RUN-02, RUN-03, RUN-07
TEST_F(SessionTest, TheQuestionsTypeIsTheAnswers) {
  const auto session = Open();

  EXPECT_THAT(session->Run(y_, {{"x:0", 1.5f}}), IsOkAndHolds(3.0f));
  EXPECT_THAT(session->Run(Fetch<std::string>("text:0")),
              IsOkAndHolds("some text"));
  EXPECT_THAT(session->Run(Fetch<std::vector<std::string>>("words:0")),
              IsOkAndHolds(ElementsAre("a", "b")));
  EXPECT_THAT(session->Run(Fetch<std::vector<int64_t>>("numbers:0")),
              IsOkAndHolds(ElementsAre(1, -2)));
  EXPECT_THAT(session->Run(Fetch<bool>("flag:0")), IsOkAndHolds(true));
  const auto matrix = session->Run(Fetch<Tensor>("matrix:0"));
  ASSERT_THAT(matrix, IsOk());
  EXPECT_EQ(matrix->shape(), tensorflow::TensorShape({1, 2}));
  const absl::Status init = session->Run(init_);
  EXPECT_THAT(init, IsOk());
}

// RUN-01, RUN-09
TEST_F(SessionTest, TuplesLeaveTargetsOut) {
  const auto session = Open();
  ASSERT_THAT(session->Run(std::tuple{init_}), IsOk());

  const auto values =
      session->Run(std::tuple{y_, Target("one"), Fetch<std::string>("text:0")},
                   {{"x:0", 1.0f}});

  EXPECT_THAT(values, IsOkAndHolds(FieldsAre(2.0f, "some text")));
  EXPECT_THAT(session->Run(std::tuple{w_}), IsOkAndHolds(1.0f));
}

// RUN-01
TEST_F(SessionTest, ListsAndMapsNest) {
  const auto session = Open();
  ASSERT_THAT(session->Run(init_), IsOk());

  const auto value = session->Run(
      List({y_, Map({{"w", w_}, {"one", Target("one")}, {"none", List({})}})}),
      {{"x:0", 1.0f}});

  ASSERT_THAT(value, IsOk());
  EXPECT_EQ(value->size(), 2);
  EXPECT_THAT(value->Get<float>({0}), IsOkAndHolds(2.0f));
  EXPECT_THAT(value->Get<float>({1, "w"}), IsOkAndHolds(1.0f));
  EXPECT_THAT(value->Get<float>({1, "one"}),
              StatusIs(kInvalid, HasSubstr("an operation")));
  EXPECT_THAT(value->Get<float>({1, "none"}),
              StatusIs(kInvalid, HasSubstr("a list")));
}

// RUN-05
TEST_F(SessionTest, EmptyRequestRunsNothing) {
  const auto session = Open();

  EXPECT_THAT(session->Run(std::tuple<>()), IsOk());
  const auto list = session->Run(List({}));
  ASSERT_THAT(list, IsOk());
  EXPECT_TRUE(list->is_list());
  EXPECT_EQ(list->size(), 0);
  EXPECT_THAT(session->Run(Map({{"none", List({})}})), IsOk());
  // Feeds are checked all the same.
  EXPECT_THAT(session->Run(std::tuple<>(), {{"absent:0", 1.0f}}),
              StatusIs(kInvalid));
}

// RUN-06
TEST_F(SessionTest, DuplicateFetchesAreComputedOnce) {
  const auto session = Open();
  const Fetch<Tensor> y("y:0");

  const auto values = session->Run(std::tuple{y, y, y_}, {{"x:0", 1.0f}});

  ASSERT_THAT(values, IsOk());
  const auto& [first, second, typed] = *values;
  EXPECT_TRUE(first.SharesBufferWith(second));
  EXPECT_EQ(typed, 2.0f);
}

TEST_F(SessionTest, DuplicateTargetsRunOnce) {
  const auto session = Open();
  ASSERT_THAT(session->Run(init_), IsOk());

  ASSERT_THAT(session->Run(List({grow_, grow_, List({grow_})})), IsOk());

  EXPECT_THAT(session->Run(w_), IsOkAndHolds(2.0f));
}

// RUN-08
TEST_F(SessionTest, UnknownNamesComeWithNearOnes) {
  const auto session = Open();

  EXPECT_THAT(session->Run(Fetch<float>("one_:0")),
              StatusIs(kInvalid, AllOf(HasSubstr("\"one_\""),
                                       HasSubstr("did you mean \"one\""))));
  EXPECT_THAT(session->Run(Target("grew")),
              StatusIs(kInvalid, HasSubstr("did you mean \"grow\"")));
  EXPECT_THAT(session->Run(Fetch<float>("z:0"), {{"x:1", 1.0f}}),
              StatusIs(kInvalid, HasSubstr("\"x:1\"")));
  EXPECT_THAT(session->Run(z_, {{"word:0", 1.0f}}),
              StatusIs(kInvalid, HasSubstr("did you mean \"words\"")));
}

// RUN-07, RUN-08, RUN-14
TEST_F(SessionTest, AnOperationIsNoTensorAndTheReverse) {
  const auto session = Open();

  EXPECT_THAT(session->Run(Fetch<float>("y"), {{"x:0", 1.0f}}),
              StatusIs(kInvalid, HasSubstr("\"y:0\"")));
  EXPECT_THAT(session->Run(Target("y:0"), {{"x:0", 1.0f}}), StatusIs(kInvalid));
  EXPECT_THAT(session->Run(y_, {{"x", 1.0f}}),
              StatusIs(kInvalid, HasSubstr("\"x:0\"")));
}

// Names that hold what others are joined with are still told apart.
TEST_F(SessionTest, OddNamesAreNotTakenForOthers) {
  const auto session = Open();
  ASSERT_THAT(session->Run(std::tuple{Target("w/Assign"), Target("one")}),
              IsOk());

  for (const char* separator : {"\n", "\r", ",", ";", " "}) {
    EXPECT_THAT(
        session->Run(Target(absl::StrCat("w/Assign", separator, "one"))),
        StatusIs(kInvalid));
  }
}

// RUN-13, RUN-18
TEST_F(SessionTest, FedAndFetchedIsWhatWasFed) {
  const auto session = Open();

  EXPECT_THAT(session->Run(Fetch<float>("x:0"), {{"x:0", 4.0f}}),
              IsOkAndHolds(4.0f));
  EXPECT_THAT(session->Run(std::tuple{y_, z_, Fetch<float>("x:0")},
                           {{"x:0", 1.0f}, {"y:0", 10.0f}}),
              IsOkAndHolds(FieldsAre(10.0f, 11.0f, 1.0f)));
  // Converted to the tensor's type, also when it comes straight back.
  EXPECT_THAT(session->Run(Fetch<float>("x:0"), {{"x:0", 4}}),
              IsOkAndHolds(4.0f));
  EXPECT_THAT(session->Run(Fetch<std::string>("text:0"), {{"text:0", "fed"}}),
              IsOkAndHolds("fed"));
}

// RUN-20: Python lets the later one win, silently.
TEST_F(SessionTest, TensorFedTwiceIsInvalid) {
  const auto session = Open();

  EXPECT_THAT(session->Run(y_, {{"x:0", 1.0f}, {"x:0", 2.0f}}),
              StatusIs(kInvalid, HasSubstr("fed twice")));
}

TEST_F(SessionTest, PlaceholderThatIsNotFedIsInvalid) {
  const auto session = Open();

  EXPECT_THAT(session->Run(y_), StatusIs(kInvalid, HasSubstr("'x'")));
}

// RUN-16
TEST_F(SessionTest, FeedOfAnotherTypeIsInvalid) {
  const auto session = Open();

  EXPECT_THAT(
      session->Run(y_, {{"x:0", "one"}}),
      StatusIs(kInvalid, AllOf(HasSubstr("\"x:0\""), HasSubstr("float"))));
  EXPECT_THAT(session->Run(y_, {{"x:0", Tensor(int64_t{1})}}),
              StatusIs(kInvalid, HasSubstr("int64")));
  EXPECT_THAT(session->Run(y_, {{"text:0", 3}}), StatusIs(kInvalid));
}

// RUN-17
TEST_F(SessionTest, FeedOfAnotherShapeIsInvalid) {
  const auto session = Open();

  EXPECT_THAT(
      session->Run(y_, {{"x:0", std::vector<float>{1.0f, 2.0f}}}),
      StatusIs(kInvalid, AllOf(HasSubstr("\"x:0\""), HasSubstr("[2]"))));
  EXPECT_THAT(session->Run(Target("matrix"), {{"matrix:0", 1.0f}}),
              StatusIs(kInvalid, HasSubstr("[1,2]")));
}

TEST_F(SessionTest, FetchOfAnotherTypeIsInvalid) {
  const auto session = Open();

  EXPECT_THAT(
      session->Run(Fetch<double>("y:0"), {{"x:0", 1.0f}}),
      StatusIs(kInvalid, AllOf(HasSubstr("float"), HasSubstr("double"))));
  EXPECT_THAT(session->Run(Fetch<float>("matrix:0")),
              StatusIs(kInvalid, HasSubstr("[1,2]")));
}

// RUN-22
TEST_F(SessionTest, ClosedSessionRefusesBeforeAllElse) {
  const auto session = Open();
  const auto prepared = session->Prepare(y_, {"x:0"});
  ASSERT_THAT(prepared, IsOk());
  ASSERT_THAT(session->Close(), IsOk());

  const auto is_closed = StatusIs(kPrecondition, HasSubstr("closed"));
  EXPECT_TRUE(session->closed());
  EXPECT_THAT(session->Run(Fetch<float>("absent:0")), is_closed);
  EXPECT_THAT(session->Run(std::tuple<>()), is_closed);
  EXPECT_THAT((*prepared)(1.0f), is_closed);
  EXPECT_THAT(session->GlobalStep(), is_closed);
}

// RUN-27
TEST_F(SessionTest, ClosingTwiceIsHarmless) {
  const auto session = Open();

  EXPECT_THAT(session->Close(), IsOk());
  EXPECT_THAT(session->Close(), IsOk());
}

// RUN-27
TEST_F(SessionTest, UnknownTargetTellsWhatToWrite) {
  Session::Options options;
  options.target = "elsewhere://there";

  EXPECT_THAT(Session::Create(graph_, options),
              StatusIs(kPrecondition, AllOf(HasSubstr("elsewhere://there"),
                                            HasSubstr("grpc://"))));
  EXPECT_FALSE(graph_->finalized());
}

// GRF-04
TEST_F(SessionTest, GraphIsFinalizedWhileASessionIsOpen) {
  const auto first = Open();
  auto second = Open();
  EXPECT_TRUE(graph_->finalized());

  ASSERT_THAT(first->Close(), IsOk());
  EXPECT_TRUE(graph_->finalized());
  second.reset();

  EXPECT_FALSE(graph_->finalized());
}

// RUN-25: a session is made anew for what the graph has gained.
TEST_F(SessionTest, GraphMayGrowBetweenSessions) {
  ASSERT_THAT(Open()->Run(y_, {{"x:0", 1.0f}}), IsOk());

  ops::Const(graph_->scope().WithOpName("late"), 7.0f);
  ASSERT_THAT(graph_->status(), IsOk());

  EXPECT_THAT(Open()->Run(Fetch<float>("late:0")), IsOkAndHolds(7.0f));
}

TEST_F(SessionTest, GraphThatCannotBeFinalizedOpensNoSession) {
  const Scope scope = graph_->scope();
  ops::VarHandleOp(scope.WithOpName("a"), tensorflow::DT_FLOAT, {});
  ops::VarHandleOp(scope.WithOpName("b"), tensorflow::DT_FLOAT, {});

  EXPECT_THAT(Session::Create(graph_),
              StatusIs(kInvalid, HasSubstr("share one storage")));
  EXPECT_FALSE(graph_->finalized());
}

// RUN-26
TEST_F(SessionTest, SessionsOfOneGraphHaveTheirOwnState) {
  const auto first = Open();
  const auto second = Open();
  ASSERT_THAT(first->Run(init_), IsOk());
  ASSERT_THAT(second->Run(init_), IsOk());

  ASSERT_THAT(first->Run(grow_), IsOk());

  EXPECT_THAT(first->Run(w_), IsOkAndHolds(2.0f));
  EXPECT_THAT(second->Run(w_), IsOkAndHolds(1.0f));
}

// RUN-23
TEST_F(SessionTest, StatisticsComeOnlyWhenAskedFor) {
  const auto session = Open();
  RunOptions trace;
  trace.set_trace_level(RunOptions::FULL_TRACE);
  RunMetadata metadata;

  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, &trace), IsOk());
  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, nullptr, &metadata), IsOk());
  EXPECT_EQ(metadata.step_stats().dev_stats_size(), 0);
  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, &trace, &metadata), IsOk());

  EXPECT_GT(metadata.step_stats().dev_stats_size(), 0);
}

// RUN-23
TEST_F(SessionTest, MetadataIsOverwrittenByEachRun) {
  const auto session = Open();
  RunOptions options;
  options.set_trace_level(RunOptions::FULL_TRACE);
  options.set_output_partition_graphs(true);
  RunMetadata metadata;
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, &options, &metadata), IsOk());
    EXPECT_EQ(metadata.partition_graphs_size(), 1);
    EXPECT_GT(metadata.step_stats().dev_stats_size(), 0);
  }

  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, nullptr, &metadata), IsOk());
  EXPECT_EQ(metadata.partition_graphs_size(), 0);
  EXPECT_EQ(metadata.step_stats().dev_stats_size(), 0);

  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, &options, &metadata), IsOk());
  ASSERT_THAT(session->Run(std::tuple<>(), {}, &options, &metadata), IsOk());
  EXPECT_EQ(metadata.step_stats().dev_stats_size(), 0);
}

TEST_F(SessionTest, OptionsOfARunStayAsTheyAre) {
  Session::Options on_this_thread;
  on_this_thread.thread_mode = ThreadMode::kCallingThread;
  const auto session = Open(on_this_thread);
  const RunOptions options;

  ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}, &options), IsOk());

  EXPECT_EQ(options.inter_op_thread_pool(), 0);
}

// RUN-29
TEST_F(SessionTest, PreparedStepIsCalledLikeAFunction) {
  const auto session = Open();
  const auto step = session->Prepare(std::tuple{y_, z_}, {"x:0"});
  ASSERT_THAT(step, IsOk());

  EXPECT_THAT((*step)(1.0f), IsOkAndHolds(FieldsAre(2.0f, 3.0f)));
  EXPECT_THAT((*step)(2), IsOkAndHolds(FieldsAre(4.0f, 6.0f)));
  EXPECT_THAT((*step)(Tensor(3.0f)), IsOkAndHolds(FieldsAre(6.0f, 9.0f)));

  EXPECT_THAT((*step)(), StatusIs(kInvalid, HasSubstr("given 0 values")));
  EXPECT_THAT((*step)(1.0f, 2.0f),
              StatusIs(kInvalid, HasSubstr("given 2 values")));
}

// RUN-29
TEST_F(SessionTest, PreparingFindsMistakesAtOnce) {
  const auto session = Open();

  EXPECT_THAT(session->Prepare(Fetch<float>("absent:0")), StatusIs(kInvalid));
  EXPECT_THAT(session->Prepare(Fetch<int>("y:0")), StatusIs(kInvalid));
  EXPECT_THAT(session->Prepare(y_, {"x"}), StatusIs(kInvalid));
  EXPECT_THAT(session->Prepare(y_, {"x:0", "x:0"}), StatusIs(kInvalid));
  EXPECT_EQ(session->plans_made(), 0);
}

TEST_F(SessionTest, PlansAreMadeOncePerSetOfNames) {
  const auto session = Open();
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}), IsOk());
    ASSERT_THAT((*session->Prepare(y_, {"x:0"}))(2.0f), IsOk());
  }
  EXPECT_EQ(session->plans_made(), 1);

  ASSERT_THAT(session->Run(z_, {{"x:0", 1.0f}}), IsOk());
  ASSERT_THAT(session->Run(z_, {{"x:0", 1.0f}, {"y:0", 1.0f}}), IsOk());

  EXPECT_EQ(session->plans_made(), 3);
}

TEST_F(SessionTest, NoMorePlansAreKeptThanAllowed) {
  Session::Options options;
  options.max_plans = 1;
  const auto session = Open(options);
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(session->Run(y_, {{"x:0", 1.0f}}), IsOk());
    ASSERT_THAT(session->Run(z_, {{"x:0", 1.0f}}), IsOk());
  }
  EXPECT_EQ(session->plans_made(), 4);

  options.max_plans = 0;
  EXPECT_THAT(Open(options)->Run(y_, {{"x:0", 1.0f}}), IsOkAndHolds(2.0f));
}

TEST_F(SessionTest, GivesTensorFlowsOwnSession) {
  const auto session = Open();
  std::vector<Tensor> out;

  ASSERT_THAT(session->engine()->Run({}, {"one:0"}, {}, &out), IsOk());

  EXPECT_EQ(out[0].scalar<float>()(), 1.0f);
  EXPECT_TRUE(session->is_local());
}

TEST(SessionGlobalStepTest, IsReadFromTheVariable) {
  const GraphPtr graph = Graph::Create();
  const auto step = CreateGlobalStep(*graph);
  ASSERT_THAT(step, IsOk());
  const Scope scope = graph->scope();
  ops::AssignAddVariableOp(scope.WithOpName("train"), step->handle(),
                           ops::Const(scope, int64_t{1}));
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->GlobalStep(),
              StatusIs(kPrecondition, HasSubstr("no value yet")));
  ASSERT_THAT((*session)->Run(Target(step->initializer())), IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(0));
  for (int64_t i = 1; i <= 3; ++i) {
    ASSERT_THAT((*session)->Run(Target("train")), IsOk());
    EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(i));
  }
  // Read without a run.
  EXPECT_EQ((*session)->plans_made(), 2);
}

TEST(SessionGlobalStepTest, FollowsAVariableThatWasMadeAnew) {
  const GraphPtr graph = Graph::Create();
  const auto step = CreateGlobalStep(*graph);
  ASSERT_THAT(step, IsOk());
  const Scope scope = graph->scope();
  ops::DestroyResourceOp(scope.WithOpName("destroy"), step->handle());
  ops::AssignVariableOp(scope.WithOpName("set"), step->handle(),
                        ops::Const(scope, int64_t{7}));
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target(step->initializer())), IsOk());
  ASSERT_THAT((*session)->GlobalStep(), IsOkAndHolds(0));

  ASSERT_THAT((*session)->Run(Target("destroy")), IsOk());
  EXPECT_THAT((*session)->GlobalStep(), StatusIs(kPrecondition));
  ASSERT_THAT((*session)->Run(Target("set")), IsOk());

  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(7));
}

TEST(SessionGlobalStepTest, IsReadFromAReferenceByARun) {
  const auto graph =
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/adam_queue/model.meta"));
  ASSERT_THAT(graph, IsOk());
  const auto session = Session::Create(*graph);
  ASSERT_THAT(session, IsOk());

  const auto before = (*session)->GlobalStep();
  EXPECT_THAT(before, StatusIs(kPrecondition));
  ASSERT_THAT((*session)->Run(Target("global_step/Assign")), IsOk());

  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(0));
}

TEST(SessionGlobalStepTest, GraphWithoutOneSaysSo) {
  const GraphPtr graph = Graph::Create();
  ops::NoOp(graph->scope());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->GlobalStep(),
              StatusIs(kPrecondition, HasSubstr("no global step")));
}

// RUN-22: where Python refuses any run, there is nothing to ask for.
TEST(SessionEmptyGraphTest, HasNothingToRun) {
  const auto session = Session::Create(Graph::Create());
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->Run(Target("absent")), StatusIs(kInvalid));
  EXPECT_THAT((*session)->Run(std::tuple<>()), IsOk());
}

// What Python computed from its MetaGraph, computed here: see linear's
// expected.json.
TEST(SessionOfPythonGraphTest, TrainsTheLoadedModel) {
  const auto graph =
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/linear/model.meta"));
  ASSERT_THAT(graph, IsOk());
  const auto session = Session::Create(*graph);
  ASSERT_THAT(session, IsOk());
  for (const char* name : {"w/Assign", "b/Assign", "global_step/Assign"}) {
    ASSERT_THAT((*session)->Run(Target(name)), IsOk());
  }
  const auto step =
      (*session)->Prepare(std::tuple{Fetch<float>("loss:0"), Target("train")});
  ASSERT_THAT(step, IsOk());

  std::vector<float> losses;
  for (int i = 0; i < 10; ++i) {
    const auto loss = (*step)();
    ASSERT_THAT(loss, IsOk());
    losses.push_back(*loss);
  }

  EXPECT_LT(losses.back(), losses.front());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(10));
}

}  // namespace
}  // namespace tftrain
