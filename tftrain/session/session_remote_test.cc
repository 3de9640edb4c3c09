// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Sessions on a server, with the same answers as on the runtime in process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <tuple>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::Output;
using ::tensorflow::Scope;
using ::testing::FieldsAre;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

// The threads of this process called `name`, by their ids.
std::set<std::string> Threads(const std::string& name) {
  std::set<std::string> ids;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/self/task")) {
    std::string found;
    std::getline(std::ifstream(task.path() / "comm"), found);
    if (found == name) ids.insert(task.path().filename());
  }
  return ids;
}

class SessionRemoteTest : public testing::Test {
 protected:
  std::shared_ptr<Session> Open() {
    Session::Options options;
    options.target = LocalServerAddress();
    auto session = Session::Create(graph_, options);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }

  const GraphPtr graph_ = Graph::Create();
  const Scope scope_ = graph_->scope();
};

TEST_F(SessionRemoteTest, AnswersAsInProcess) {
  const auto x = ops::Placeholder(scope_.WithOpName("x"), tensorflow::DT_FLOAT);
  ops::Mul(scope_.WithOpName("y"), x, ops::Const(scope_, 2.0f));
  const auto session = Open();
  const Fetch<float> fetch_x("x:0");
  const Fetch<float> fetch_y("y:0");

  EXPECT_FALSE(session->is_local());
  EXPECT_THAT(session->Run(std::tuple{fetch_y, fetch_y, fetch_x, Target("y")},
                           {{"x:0", 3}}),
              IsOkAndHolds(FieldsAre(6.0f, 6.0f, 3.0f)));
  EXPECT_THAT(session->Run(fetch_x, {{"x:0", 3}}), IsOkAndHolds(3.0f));
  EXPECT_THAT(session->Run(std::tuple<>()), IsOk());
  EXPECT_THAT(session->Run(fetch_y), StatusIs(kInvalid));
  EXPECT_THAT(session->Run(Fetch<float>("y:1"), {{"x:0", 3}}),
              StatusIs(kInvalid));
}

TEST_F(SessionRemoteTest, DeadFetchIsAnError) {
  const auto condition =
      ops::Placeholder(scope_.WithOpName("condition"), tensorflow::DT_BOOL);
  const auto branches =
      ops::Switch(scope_, ops::Const(scope_, 5.0f), condition);
  ops::Neg(scope_.WithOpName("if_true"), branches.output_true);
  const auto session = Open();
  const auto step =
      session->Prepare(Fetch<float>("if_true:0"), {"condition:0"});
  ASSERT_THAT(step, IsOk());

  EXPECT_THAT((*step)(true), IsOkAndHolds(-5.0f));
  EXPECT_THAT((*step)(false),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("if_true")));
}

TEST_F(SessionRemoteTest, OutOfRangeIsTheEndOfInput) {
  const auto queue = ops::FIFOQueue(scope_, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope_.WithOpName("dequeue"), queue,
                    {tensorflow::DT_FLOAT});
  ops::QueueClose(scope_.WithOpName("close"), queue);
  const auto session = Open();
  ASSERT_THAT(session->Run(Target("close")), IsOk());

  const absl::Status ended = session->Run(Fetch<float>("dequeue:0")).status();

  EXPECT_TRUE(IsEndOfInput(ended)) << ended;
}

TEST_F(SessionRemoteTest, GlobalStepIsReadByARun) {
  const auto step = CreateGlobalStep(*graph_);
  ASSERT_THAT(step, IsOk());
  ops::AssignAddVariableOp(scope_.WithOpName("train"), step->handle(),
                           ops::Const(scope_, int64_t{1}));
  ops::DestroyResourceOp(scope_.WithOpName("destroy"), step->handle());
  const auto session = Open();
  // What a server holds outlives the session that made it.
  ASSERT_THAT(session->Run(Target("destroy")), IsOk());

  EXPECT_THAT(session->GlobalStep(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(session->Run(Target(step->initializer())), IsOk());
  ASSERT_THAT(session->Run(Target("train")), IsOk());

  EXPECT_THAT(session->GlobalStep(), IsOkAndHolds(1));
}

TEST_F(SessionRemoteTest, TimeoutEndsABlockedStep) {
  const auto queue = ops::FIFOQueue(scope_, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope_.WithOpName("dequeue"), queue,
                    {tensorflow::DT_FLOAT});
  const auto session = Open();
  tensorflow::RunOptions options;
  options.set_timeout_in_ms(50);

  EXPECT_THAT(session->Run(Fetch<float>("dequeue:0"), {}, &options),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(SessionRemoteTest, TheThreadThatClosesIsThereBeforeItIsNeeded) {
  ops::Const(scope_.WithOpName("x"), 1.5f);
  const std::set<std::string> others = Threads("close_session");

  const auto session = Open();

  // A thread takes its name when it first runs.
  const auto is_there = [&] {
    return testing::Value(Threads("close_session"), Not(IsSubsetOf(others)));
  };
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!is_there() && absl::Now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(is_there());
  EXPECT_THAT(session->Close(), IsOk());
}

}  // namespace
}  // namespace tftrain
