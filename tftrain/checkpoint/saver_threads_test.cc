// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saving and restoring while other threads step: a checkpoint is the state
// between two steps. In the model every variable holds the number of the step,
// so that a mixture shows.

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

std::vector<std::string> ManyNames() {
  std::vector<std::string> names;
  for (int i = 0; i < 24; ++i) names.push_back(absl::StrCat("w", i));
  return names;
}

class SaverThreadsTest : public testing::Test {
 protected:
  SaverThreadsTest() {
    trainer_.Set(0);
    stepper_ = std::thread([this] {
      for (int64_t step = 1; !done_; ++step) {
        trainer_.Set(step);
        steps_ = step;
      }
    });
  }
  ~SaverThreadsTest() override {
    done_ = true;
    stepper_.join();
  }

  // Lets the other thread get on.
  void AwaitAStep() {
    const int64_t before = steps_;
    while (steps_ == before) std::this_thread::yield();
  }

  const TempDir dir_;
  UnsyncedFileOps file_ops_;
  Program trainer_{Saver::Options(), ManyNames()};
  std::atomic<int64_t> steps_ = 0;
  std::atomic<bool> done_ = false;
  std::thread stepper_;
};

TEST_F(SaverThreadsTest, ACheckpointIsOneMomentInTime) {
  Program reader(Saver::Options(), ManyNames());
  std::set<std::string> states;
  for (int i = 0; i < 25; ++i) {
    AwaitAStep();
    const auto prefix =
        trainer_.saver().Save(trainer_.session(), dir_ / "model.ckpt");
    ASSERT_THAT(prefix, IsOk());

    const std::string state = reader.StateOf(*prefix);
    int64_t step = 0;
    ASSERT_TRUE(absl::SimpleAtoi(state, &step)) << "a mixture: " << state;
    states.insert(state);
  }
  EXPECT_GT(states.size(), 12u) << "the other thread did not step";
}

TEST_F(SaverThreadsTest, ARestoreIsOneMomentInTime) {
  const auto prefix =
      trainer_.saver().Save(trainer_.session(), dir_ / "model.ckpt");
  ASSERT_THAT(prefix, IsOk());
  for (int i = 0; i < 60; ++i) {
    AwaitAStep();
    ASSERT_THAT(trainer_.saver().Restore(trainer_.session(), *prefix), IsOk());

    const StepHold hold(trainer_.session());
    ASSERT_TRUE(hold.complete());
    const std::string state = trainer_.State();
    int64_t step = 0;
    ASSERT_TRUE(absl::SimpleAtoi(state, &step)) << "a mixture: " << state;
  }
}

TEST_F(SaverThreadsTest, WhoHoldsMaySave) {
  const StepHold hold(trainer_.session());
  const std::string before = trainer_.State();
  const auto prefix =
      trainer_.saver().Save(trainer_.session(), dir_ / "model.ckpt");

  ASSERT_THAT(prefix, IsOk());
  EXPECT_EQ(trainer_.State(), before);
  Program reader(Saver::Options(), ManyNames());
  EXPECT_EQ(reader.StateOf(*prefix), before);
}

// Whose syncs take as long as chance has it, so that the saves of two threads
// meet in every way.
//
// Thread-safe.
class UnevenFileOps : public UnsyncedFileOps {
 public:
  int Sync(int fd) override {
    for (int i = (count_ += 7) % 50; i > 0; --i) std::this_thread::yield();
    return UnsyncedFileOps::Sync(fd);
  }

 private:
  std::atomic<int> count_ = 0;
};

// R1, R2
TEST(TwoSaversTest, OfOneNameTakeTurns) {
  const TempDir dir;
  UnevenFileOps file_ops;
  const std::string path = dir / "model";
  constexpr int kSaves = 60;
  const auto save_often = [&path](Program* program, int64_t first) {
    for (int64_t number = first; number < first + kSaves; ++number) {
      program->Set(number);
      EXPECT_THAT(program->saver().Save(program->session(), path), IsOk());
      const auto report = VerifyCheckpoint(path);
      EXPECT_TRUE(!report.ok() || report->intact()) << report->ToString();
    }
  };
  Program one(Saver::Options(), ManyNames());
  Program other(Saver::Options(), ManyNames());
  std::thread thread([&] { save_often(&other, 1000); });
  save_often(&one, 1);
  thread.join();

  EXPECT_THAT(one.StateOf(path),
              testing::AnyOf(absl::StrCat(kSaves), absl::StrCat(999 + kSaves)));
}

// Who follows a folder finds nothing or a checkpoint, also while the first one
// and its state file come.
TEST(FollowerTest, AFirstSaveIsNoDamage) {
  UnevenFileOps file_ops;
  Program trainer(Saver::Options(), {"w"});
  for (int i = 0; i < 100; ++i) {
    const TempDir dir;
    std::atomic<bool> done = false;
    std::thread saving([&] {
      EXPECT_THAT(trainer.SetAndSave(1, dir / "model"), IsOk());
      done = true;
    });
    while (!done) EXPECT_THAT(LatestCheckpoint(dir.path()), IsOk());
    saving.join();
    EXPECT_THAT(LatestCheckpoint(dir.path()), IsOkAndHolds(dir / "model-1"));
  }
}

// As Python's input producers with num_epochs do: one step counts the epoch and
// fills the queue, which is full until this thread takes something out.
TEST(SaverQueueTest, AFullQueueHoldsNoSaveUp) {
  namespace ops = tensorflow::ops;
  const TempDir dir;
  UnsyncedFileOps file_ops;
  const GraphPtr graph = MakeModel({"w"});
  const tensorflow::Scope scope = graph->scope();
  const auto epochs =
      Variable::Create(*graph, scope, "epochs", ops::Const(scope, int64_t{0}));
  ASSERT_THAT(epochs, IsOk());
  const ops::FIFOQueue queue(scope, {tensorflow::DT_FLOAT},
                             ops::FIFOQueue::Capacity(1));
  const ops::AssignAddVariableOp count(scope, epochs->handle(),
                                       ops::Const(scope, int64_t{1}));
  const tensorflow::Scope counted = scope.WithControlDependencies(
      std::vector<tensorflow::Operation>{count.operation});
  ops::QueueEnqueue(counted.WithOpName("fill"), queue.handle,
                    {ops::Const(scope, 1.0f)});
  ops::QueueDequeue(scope.WithOpName("next"), queue.handle,
                    {tensorflow::DT_FLOAT});
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  const std::shared_ptr<Session> session = Session::Create(graph).value();
  ASSERT_THAT(session->Run(Target("init")), IsOk());
  ASSERT_THAT(session->Run(Target(epochs->initializer())), IsOk());
  ASSERT_THAT(session->Run(Target("fill")), IsOk());
  std::thread blocked([&] { session->Run(Target("fill")).IgnoreError(); });
  // The step has counted, and so it is about to wait for room.
  const Fetch<int64_t> counted_epochs(epochs->value());
  while (session->Run(counted_epochs).value() < 2) std::this_thread::yield();

  const StepHold hold(*session, absl::ZeroDuration());
  EXPECT_TRUE(hold.complete());
  EXPECT_THAT((*saver)->Save(*session, dir / "model.ckpt"), IsOk());

  EXPECT_THAT(session->Run(Fetch<float>("next:0")), IsOkAndHolds(1.0f));
  blocked.join();
}

}  // namespace
}  // namespace tftrain
